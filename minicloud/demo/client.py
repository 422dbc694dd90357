"""The stock `openstack` command and ssh, as the story uses them: nothing of ours between them and the daemon."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from minicloud.core.errors import Failure, HostFailure
from minicloud.host.run import run

SSH = (
    "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
    "-o", "ConnectTimeout=3", "-o", "BatchMode=yes",
)  # fmt: skip


class NotAsPromised(Failure):
    """A step of the demo did not show what it should."""


@dataclass
class Client:
    """One user of the cloud: `cloud` is a name in the clouds file. `calls` counts what was run."""

    cloud: str
    calls: int = 0
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(os.cpu_count() or 2))

    async def __call__(self, *words: str, text: bool = False) -> Any:
        """Run `openstack WORDS`; its JSON (or text), `NotAsPromised` with its own words if it fails."""
        program = Path(sys.executable).parent / "openstack"
        argv = [str(program) if program.exists() else "openstack", "--os-cloud", self.cloud, *words]
        silent = any(word in words for word in ("delete", "add", "remove", "set", "unset"))
        if not text and not silent:
            argv += ["-f", "json"]
        env = {name: os.environ[name] for name in ("OS_CLIENT_CONFIG_FILE", "HOME") if name in os.environ}
        async with self._slots:
            self.calls += 1
            done = await run(argv, timeout=180, env=env, check=False)
        if done.code != 0:
            told = (done.err or done.out).decode("utf-8", "replace").strip()
            raise NotAsPromised(f"openstack {' '.join(words)} ended with {done.code}: {told[-600:]}")
        return done.text if text or silent or not done.out.strip() else json.loads(done.text)


@dataclass(frozen=True)
class Guest:
    """A machine that one can log in to."""

    address: str
    key: Path
    user: str = "cirros"

    async def ssh(self, command: str, *, check: bool = True, timeout: float = 60) -> str:
        """Run a command in the guest as its user; its output."""
        argv = ["ssh", *SSH, "-i", str(self.key), f"{self.user}@{self.address}", command]
        done = await run(argv, timeout=timeout, check=False, env={"HOME": os.environ.get("HOME", "/")})
        if check and done.code != 0:
            told = (done.text + done.err.decode("utf-8", "replace")).strip()
            raise NotAsPromised(f"In the guest {self.address}: {command!r} ended with {done.code}: {told[-400:]}")
        return done.text.strip()

    async def answers(self) -> bool:
        """Whether ssh works now."""
        try:
            return await self.ssh("echo here", check=False, timeout=10) == "here"
        except HostFailure:  # it did not end in time
            return False

    async def pings(self) -> bool:
        """Whether it answers a ping now."""
        return (await run(["ping", "-c", "1", "-W", "2", self.address], check=False, timeout=10)).code == 0


async def until(what: str, holds: Any, *, seconds: float = 120, pause: float = 0.5) -> float:
    """Wait until `await holds()` is true; the seconds it took. `NotAsPromised` names what never came."""
    began = time.monotonic()
    while not await holds():
        if time.monotonic() - began > seconds:
            raise NotAsPromised(f"Waited {seconds:.0f} s in vain: {what}.")
        await asyncio.sleep(pause)
    return time.monotonic() - began


class Told:
    """Prints what is going on, with the time since the start."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._number = 0

    def step(self, text: str) -> None:
        """A new numbered part."""
        self._number += 1
        click.secho(f"\n{self._number}. {text}  [{time.monotonic() - self._began:.0f} s]", bold=True)

    def line(self, text: str) -> None:
        """Something that was shown."""
        click.echo(f"   {text}")
