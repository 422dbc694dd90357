"""What every `Hypervisor` promises. The real one runs a boot sector that says a word on its serial line and halts."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from minicloud.core.errors import HostFailure
from minicloud.host.disks import Disks
from minicloud.host.fake.disks import FakeDisks
from minicloud.host.fake.hypervisor import FakeHypervisor
from minicloud.host.fake.world import World
from minicloud.host.hypervisor import DiskSpec, DomainEvent, DomainSpec, Hypervisor, NicSpec, Power
from minicloud.host.run import run

MIB = 1024 * 1024
GUEST = (
    bytes.fromhex(
        "31c0 8ed8 fc be167c"  # ds = 0; si = the words at 0x7c16
        "ac 84c0 7406"  # next byte; a zero ends
        "baf803 ee ebf5"  # to the first serial port
        "f4 ebfd"  # halt
    )
    + b"hello from the guest\r\n\0"
)


@dataclass(frozen=True)
class Bench:
    """A hypervisor, disks, what it told, and a way to make taps."""

    kind: str
    hypervisor: Hypervisor
    disks: Disks
    events: asyncio.Queue[DomainEvent]
    folder: Path
    world: World

    async def machine(self, **changes: object) -> DomainSpec:
        """A defined machine with a bootable root disk of 8 MiB."""
        server = str(uuid.uuid4())
        root = self.folder / server / "disk"
        await self.disks.create(root, format="raw", size=8 * MIB)
        with root.open("r+b") as file:
            file.write(GUEST.ljust(510, b"\0") + b"\x55\xaa")
        spec = DomainSpec(
            id=server, name=f"test-{server[:8]}", vcpus=1, memory_mb=32, nics=(),
            disks=(DiskSpec(id=f"{server}-root", path=str(root), format="raw", target="vda", boot_order=1),),
            console_log=str(self.folder / server / "console.log"), serial_socket=str(self.folder / server / "serial"),
        )  # fmt: skip
        spec = replace(spec, **changes)
        await self.hypervisor.define(spec)
        return spec

    async def running(self, **changes: object) -> DomainSpec:
        """A machine that was started."""
        spec = await self.machine(**changes)
        await self.hypervisor.start(spec.id)
        await self.until(spec.id, Power.RUNNING)
        return spec

    async def volume(self, name: str, *, format: str = "qcow2") -> DiskSpec:
        """A blank disk of 4 MiB."""
        path = self.folder / "volumes" / name
        await self.disks.create(path, format=format, size=4 * MIB)
        return DiskSpec(id=name, path=str(path), format=format, target="vdb", serial=name)

    async def tap(self, name: str) -> None:
        """A tap on this machine."""
        if self.kind == "fake":
            self.world.section("taps")[name] = {}
            return
        await run(["ip", "tuntap", "add", "dev", name, "mode", "tap"])

    async def until(self, server_id: str, power: Power) -> None:
        """Wait for the event that tells `power`."""
        async with asyncio.timeout(30):
            while True:
                event = await self.events.get()
                if (event.id, event.power) == (server_id, power):
                    return

    async def power(self, server_id: str) -> Power:
        """What the hypervisor says of a machine now."""
        return (await self.hypervisor.actual())[server_id].power


def drivers(kind: str, folder: Path, world: World) -> tuple[Hypervisor, Disks]:
    """What one daemon would have."""
    if kind == "fake":
        return FakeHypervisor(world), FakeDisks(world)
    from minicloud.host.real.disks import RealDisks
    from minicloud.host.real.libvirt import LibvirtHypervisor

    return LibvirtHypervisor(uri="qemu:///system", cache=folder / "cache", detach_seconds=1), RealDisks()


@pytest.fixture
async def bench(kind: str, folder: Path, world: World) -> AsyncIterator[Bench]:
    """The driver that is asked; machines that a test left are removed."""
    hypervisor, disks = drivers(kind, folder, world)
    events: asyncio.Queue[DomainEvent] = asyncio.Queue()
    hypervisor.on_event(events.put_nowait)
    await hypervisor.open()
    yield Bench(kind, hypervisor, disks, events, folder, world)
    for server in await hypervisor.actual():
        await hypervisor.destroy(server)
        await hypervisor.undefine(server)
    await hypervisor.close()


async def test_a_machine_lives_from_definition_to_oblivion(bench: Bench) -> None:
    spec = await bench.machine()
    assert await bench.power(spec.id) is Power.SHUTOFF
    await bench.hypervisor.start(spec.id)
    await bench.until(spec.id, Power.RUNNING)
    seen = (await bench.hypervisor.actual())[spec.id]
    assert (seen.power, seen.disks, seen.ports) == (Power.RUNNING, {f"{spec.id}-root"}, frozenset())
    await bench.hypervisor.destroy(spec.id)
    await bench.until(spec.id, Power.SHUTOFF)
    await bench.hypervisor.undefine(spec.id)
    assert spec.id not in await bench.hypervisor.actual()


async def test_verbs_that_are_done_already_are_no_errors(bench: Bench) -> None:
    spec = await bench.machine()
    await bench.hypervisor.define(spec)
    await bench.hypervisor.shutdown(spec.id)
    for verb in ("start", "pause", "resume", "destroy", "undefine"):
        for _ in range(2):
            await getattr(bench.hypervisor, verb)(spec.id)
    await bench.hypervisor.destroy(spec.id)


async def test_a_running_machine_is_not_forgotten(bench: Bench) -> None:
    spec = await bench.running()
    with pytest.raises(HostFailure, match="running"):
        await bench.hypervisor.undefine(spec.id)
    assert await bench.power(spec.id) is Power.RUNNING


async def test_pause_and_resume_are_told(bench: Bench) -> None:
    spec = await bench.running()
    await bench.hypervisor.pause(spec.id)
    await bench.until(spec.id, Power.PAUSED)
    assert await bench.power(spec.id) is Power.PAUSED
    await bench.hypervisor.resume(spec.id)
    await bench.until(spec.id, Power.RUNNING)


async def test_a_machine_can_start_paused(bench: Bench) -> None:
    spec = await bench.machine()
    await bench.hypervisor.start(spec.id, paused=True)
    await bench.until(spec.id, Power.PAUSED)


async def test_reset_leaves_the_machine_running(bench: Bench) -> None:
    spec = await bench.running()
    await bench.hypervisor.reset(spec.id)
    assert await bench.power(spec.id) is Power.RUNNING


async def test_an_unknown_machine_is_a_failure(bench: Bench) -> None:
    for verb in ("start", "shutdown", "reset", "pause", "resume"):
        with pytest.raises(HostFailure):
            await getattr(bench.hypervisor, verb)(str(uuid.uuid4()))


async def test_a_machine_without_its_disk_does_not_start(bench: Bench) -> None:
    spec = await bench.machine()
    await bench.disks.remove(Path(spec.disks[0].path))
    with pytest.raises(HostFailure, match="missing") as caught:
        await bench.hypervisor.start(spec.id)
    assert str(bench.folder) not in caught.value.message
    assert await bench.power(spec.id) is Power.SHUTOFF


async def test_two_machines_do_not_write_one_disk(bench: Bench) -> None:
    volume = await bench.volume("shared")
    await bench.hypervisor.attach_disk((await bench.running()).id, volume)
    second = await bench.running()
    with pytest.raises(HostFailure, match="in use elsewhere"):
        await bench.hypervisor.attach_disk(second.id, volume)


async def test_a_definition_made_anew_does_not_touch_the_running_machine(bench: Bench) -> None:
    spec = await bench.running()
    volume = await bench.volume("later")
    await bench.hypervisor.define(replace(spec, disks=(*spec.disks, volume)))
    assert (await bench.hypervisor.actual())[spec.id].disks == {f"{spec.id}-root"}
    await bench.hypervisor.destroy(spec.id)
    assert (await bench.hypervisor.actual())[spec.id].disks == {f"{spec.id}-root", "later"}


async def test_a_disk_joins_a_running_machine_and_its_definition(bench: Bench) -> None:
    spec = await bench.running()
    volume = await bench.volume("data")
    for _ in range(2):
        await bench.hypervisor.attach_disk(spec.id, volume)
    assert "data" in (await bench.hypervisor.actual())[spec.id].disks
    await bench.hypervisor.destroy(spec.id)
    assert "data" in (await bench.hypervisor.actual())[spec.id].disks
    for _ in range(2):
        await bench.hypervisor.detach_disk(spec.id, "data")
    assert (await bench.hypervisor.actual())[spec.id].disks == {f"{spec.id}-root"}


async def test_a_card_joins_and_leaves(bench: Bench) -> None:
    await bench.tap("taptest0")
    nic = NicSpec(port_id=str(uuid.uuid4()), tap="taptest0", mac="fa:16:3e:00:00:01", mtu=1450)
    spec = await bench.running()
    await bench.hypervisor.attach_nic(spec.id, nic)
    assert (await bench.hypervisor.actual())[spec.id].ports == {nic.port_id}
    await bench.hypervisor.destroy(spec.id)
    await bench.hypervisor.start(spec.id)
    assert (await bench.hypervisor.actual())[spec.id].ports == {nic.port_id}
    await bench.hypervisor.destroy(spec.id)
    await bench.hypervisor.detach_nic(spec.id, nic.port_id)
    assert (await bench.hypervisor.actual())[spec.id].ports == frozenset()


async def test_a_machine_without_its_tap_does_not_start(bench: Bench) -> None:
    nic = NicSpec(port_id=str(uuid.uuid4()), tap="tapnowhere", mac="fa:16:3e:00:00:02", mtu=1450)
    spec = await bench.machine(nics=(nic,))
    with pytest.raises(HostFailure):
        await bench.hypervisor.start(spec.id)
    assert await bench.power(spec.id) is Power.SHUTOFF


async def test_a_disk_grows_under_a_running_machine(bench: Bench) -> None:
    spec = await bench.running()
    volume = await bench.volume("grows")
    await bench.hypervisor.attach_disk(spec.id, volume)
    await bench.hypervisor.resize_disk(spec.id, "grows", 12 * MIB)
    assert (await bench.disks.inspect(Path(volume.path), format="qcow2")).virtual_size == 12 * MIB
    with pytest.raises(HostFailure):
        await bench.hypervisor.resize_disk(spec.id, "other", 12 * MIB)


@pytest.mark.parametrize("format", ["raw", "qcow2"])
async def test_a_disk_is_copied_under_a_running_machine(bench: Bench, format: str) -> None:
    spec = await bench.running()
    target = bench.folder / "copies" / "copy"
    await bench.hypervisor.copy_disk(spec.id, f"{spec.id}-root", target, format=format)
    seen = await bench.disks.inspect(target, format=format)
    assert (seen.virtual_size, seen.backing_file) == (8 * MIB, None)
    if format == "raw":
        assert target.read_bytes() == Path(spec.disks[0].path).read_bytes()
    assert target.stat().st_mode & 0o777 == 0o600
    assert await bench.power(spec.id) is Power.RUNNING


async def test_the_console_holds_what_the_guest_wrote(bench: Bench) -> None:
    spec = await bench.machine()
    assert await bench.hypervisor.console_log(spec.id, spec.console_log) == b""
    await bench.hypervisor.start(spec.id)
    async with asyncio.timeout(60):
        while b"guest" not in (log := await bench.hypervisor.console_log(spec.id, spec.console_log)):
            await asyncio.sleep(0.1)
    end = await bench.hypervisor.console_log(spec.id, spec.console_log, tail_bytes=4)
    assert len(end) == 4 and log.endswith(end)


async def test_the_host_tells_what_it_can(bench: Bench) -> None:
    told = bench.hypervisor.capabilities()
    assert told.hypervisor_type == "QEMU"
    assert told.domain_type in ("kvm", "qemu")
    assert told.vcpus > 0 and told.memory_mb > 0 and told.hypervisor_version > 0


async def test_machines_are_told_anew_to_the_next_daemon(bench: Bench) -> None:
    spec = await bench.running()
    following, _ = drivers(bench.kind, bench.folder, bench.world)
    following.on_event(bench.events.put_nowait)
    await following.open()
    await bench.until(spec.id, Power.RUNNING)
    await following.close()
