"""THE STORY: how a volume comes to be, blank or from an image, a snapshot or another volume."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from minicloud.core.context import Context
from minicloud.core.errors import Conflict, Invalid, MinicloudError, NotFound
from minicloud.core.operations import Operation
from minicloud.core.store import Db
from minicloud.volume import contents, messages, quotas, services, snapshots, types, volumes
from minicloud.volume.tables import SNAPSHOTS, VOLUME_TYPES, VOLUMES, SnapshotRow, VolumeRow, VolumeType

if TYPE_CHECKING:
    from minicloud.volume import Volume

GIB = 1024**3
CLONABLE = ("available", "in-use")
IMAGE_FACTS = ("container_format", "disk_format", "min_disk", "min_ram", "size", "checksum")
"""What of an image is remembered with a volume made of it, beside its properties."""


@dataclass(frozen=True, slots=True)
class NewVolume:
    """What is asked for. At most one source; `size` in GiB may be left out where a source has one. `volume_id` lets a caller
    mint the id before (so that an undo record can name it)."""

    size: int | None = None
    name: str | None = None
    description: str | None = None
    image_id: str | None = None
    snapshot_id: str | None = None
    source_volume_id: str | None = None
    volume_type: str | None = None
    availability_zone: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    multiattach: bool = False
    volume_id: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """What a source says about the new volume."""

    size: int | None = None
    bootable: bool = False
    image_metadata: dict[str, str] = field(default_factory=dict)
    type_id: str | None = None
    format: str | None = None


async def accept(volume: Volume, ctx: Context, new: NewVolume) -> VolumeRow:
    """Check what is asked for, then quota, row and operation in one transaction.

    Raises:
        Invalid: no size, too small for the source, several sources, an unknown zone or image.
        NotFound: an unknown type, snapshot or source volume.
        OverQuota: too many or too much.
    """
    if ctx.project_id is None:
        raise Invalid("Cannot create a volume: the token has no project.")
    if new.availability_zone not in (None, "", services.ZONE):
        raise Invalid(f"Availability zone '{new.availability_zone}' is invalid: there is only {services.ZONE}.")
    source = _source(volume, ctx, new)
    kind = types.chosen(volume, ctx, new.volume_type or source.type_id)
    if new.multiattach and not types.is_multiattach(kind):
        raise Invalid(
            "Cannot create a multiattach volume: give a volume type with the extra spec multiattach='<is> True'."
        )
    size = new.size or source.size
    if size is None:
        raise Invalid("Cannot create a volume: its size is missing.")
    if source.size is not None and size < source.size:
        raise Invalid(f"Cannot create a volume of {size} GiB: its source needs {source.size} GiB.")
    row = _row(volume, ctx, new, source, kind, size)

    def admit(db: Db) -> None:
        quotas.check_volume_in(db, row.project_id, kind.name, size)
        _require_source_in(db, row)
        VOLUMES.insert(db, row)
        volume.operations.enlist_in(db, ctx, "volume.create", row.subject)

    await volume.store.write(admit)
    return row


def _source(volume: Volume, ctx: Context, new: NewVolume) -> Source:
    asked = [one for one in (new.image_id, new.snapshot_id, new.source_volume_id) if one]
    if len(asked) > 1:
        raise Invalid("Cannot create a volume of several sources: give one of image, snapshot and volume.")
    if new.snapshot_id:
        snapshot = snapshots.visible(volume, ctx, new.snapshot_id)
        if snapshot.status != "available":
            raise Invalid(f"Cannot create a volume of snapshot {snapshot.id}: its status is {snapshot.status}.")
        return _of_snapshot(volume, snapshot)
    if new.source_volume_id:
        row = volumes.visible(volume, ctx, new.source_volume_id)
        volumes.require_status(row, "clone", *CLONABLE)
        return Source(row.size, row.bootable, row.image_metadata, row.type_id, row.format)
    if new.image_id:
        return of_image(volume, ctx, new.image_id)
    return Source()


def _of_snapshot(volume: Volume, snapshot: SnapshotRow) -> Source:
    origin = volume.store.read(VOLUMES.get, snapshot.volume_id)
    if origin is None:
        return Source(snapshot.size, format=snapshot.format)
    return Source(snapshot.size, origin.bootable, origin.image_metadata, origin.type_id, snapshot.format)


def of_image(volume: Volume, ctx: Context, image_id: str) -> Source:
    """What an image says about a volume of it; `Invalid` (Cinder's 400) if the caller can't use it."""
    try:
        image = volume.image.require_active(ctx, image_id)
    except (NotFound, Conflict, Invalid) as refused:
        raise Invalid(f"Invalid image identifier or unable to access requested image. {refused.message}") from None
    needed = max(image.min_disk, -(-(image.virtual_size or image.size or 0) // GIB), 1)
    facts = {name: getattr(image, name) for name in IMAGE_FACTS}
    told = {name: str(value) for name, value in facts.items() if value is not None}
    told |= {"image_id": image.id, "image_name": image.name or "", **{k: str(v) for k, v in image.properties.items()}}
    return Source(needed, True, told)


def _row(volume: Volume, ctx: Context, new: NewVolume, source: Source, kind: VolumeType, size: int) -> VolumeRow:
    multiattach = types.is_multiattach(kind)
    return VolumeRow(
        id=new.volume_id or str(uuid.uuid4()), project_id=ctx.project_id or "", user_id=ctx.user_id, name=new.name,
        description=new.description, status="creating", size=size,
        format="raw" if multiattach else source.format or volume.config.volume.format, type_id=kind.id,
        availability_zone=services.ZONE, bootable=source.bootable, multiattach=multiattach, read_only=None,
        snapshot_id=new.snapshot_id, source_volume_id=new.source_volume_id, image_id=new.image_id,
        image_metadata=source.image_metadata, metadata=new.metadata,
        created_at=volume.now(), updated_at=None,
    )  # fmt: skip


def _require_source_in(db: Db, row: VolumeRow) -> None:
    """What is copied must still be there and quiet at the moment at which the copy is promised."""
    if row.snapshot_id is not None and SNAPSHOTS.need(db, row.snapshot_id).status != "available":
        raise Invalid(f"Cannot create a volume of snapshot {row.snapshot_id}: it is not available any more.")
    if row.source_volume_id is not None and VOLUMES.need(db, row.source_volume_id).status not in CLONABLE:
        raise Invalid(f"Cannot clone volume {row.source_volume_id}: it is busy now; try again when it is available.")


async def build(volume: Volume, op: Operation) -> None:
    """Make the file, then tell that the volume is available."""
    row = volume.store.read(VOLUMES.need, op.subject.removeprefix("volume/"))
    path = volume.path(row)
    services.require_enabled(volume)
    types.require_served(volume.store.read(VOLUME_TYPES.need, row.type_id))
    await op.on_failure(volume.remove_file, row.id, path.name)
    if row.snapshot_id:
        snapshot = volume.store.read(SNAPSHOTS.need, row.snapshot_id)
        await contents.copy_file(volume, snapshots.path(volume, snapshot), snapshot.format, path, row.format)
    elif row.source_volume_id:
        source = volume.store.read(VOLUMES.need, row.source_volume_id)
        await contents.copy_out(volume, source, path, format=row.format)
    elif row.image_id:
        base = await volume.image.local_file(op.ctx, row.image_id)
        await contents.copy_file(volume, base.path, base.format, path, row.format)
    else:
        await volume.host.disks.create(path, format=row.format, size=row.size * GIB)
    await contents.grow_file(volume, path, row.format, row.size * GIB)
    op.checkpoint()
    await volume.store.write(
        volumes.change_in, row.id, now=volume.now(), expect={"status": "creating"}, status="available"
    )


async def remove_file(volume: Volume, volume_id: str, name: str) -> None:
    """Remove the file that a failed making left; one that its row shows as made is spared."""
    row = volume.store.read(VOLUMES.get, volume_id)
    made = row is not None and row.status != "creating" and volume.path(row).name == name
    if name.startswith(volume_id) and not made:
        await volume.host.disks.remove(volume.folder / name)


def failed(volume: Volume, db: Db, op: Operation, error: MinicloudError) -> None:
    """The row of a volume that came to nothing: status error, and a message that says why."""
    row = VOLUMES.get(db, op.subject.removeprefix("volume/"))
    if row is not None and row.status == "creating":
        VOLUMES.change(db, row.id, status="error", updated_at=volume.now())
        messages.tell_in(db, op.ctx, resource_type="VOLUME", resource_id=row.id, text=error.message)


async def ready(volume: Volume, ctx: Context, volume_id: str) -> VolumeRow:
    """Wait for the making of a volume to end; `Conflict` with the cause if it failed."""
    await volume.operations.settled(f"volume/{volume_id}")
    row = volumes.visible(volume, ctx, volume_id)
    if row.status not in ("available", "reserved", "attaching", "in-use"):
        raise Conflict(f"Cannot use volume {volume_id}: its status is {row.status}.")
    return row
