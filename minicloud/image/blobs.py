"""Files of images: written as drafts while they stream in, whole and fsynced before anybody may know of them.

A blob is named by our id of the image and never changes. All work that blocks (writing, hashing, looking at the format)
runs on threads; memory is bounded by the piece.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from minicloud.core.errors import TooLarge
from minicloud.host import filesystem
from minicloud.image.formats import Inspection

PIECE = 256 * 1024
ZEROS = bytes(2 * PIECE)
MODE = 0o444
_HASHING = ThreadPoolExecutor(max_workers=2, thread_name_prefix="hashes")
DRAFT = ".new"
"""End of a draft's name: the start removes what a killed daemon left."""


@dataclass(frozen=True, slots=True)
class Blob:
    """What was written: bytes, MD5, SHA-512, and the size of the disk in it (None: it is no disk)."""

    size: int
    checksum: str
    hash_value: str
    virtual_size: int | None


class _Writer:
    """Writes, hashes and inspects one blob; every method blocks and is called on a thread."""

    def __init__(self, path: Path, inspection: Inspection | None) -> None:
        path.parent.mkdir(mode=filesystem.FOLDER_MODE, parents=True, exist_ok=True)
        self._file: IO[bytes] = path.open("wb", buffering=0)
        self._inspection = inspection
        self._md5, self._sha512 = hashlib.md5(usedforsecurity=False), hashlib.sha512()
        self.size = 0

    def feed(self, piece: bytes) -> None:
        # beside the other hash: they are what an upload costs, and both run without the interpreter's lock
        first = _HASHING.submit(self._md5.update, piece)
        try:
            self._keep(piece)
            self._sha512.update(piece)
            if self._inspection is not None:
                self._inspection.feed(piece)
            self.size += len(piece)
        finally:
            first.result()

    def _keep(self, piece: bytes) -> None:
        if piece.startswith(ZEROS[:64]) and piece == ZEROS[: len(piece)]:  # holes stay holes
            self._file.seek(len(piece), os.SEEK_CUR)
        else:
            view = memoryview(piece)
            while view:
                view = view[self._file.write(view) :]

    def finish(self) -> Blob:
        virtual_size = None if self._inspection is None else self._inspection.finish()
        self._file.truncate(self.size)
        os.fchmod(self._file.fileno(), MODE)
        os.fsync(self._file.fileno())
        self._file.close()
        return Blob(self.size, self._md5.hexdigest(), self._sha512.hexdigest(), virtual_size)

    def close(self) -> None:
        self._file.close()


async def pieces(source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces of `PIECE` and a little more, so that each is worth a trip to a thread."""
    waiting: list[bytes] = []
    size = 0
    async for some in source:
        waiting.append(some)
        size += len(some)
        if size >= PIECE:
            yield b"".join(waiting)
            waiting, size = [], 0
    if size:
        yield b"".join(waiting)


@contextlib.asynccontextmanager
async def received(
    path: Path, source: AsyncIterator[bytes], *, limit: int, inspection: Inspection | None = None
) -> AsyncIterator[Blob]:
    """Write a stream into a draft beside `path`; when the body ends well the draft is `path`, otherwise it is gone.

    Raises:
        TooLarge: more than `limit` bytes came.
        Invalid: the inspection refuses the content.
        Unavailable: the disk is full.
    """
    draft = path.with_name(path.name + DRAFT)
    try:
        with filesystem.told("store the image", path):
            blob = await _write(draft, source, limit=limit, inspection=inspection)
            yield blob
            await filesystem.in_thread(_publish, draft, path)
    except BaseException:
        await filesystem.in_thread(draft.unlink, missing_ok=True)
        raise


async def _write(draft: Path, source: AsyncIterator[bytes], *, limit: int, inspection: Inspection | None) -> Blob:
    writer = await filesystem.in_thread(_Writer, draft, inspection)
    feeding: asyncio.Task[None] | None = None
    size = 0
    try:
        async for piece in pieces(source):
            size += len(piece)
            if size > limit:
                raise TooLarge(f"Cannot take the image data: it is larger than the limit of {limit} bytes.")
            if feeding is not None:
                await feeding
            # the next piece comes in while this one is hashed
            feeding = asyncio.create_task(filesystem.in_thread(writer.feed, piece))
        if feeding is not None:
            await feeding
        return await filesystem.in_thread(writer.finish)
    finally:
        if feeding is not None:
            await asyncio.wait([feeding])
        await filesystem.in_thread(writer.close)


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
