"""THE STORY: how a volume becomes an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from minicloud.core.context import Context
from minicloud.core.errors import Invalid, MinicloudError
from minicloud.core.operations import Operation
from minicloud.core.store import Db
from minicloud.volume import contents, messages, volumes
from minicloud.volume.create import IMAGE_FACTS
from minicloud.volume.extend import settle_in
from minicloud.volume.tables import VOLUMES, VolumeRow

if TYPE_CHECKING:
    from minicloud.image import ImageRow
    from minicloud.volume import Volume

DISK_FORMATS = ("raw", "qcow2", "vmdk", "vdi")
OWN = ("image_id", "image_name", "signature_verified", *IMAGE_FACTS)
"""Facts about the image of which the volume was made that don't hold for the new one."""


@dataclass(frozen=True, slots=True)
class NewImage:
    """What image is wanted. `force`: also of a volume that a server has."""

    name: str
    disk_format: str = "raw"
    container_format: str = "bare"
    visibility: str = "private"
    protected: bool = False
    force: bool = False


async def accept(volume: Volume, ctx: Context, volume_id: str, new: NewImage) -> tuple[VolumeRow, ImageRow]:
    """Reserve the image, then begin.

    Raises:
        NotFound, Invalid: the volume's status or the format forbids it. Forbidden: this visibility.
    """
    row = volumes.visible(volume, ctx, volume_id)
    allowed = ("available", "in-use") if new.force else ("available",)
    volumes.require_status(row, "upload", *allowed)
    if new.disk_format not in DISK_FORMATS or new.container_format != "bare":
        raise Invalid(
            f"Cannot upload volume {row.id} as {new.disk_format}/{new.container_format}: "
            f"the format may be {', '.join(DISK_FORMATS)}, the container bare."
        )
    image = await volume.image.reserve(
        ctx, name=new.name, disk_format=new.disk_format, container_format="bare", visibility=new.visibility,
        protected=new.protected, min_disk=row.size,
        properties={key: value for key, value in row.image_metadata.items() if key not in OWN},
    )  # fmt: skip

    def begin(db: Db) -> VolumeRow:
        volumes.require_status(VOLUMES.need(db, row.id), "upload", *allowed)
        changed = VOLUMES.change(db, row.id, status="uploading", updated_at=volume.now())
        volume.operations.enlist_in(
            db, ctx, "volume.upload", row.subject, image_id=image.id, disk_format=new.disk_format
        )
        return changed

    try:
        return await volume.store.write(begin), image
    except MinicloudError:
        await volume.image.abandon(image.id)
        raise


async def run(volume: Volume, op: Operation) -> None:
    """Copy the volume aside, hand the copy to the image service, tell."""
    row = volume.store.read(VOLUMES.need, op.subject.removeprefix("volume/"))
    image_id, wanted = op.arguments["image_id"], op.arguments["disk_format"]
    copy = volume.folder / f"{row.id}.upload-{image_id}"
    await op.on_failure(volume.image.abandon, image_id)
    await op.on_failure(volume.remove_file, row.id, copy.name)
    await volume.image.saving(image_id)
    format = wanted if wanted in ("raw", "qcow2") else row.format
    await contents.copy_out(volume, row, copy, format=format)
    op.checkpoint()
    await volume.image.take_in(op.ctx, image_id=image_id, path=copy, format=format)
    await volume.store.write(settle_in, row.id, expected="uploading", now=volume.now())


def failed(volume: Volume, db: Db, op: Operation, error: MinicloudError) -> None:
    """The volume is as it was; the image is gone, and a message says why."""
    row = VOLUMES.get(db, op.subject.removeprefix("volume/"))
    if row is not None and row.status == "uploading":
        settle_in(db, row.id, expected="uploading", now=volume.now())
        messages.tell_in(db, op.ctx, resource_type="VOLUME", resource_id=row.id, text=error.message)
