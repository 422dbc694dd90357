"""The story of an image that this cloud makes itself: a server's snapshot, a volume that becomes an image.

The file comes from a driver of ours in a format that its maker knows; nothing looks at a guest's bytes to guess it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from minicloud.core.errors import TooLarge
from minicloud.image import blobs, images, upload
from minicloud.image.blobs import Blob
from minicloud.image.tables import ImageRow, Status

if TYPE_CHECKING:
    from minicloud.image import Image


async def run(image: Image, *, image_id: str, path: Path, format: str) -> ImageRow:
    """Move or convert the file in, hash it, activate the image; after a failure the image is queued again."""
    with image.coming_in(image_id):
        row = await images.set_status(image, image_id, Status.SAVING, expect=(Status.QUEUED, Status.SAVING))
        async with upload.back_to_queued(image, image_id, Status.SAVING):
            wanted, target = row.disk_format or format, image.blob(image_id)
            limit = image.config.image.size_limit
            if wanted == format:
                await blobs.moved(path, target)
            else:
                await image.host.disks.convert(path, target, source_format=format, target_format=wanted)
                await image.host.disks.remove(path)
            seen = await image.host.disks.inspect(target, format=wanted)
            if seen.actual_size > limit or (wanted == "raw" and seen.virtual_size > limit):
                raise TooLarge(f"Cannot make the image: its data is larger than the limit of {limit} bytes.")
            found = await blobs.measured(target)
            blob = Blob(found.size, found.checksum, found.hash_value, seen.virtual_size)
            return await upload.activate(image, image_id, blob, expect=Status.SAVING)


async def activate_empty(image: Image, image_id: str) -> ImageRow:
    """An image that is only its properties: zero bytes, but whole."""
    with image.coming_in(image_id):
        await images.set_status(image, image_id, Status.SAVING, expect=(Status.QUEUED, Status.SAVING))
        async with upload.back_to_queued(image, image_id, Status.SAVING):
            async with blobs.received(image.blob(image_id), blobs.nothing(), limit=0) as blob:
                pass
            return await upload.activate(image, image_id, blob, expect=Status.SAVING)
