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
from typing import IO

from minicloud.core.errors import TooLarge
from minicloud.host import filesystem
from minicloud.image.formats import Inspection
from minicloud.image.intake import MODE, Blob, Intake

Progress = Callable[[int], None]
PIECE = 256 * 1024
"""Bytes of a file of ours that are read at once."""
STEP = 64 * 1024**2
"""Bytes that are hashed at one go: a fifth of a second."""
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
    """Hash a file that is there already, and make it durable; in steps, so that a large one keeps no thread from others and
    can be given up."""
    md5, sha512, size = hashlib.md5(usedforsecurity=False), hashlib.sha512(), 0
    file = await filesystem.in_thread(path.open, "rb", 0)
    try:
        while count := await filesystem.in_thread(_hash_on, file, md5, sha512):
            size += count
        await filesystem.in_thread(_settle, file)
    finally:
        await filesystem.in_thread(file.close)
    return Blob(size, md5.hexdigest(), sha512.hexdigest(), None)


async def moved(source: Path, target: Path) -> None:
    """Give a file of ours its final name, durably."""
    with filesystem.told("store the image", target):
        await filesystem.in_thread(_publish, source, target)


def _hash_on(file: IO[bytes], *sums: hashlib._Hash) -> int:
    """The next pieces of a file into some sums; how many bytes there were."""
    count = 0
    while count < STEP and (piece := file.read(PIECE)):
        for one in sums:
            one.update(piece)
        count += len(piece)
    return count


def _settle(file: IO[bytes]) -> None:
    os.fchmod(file.fileno(), MODE)
    os.fsync(file.fileno())


def _publish(draft: Path, path: Path) -> None:
    path.parent.mkdir(mode=filesystem.FOLDER_MODE, parents=True, exist_ok=True)
    os.replace(draft, path)
    filesystem.sync_folder(path.parent)
