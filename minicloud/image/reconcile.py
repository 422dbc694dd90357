"""Records against files: what a killed daemon left half-way goes back to queued, files that no record explains go away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from minicloud.core.errors import Conflict, NotFound
from minicloud.image import bases, images
from minicloud.image.tables import IMAGES, Status

if TYPE_CHECKING:
    from minicloud.image import Image

log = structlog.get_logger(__name__)
WITH_BYTES = (Status.ACTIVE, Status.DEACTIVATED)


async def run(image: Image) -> None:
    """One look; uploads and imports that are under way are left alone."""
    blobs, staged = await image.host.disks.actual(image.blobs), await image.host.disks.actual(image.staging)
    # files first, records second: a record that appears in between explains its file
    rows = {row.id: row for row in image.store.read(IMAGES.where)}
    busy = image.under_way.keys() | {
        one.removeprefix("image/") for one in image.store.read(image.operations.subjects_in)
    }
    for row in rows.values():
        if row.id in busy:
            continue
        if row.status in (Status.SAVING, Status.IMPORTING) or (row.status is Status.UPLOADING and row.id not in staged):
            await _back_to_queued(image, row.id, row.status)
        elif row.status in WITH_BYTES and row.id not in blobs:
            log.error("an image lost its bytes; restore them or delete it", image=row.id, path=str(image.blob(row.id)))
    for folder, names, wanted in (
        (image.blobs, blobs, WITH_BYTES),
        (image.staging, staged, (Status.UPLOADING,)),
    ):
        for name in sorted(names):
            image_id = name.split(".")[0]
            known = rows.get(image_id)
            if image_id in busy or image_id in image.under_way:
                continue
            if known is None or known.status not in wanted or name != image_id:
                await image.host.disks.remove(folder / name)
                log.info("a file that no image explains went", file=name)
    await bases.evict(image)


async def _back_to_queued(image: Image, image_id: str, status: Status) -> None:
    try:
        await images.set_status(image, image_id, Status.QUEUED, expect=(status,), size=None)
    except (Conflict, NotFound):  # somebody was faster
        return
    log.info("an upload that was cut off is queued again", image=image_id)
