"""Files that are whole or not there: draft, fsync, rename; sparse copies; listings. Nothing here knows of formats.

Both the real and the fake disks stand on it, so that they can't differ in what a kill leaves behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

from minicloud.core.errors import Failure, HostFailure, Unavailable
from minicloud.core.files import make_folder

P = ParamSpec("P")
R = TypeVar("R")

FICLONE = 0x40049409
"""ioctl_ficlone(2): share all blocks of another file; btrfs, xfs and others can."""
DRAFT_LIFE = 3600.0
"""Seconds without a write after which a draft is what a killed daemon left."""
PIECE = 16 * 1024 * 1024
FOLDER_MODE = 0o711
"""The hypervisor's unprivileged user passes through, but can't list."""

_POOL = ThreadPoolExecutor(max_workers=4, thread_name_prefix="files")


async def in_thread(what: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
    """Run blocking file work in our own threads; see `finished` for what a cancellation does."""
    return await finished(lambda: what(*args, **kwargs), pool=_POOL)


async def finished(what: Callable[[], R], *, pool: Executor) -> R:
    """Run `what` in `pool` to its end. A cancelled caller leaves only after that end: what comes next (taking it
    back) must not meet a call that is still at work."""
    work = asyncio.get_running_loop().run_in_executor(pool, what)
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        while not work.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([work])
        if not work.cancelled():
            work.exception()  # looked at, so that the loop does not complain about an error nobody asked for
        raise


@contextlib.asynccontextmanager
async def draft(path: Path, *, what: str, mode: int = 0o600) -> AsyncIterator[Path]:
    """A free name beside `path` for the body to fill; afterwards it is `path`, or, after any error, nothing.

    Args:
        what: for messages: "make the disk".
        mode: permissions of the finished file.

    Raises:
        Unavailable: the file system is full.
        HostFailure: any other `OSError` of the body.
    """
    name = path.parent / f".{path.name[:180]}.{secrets.token_hex(4)}.new"
    try:
        with told(what, path):
            await in_thread(_make_folder, path.parent)
            yield name
            await in_thread(_publish, name, path, mode)
    except BaseException:
        await in_thread(name.unlink, missing_ok=True)
        raise


@contextlib.contextmanager
def told(what: str, path: Path) -> Iterator[None]:
    """Turn an `OSError` of the body into our words."""
    try:
        yield
    except OSError as error:
        raise failure_of(error, what=what, path=path) from error


def failure_of(error: OSError, *, what: str, path: Path) -> Failure:
    """The kind and the sentence for an `OSError` while doing `what` to `path`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Unavailable(f"Cannot {what} {path.name}: the host's disk is full.", retry_after=60)
    reason = os.strerror(error.errno) if error.errno else type(error).__name__
    return HostFailure(f"Cannot {what} {path.name}: {reason}.", detail=f"{path}: {error}")


def copy(source: Path, target: Path) -> None:
    """Copy a file's content: by reference where the file system can, else only the parts that hold data."""
    with source.open("rb") as origin, target.open("wb") as copied:
        try:
            fcntl.ioctl(copied.fileno(), FICLONE, origin.fileno())
            return
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS):
                raise
        _copy_data(origin.fileno(), copied.fileno())


def _copy_data(origin: int, copied: int) -> None:
    size = os.fstat(origin).st_size
    os.truncate(copied, size)
    place = 0
    while place < size:
        try:
            start = os.lseek(origin, place, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        place = os.lseek(origin, start, os.SEEK_HOLE)
        _copy_piece(origin, copied, start, place)


def _copy_piece(origin: int, copied: int, start: int, end: int) -> None:
    while start < end:
        count = min(PIECE, end - start)
        try:
            moved = os.copy_file_range(origin, copied, count, start, start)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            moved = os.pwrite(copied, os.pread(origin, min(count, 1024 * 1024), start), start)
        if moved == 0:  # the file became shorter meanwhile
            return
        start += moved


def remove(path: Path) -> None:
    """Delete a file or a folder with everything in it; nothing there is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
        return
    path.unlink(missing_ok=True)


def names(folder: Path) -> frozenset[str]:
    """Names in a folder without drafts; drafts that nobody writes to any more are removed."""
    found = set()
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return frozenset()
    for entry in entries:
        if not (entry.name.startswith(".") and entry.name.endswith(".new")):
            found.add(entry.name)
            continue
        with contextlib.suppress(FileNotFoundError):
            if time.time() - entry.stat(follow_symlinks=False).st_mtime > DRAFT_LIFE:
                os.unlink(entry.path)
    return frozenset(found)


def sync_folder(folder: Path) -> None:
    """Make names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _make_folder(folder: Path) -> None:
    make_folder(folder, mode=FOLDER_MODE)


def _publish(name: Path, path: Path, mode: int) -> None:
    handle = os.open(name, os.O_RDWR)
    try:
        os.fchmod(handle, mode)
        os.fsync(handle)
    finally:
        os.close(handle)
    os.replace(name, path)
    sync_folder(path.parent)


def tail(path: Path, count: int) -> bytes:
    """The last `count` bytes of a file; empty if there is no file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - count))
            return file.read(count)
    except FileNotFoundError:
        return b""
