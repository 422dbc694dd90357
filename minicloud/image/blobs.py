"""Files of images: written as drafts while they stream in, whole and fsynced before anybody may know of them.

A blob is named by our id of the image and never changes. All work that blocks (writing, hashing, looking at the format)
runs on threads; memory is bounded by the piece.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from minicloud.core.errors import TooLarge
from minicloud.host import filesystem
from minicloud.image.formats import Inspection
from minicloud.image.intake import MODE, Blob, Intake

Progress = Callable[[int], None]
PIECE = 256 * 1024
"""Bytes of a file of ours that are read at once."""
DRAFT = ".new"
"""End of a draft's name: the start removes what a killed daemon left."""


@contextlib.asynccontextmanager
async def received(
    path: Path,
    source: AsyncIterator[bytes],
    *,
    limit: int,
    inspection: Inspection | None = None,
    progress: Progress | None = None,
) -> AsyncIterator[Blob]:
    """Write a stream into a draft beside `path`; when the body ends well the draft is `path`, otherwise it is gone.

    `progress` is told after each few bytes how many were taken so far.

    Raises:
        TooLarge: more than `limit` bytes came.
        Invalid: the inspection refuses the content.
        Unavailable: the disk is full.
    """
    draft = path.with_name(path.name + DRAFT)
    try:
        with filesystem.told("store the image", path):
            blob = await _write(draft, source, limit=limit, inspection=inspection, progress=progress)
            yield blob
            await filesystem.in_thread(_publish, draft, path)
    except BaseException:
        await filesystem.in_thread(draft.unlink, missing_ok=True)
        raise


async def _write(
    draft: Path, source: AsyncIterator[bytes], *, limit: int, inspection: Inspection | None, progress: Progress | None
) -> Blob:
    intake = await filesystem.in_thread(Intake, draft, inspection, asyncio.get_running_loop())
    try:
        async for some in source:
            if intake.size + len(some) > limit:
                raise TooLarge(f"Cannot take the image data: it is larger than the limit of {limit} bytes.")
            await intake.take(some)
            if progress is not None:
                progress(intake.size)
        return await filesystem.in_thread(intake.finish)
    finally:
        await filesystem.in_thread(intake.close)


async def of_file(path: Path) -> AsyncIterator[bytes]:
    """The bytes of a file of ours."""
    file = await filesystem.in_thread(path.open, "rb", 0)
    try:
        while piece := await filesystem.in_thread(file.read, PIECE):
            yield piece
    finally:
        await filesystem.in_thread(file.close)


async def nothing() -> AsyncIterator[bytes]:
    """No bytes at all."""
    no_pieces: tuple[bytes, ...] = ()
    for piece in no_pieces:
        yield piece


async def measured(path: Path) -> Blob:
    """Hash a file that is there already, and make it durable."""
    return await filesystem.in_thread(_measure, path)


async def moved(source: Path, target: Path) -> None:
    """Give a file of ours its final name, durably."""
    with filesystem.told("store the image", target):
        await filesystem.in_thread(_publish, source, target)


def _measure(path: Path) -> Blob:
    md5, sha512, size = hashlib.md5(usedforsecurity=False), hashlib.sha512(), 0
    with path.open("rb", 0) as file:
        while piece := file.read(PIECE):
            md5.update(piece)
            sha512.update(piece)
            size += len(piece)
        os.fchmod(file.fileno(), MODE)
        os.fsync(file.fileno())
    return Blob(size, md5.hexdigest(), sha512.hexdigest(), None)


def _publish(draft: Path, path: Path) -> None:
    path.parent.mkdir(mode=filesystem.FOLDER_MODE, parents=True, exist_ok=True)
    os.replace(draft, path)
    filesystem.sync_folder(path.parent)
