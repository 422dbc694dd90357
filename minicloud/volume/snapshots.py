"""Snapshots: what a volume held at a moment, as a file of its own that needs nothing else.

A reflink where the file system can; a volume in use is copied by the hypervisor while its machine goes on.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minicloud.core.context import Context
from minicloud.core.errors import Conflict, Invalid, MinicloudError, NotFound
from minicloud.core.operations import Operation
from minicloud.core.store import Db
from minicloud.volume import contents, messages, quotas, volumes
from minicloud.volume.tables import SNAPSHOTS, VOLUME_TYPES, VOLUMES, SnapshotRow

if TYPE_CHECKING:
    from minicloud.volume import Volume

TOLD: Mapping[str, tuple[str, ...]] = {
    "creating": ("creating", "available", "error"), "deleting": ("deleting", "error_deleting"),
}  # fmt: skip
"""What whoever makes or removes a snapshot by means of their own may say of it, by its status."""
DELETABLE = ("available", "error", "error_deleting")


@dataclass(frozen=True, slots=True)
class NewSnapshot:
    """What is asked for. `in_use`: the caller knows that a server may be writing."""

    volume_id: str
    name: str | None = None
    description: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    in_use: bool = False


def visible(volume: Volume, ctx: Context, snapshot_id: str) -> SnapshotRow:
    """The row, if the caller may know it; else `NotFound`."""
    row = volume.store.read(SNAPSHOTS.get, snapshot_id)
    if row is None or not ctx.sees(row.project_id):
        raise NotFound(f"Snapshot {snapshot_id} could not be found.")
    return row


async def change(volume: Volume, ctx: Context, snapshot_id: str, **values: Any) -> SnapshotRow:
    """Set name, description or metadata."""
    row = visible(volume, ctx, snapshot_id)
    return await volume.store.write(SNAPSHOTS.change, row.id, updated_at=volume.now(), **values)


def path(volume: Volume, row: SnapshotRow) -> Path:
    """The file of a snapshot."""
    return volume.snapshot_folder / f"{row.id}.{row.format}"


async def accept(volume: Volume, ctx: Context, new: NewSnapshot) -> SnapshotRow:
    """Check, then quota, row and operation in one transaction.

    Raises:
        NotFound: no such volume for the caller. Invalid: its status forbids it. OverQuota.
    """
    source = volumes.visible(volume, ctx, new.volume_id)
    row = SnapshotRow(
        id=str(uuid.uuid4()), project_id=source.project_id, user_id=ctx.user_id, volume_id=source.id, name=new.name,
        description=new.description, status="creating", size=source.size, format=source.format, metadata=new.metadata,
        created_at=volume.now(), updated_at=None,
    )  # fmt: skip

    def admit(db: Db) -> None:
        now = VOLUMES.need(db, source.id)
        if now.status == "in-use" and not new.in_use:
            raise Invalid(f"Cannot snapshot volume {now.id}: a server has it; detach it, or force the snapshot.")
        volumes.require_status(now, "snapshot", "available", "in-use")
        quotas.check_snapshot_in(db, row.project_id, VOLUME_TYPES.need(db, now.type_id).name, now.size)
        SNAPSHOTS.insert(db, row)
        volume.operations.enlist_in(db, ctx, "snapshot.create", row.subject)

    await volume.store.write(admit)
    return row


async def build(volume: Volume, op: Operation) -> None:
    """Copy the volume as it is now, then tell that the snapshot is available."""
    row = volume.store.read(SNAPSHOTS.need, op.subject.removeprefix("snapshot/"))
    source = volume.store.read(VOLUMES.need, row.volume_id)
    await op.on_failure(volume.remove_snapshot_file, row.id, path(volume, row).name)
    await contents.copy_out(volume, source, path(volume, row), format=row.format)
    op.checkpoint()
    await volume.store.write(
        SNAPSHOTS.change, row.id, {"status": "creating"}, status="available", updated_at=volume.now()
    )


async def remove_file(volume: Volume, snapshot_id: str, name: str) -> None:
    """Remove the file that a failed making left; one that its row shows as made is spared."""
    row = volume.store.read(SNAPSHOTS.get, snapshot_id)
    made = row is not None and row.status != "creating" and path(volume, row).name == name
    if name.startswith(snapshot_id) and not made:
        await volume.host.disks.remove(volume.snapshot_folder / name)


def build_failed(volume: Volume, db: Db, op: Operation, error: MinicloudError) -> None:
    """A snapshot that came to nothing says so."""
    _tell_failed(volume, db, op, error, expected="creating", status="error")


async def accept_deletion(volume: Volume, ctx: Context, snapshot_id: str, *, force: bool = False) -> None:
    """Begin to delete a snapshot; `force` whatever its status.

    Raises:
        NotFound: none for the caller. Invalid: its status forbids it. Conflict: a volume is being made of it.
    """
    row = visible(volume, ctx, snapshot_id)

    def begin(db: Db) -> None:
        now = SNAPSHOTS.need(db, row.id)
        if any(one.kind == "snapshot.delete" for one in volume.operations.live_in(db, row.subject)):
            return
        if not force and now.status not in DELETABLE:
            raise Invalid(
                f"Cannot delete snapshot {row.id}: its status is {now.status}, it must be {' or '.join(DELETABLE)}."
            )
        if VOLUMES.count(db, "snapshot_id = ? AND status = 'creating'", (row.id,)):
            raise Conflict(
                f"Cannot delete snapshot {row.id}: a volume is being made of it; try again when that is done."
            )
        SNAPSHOTS.change(db, row.id, status="deleting", updated_at=volume.now())
        volume.operations.enlist_in(db, ctx, "snapshot.delete", row.subject)

    await volume.store.write(begin)


async def remove(volume: Volume, op: Operation) -> None:
    """Remove the file, then the row; every step may be done twice."""
    row = volume.store.read(SNAPSHOTS.get, op.subject.removeprefix("snapshot/"))
    if row is None:
        return
    await volume.host.disks.remove(path(volume, row))
    await volume.store.write(SNAPSHOTS.delete, row.id)


def remove_failed(volume: Volume, db: Db, op: Operation, error: MinicloudError) -> None:
    """A snapshot that could not be deleted says so."""
    _tell_failed(volume, db, op, error, expected="deleting", status="error_deleting")


def _tell_failed(volume: Volume, db: Db, op: Operation, error: MinicloudError, *, expected: str, status: str) -> None:
    row = SNAPSHOTS.get(db, op.subject.removeprefix("snapshot/"))
    if row is not None and row.status == expected:
        SNAPSHOTS.change(db, row.id, status=status, updated_at=volume.now())
        messages.tell_in(db, op.ctx, resource_type="VOLUME_SNAPSHOT", resource_id=row.id, text=error.message)


async def report(volume: Volume, ctx: Context, snapshot_id: str, status: str, progress: str | None) -> None:
    """`os-update_snapshot_status`: how far it is. `Invalid` if the status can't follow, or we are at it ourselves."""
    row = visible(volume, ctx, snapshot_id)

    def change(db: Db) -> None:
        now = SNAPSHOTS.need(db, row.id)
        if status not in TOLD.get(now.status, ()) or volume.operations.live_in(db, row.subject):
            raise Invalid(f"Cannot set the status of snapshot {row.id} to {status}: it is {now.status}.")
        SNAPSHOTS.change(db, row.id, status=status, progress=progress or now.progress, updated_at=volume.now())

    await volume.store.write(change)


async def reset_status(volume: Volume, ctx: Context, snapshot_id: str, status: str) -> None:
    """Say what the status is, as an admin who has looked."""
    row = visible(volume, ctx, snapshot_id)
    await volume.store.write(SNAPSHOTS.change, row.id, status=status, updated_at=volume.now())
