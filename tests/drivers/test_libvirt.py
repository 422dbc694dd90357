"""What only the libvirt driver can show: a line that breaks and comes back, and guests that listen.

The line goes through a proxy that the test can cut, so libvirtd itself is left in peace.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from minicloud.core.errors import HostFailure, Unavailable
from minicloud.host.hypervisor import DiskSpec, DomainEvent, DomainSpec, NicSpec, Power
from minicloud.host.run import run

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(os.environ.get("MINICLOUD_SANDBOX") != "1", reason="changes the machine: only in a sandbox"),
]
SOCKET = "/run/libvirt/libvirt-sock"
SERVER = "3f3c2a10-0c56-4a43-9c0c-4d0a6a3f1c77"


class Line:
    """A wire to libvirtd that can be cut and mended."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()

    async def mend(self) -> None:
        """Take calls (again)."""
        self._server = await asyncio.start_unix_server(self._carry, self.path)

    async def cut(self) -> None:
        """Break every call and take no more."""
        if self._server is not None:
            self._server.close()
        self.path.unlink(missing_ok=True)
        for end in tuple(self._ends):
            end.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_unix_connection(SOCKET)
        self._ends |= {writer, far_writer}
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))
        self._ends -= {writer, far_writer}


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError, OSError):
        while piece := await source.read(65536):
            sink.write(piece)
            await sink.drain()
    sink.close()


@pytest.fixture
async def line(folder: Path) -> AsyncIterator[Line]:
    """A line that is whole at first."""
    made = Line(folder / "line")
    await made.mend()
    yield made
    await made.cut()


def machine(folder: Path) -> DomainSpec:
    """A machine without disks."""
    return DomainSpec(
        id=SERVER, name="line-test", vcpus=1, memory_mb=32, disks=(), nics=(),
        console_log=str(folder / "console.log"), serial_socket=str(folder / "serial"),
    )  # fmt: skip


async def test_a_broken_line_comes_back_by_itself_and_all_is_told_anew(line: Line, folder: Path) -> None:
    from minicloud.host.real.libvirt import LibvirtHypervisor

    uri = f"qemu+unix:///system?socket={line.path}"
    hypervisor = LibvirtHypervisor(uri=uri, cache=folder / "cache")
    events: asyncio.Queue[DomainEvent] = asyncio.Queue()
    hypervisor.on_event(events.put_nowait)
    await hypervisor.open()
    await hypervisor.define(machine(folder))
    try:
        await line.cut()
        with pytest.raises(Unavailable):
            for _ in range(100):
                await hypervisor.actual()
        await line.mend()
        async with asyncio.timeout(30):
            event = await events.get()
        assert event == DomainEvent(SERVER, Power.SHUTOFF, "found")
        assert SERVER in await hypervisor.actual()
    finally:
        await hypervisor.undefine(SERVER)
        await hypervisor.close()


async def test_a_daemon_starts_without_libvirtd_and_finds_it_later(line: Line, folder: Path) -> None:
    from minicloud.host.real.libvirt import LibvirtHypervisor

    await line.cut()
    hypervisor = LibvirtHypervisor(uri=f"qemu+unix:///system?socket={line.path}", cache=folder / "cache")
    await hypervisor.open()
    with pytest.raises(Unavailable):
        hypervisor.capabilities()
    with pytest.raises(Unavailable):
        await hypervisor.actual()
    await line.mend()
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(Unavailable):
                hypervisor.capabilities()
                break
            await asyncio.sleep(0.1)
    await hypervisor.close()


async def test_a_cancelled_call_ends_before_its_caller(folder: Path) -> None:
    from minicloud.host.real.libvirt import LibvirtHypervisor

    hypervisor = LibvirtHypervisor(uri="qemu:///system", cache=folder / "cache")
    await hypervisor.open()
    await hypervisor.define(machine(folder))
    start = asyncio.create_task(hypervisor.start(SERVER))
    await asyncio.sleep(0.05)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert (await hypervisor.actual())[SERVER].power is Power.RUNNING
    await hypervisor.destroy(SERVER)
    await hypervisor.undefine(SERVER)
    await hypervisor.close()


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_guest_that_listens_lets_go_of_devices_and_obeys_the_button(folder: Path) -> None:
    from minicloud.guest import tiny
    from minicloud.host.real.disks import RealDisks
    from minicloud.host.real.libvirt import LibvirtHypervisor

    base = await tiny(Path("/var/cache/minicloud"), progress=lambda _: None)
    disks, hypervisor = RealDisks(), LibvirtHypervisor(uri="qemu:///system", cache=folder / "cache")
    size = (await disks.inspect(base, format="qcow2")).virtual_size
    await disks.overlay(folder / "root", base=base, base_format="qcow2", size=size)
    await disks.create(folder / "data", format="qcow2", size=1024 * 1024)
    await run(["ip", "tuntap", "add", "dev", "tapguest", "mode", "tap"])
    root = DiskSpec(id="root", path=str(folder / "root"), format="qcow2", target="vda", boot_order=1)
    data = DiskSpec(id="data", path=str(folder / "data"), format="qcow2", target="vdb", serial="data")
    card = NicSpec(port_id="card", tap="tapguest", mac="fa:16:3e:00:00:09", mtu=1500)
    spec = replace(machine(folder), memory_mb=128, disks=(root,))
    events: asyncio.Queue[DomainEvent] = asyncio.Queue()
    hypervisor.on_event(events.put_nowait)
    await hypervisor.open()
    await hypervisor.define(spec)
    try:
        await hypervisor.start(SERVER)
        await hypervisor.attach_disk(SERVER, data)
        await hypervisor.pause(SERVER)
        assert (await hypervisor.actual())[SERVER].disks == {"root", "data"}
        await hypervisor.resume(SERVER)
        async with asyncio.timeout(120):
            while b"login:" not in await hypervisor.console_log(SERVER, spec.console_log):
                await asyncio.sleep(0.5)
        await hypervisor.attach_nic(SERVER, card)
        assert (await hypervisor.actual())[SERVER].ports == {"card"}
        await hypervisor.detach_disk(SERVER, "data")
        await hypervisor.detach_nic(SERVER, "card")
        seen = (await hypervisor.actual())[SERVER]
        assert (seen.disks, seen.ports) == ({"root"}, frozenset())
        await hypervisor.copy_disk(SERVER, "root", folder / "copy", format="qcow2")
        copied = await disks.inspect(folder / "copy", format="qcow2")
        assert (copied.virtual_size, copied.backing_file) == (size, None)
        await hypervisor.shutdown(SERVER)
        async with asyncio.timeout(60):
            while (event := await events.get()).power is not Power.SHUTOFF:
                pass
        assert event.reason == "shutdown"
    finally:
        await hypervisor.destroy(SERVER)
        await hypervisor.undefine(SERVER)
        await hypervisor.close()


async def test_a_guest_that_does_not_let_go_is_a_failure_and_keeps_its_disk(folder: Path) -> None:
    from minicloud.host.real.disks import RealDisks
    from minicloud.host.real.libvirt import LibvirtHypervisor

    hypervisor = LibvirtHypervisor(uri="qemu:///system", cache=folder / "cache", detach_seconds=1)
    await RealDisks().create(folder / "data", format="qcow2", size=1024 * 1024)
    data = DiskSpec(id="data", path=str(folder / "data"), format="qcow2", target="vda")
    await hypervisor.open()
    await hypervisor.define(replace(machine(folder), disks=(data,)))
    try:
        await hypervisor.start(SERVER, paused=True)
        with pytest.raises(HostFailure, match="did not let go"):
            await hypervisor.detach_disk(SERVER, "data")
        assert (await hypervisor.actual())[SERVER].disks == {"data"}
        await hypervisor.destroy(SERVER)
        assert (await hypervisor.actual())[SERVER].disks == {"data"}
    finally:
        await hypervisor.destroy(SERVER)
        await hypervisor.undefine(SERVER)
        await hypervisor.close()
