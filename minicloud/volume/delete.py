"""THE STORY: how a volume goes. Every step may be done twice, for after a crash it is done from its start again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicloud.core.context import Context
from minicloud.core.errors import Invalid, MinicloudError
from minicloud.core.operations import Operation
from minicloud.core.store import Db
from minicloud.volume import messages, volumes
from minicloud.volume.tables import ATTACHMENTS, SNAPSHOTS, TRANSFERS, VOLUMES, VolumeRow

if TYPE_CHECKING:
    from minicloud.volume import Volume

DELETABLE = ("available", "error", "error_extending", "error_deleting", "error_restoring", "error_managing")


async def accept(volume: Volume, ctx: Context, volume_id: str, *, force: bool = False, cascade: bool = False) -> None:
    """Begin to delete a volume; `force` whatever its status (an admin's right, checked by the route), `cascade` with its
    snapshots.

    Raises:
        NotFound: no such volume for the caller.
        Invalid: it is in use, busy, or has snapshots (Cinder's 400).
    """
    row = volumes.visible(volume, ctx, volume_id)

    def begin(db: Db) -> None:
        now = VOLUMES.need(db, row.id)
        if any(one.kind == "volume.delete" for one in volume.operations.live_in(db, row.subject)):
            return
        if not force and now.status not in DELETABLE:
            raise Invalid(
                f"Cannot delete volume {row.id}: its status is {now.status}, it must be one of {', '.join(DELETABLE)}."
            )
        if ATTACHMENTS.count(db, "volume_id = ? AND status IN ('attached', 'detaching')", (row.id,)):
            raise Invalid(f"Cannot delete volume {row.id}: a server has it; detach it first.")
        if not cascade and SNAPSHOTS.count(db, "volume_id = ?", (row.id,)):
            raise Invalid(f"Cannot delete volume {row.id}: it has snapshots; delete them first, or give cascade.")
        _require_free_snapshots(volume, db, row)
        volumes.require_quiet_in(db, row.id, "delete")
        VOLUMES.change(db, row.id, status="deleting", updated_at=volume.now())
        for snapshot in SNAPSHOTS.where(db, "volume_id = ?", (row.id,)):
            SNAPSHOTS.change(db, snapshot.id, status="deleting", updated_at=volume.now())
        volume.operations.enlist_in(db, ctx, "volume.delete", row.subject)

    await volume.store.write(begin)


def _require_free_snapshots(volume: Volume, db: Db, row: VolumeRow) -> None:
    """Snapshots go with their volume only if nothing is being done with them."""
    for snapshot in SNAPSHOTS.where(db, "volume_id = ?", (row.id,)):
        copied = VOLUMES.count(db, "snapshot_id = ? AND status = 'creating'", (snapshot.id,))
        if copied or volume.operations.live_in(db, snapshot.subject):
            raise Invalid(f"Cannot delete volume {row.id}: its snapshot {snapshot.id} is in use now; try again later.")


async def run(volume: Volume, op: Operation) -> None:
    """Remove files, then rows."""
    row = volume.store.read(VOLUMES.get, op.subject.removeprefix("volume/"))
    if row is None:
        return
    snapshots = volume.store.read(SNAPSHOTS.where, "volume_id = ?", (row.id,))
    for snapshot in snapshots:
        await volume.host.disks.remove(volume.snapshot_folder / f"{snapshot.id}.{snapshot.format}")
    await volume.host.disks.remove(volume.path(row))

    def forget(db: Db) -> None:
        SNAPSHOTS.delete_where(db, "volume_id = ?", (row.id,))
        ATTACHMENTS.delete_where(db, "volume_id = ?", (row.id,))
        TRANSFERS.delete_where(db, "volume_id = ?", (row.id,))
        VOLUMES.delete(db, row.id)

    await volume.store.write(forget)


def failed(volume: Volume, db: Db, op: Operation, error: MinicloudError) -> None:
    """A volume that could not be deleted says so."""
    row = VOLUMES.get(db, op.subject.removeprefix("volume/"))
    if row is not None:
        VOLUMES.change(db, row.id, status="error_deleting", updated_at=volume.now())
        for snapshot in SNAPSHOTS.where(db, "volume_id = ? AND status = 'deleting'", (row.id,)):
            SNAPSHOTS.change(db, snapshot.id, status="error_deleting", updated_at=volume.now())
        messages.tell_in(db, op.ctx, resource_type="VOLUME", resource_id=row.id, text=error.message)


async def discard(volume: Volume, volume_id: str) -> None:
    """Delete a volume that a server brought with it, unless somebody else holds it or it has snapshots, which are worth
    more than tidiness; shrugs at nothing."""

    def begin(db: Db) -> None:
        row = VOLUMES.get(db, volume_id)
        if row is None or ATTACHMENTS.count(db, "volume_id = ?", (volume_id,)):
            return
        if any(one.kind == "volume.delete" for one in volume.operations.live_in(db, row.subject)):
            return
        if SNAPSHOTS.count(db, "volume_id = ?", (volume_id,)):
            return
        ctx = Context.internal("delete on termination", project_id=row.project_id)
        VOLUMES.change(db, volume_id, status="deleting", updated_at=volume.now())
        volume.operations.enlist_in(db, ctx, "volume.delete", row.subject)

    await volume.store.write(begin)
