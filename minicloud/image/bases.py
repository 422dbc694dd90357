"""Flat disks that guests' overlays stand on: one for each image, made once, never changed, in the folder `bases`.

They are apart from the blobs, so an image may be deleted while machines run from it. A blob that can be used as it is
(raw, or qcow2 without compressed clusters, which are slow to read) is linked, not copied; anything else is converted.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from minicloud.core.errors import Invalid
from minicloud.host import filesystem
from minicloud.image.formats import INSPECTED_CONTAINERS
from minicloud.image.qcow2_tables import survey
from minicloud.image.tables import IMAGES, ImageRow

if TYPE_CHECKING:
    from minicloud.image import Image

log = structlog.get_logger(__name__)
AS_RAW = ("raw", "iso", "ami", "ari", "aki")
RESTED = 3600.0
"""Seconds without a use after which a base may go."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A base: where it is, "raw" or "qcow2", and its size in bytes as a guest sees it."""

    path: Path
    format: str
    virtual_size: int


async def local_file(image: Image, row: ImageRow) -> LocalFile:
    """The base of an active image; made now if there is none. Several callers share the work.

    Raises:
        Invalid: the image is a package, not a disk.
        HostFailure, Unavailable: it can't be converted; the disk is full.
    """
    if row.container_format not in INSPECTED_CONTAINERS or row.disk_format in (None, "ploop"):
        raise Invalid(
            f"Cannot boot from image {row.id}: no disk can be made of {row.disk_format} in {row.container_format}."
        )
    lock = image.base_locks.setdefault(row.id, asyncio.Lock())
    async with lock:
        found = await filesystem.in_thread(_existing, image.bases, row.id)
        path = found if found is not None else await _make(image, row)
        format = path.suffix.removeprefix(".")
        if found is None or row.id not in image.base_sizes:  # a base never changes: looking once is enough
            image.base_sizes[row.id] = (await image.host.disks.inspect(path, format=format)).virtual_size
        return LocalFile(path, format, image.base_sizes[row.id])


async def _make(image: Image, row: ImageRow) -> Path:
    blob = image.blob(row.id)
    if row.disk_format in AS_RAW:
        return await _link(image, blob, image.bases / f"{row.id}.raw")
    target = image.bases / f"{row.id}.qcow2"
    if row.disk_format == "qcow2" and (await filesystem.in_thread(survey, blob)).plain:
        return await _link(image, blob, target)
    await image.host.disks.convert(blob, target, source_format=str(row.disk_format), target_format="qcow2")
    await filesystem.in_thread(os.chmod, target, 0o444)
    return target


async def _link(image: Image, blob: Path, target: Path) -> Path:
    def link() -> bool:
        target.parent.mkdir(mode=filesystem.FOLDER_MODE, parents=True, exist_ok=True)
        try:
            os.link(blob, target)
        except OSError as error:
            if error.errno in (errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EOPNOTSUPP):
                return False
            raise
        os.utime(target)
        return True

    with filesystem.told("make the base disk", target):
        if not await filesystem.in_thread(link):
            await image.host.disks.copy(blob, target)
            await filesystem.in_thread(os.chmod, target, 0o444)
    return target


def _existing(folder: Path, image_id: str) -> Path | None:
    for format in ("raw", "qcow2"):
        path = folder / f"{image_id}.{format}"
        if path.exists():
            os.utime(path)
            return path
    return None


async def evict(image: Image) -> None:
    """Remove bases that nobody uses: those of deleted images at once, the others, oldest use first, while the cache is
    over its size. Nothing goes before some service said which ones it uses, nor what was used within the hour."""
    if not image.base_users:
        return
    used = set().union(*(users() for users in image.base_users))
    rows = {row.id for row in image.store.read(IMAGES.where)}
    found = await filesystem.in_thread(_sizes, image.bases)
    over = sum(size for _, size, _ in found) - image.config.image.cache_bytes
    for path, size, last_use in sorted(found, key=lambda one: one[2]):
        image_id = path.stem
        if image_id in used or time.time() - last_use < RESTED or (image_id in rows and over <= 0):
            continue
        image.base_sizes.pop(image_id, None)
        await image.host.disks.remove(path)
        over -= size
        log.info("a base disk went", image=image_id, bytes=size)


def _sizes(folder: Path) -> list[tuple[Path, int, float]]:
    found = []
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(folder):
            if entry.name.startswith("."):
                continue
            status = entry.stat(follow_symlinks=False)
            # a base that shares its blob's blocks takes no room of its own
            size = 0 if status.st_nlink > 1 else status.st_blocks * 512
            found.append((Path(entry.path), size, status.st_mtime))
    return found
