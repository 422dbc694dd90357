"""Folders, and small files of the daemon's own (keys, certificates, clouds.yaml), written so that a power cut leaves the
old or the new."""

from __future__ import annotations

import os
from pathlib import Path


def make_folder(folder: Path, *, mode: int) -> None:
    """Have a folder; what is missing above it is made with its mode, too (mkdir's `parents` opens those to everybody)."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(mode=mode, exist_ok=True)


def write_whole(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Put a file in its place: under another name first, fsynced, renamed, the folder fsynced. Blocks for milliseconds.

    Args:
        mode: who may use it, from its first byte on.

    Raises:
        OSError: the disk is full, the folder is missing.
    """
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with open(handle, "wb") as file:
        os.fchmod(handle, mode)
        file.write(content)
        file.flush()
        os.fsync(handle)
    draft.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
