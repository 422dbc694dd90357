"""Images that are built once and kept: a folder, a name with a hash in it, one build at a time.

Why: a build costs from seconds to minutes, and a demo, a test run and a person may all ask at the same moment. Called by
`tiny` and `debian` of this package.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from minicloud.core.errors import Forbidden
from minicloud.host.run import program

Progress = Callable[[str], None]
HERE = Path(__file__).parent


async def kept(cache: Path, name: str, fingerprint: str, build: Callable[[Path], Awaitable[None]]) -> Path:
    """The path of `<name>-<fingerprint>.qcow2` in `cache`; `build(path)` makes it unless it is there.

    Processes that ask at the same time wait for one build. Older images stay: a disk may still be backed by one.
    """
    target = cache / f"{name}-{fingerprint}.qcow2"
    if target.exists():
        return target
    cache.mkdir(parents=True, exist_ok=True)
    lock = os.open(cache / f".{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
        if not target.exists():
            await build(target)
    finally:
        os.close(lock)
    return target


async def made(
    target: Path, name: str, programs: Iterable[str], make: Callable[[Path], Awaitable[Path]], *, progress: Progress
) -> None:
    """Put the file that `make(work)` leaves in the folder `work` at `target`, in one step; the folder goes.

    Raises:
        Forbidden: not root; owners and set-uid bits of the guest's files could not be kept.
        Unavailable: one of `programs` is not installed.
    """
    if os.geteuid() != 0:
        raise Forbidden(f"Cannot build the {name} image: only root may, to keep owners and set-uid bits; use sudo.")
    for one in programs:
        program(one)
    # beside the target: the last step is a rename within one file system
    work = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=target.parent))
    try:
        image = await make(work)
        image.chmod(0o644)
        image.replace(target)
    finally:
        await asyncio.to_thread(shutil.rmtree, work)
    progress(f"Built {target.name}, {target.stat().st_blocks * 512 / 1024**2:.1f} MiB")


def hashed(first: str, paths: Iterable[Path]) -> str:
    """Twelve hexadecimal digits that change with `first` and with the name and content of each file."""
    digest = hashlib.sha256(first.encode())
    for path in paths:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(HERE)} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()[:12]


def files(folder: Path) -> list[Path]:
    """All files below a folder, in order."""
    return sorted(path for path in folder.rglob("*") if path.is_file())
