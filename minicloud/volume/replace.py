"""THE STORY: how a volume gets other bytes, or another form, and stays the same volume: revert, reimage, retype.

New contents are written beside the old and take their place by a rename, so that a crash leaves one or the other, whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicloud.core.context import Context
from minicloud.core.errors import Invalid, MinicloudError, NoCapacity
from minicloud.core.operations import Operation
from minicloud.core.store import Db
from minicloud.volume import contents, create, messages, quotas, snapshots, types, volumes
from minicloud.volume.create import GIB
from minicloud.volume.extend import settle_in
from minicloud.volume.tables import SNAPSHOTS, VOLUMES, VolumeRow

if TYPE_CHECKING:
    from minicloud.volume import Volume


def _begin_in(volume: Volume, db: Db, ctx: Context, row: VolumeRow, kind: str, status: str, **arguments: str) -> None:
    volumes.require_quiet_in(db, row.id, kind)
    VOLUMES.change(db, row.id, status=status, updated_at=volume.now())
    volume.operations.enlist_in(db, ctx, f"volume.{kind}", row.subject, **arguments)


def _failed(volume: Volume, db: Db, op: Operation, error: MinicloudError, *, busy: str, status: str | None) -> None:
    row = VOLUMES.get(db, op.subject.removeprefix("volume/"))
    if row is None or row.status != busy:
        return
    if status is None:
        settle_in(db, row.id, expected=busy, now=volume.now())
    else:
        VOLUMES.change(db, row.id, status=status, updated_at=volume.now())
    messages.tell_in(db, op.ctx, resource_type="VOLUME", resource_id=row.id, text=error.message)


# --- back to a snapshot ----------------------------------------------------------------------------------------------


async def accept_revert(volume: Volume, ctx: Context, volume_id: str, snapshot_id: str) -> None:
    """Begin to bring a volume back to its latest snapshot (3.40).

    Raises:
        NotFound. Invalid: it is in use, or the snapshot isn't its latest one.
    """
    row, snapshot = volumes.visible(volume, ctx, volume_id), snapshots.visible(volume, ctx, snapshot_id)
    if snapshot.volume_id != row.id:
        raise Invalid(f"Cannot revert volume {row.id}: snapshot {snapshot.id} is not one of it.")

    def begin(db: Db) -> None:
        now, latest = VOLUMES.need(db, row.id), SNAPSHOTS.first(db, "volume_id = ?", (row.id,), order="created_at DESC")
        volumes.require_status(now, "revert", "available")
        if latest is None or latest.id != snapshot.id or latest.status != "available":
            raise Invalid(
                f"Cannot revert volume {row.id} to snapshot {snapshot.id}: it must be its latest, and available."
            )
        if latest.size != now.size:
            raise Invalid(
                f"Cannot revert volume {row.id}: it has grown to {now.size} GiB since; make a volume of the snapshot."
            )
        _begin_in(volume, db, ctx, now, "revert", "reverting", snapshot_id=snapshot.id)

    await volume.store.write(begin)


async def revert(volume: Volume, op: Operation) -> None:
    """The snapshot's bytes take the place of the volume's, then it grows to its own size."""
    row = volume.store.read(VOLUMES.need, op.subject.removeprefix("volume/"))
    snapshot = volume.store.read(SNAPSHOTS.need, op.arguments["snapshot_id"])
    path = volume.path(row)
    await contents.copy_file(volume, snapshots.path(volume, snapshot), snapshot.format, path, row.format)
    await contents.grow_file(volume, path, row.format, row.size * GIB)
    await volume.store.write(settle_in, row.id, expected="reverting", now=volume.now())


def revert_failed(volume: Volume, db: Db, op: Operation, error: MinicloudError) -> None:
    """Which bytes it holds isn't sure: error, and why."""
    _failed(volume, db, op, error, busy="reverting", status="error")


# --- another image ---------------------------------------------------------------------------------------------------


async def accept_reimage(volume: Volume, ctx: Context, volume_id: str, image_id: str, *, reserved: bool) -> None:
    """Begin to overwrite a volume with an image (3.68); `reserved`: also one that is reserved for a server.

    Raises:
        NotFound. Invalid: its status forbids it, or the image doesn't fit.
    """
    row, source = volumes.visible(volume, ctx, volume_id), create.of_image(volume, ctx, image_id)
    if source.size is not None and source.size > row.size:
        raise Invalid(f"Cannot reimage volume {row.id} of {row.size} GiB: the image needs {source.size} GiB.")
    allowed = ("available", "error", *(("reserved",) if reserved else ()))

    def begin(db: Db) -> None:
        now = VOLUMES.need(db, row.id)
        volumes.require_status(now, "reimage", *allowed)
        _begin_in(volume, db, ctx, now, "reimage", "downloading", image_id=image_id)

    await volume.store.write(begin)


async def reimage(volume: Volume, op: Operation) -> None:
    """The image's bytes take the place of the volume's, then it grows to its own size."""
    row, image_id = volume.store.read(VOLUMES.need, op.subject.removeprefix("volume/")), op.arguments["image_id"]
    source, base = create.of_image(volume, op.ctx, image_id), await volume.image.local_file(op.ctx, image_id)
    path = volume.path(row)
    await contents.copy_file(volume, base.path, base.format, path, row.format)
    await contents.grow_file(volume, path, row.format, row.size * GIB)

    def settle(db: Db) -> None:
        settle_in(db, row.id, expected="downloading", now=volume.now())
        VOLUMES.change(db, row.id, image_id=image_id, image_metadata=source.image_metadata, bootable=True)

    await volume.store.write(settle)


def reimage_failed(volume: Volume, db: Db, op: Operation, error: MinicloudError) -> None:
    """Which bytes it holds isn't sure: error, and why."""
    _failed(volume, db, op, error, busy="downloading", status="error")


# --- another type ----------------------------------------------------------------------------------------------------


async def accept_retype(volume: Volume, ctx: Context, volume_id: str, new_type: str) -> None:
    """Give a volume another type; its file changes its form if one type is multiattach and the other isn't.

    Raises:
        NotFound, OverQuota. Invalid: its status or the type forbids it.
    """
    row, kind = volumes.visible(volume, ctx, volume_id), types.chosen(volume, ctx, new_type)
    if kind.id == row.type_id:
        raise Invalid(f"Cannot retype volume {row.id}: it is of type {kind.name} already.")
    try:
        types.require_served(kind)
    except NoCapacity as refused:
        raise Invalid(f"Cannot retype volume {row.id}: {refused.message}") from None

    def begin(db: Db) -> None:
        now, multiattach = VOLUMES.need(db, row.id), types.is_multiattach(kind)
        volumes.require_status(now, "retype", "available", "in-use")
        quotas.check_retype_in(db, now.project_id, kind.name, now.size)
        if multiattach == now.multiattach:
            VOLUMES.change(db, row.id, type_id=kind.id, updated_at=volume.now())
            return
        volumes.require_status(now, "retype to or from multiattach", "available")
        _begin_in(volume, db, ctx, now, "retype", "retyping", type_id=kind.id)

    await volume.store.write(begin)


async def retype(volume: Volume, op: Operation) -> None:
    """Write the other form beside the old, point the row to it, then remove the old."""
    row = volume.store.read(VOLUMES.need, op.subject.removeprefix("volume/"))
    multiattach, old = not row.multiattach, volume.path(row)
    format = "raw" if multiattach else volume.config.volume.format
    new = volume.folder / f"{row.id}.{format}"
    if new != old:
        await op.on_failure(volume.remove_file, row.id, new.name)
        await contents.copy_file(volume, old, row.format, new, format)

    def settle(db: Db) -> None:
        settle_in(db, row.id, expected="retyping", now=volume.now())
        VOLUMES.change(db, row.id, type_id=op.arguments["type_id"], multiattach=multiattach, format=format)

    await volume.store.write(settle)
    if new != old:
        await volume.host.disks.remove(old)


def retype_failed(volume: Volume, db: Db, op: Operation, error: MinicloudError) -> None:
    """It is of the type of which it was; a message says why."""
    _failed(volume, db, op, error, busy="retyping", status=None)
