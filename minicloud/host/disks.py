"""What the cloud asks of disk files.

Pure: descriptions and the protocol. `host/real/disks.py` does it with qemu-img, FICLONE and pycdlib;
`host/fake/disks.py` with sparse files. Formats are always told, never guessed: bytes that a guest wrote are data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a file of a stated format says of itself; sizes in bytes. `backing_file` and `data_file` are refused above."""

    format: str
    virtual_size: int
    actual_size: int
    backing_file: str | None = None
    data_file: str | None = None


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes of the file system that holds a folder."""

    total: int
    free: int


class Disks(Protocol):
    """Makes and removes disk files. Sizes in bytes. Every call that makes a file writes a temporary name first and
    renames, so a file that exists is whole; parents are made. `remove` of nothing is no error. Raises `HostFailure`;
    a full disk raises `Unavailable` and leaves nothing.
    """

    async def inspect(self, path: Path, *, format: str) -> Inspected:
        """Read the header as `format` ("raw", "qcow2", "vmdk", ...), under limits of time and memory."""

    async def create(self, path: Path, *, format: str, size: int) -> None:
        """A new blank disk that reads as zeros."""

    async def overlay(self, path: Path, *, base: Path, base_format: str, size: int) -> None:
        """A qcow2 that shows `base` and keeps its own changes, grown to `size` (at least the base's)."""

    async def copy(self, source: Path, target: Path) -> None:
        """An independent copy in the same format: a reflink where the file system can, else a sparse copy."""

    async def convert(
        self, source: Path, target: Path, *, source_format: str, target_format: str, limit: int | None = None
    ) -> None:
        """An independent, flat image of the other format (no backing file stays). `TooLarge` if the file would get
        larger than `limit` bytes: a small file may unpack to a large one."""

    async def resize(self, path: Path, *, format: str, size: int) -> None:
        """Grow a disk that no machine has open; the new part reads as zeros."""

    async def remove(self, path: Path) -> None:
        """Delete a file, or a folder with everything in it."""

    async def config_drive(self, path: Path, files: Mapping[str, bytes]) -> None:
        """An ISO 9660 image labelled `config-2` holding `files` (relative POSIX path -> content)."""

    async def actual(self, folder: Path) -> frozenset[str]:
        """Names in `folder`; empty if it does not exist. Temporary names of ours are left out and, if old, removed."""

    async def space(self, folder: Path) -> Space:
        """Size and free bytes of the file system below `folder`."""
