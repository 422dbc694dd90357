"""The few bytes of a qcow2 header that we read and write ourselves (layout: docs/interop/qcow2.txt of QEMU).

Reading serves the quick question "how large is this base?" without starting a process; writing serves the fake disks,
which make files that stock tools accept. Anything beyond the header is qemu-img's business.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from minicloud.core.errors import HostFailure

MAGIC = b"QFI\xfb"
CLUSTER_BITS = 16
CLUSTER = 1 << CLUSTER_BITS
_HEADER = struct.Struct(">4sIQIIQIIQQIIQQQQII")
_HEADER_V2 = struct.Struct(">4sIQIIQ")
_EXTENSION = struct.Struct(">II")
_BACKING_FORMAT = 0xE2792ACA
_EXTERNAL_DATA_FILE = 1 << 2
_SIZE_OFFSET = 24
_LONGEST_BACKING_NAME = 1023


@dataclass(frozen=True, slots=True)
class Qcow2Header:
    """What a header says: size in bytes as the guest sees it, the file beneath, whether data lies in another file."""

    virtual_size: int
    backing_file: str | None
    external_data: bool


def read(path: Path) -> Qcow2Header:
    """The header of `path`; raises `HostFailure` if it is no qcow2 or its backing name points outside the format."""
    with path.open("rb") as file:
        head = file.read(_HEADER.size)
        if len(head) < _HEADER_V2.size or not head.startswith(MAGIC):
            raise HostFailure(f"Cannot read the disk {path.name}: it is not a qcow2 image.")
        _, version, backing_offset, backing_size, _, virtual_size = _HEADER_V2.unpack_from(head)
        if version not in (2, 3):
            raise HostFailure(f"Cannot read the disk {path.name}: qcow2 version {version} is unknown.")
        incompatible = _HEADER.unpack(head)[13] if version == 3 and len(head) == _HEADER.size else 0
        if backing_size > _LONGEST_BACKING_NAME:
            raise HostFailure(f"Cannot read the disk {path.name}: its header is damaged.")
        backing = None
        if backing_offset:
            file.seek(backing_offset)
            backing = file.read(backing_size).decode("utf-8", "replace")
    return Qcow2Header(virtual_size, backing, bool(incompatible & _EXTERNAL_DATA_FILE))


def write_blank(path: Path, *, size: int, backing: Path | None = None, backing_format: str = "") -> None:
    """Write an image without data clusters: all zeros, or all of `backing`. Clusters: header, refcount table,
    refcount block, then the table of tables (L1)."""
    entries = -(-size // (CLUSTER * CLUSTER // 8))
    l1_clusters = max(1, -(-entries * 8 // CLUSTER))
    extensions, name = b"", b""
    if backing is not None:
        word = backing_format.encode()
        extensions = _EXTENSION.pack(_BACKING_FORMAT, len(word)) + word.ljust(-(-len(word) // 8) * 8, b"\0")
        name = str(backing).encode()
    extensions += _EXTENSION.pack(0, 0)
    name_offset = _HEADER.size + len(extensions) if name else 0
    header = _HEADER.pack(
        MAGIC, 3, name_offset, len(name), CLUSTER_BITS, size, 0, entries, 3 * CLUSTER, CLUSTER, 1, 0, 0, 0, 0, 0, 4,
        _HEADER.size,
    )  # fmt: skip
    used = 3 + l1_clusters
    with path.open("wb") as file:
        file.write(header + extensions + name)
        file.seek(CLUSTER)
        file.write(struct.pack(">Q", 2 * CLUSTER))
        file.seek(2 * CLUSTER)
        file.write(struct.pack(">H", 1) * used)
        file.truncate(used * CLUSTER)


def set_size(path: Path, size: int) -> None:
    """Change the size that the header tells, nothing else: for the fake disks, whose images no machine opens."""
    with path.open("r+b") as file:
        file.seek(_SIZE_OFFSET)
        file.write(struct.pack(">Q", size))
