"""What the tables of a qcow2 say about its clusters: whether the file is whole, and whether machines read it fast.

Neither the header nor `qemu-img info` tells that a file was cut off: QEMU reads what is missing as zeros. Reads tables
only, each once, so the work is bounded by the file (qemu docs/interop/qcow2.txt). Blocking; called on threads.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_HEADER = struct.Struct(">4sIQIIQIIQ")
_FEATURES_OFFSET = 72
_DIRTY = 1
_COMPRESSED = 1 << 62
_OFFSET = 0x00FFFFFFFFFFFE00


@dataclass(frozen=True, slots=True)
class Survey:
    """`whole`: every cluster lies inside the file; `plain`: none is compressed and no feature is used that would need
    a closer look."""

    whole: bool
    plain: bool


def survey(path: Path) -> Survey:
    """Look at every cluster descriptor of a qcow2 whose header was checked before."""
    with path.open("rb", 0) as file:
        size = file.seek(0, 2)
        file.seek(0)
        head = file.read(104)
        _, version, _, _, cluster_bits, _, _, l1_entries, l1_offset = _HEADER.unpack_from(head)
        if version >= 3 and struct.unpack_from(">Q", head, _FEATURES_OFFSET)[0] & ~_DIRTY:
            return Survey(whole=True, plain=False)
        cluster = 1 << cluster_bits
        tables = {entry & _OFFSET for entry in _entries(file, l1_offset, 8 * l1_entries)} - {0}
        plain = True
        for table in tables:
            if table % cluster or table + cluster > size:
                return Survey(whole=False, plain=False)
            for entry in _entries(file, table, cluster):
                if entry & _COMPRESSED:
                    plain = False
                    begin = entry & ((1 << (62 - (cluster_bits - 8))) - 1)
                    if begin >= size:
                        return Survey(whole=False, plain=False)
                elif entry & _OFFSET >= size:
                    return Survey(whole=False, plain=False)
    return Survey(whole=True, plain=plain)


def _entries(file: IO[bytes], offset: int, length: int) -> list[int]:
    file.seek(offset)
    raw = file.read(length)
    return [entry for (entry,) in struct.iter_unpack(">Q", raw[: len(raw) // 8 * 8])]
