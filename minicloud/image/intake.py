"""Bytes on their way into a file: written and hashed by threads while the next ones come in.

Why: MD5 and SHA-512, which the wire demands of every image, cost several times what receiving and writing does. So each
stream has two lanes, one that writes and makes the MD5, one that makes the SHA-512; both run without the interpreter's
lock, on two processors if there are two. A stream owns a handful of buffers that are filled again and again: that
bounds its memory, and nothing is allocated while gigabytes pass. Called by `blobs`.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from minicloud.host import filesystem
from minicloud.image.formats import Inspection

SMALL, LARGE = 128 * 1024, 512 * 1024
"""A buffer's size: large ones cost a fifth less time; where many streams come in at once they are small."""
FEW = 4
"""Streams at once that have large buffers."""
PIECES = 3
"""Buffers of a stream: one that is filled, the others being written and hashed."""
ZEROS = {size: bytes(size) for size in (SMALL, LARGE)}
MODE = 0o444
_THREADS = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 2), thread_name_prefix="image-bytes")

_open: set[int] = set()
"""Streams that come in now, by the identity of their intake."""


@dataclass(frozen=True, slots=True)
class Blob:
    """What was written: bytes, MD5, SHA-512, and the size of the disk in it (None: it is no disk)."""

    size: int
    checksum: str
    hash_value: str
    virtual_size: int | None


@dataclass(slots=True)
class _Piece:
    """A buffer, how much of it is filled, and how many lanes still need it."""

    buffer: bytearray
    size: int = 0
    lanes: int = 0


class _Lane:
    """One kind of work on a stream's pieces: in their order, each on whatever thread is free."""

    def __init__(self, work: Callable[[_Piece], None], done: Callable[[_Piece], None]) -> None:
        self._work, self._done = work, done
        self._waiting: deque[_Piece] = deque()
        self._lock = threading.Lock()
        self._at_work = False
        self.error: Exception | None = None

    def put(self, piece: _Piece) -> None:
        """Have the next piece worked on."""
        with self._lock:
            self._waiting.append(piece)
            if self._at_work:
                return
            self._at_work = True
        _THREADS.submit(self._run)

    def _run(self) -> None:
        """One piece, then other streams' turn."""
        piece = self._waiting[0]
        if self.error is None:
            try:
                self._work(piece)
            except Exception as error:  # raised to whoever feeds the stream
                self.error = error
        with self._lock:
            self._waiting.popleft()
            self._at_work = more = bool(self._waiting)
        self._done(piece)
        if more:
            _THREADS.submit(self._run)


class Intake:
    """Takes one stream into a new file.

    `take` belongs to the event loop; making one, `finish` and `close` block and are called on a thread.
    """

    def __init__(self, path: Path, inspection: Inspection | None, loop: asyncio.AbstractEventLoop) -> None:
        path.parent.mkdir(mode=filesystem.FOLDER_MODE, parents=True, exist_ok=True)
        self._file: IO[bytes] = path.open("wb", buffering=0)
        self._inspection, self._loop = inspection, loop
        self._md5, self._sha512 = hashlib.md5(usedforsecurity=False), hashlib.sha512()
        self._lanes: tuple[_Lane, ...] = (_Lane(self._keep, self._worked), _Lane(self._hash, self._worked))
        _open.add(id(self))
        self._length = LARGE if len(_open) <= FEW else SMALL
        self._piece = _Piece(bytearray(self._length))
        self._free: list[_Piece] = []
        self._made = 1
        self._busy = 0
        self._resting = threading.Condition()
        self._awaited: asyncio.Future[None] | None = None
        self.size = 0

    async def take(self, some: bytes) -> None:
        """The next bytes, of any length; waits while all buffers are being worked on. Raises what went wrong with earlier ones."""
        rest = memoryview(some)
        while rest:
            piece = self._piece
            count = min(self._length - piece.size, len(rest))
            piece.buffer[piece.size : piece.size + count] = rest[:count]
            piece.size += count
            self.size += count
            rest = rest[count:]
            if piece.size == self._length:
                self._send(piece)
                self._piece = await self._next()

    def finish(self) -> Blob:
        """All bytes were taken: they are on the disk, hashed and looked at.

        Raises:
            Invalid: the inspection refuses the content. OSError: the disk is full or broken.
        """
        if self._piece.size:
            self._send(self._piece)
        self._rest()
        self._raise_error()
        virtual_size = None if self._inspection is None else self._inspection.finish()
        self._file.truncate(self.size)
        os.fchmod(self._file.fileno(), MODE)
        os.fsync(self._file.fileno())
        return Blob(self.size, self._md5.hexdigest(), self._sha512.hexdigest(), virtual_size)

    def close(self) -> None:
        """Let the file go, after the last piece that is under way; after `finish` or instead of it."""
        self._rest()
        self._file.close()
        _open.discard(id(self))
        # lanes and intake know each other: without this the buffers would wait for a collection of garbage
        self._lanes, self._free = (), []
        self._piece.buffer = bytearray()

    # --- between the loop and the lanes --------------------------------------------------------------------------

    def _send(self, piece: _Piece) -> None:
        with self._resting:
            self._busy += 1
        piece.lanes = len(self._lanes)
        for lane in self._lanes:
            lane.put(piece)

    async def _next(self) -> _Piece:
        self._raise_error()
        if not self._free and self._made < PIECES:
            self._made += 1
            return _Piece(bytearray(self._length))
        while not self._free:
            self._awaited = self._loop.create_future()
            await self._awaited
        self._raise_error()
        return self._free.pop()

    def _worked(self, piece: _Piece) -> None:
        with self._resting:
            piece.lanes -= 1
            if piece.lanes:
                return
            self._busy -= 1
            self._resting.notify_all()
        self._loop.call_soon_threadsafe(self._freed, piece)

    def _freed(self, piece: _Piece) -> None:
        if not self._lanes:
            return
        piece.size = 0
        self._free.append(piece)
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_result(None)

    def _rest(self) -> None:
        with self._resting:
            self._resting.wait_for(lambda: not self._busy)

    def _raise_error(self) -> None:
        for lane in self._lanes:
            if lane.error is not None:
                raise lane.error

    # --- the lanes' work -----------------------------------------------------------------------------------------

    def _keep(self, piece: _Piece) -> None:
        if piece.size == self._length and piece.buffer == ZEROS[self._length]:  # holes stay holes
            self._file.seek(piece.size, os.SEEK_CUR)
        else:
            view = memoryview(piece.buffer)[: piece.size]
            while view:
                view = view[self._file.write(view) :]
        self._md5.update(memoryview(piece.buffer)[: piece.size])
        if self._inspection is not None:
            self._inspection.feed(memoryview(piece.buffer)[: piece.size])

    def _hash(self, piece: _Piece) -> None:
        self._sha512.update(memoryview(piece.buffer)[: piece.size])
