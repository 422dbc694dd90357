"""THE STORY: how a volume grows, on the shelf or under a running machine.

The new size counts against the quota from the moment it is accepted. After a crash it is done again: growing to a size
twice is growing once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from minicloud.core.context import Context
from minicloud.core.errors import Invalid, MinicloudError
from minicloud.core.operations import Operation
from minicloud.core.store import Db
from minicloud.volume import attachments, contents, messages, quotas, volumes
from minicloud.volume.create import GIB
from minicloud.volume.tables import ATTACHMENTS, VOLUME_TYPES, VOLUMES

if TYPE_CHECKING:
    from minicloud.volume import Volume


@dataclass(frozen=True, slots=True)
class VolumeExtended:
    """A fact: growing a volume that a server has came to its end; `error` says why it didn't grow. `ctx` asked for it, from
    `started_at` on. Compute notes it in the server's history."""

    volume_id: str
    server_id: str
    ctx: Context
    started_at: str
    error: str | None


async def accept(volume: Volume, ctx: Context, volume_id: str, size: int, *, in_use: bool) -> None:
    """Begin to grow a volume to `size` GiB; `in_use`: whether one that a server has may grow (3.42).

    Raises:
        NotFound, Invalid: its status or the size forbids it. OverQuota.
    """
    row = volumes.visible(volume, ctx, volume_id)

    def begin(db: Db) -> None:
        now = VOLUMES.need(db, row.id)
        volumes.require_status(now, "extend", "available", *(["in-use"] if in_use else []))
        if size <= now.size:
            raise Invalid(
                "Invalid input received: New size for extend must be greater than current size. "
                f"(current: {now.size}, extended: {size})."
            )
        if ATTACHMENTS.count(db, "volume_id = ?", (row.id,)) > 1:
            raise Invalid(f"Cannot extend volume {row.id}: several servers share it; detach it from all but one.")
        volumes.require_quiet_in(db, row.id, "extend")
        kind = VOLUME_TYPES.need(db, now.type_id)
        quotas.check_growth_in(db, now.project_id, kind.name, more=size - now.size, size=size)
        VOLUMES.change(db, row.id, status="extending", size=size, updated_at=volume.now())
        volume.operations.enlist_in(
            db, ctx, "volume.extend", row.subject, size_before=now.size, started_at=volume.now()
        )

    await volume.store.write(begin)


async def run(volume: Volume, op: Operation) -> None:
    """Grow the disk, then tell."""
    row = volume.store.read(VOLUMES.need, op.subject.removeprefix("volume/"))
    await contents.grow(volume, row, row.size * GIB)

    def settle(db: Db) -> None:
        settle_in(db, row.id, expected="extending", now=volume.now())
        _tell_servers_in(volume, db, op, error=None)

    await volume.store.write(settle)


def _tell_servers_in(volume: Volume, db: Db, op: Operation, *, error: str | None) -> None:
    volume_id, started_at = op.subject.removeprefix("volume/"), op.arguments["started_at"]
    for one in ATTACHMENTS.where(db, "volume_id = ? AND status = 'attached'", (volume_id,)):
        if one.server_id is not None:
            volume.events.publish_in(db, VolumeExtended(volume_id, one.server_id, op.ctx, started_at, error))


def failed(volume: Volume, db: Db, op: Operation, error: MinicloudError) -> None:
    """It is as large as it was, and as usable; a message says why it isn't larger."""
    row = VOLUMES.get(db, op.subject.removeprefix("volume/"))
    if row is not None and row.status == "extending":
        VOLUMES.change(db, row.id, size=op.arguments["size_before"])
        settle_in(db, row.id, expected="extending", now=volume.now())
        _tell_servers_in(volume, db, op, error=error.message)
        messages.tell_in(db, op.ctx, resource_type="VOLUME", resource_id=row.id, text=error.message)


def settle_in(db: Db, volume_id: str, *, expected: str, now: str) -> None:
    """Back from a busy status to the one that follows from the attachments; `Conflict` if it isn't busy so any more."""
    VOLUMES.change(db, volume_id, {"status": expected}, status=attachments.resting_in(db, volume_id), updated_at=now)
