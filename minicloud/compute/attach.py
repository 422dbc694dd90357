"""Stories of joining and parting: volumes and network cards, of machines that run or are off.

Several may be asked for one server at once (Terraform does): they take turns instead of refusing each other.
"""

from __future__ import annotations

import contextlib
import dataclasses
import uuid
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

from minicloud.compute import actions, domain, launch, states
from minicloud.compute.block_devices import free_device
from minicloud.compute.states import Task
from minicloud.compute.tables import BLOCK_DEVICES, SERVERS, BlockDevice, Server
from minicloud.core.context import Context
from minicloud.core.errors import Conflict, Invalid, MinicloudError, NotFound
from minicloud.core.operations import Operation, insist
from minicloud.core.store import Db
from minicloud.host.hypervisor import Power

if TYPE_CHECKING:
    from minicloud.compute import Compute
    from minicloud.network import NicRequest, PortInfo

R = TypeVar("R")
TURNS = 64
"""How often an attach waits for another one of the same server before it gives up."""


async def _in_turn(compute: Compute, server_id: str, admit: Callable[[Db], R]) -> R:
    """Run an accepting transaction as soon as no other joining or parting is under way with the server."""
    subject = f"server/{server_id}"
    for _ in range(TURNS):
        try:
            return await compute.store.write(admit)
        except Conflict:
            live = compute.store.read(compute.operations.live_in, subject)
            if not live or not all(one.kind in KINDS for one in live):
                raise
            await compute.operations.settled(subject)
    return await compute.store.write(admit)


# --- volumes ---------------------------------------------------------------------------------------------------------


async def attach_volume(
    compute: Compute,
    ctx: Context,
    server_id: str,
    volume_id: str,
    *,
    device: str | None = None,
    delete_on_termination: bool = False,
    tag: str | None = None,
) -> BlockDevice:
    """Give a volume to a server; returns when the machine has it.

    Raises:
        NotFound: no such server or volume. Invalid: the volume is in use. Conflict: the server's state forbids it.
    """
    server = compute.server(ctx, server_id)
    volume = compute.volume.visible(ctx, volume_id)
    shared = getattr(volume, "multiattach", False)
    if volume.status != "available" and not (shared and volume.status == "in-use"):
        raise Invalid(f"Invalid volume: volume {volume_id} status must be available or downloading to reserve, but the "
                      f"current status is {volume.status}.")  # fmt: skip

    def admit(db: Db) -> BlockDevice:
        server = compute.visible_in(db, ctx, server_id)
        states.require(server, "attach_volume", ctx)
        taken = {one.device for one in BLOCK_DEVICES.where(db, "server_id = ?", (server_id,))}
        if BLOCK_DEVICES.first(db, "server_id = ? AND volume_id = ?", (server_id, volume_id)):
            raise Invalid(f"Invalid volume: volume {volume_id} is already attached to instances: {server_id}.")
        if device is not None and device in taken:
            raise Conflict(f"The supplied device path ({device}) is in use.")
        name = device if device is not None and device.startswith("/dev/vd") else free_device(taken)
        row = BlockDevice(
            id=str(uuid.uuid4()), server_id=server_id, source="volume", source_id=volume_id, destination="volume",
            volume_id=volume_id, device=name, bus="virtio", boot_index=None, size_gb=volume.size,
            delete_on_termination=delete_on_termination, tag=tag, volume_type=None, attachment_id=str(uuid.uuid4()),
            volume_file=None, created_at=compute.now(),
        )  # fmt: skip
        BLOCK_DEVICES.insert(db, row)
        actions.begin_in(db, ctx, server, "attach_volume", compute.now())
        compute.operations.enlist_in(db, ctx, "server.attach_volume", server.subject, device=row.id)
        return row

    row = await _in_turn(compute, server_id, admit)
    await compute.operations.settled(server.subject)
    made = compute.store.read(BLOCK_DEVICES.get, row.id)
    if made is None:
        raise Conflict(f"Cannot attach volume {volume_id} to instance {server_id}: {_reason(compute, ctx, server_id)}")
    return made


async def _attach_volume(compute: Compute, op: Operation) -> None:
    server = compute.row_of(op.subject)
    device = compute.store.read(BLOCK_DEVICES.need, op.arguments["device"])
    await op.on_failure(compute.volume.release, device.volume_id, server.id)
    device = await launch.connect(compute, op.ctx, server.id, device)
    await op.on_failure(compute.unplug_disk, server.id, domain.disk_id(device))
    if await compute.power_of(server.id) is not None:
        await compute.hypervisor.attach_disk(server.id, domain.disk_of(device, compute.folder(server.id)))
    await compute.volume.attached(device.volume_id or "", server.id)
    await compute.store.write(_done, compute, op)


async def detach_volume(compute: Compute, ctx: Context, server_id: str, volume_id: str) -> None:
    """Take a volume from a server; goes on after the answer.

    Raises:
        NotFound: the server does not have it. Invalid: the server boots from it. Conflict: its state forbids it.
    """

    def admit(db: Db) -> None:
        server = compute.visible_in(db, ctx, server_id)
        device = device_in(db, server_id, volume_id)
        states.require(server, "detach_volume", ctx)
        if device.boot_index == 0:
            raise Invalid("Cannot detach a root device volume.")
        actions.begin_in(db, ctx, server, "detach_volume", compute.now())
        compute.operations.enlist_in(db, ctx, "server.detach_volume", server.subject, device=device.id)

    await _in_turn(compute, server_id, admit)


async def _detach_volume(compute: Compute, op: Operation) -> None:
    server = compute.row_of(op.subject)
    device = compute.store.read(BLOCK_DEVICES.get, op.arguments["device"])
    if device is None or device.volume_id is None:  # the crash came after the last step
        return
    await insist(compute.unplug_disk, server.id, domain.disk_id(device))
    await insist(compute.volume.release, device.volume_id, server.id)

    def forget(db: Db) -> None:
        BLOCK_DEVICES.delete(db, device.id)
        _done(db, compute, op)

    await compute.store.write(forget)


def device_in(db: Db, server_id: str, volume_id: str) -> BlockDevice:
    """A volume that a server has."""
    found = BLOCK_DEVICES.first(db, "server_id = ? AND volume_id = ?", (server_id, volume_id))
    if found is None:
        raise NotFound(f"Instance {server_id} is not attached to volume {volume_id}.")
    return found


async def keep_volume(
    compute: Compute, ctx: Context, server_id: str, volume_id: str, *, delete_on_termination: bool
) -> None:
    """Say whether a volume goes with its server."""

    def change(db: Db) -> None:
        compute.visible_in(db, ctx, server_id)
        BLOCK_DEVICES.change(db, device_in(db, server_id, volume_id).id, delete_on_termination=delete_on_termination)

    await compute.store.write(change)


# --- network cards ---------------------------------------------------------------------------------------------------


async def attach_interface(compute: Compute, ctx: Context, server_id: str, request: NicRequest | None) -> PortInfo:
    """Give a server one more card: on a network, with a port, or on the project's only network; returns when it has it.

    Raises:
        NotFound: no such server, network or port. Conflict: the port is in use, or the server's state forbids it.
    """
    server = compute.server(ctx, server_id)
    states.require(server, "attach_interface", ctx)
    nics = compute.network.choose_nics(ctx, None if request is None else [request], security_groups=())
    if not nics:
        raise Invalid("Cannot attach an interface: the project has no network; name one.")
    nic = dataclasses.asdict(nics[0])

    def admit(db: Db) -> None:
        server = compute.visible_in(db, ctx, server_id)
        states.require(server, "attach_interface", ctx)
        actions.begin_in(db, ctx, server, "attach_interface", compute.now())
        compute.operations.enlist_in(db, ctx, "server.attach_interface", server.subject, nic=nic)

    await _in_turn(compute, server_id, admit)
    await compute.operations.settled(server.subject)
    for port in compute.network.ports_of(server_id):
        if port.id == nic["port_id"]:
            return port
    raise Conflict(f"Cannot attach an interface to instance {server_id}: {_reason(compute, ctx, server_id)}")


async def _attach_interface(compute: Compute, op: Operation) -> None:
    from minicloud.compute import aggregates, nic_of

    server, nic = compute.row_of(op.subject), op.arguments["nic"]
    await op.on_failure(compute.network.unplug, nic["port_id"], server.id)
    port = await compute.network.plug(
        op.ctx, nic_of(nic), server.id, hostname=server.hostname, availability_zone=aggregates.zone_of_host(compute)
    )
    await op.on_failure(compute.unplug_nic, server.id, nic["port_id"])
    power = await compute.power_of(server.id)
    if power is not None:
        await compute.hypervisor.attach_nic(server.id, domain.nic_of(port, server))
    if power in (Power.RUNNING, Power.PAUSED):
        await compute.network.activate(server.id)

    def keep(db: Db) -> None:
        row = SERVERS.need(db, server.id)
        SERVERS.change(db, server.id, nics=[*row.nics, nic], updated_at=compute.now())
        _done(db, compute, op)

    await compute.store.write(keep)


async def detach_interface(compute: Compute, ctx: Context, server_id: str, port_id: str) -> None:
    """Take a card away; its port goes if it was made for this server. Goes on after the answer.

    Raises:
        NotFound: the server has no such port. Conflict: its state forbids it.
    """
    if all(port.id != port_id for port in compute.network.ports_of(compute.server(ctx, server_id).id)):
        raise NotFound(f"Port {port_id} could not be found on instance {server_id}.")

    def admit(db: Db) -> None:
        server = compute.visible_in(db, ctx, server_id)
        states.require(server, "detach_interface", ctx)
        actions.begin_in(db, ctx, server, "detach_interface", compute.now())
        compute.operations.enlist_in(db, ctx, "server.detach_interface", server.subject, port_id=port_id)

    await _in_turn(compute, server_id, admit)


async def _detach_interface(compute: Compute, op: Operation) -> None:
    server, port_id = compute.row_of(op.subject), op.arguments["port_id"]
    await insist(compute.unplug_nic, server.id, port_id)
    await insist(compute.network.unplug, port_id, server.id)

    def forget(db: Db) -> None:
        row = SERVERS.need(db, server.id)
        kept = [nic for nic in row.nics if nic["port_id"] != port_id]
        SERVERS.change(db, server.id, nics=kept, updated_at=compute.now())
        _done(db, compute, op)

    await compute.store.write(forget)


async def port_gone(compute: Compute, port_id: str, server_id: str) -> None:
    """A port was deleted through the network API: its machine loses the card, as soon as nothing else is joined or parted.

    A machine that is busy otherwise, or in a state that forbids it, loses the card with its next boot."""

    def admit(db: Db) -> None:
        server = SERVERS.get(db, server_id)
        if server is None or server.deleted or all(nic["port_id"] != port_id for nic in server.nics):
            return
        ctx = Context.internal("port deleted")
        states.require(server, "detach_interface", ctx)
        actions.begin_in(db, ctx, server, "detach_interface", compute.now())
        compute.operations.enlist_in(db, ctx, "server.detach_interface", server.subject, port_id=port_id)

    with contextlib.suppress(Conflict):
        await _in_turn(compute, server_id, admit)


# --- both ------------------------------------------------------------------------------------------------------------


def _done(db: Db, compute: Compute, op: Operation) -> None:
    actions.finish_in(
        db, op.ctx, op.subject.removeprefix("server/"), op.kind.replace("server.", "compute_"), compute.now()
    )


def failed(compute: Compute, db: Db, op: Operation, error: MinicloudError) -> None:
    """The server stays as it was before, without the disk that it did not get; its history says why."""
    if op.kind == "server.attach_volume":
        BLOCK_DEVICES.delete(db, op.arguments["device"])
    server: Server | None = SERVERS.get(db, op.subject.removeprefix("server/"))
    if server is not None:
        event = op.kind.replace("server.", "compute_")
        actions.finish_in(db, op.ctx, server.id, event, compute.now(), error=error.message)
        if server.task_state not in (None, Task.DELETING):
            SERVERS.change(db, server.id, task_state=None)


def _reason(compute: Compute, ctx: Context, server_id: str) -> str:
    """What the history says of the request that just failed."""
    events: list[dict[str, Any]] = actions.show(compute, server_id, ctx.request_id).events
    return str(events[-1]["details"]) if events else "it was overtaken."


Story = Callable[["Compute", Operation], Awaitable[None]]
STORIES: dict[str, Story] = {"server.attach_volume": _attach_volume, "server.attach_interface": _attach_interface}
REMOVALS: dict[str, Story] = {"server.detach_volume": _detach_volume, "server.detach_interface": _detach_interface}
KINDS = frozenset({*STORIES, *REMOVALS})
