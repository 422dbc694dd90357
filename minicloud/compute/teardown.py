"""The story of how a server ends. Every step may be done again: a killed deletion is run from its start at the next boot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicloud.compute import actions
from minicloud.compute.states import Task, Vm, require_unlocked
from minicloud.compute.tables import BLOCK_DEVICES, INSTANCE_ACTIONS, SERVERS
from minicloud.core.context import Context
from minicloud.core.errors import MinicloudError
from minicloud.core.operations import Operation, insist
from minicloud.core.store import Db

if TYPE_CHECKING:
    from minicloud.compute import Compute

REMEMBERED = 1000
"""Deleted servers whose rows are kept for `changes-since` and administrators."""


async def accept(compute: Compute, ctx: Context, server_id: str) -> None:
    """Begin to delete; whatever else is under way with the server is overtaken. Deleting twice is no error.

    Raises:
        NotFound: no such server. Conflict: it is locked.
    """

    def admit(db: Db) -> None:
        server = compute.visible_in(db, ctx, server_id)
        require_unlocked(server, ctx)
        if any(one.kind == "server.delete" for one in compute.operations.live_in(db, server.subject)):
            return
        SERVERS.change(db, server_id, task_state=Task.DELETING, updated_at=compute.now())
        actions.begin_in(db, ctx, server, "delete", compute.now())
        compute.operations.enlist_in(db, ctx, "server.delete", server.subject)

    await compute.store.write(admit)


async def run(compute: Compute, op: Operation) -> None:
    """Machine, ports, volumes, files, claim, row: gone, in this order."""
    server = compute.row_of(op.subject)
    if server.placed:  # one that never got to this host, or was taken back, can go without the hypervisor
        await insist(compute.remove_domain, server.id)
    for port_id in {nic["port_id"] for nic in server.nics} | {port.id for port in compute.network.ports_of(server.id)}:
        await insist(compute.network.unplug, port_id, server.id)
    for device in compute.devices_of(server.id):
        if device.volume_id is None:
            continue
        if device.delete_on_termination:
            await insist(compute.volume.discard, device.volume_id, server.id)
        else:
            await insist(compute.volume.release, device.volume_id, server.id)
    for attachment in compute.volume.attached_to(
        server.id
    ):  # attached by somebody who spoke to the volume service alone
        await insist(compute.volume.release, attachment.volume_id, server.id)
    await insist(compute.remove_files, server.id)
    await insist(compute.placement.release, server.id)
    await compute.store.write(_bury, compute, op)


def _bury(db: Db, compute: Compute, op: Operation) -> None:
    server_id, now = op.subject.removeprefix("server/"), compute.now()
    BLOCK_DEVICES.delete_where(db, "server_id = ?", (server_id,))
    SERVERS.change(
        db, server_id, deleted=True, vm_state=Vm.DELETED, task_state=None, power_state=0, terminated_at=now,
        updated_at=now, placed=False, nics=[], user_data=None, admin_password=None, server_group_id=None,
    )  # fmt: skip
    actions.finish_in(db, op.ctx, server_id, "compute_terminate_instance", now)
    old = SERVERS.where(db, "deleted = 1", order="terminated_at DESC", limit=-1)[REMEMBERED:] if _many(db) else []
    for row in old:
        INSTANCE_ACTIONS.delete_where(db, "server_id = ?", (row.id,))
        SERVERS.delete(db, row.id)


def _many(db: Db) -> bool:
    return SERVERS.count(db, "deleted = 1") > REMEMBERED


def failed(compute: Compute, db: Db, op: Operation, error: MinicloudError) -> None:
    """It could not be deleted: it shows as ERROR with the reason, and may be deleted again."""
    server_id, now = op.subject.removeprefix("server/"), compute.now()
    server = SERVERS.get(db, server_id)
    if server is None or server.deleted:
        return
    SERVERS.change(
        db, server_id, vm_state=Vm.ERROR, task_state=None, updated_at=now,
        fault={"code": 500, "message": error.message[:255], "details": error.message, "created": now},
    )  # fmt: skip
    actions.finish_in(db, op.ctx, server_id, "compute_terminate_instance", now, error=error.message)
