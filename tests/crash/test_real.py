"""kill -9 of the daemon on the real host, in the middle of what it does: guests don't notice, the next daemon tells the
truth, and nothing is left behind.

One machine, one daemon that is killed over and over; beside what is interrupted a steady guest is pinged all the time.
`MINICLOUD_CRASH=all` strikes at every point, else at a few that always hold the first and the last.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from minicloud.config import Api, render
from tests.conftest import PASSWORD, login
from tests.real.town import (
    COMPUTE,
    Guest,
    Pings,
    Town,
    difference,
    empty,
    processes,
    real_config,
    short_folder,
    sweep,
    traces,
    until,
)

pytestmark = [
    pytest.mark.real,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(os.environ.get("MINICLOUD_SANDBOX") != "1", reason="changes the machine: only in a sandbox"),
]

SAMPLE = 4
"""Points per scenario in the short form."""

Act = Callable[[], Awaitable[Any]]


class Outside:
    """The daemon as a process of its own that can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as door:
            door.bind(("127.0.0.1", 0))
            port = door.getsockname()[1]
        self.folder = folder
        self.config = replace(real_config(folder), api=Api(port=port))
        (folder / "minicloud.toml").write_text(render(self.config))
        self._process: asyncio.subprocess.Process

    async def start(self) -> None:
        """Start it; returns when its door is open."""
        with (self.folder / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.crash.real_daemon", str(self.folder / "minicloud.toml")),
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "ADMIN_PASSWORD": PASSWORD},
                stdout=log,
                stderr=log,
            )
        await until("the daemon to serve", self.serves, pause=0.05)

    async def serves(self) -> bool:
        """Whether it answers."""
        assert self._process.returncode is None, (self.folder / "log").read_text()[-3000:]
        return await self.health() is not None

    async def health(self) -> dict[str, Any] | None:
        """What /healthz says, None if nobody does."""

        def ask() -> dict[str, Any] | None:
            try:
                with urllib.request.urlopen(self.config.public_url + "/healthz", timeout=5) as answer:
                    return dict(json.load(answer))
            except OSError:
                return None

        return await asyncio.to_thread(ask)

    async def idle(self) -> None:
        """Wait until no operation is under way; a stuck one fails the test."""

        async def holds() -> bool:
            told = await self.health()
            assert told is not None and not told["stuck"], told
            return bool(told["operations"] == 0)

        await until("the operations to end", holds, pause=0.05)

    async def arm(self, at: int) -> None:
        """Have it die at its `at`th point from now; 0 only counts."""
        (self.folder / "strike").write_text(str(at))
        self._process.send_signal(signal.SIGUSR1)
        await self.health()  # whoever answers this has read the signal that came before

    async def points(self) -> list[str]:
        """The points since it was armed."""
        file = self.folder / "points"
        file.unlink(missing_ok=True)
        self._process.send_signal(signal.SIGUSR2)

        async def told() -> bool:
            return file.exists()

        await until("the count", told, pause=0.05)
        return list(json.loads(file.read_text()))

    async def died(self, *, seconds: float) -> bool:
        """Whether it died by itself within this time."""
        try:
            await asyncio.wait_for(self._process.wait(), seconds)
        except TimeoutError:
            return False
        assert self._process.returncode == -signal.SIGKILL, (self.folder / "log").read_text()[-3000:]
        return True

    async def kill(self) -> None:
        """End it as hard as possible."""
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


@dataclass
class Scene:
    """The machine of this module: a steady guest with its marks, a worker that volumes are attached to."""

    daemon: Outside
    town: Town
    steady: str
    worker: str
    guest: Guest
    boot_id: str
    qemu: set[int]

    async def strike(self, act: Act, *, at: int) -> None:
        """Do something, have the daemon killed at that point of it, start it again and let it settle."""
        await self.daemon.arm(at)
        try:
            await act()
        except (aiohttp.ClientError, AssertionError, TimeoutError):
            assert await self.daemon.died(seconds=30), "a request failed, but the daemon lives"
        if not await self.daemon.died(seconds=30):
            await self.daemon.kill()  # fewer points this time: after its end is a moment too
        await self.daemon.start()
        await self.daemon.idle()

    async def check_servers(self) -> None:
        """Rows are final, and those that should have a machine are those that have one."""
        servers = (await self.town.client.get(f"{COMPUTE}/servers/detail"))["servers"]
        for server in servers:
            assert server["status"] in ("ACTIVE", "ERROR", "SHUTOFF"), server
            assert server["OS-EXT-STS:task_state"] is None, server
            assert server["status"] != "ERROR" or server["fault"]["message"], server
        running = {
            server["OS-EXT-SRV-ATTR:instance_name"] for server in await self.seen() if server["status"] == "ACTIVE"
        }
        assert (await traces(self.daemon.folder))["domains"] == running

    async def seen(self) -> list[dict[str, Any]]:
        """All servers as the administrator sees them."""
        listed = await self.town.admin.get(f"{COMPUTE}/servers/detail?all_tenants=1")
        return [
            {key: one[key] for key in ("id", "status", "OS-EXT-STS:power_state", "OS-EXT-SRV-ATTR:instance_name")}
            for one in listed["servers"]
        ]

    async def check_steady(self) -> None:
        """The steady guest is the same process and was never rebooted."""
        assert set(processes("qemu-system", self.steady)) == self.qemu
        assert await self.guest.ssh("cat /proc/sys/kernel/random/boot_id") == self.boot_id


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene() -> AsyncIterator[Scene]:
    with short_folder() as folder:
        daemon = Outside(folder)
        await daemon.start()
        async with aiohttp.ClientSession() as session:
            url = daemon.config.public_url
            admin = await login(session, url, "admin", PASSWORD, "admin")
            town = Town(admin, admin, folder)
            try:
                await town.image()
                await town.settle()
                steady, worker = await town.server("steady"), await town.server("worker")
                guest = await town.reachable(steady)
                await town.booted(worker)
                boot_id = await guest.ssh("cat /proc/sys/kernel/random/boot_id")
                qemu = set(processes("qemu-system", steady))
                await daemon.kill()
                await daemon.start()  # a start loads the filters of groups without ports too: compare with that
                yield Scene(daemon, town, steady, worker, guest, boot_id, qemu)
            finally:
                await empty(admin)
                await daemon.idle()
                await daemon.kill()
                await sweep(folder)


def chosen(count: int) -> list[int]:
    """Which points to strike at."""
    if os.environ.get("MINICLOUD_CRASH") == "all" or count <= SAMPLE:
        return list(range(1, count + 1))
    step = (count - 1) / (SAMPLE - 1)
    return sorted({1 + round(step * index) for index in range(SAMPLE)})


async def count(scene: Scene, act: Act) -> int:
    """How many points an operation has when nobody interrupts it."""
    await scene.daemon.arm(0)
    await act()
    await scene.daemon.idle()
    points = await scene.daemon.points()
    assert points
    return len(points)


async def delete_all_but(scene: Scene, *kept: str) -> None:
    """Delete every other server."""
    listed = (await scene.town.client.get(f"{COMPUTE}/servers"))["servers"]
    await scene.town.delete(*(one["id"] for one in listed if one["id"] not in kept))
    await scene.daemon.idle()


async def check_second_start(scene: Scene) -> None:
    """Another kill with nothing under way, another start: all stays as it is."""
    before = await scene.seen(), await traces(scene.daemon.folder)
    await scene.daemon.kill()
    await scene.daemon.start()
    assert await scene.seen() == before[0]
    assert difference(before[1], await traces(scene.daemon.folder)) == {}


async def test_a_killed_launch_is_finished_or_taken_back(scene: Scene) -> None:
    town, clean = scene.town, await traces(scene.daemon.folder)

    async def launch() -> None:
        await town.request("brief", config_drive=True)

    total = await count(scene, launch)
    await delete_all_but(scene, scene.steady, scene.worker)
    async with Pings(scene.guest.address) as pings:
        for at in chosen(total):
            await scene.strike(launch, at=at)
            await scene.check_servers()
            if at == total:
                await check_second_start(scene)
            await delete_all_but(scene, scene.steady, scene.worker)
            assert difference(clean, await traces(scene.daemon.folder)) == {}, f"killed at {at} of {total}"
        sent, lost = await pings.lost()
    assert sent > 20
    assert lost == 0
    await scene.check_steady()


async def test_a_killed_delete_is_finished(scene: Scene) -> None:
    town, clean = scene.town, await traces(scene.daemon.folder)
    subject = ""

    async def delete() -> None:
        await town.client.delete(f"{COMPUTE}/servers/{subject}", expect=204)

    subject = await town.server("brief", config_drive=True)
    total = await count(scene, delete)
    async with Pings(scene.guest.address) as pings:
        for at in chosen(total):
            subject = await town.server("brief", config_drive=True)
            await scene.strike(delete, at=at)
            await scene.check_servers()
            await delete_all_but(scene, scene.steady, scene.worker)
            assert difference(clean, await traces(scene.daemon.folder)) == {}, f"killed at {at} of {total}"
        _, lost = await pings.lost()
    assert lost == 0
    await check_second_start(scene)
    await scene.check_steady()


@pytest.mark.parametrize("way", ["attach", "detach"])
async def test_a_killed_attach_or_detach_leaves_both_sides_agreed(scene: Scene, way: str) -> None:
    town, worker = scene.town, scene.worker
    volume_id = await town.volume()
    path = f"{COMPUTE}/servers/{worker}/os-volume_attachments"
    qemu = set(processes("qemu-system", worker))

    async def attach() -> None:
        await town.client.post(path, {"volumeAttachment": {"volumeId": volume_id}}, expect=200)

    async def detach() -> None:
        await town.client.delete(f"{path}/{volume_id}", expect=202)

    async def held() -> bool:
        """Whether the volume is attached, by all who must agree on that."""
        volume = (await town.client.get(f"{town.volumes}/volumes/{volume_id}"))["volume"]
        assert volume["status"] in ("available", "in-use"), volume
        attached = bool((await town.client.get(path))["volumeAttachments"])
        assert attached == (volume["status"] == "in-use") == bool(volume["attachments"])
        shown = (await town.show(worker))["OS-EXT-SRV-ATTR:instance_name"]
        listed = await asyncio.create_subprocess_exec(
            *("virsh", "-c", "qemu:///system", "domblklist", shown), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await listed.communicate()
        assert (volume_id.encode() in out) == attached, out
        return attached

    async def ready() -> None:
        if await held() != (way == "detach"):
            await (town.detach if way == "attach" else town.attach)(worker, volume_id)
        await scene.daemon.idle()

    act = attach if way == "attach" else detach
    await ready()
    total = await count(scene, act)
    async with Pings(scene.guest.address) as pings:
        for at in chosen(total):
            await ready()
            await scene.strike(act, at=at)
            await held()
        _, lost = await pings.lost()
    assert lost == 0
    if await held():
        await town.detach(worker, volume_id)
    await town.client.delete(f"{town.volumes}/volumes/{volume_id}", expect=202)
    await town.gone(f"{town.volumes}/volumes/{volume_id}")
    assert set(processes("qemu-system", worker)) == qemu
    await check_second_start(scene)
    await scene.check_steady()
