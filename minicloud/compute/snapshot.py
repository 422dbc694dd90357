"""The story of an image made of a server (`createImage`): its disk is copied flat and handed to the image service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from minicloud.compute import actions, domain, states
from minicloud.compute.states import RUNNING, Task
from minicloud.compute.tables import SERVERS
from minicloud.core.context import Context
from minicloud.core.errors import Conflict, MinicloudError, NotImplementedHere
from minicloud.core.operations import Operation
from minicloud.core.store import Db

if TYPE_CHECKING:
    from minicloud.compute import Compute

IMAGE_FORMAT = "qcow2"


async def accept(compute: Compute, ctx: Context, server_id: str, *, name: str, properties: dict[str, str]) -> str:
    """Begin an image of a server's root disk; the image's id.

    Raises:
        NotFound, Conflict: as every action. NotImplementedHere: the server boots from a volume.
    """
    server = compute.server(ctx, server_id)
    states.require(server, "createImage", ctx)
    root = compute.devices_of(server_id)[0]
    if root.volume_id is not None:
        raise NotImplementedHere(
            "Cannot make an image of a server that boots from a volume: snapshot the volume instead."
        )
    inherited = {key: str(value) for key, value in server.image.get("properties", {}).items() if value is not None}
    image = await compute.image.reserve(
        ctx,
        name=name,
        properties={
            **inherited, "image_type": "snapshot", "instance_uuid": server.id, "user_id": server.user_id,
            "base_image_ref": server.image_id or "", "image_location": "snapshot", "image_state": "available",
            **properties,  # the caller's words count most, as Nova has it
        },
        disk_format=IMAGE_FORMAT,
        min_disk=root.size_gb or 0,
        min_ram=int(server.image.get("min_ram") or 0),
    )  # fmt: skip

    def admit(db: Db) -> None:
        server = compute.visible_in(db, ctx, server_id)
        states.require(server, "createImage", ctx)
        SERVERS.change(db, server_id, task_state=Task.IMAGE_SNAPSHOT, updated_at=compute.now())
        actions.begin_in(db, ctx, server, "createImage", compute.now())
        compute.operations.enlist_in(db, ctx, "server.snapshot", server.subject, image_id=image.id)

    try:
        await compute.store.write(admit)
    except Conflict:
        await compute.image.abandon(image.id)
        raise
    return image.id


async def run(compute: Compute, op: Operation) -> None:
    """Copy the disk as it is at this moment, then have the image service take it in."""
    server, image_id = compute.row_of(op.subject), op.arguments["image_id"]
    root = compute.devices_of(server.id)[0]
    draft = draft_path(compute, server.id, image_id)
    await op.on_failure(compute.discard_snapshot, server.id, image_id)
    if server.vm_state in RUNNING:
        await compute.hypervisor.copy_disk(server.id, domain.disk_id(root), draft, format=IMAGE_FORMAT)
    else:
        path = domain.local_path(compute.folder(server.id), root)
        await compute.disks.convert(path, draft, source_format="qcow2", target_format=IMAGE_FORMAT)
    op.checkpoint()
    await compute.image.take_in(op.ctx, image_id=image_id, path=draft, format=IMAGE_FORMAT)
    await compute.disks.remove(draft)
    await compute.store.write(_settle, compute, op)


def draft_path(compute: Compute, server_id: str, image_id: str) -> Path:
    """Where the copy lies until the image service has it."""
    return compute.folder(server_id) / f"snapshot-{image_id}.{IMAGE_FORMAT}"


async def discard(compute: Compute, server_id: str, image_id: str) -> None:
    """Neither draft nor image stay; shrugs at nothing."""
    await compute.disks.remove(draft_path(compute, server_id, image_id))
    await compute.image.abandon(image_id)


def _settle(db: Db, compute: Compute, op: Operation) -> None:
    server_id, now = op.subject.removeprefix("server/"), compute.now()
    if SERVERS.need(db, server_id).task_state != Task.DELETING:
        SERVERS.change(db, server_id, task_state=None, updated_at=now)
    actions.finish_in(db, op.ctx, server_id, "compute_snapshot_instance", now)


def failed(compute: Compute, db: Db, op: Operation, error: MinicloudError) -> None:
    """The server is as before; its history says why there is no image."""
    server_id, now = op.subject.removeprefix("server/"), compute.now()
    server = SERVERS.get(db, server_id)
    if server is None:
        return
    if server.task_state != Task.DELETING:
        SERVERS.change(db, server_id, task_state=None, updated_at=now)
    actions.finish_in(db, op.ctx, server_id, "compute_snapshot_instance", now, error=error.message)
