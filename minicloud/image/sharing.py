"""Equal bytes are kept once: images of the same content are names of one file, and the file system counts them.

Why no folder of content and no table of counts: a blob never changes and is named by its image, so a hard link does
what a reference count would, in one step that a kill can't tear, and removing the last name removes the bytes. Called when
an image becomes active, after its hash is known.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

from minicloud.core.store import Db
from minicloud.host import filesystem
from minicloud.image import blobs
from minicloud.image.blobs import Blob
from minicloud.image.tables import IMAGES

if TYPE_CHECKING:
    from minicloud.image import Image

CANT = (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP, errno.ENOENT)
"""The file system has no more links, or the other file went meanwhile: then there are two copies."""


async def share(image: Image, image_id: str, blob: Blob) -> None:
    """Let an image's file be one with another image's of the same bytes, if there is any."""

    def look(db: Db) -> list[str]:
        wanted = "hash_value = ? AND size = ? AND id != ?"
        return [row.id for row in IMAGES.where(db, wanted, (blob.hash_value, blob.size, image_id))]

    if blob.size:
        twins = [image.blob(twin) for twin in image.store.read(look)]
        await filesystem.in_thread(_share, twins, image.blob(image_id), blob.size)


def _share(twins: list[Path], path: Path, size: int) -> None:
    draft = path.with_name(path.name + blobs.DRAFT)
    for twin in twins:
        try:
            if twin.stat().st_size != size:
                continue
            os.link(twin, draft)
        except OSError as error:
            if error.errno in CANT:
                continue
            raise
        os.replace(draft, path)
        filesystem.sync_folder(path.parent)
        return
