"""Guests without a machine: a namespace whose link stands on a network's bridge under a tap's name.

The kernel treats such a link as it treats a tap, so DHCP, filters and routers can be tried in milliseconds. Used by the
suites that observe a real kernel, inside a sandbox only; shares no code with the drivers.
"""

from __future__ import annotations

import asyncio
import contextlib
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

DEADLINE = 15.0


async def execute(*argv: str, check: bool = True) -> str:
    """Run a program to its end, in bounded time; returns its output."""
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(DEADLINE):
            out, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    text = out.decode()
    assert not check or process.returncode == 0, f"{argv} ended with {process.returncode}: {text}"
    return text


@dataclass(frozen=True)
class Guest:
    """Namespace `name`, in which `eth0` has `mac`; `tap` is the other end."""

    name: str
    tap: str
    mac: str

    async def run(self, *argv: str, check: bool = True) -> str:
        """Run a program inside."""
        return await execute("ip", "netns", "exec", self.name, *argv, check=check)

    async def address(self, *addresses: str, gateway: str | None = None) -> None:
        """Give it addresses (with prefix length) by hand, and a default route."""
        for address in addresses:
            await self.run("ip", "addr", "add", address, "dev", "eth0", *(["nodad"] if ":" in address else []))
        if gateway is not None:
            await self.run("ip", "route", "replace", "default", "via", gateway)

    async def lease(self, folder: Path) -> dict[str, str]:
        """Ask by DHCP as a machine does; returns what the client was told, by its variable names."""
        script = folder / f"{self.name}.sh"
        told = folder / f"{self.name}.env"
        script.write_text(f'#!/bin/sh\n[ "$1" = bound ] && set > {told}\nexit 0\n')
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        told.unlink(missing_ok=True)
        options = ["-O", "staticroutes", "-O", "mtu", "-O", "domain", "-O", "tftp", "-O", "bootfile"]
        argv = ["busybox", "udhcpc", "-i", "eth0", "-n", "-q", "-f", "-t", "4", "-T", "1", "-s", str(script), *options]
        await self.run(*argv, check=False)
        if not told.exists():
            return {}
        pairs = (line.split("=", 1) for line in told.read_text().splitlines() if "=" in line)
        return {name: value.strip("'") for name, value in pairs}

    async def reaches(self, address: str, *, port: int | None = None, udp: bool = False) -> bool:
        """Whether a ping, or a TCP connection, gets an answer within a second."""
        if port is None:
            text = await self.run("ping", "-c", "1", "-W", "1", address, check=False)
            return " 0% packet loss" in text
        return "said" in await self.run(
            "busybox", "timeout", "2", "busybox", "nc", "-w", "1", address, str(port), check=False
        )

    @contextlib.asynccontextmanager
    async def serving(self, port: int, address: str = "::") -> AsyncIterator[None]:
        """Answer TCP connections on `port` with "said"."""
        argv = ["ip", "netns", "exec", self.name, "busybox", "nc", "-ll", "-p", str(port), "-e", "echo", "said"]
        process = await asyncio.create_subprocess_exec(*argv, stdin=asyncio.subprocess.DEVNULL)
        try:
            async with asyncio.timeout(DEADLINE):
                while f":{port} " not in await self.run("ss", "-tln"):
                    await asyncio.sleep(0.02)
            yield
        finally:
            await finish(process)


async def finish(process: asyncio.subprocess.Process) -> None:
    """End a program that was started here, unless it has ended by itself."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()


@contextlib.asynccontextmanager
async def guest(name: str, *, tap: str, mac: str, bridge: str) -> AsyncIterator[Guest]:
    """A guest on a bridge, gone again afterwards."""
    await execute("ip", "netns", "add", name)
    try:
        await execute("ip", "link", "add", tap, "type", "veth", "peer", "name", "eth0", "netns", name)
        await execute("ip", "link", "set", tap, "master", bridge, "up")
        # Its link-local address is there at once: nobody else has that MAC.
        await execute("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv6.conf.eth0.accept_dad=0")
        await execute("ip", "-n", name, "link", "set", "eth0", "address", mac, "up")
        await execute("ip", "-n", name, "link", "set", "lo", "up")
        yield Guest(name, tap, mac)
    finally:
        await execute("ip", "link", "del", tap, check=False)
        await execute("ip", "netns", "del", name)
