"""Volumes as rows: who may know them, listing, changing what needs no work on the host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.core.context import Context
from minicloud.core.errors import Conflict, Invalid, NotFound
from minicloud.core.store import Db
from minicloud.volume.tables import SNAPSHOTS, VOLUMES, VolumeRow

if TYPE_CHECKING:
    from minicloud.volume import Volume


def visible(volume: Volume, ctx: Context, volume_id: str) -> VolumeRow:
    """The row, if the caller may know it; else `NotFound`."""
    row = volume.store.read(VOLUMES.get, volume_id)
    if row is None or not ctx.sees(row.project_id):
        raise NotFound(f"Volume {volume_id} could not be found.")
    return row


async def change(volume: Volume, ctx: Context, volume_id: str, **values: Any) -> VolumeRow:
    """Set plain attributes (name, description, metadata, bootable, read_only) of a volume that the caller may know."""
    visible(volume, ctx, volume_id)
    return await volume.store.write(change_in, volume_id, now=volume.now(), **values)


def change_in(db: Db, volume_id: str, /, *, now: str, expect: dict[str, Any] | None = None, **values: Any) -> VolumeRow:
    """Set columns and the time of change; `expect` as in `Table.change`."""
    return VOLUMES.change(db, volume_id, expect, updated_at=now, **values)


def require_status(row: VolumeRow, action: str, *allowed: str) -> None:
    """Raise `Invalid` (Cinder's 400) unless the volume's status allows an action."""
    if row.status not in allowed:
        raise Invalid(
            f"Cannot {action} volume {row.id}: its status is {row.status}, it must be {' or '.join(allowed)}."
        )


def require_quiet_in(db: Db, volume_id: str, action: str) -> None:
    """Raise `Conflict` while a clone or a snapshot of the volume is being made: its bytes must stay as they are."""
    clones = VOLUMES.count(db, "source_volume_id = ? AND status = 'creating'", (volume_id,))
    if clones or SNAPSHOTS.count(db, "volume_id = ? AND status = 'creating'", (volume_id,)):
        raise Conflict(f"Cannot {action} volume {volume_id}: a copy of it is being made; try again when that is done.")
