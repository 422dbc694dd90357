"""What only the fake hypervisor promises: memory over daemons, guests that tests can lead."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from minicloud.core.errors import HostFailure, Unavailable
from minicloud.host.fake import World, fake_host
from minicloud.host.fake.hypervisor import FakeHypervisor
from minicloud.host.hypervisor import DomainEvent, DomainSpec, Power

SERVER = "0d5ab1c2-3a59-4d0a-8a4f-6b0a0b0a0b0a"


def machine(folder: Path) -> DomainSpec:
    """A machine without disks and cards."""
    return DomainSpec(
        id=SERVER, name="instance-1", vcpus=1, memory_mb=64, disks=(), nics=(),
        console_log=str(folder / "console.log"), serial_socket=str(folder / "serial"),
    )  # fmt: skip


async def started(folder: Path) -> tuple[FakeHypervisor, World, asyncio.Queue[DomainEvent]]:
    """A running machine, and its events from now on."""
    world = World()
    hypervisor = FakeHypervisor(world)
    events: asyncio.Queue[DomainEvent] = asyncio.Queue()
    hypervisor.on_event(events.put_nowait)
    await hypervisor.open()
    await hypervisor.define(machine(folder))
    await hypervisor.start(SERVER)
    assert (await events.get()).power is Power.RUNNING
    return hypervisor, world, events


async def test_machines_outlive_the_daemon(folder: Path) -> None:
    host, _ = fake_host(folder / "fake")
    await host.open()
    await host.hypervisor.define(machine(folder))
    await host.hypervisor.start(SERVER)
    await host.close()
    again, _ = fake_host(folder / "fake")
    await again.open()
    assert (await again.hypervisor.actual())[SERVER].power is Power.RUNNING
    await again.close()


async def test_a_guest_that_ignores_the_button_goes_on(folder: Path) -> None:
    hypervisor, world, _ = await started(folder)
    world.fail("guest.shutdown")
    await hypervisor.shutdown(SERVER)
    await asyncio.sleep(0)
    assert (await hypervisor.actual())[SERVER].power is Power.RUNNING


async def test_a_guest_that_ends_by_itself_is_told(folder: Path) -> None:
    hypervisor, _, events = await started(folder)
    await hypervisor.power_off_inside(SERVER)
    assert await events.get() == DomainEvent(SERVER, Power.SHUTOFF, "shutdown")
    await hypervisor.start(SERVER)
    await events.get()
    await hypervisor.crash_inside(SERVER)
    assert await events.get() == DomainEvent(SERVER, Power.CRASHED, "crashed")


async def test_while_the_connection_is_lost_nothing_works_and_then_all_is_told_anew(folder: Path) -> None:
    hypervisor, _, events = await started(folder)
    hypervisor.lose()
    with pytest.raises(Unavailable):
        await hypervisor.actual()
    hypervisor.find()
    assert (await events.get()).id == SERVER


async def test_a_failure_on_order_has_no_effect(folder: Path) -> None:
    hypervisor, world, _ = await started(folder)
    world.fail("hypervisor.destroy")
    with pytest.raises(HostFailure):
        await hypervisor.destroy(SERVER)
    assert (await hypervisor.actual())[SERVER].power is Power.RUNNING
