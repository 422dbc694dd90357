"""What the bytes of an image are decides, not what its record says.

`Inspection` looks at every byte as it streams by (OpenStack's own readers, in this process) and refuses content that is
not of the stated format, or that would make the machine open further files: backing files, external data files, VMDK extents.
Called by the blob writer, on a thread.
"""

from __future__ import annotations

import struct
from typing import IO, TYPE_CHECKING, cast

from minicloud.core.errors import Invalid

if TYPE_CHECKING:
    from oslo_utils.imageutils.format_inspector import FileInspector

DISK_FORMATS = ("ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop")
CONTAINER_FORMATS = ("ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed")
INSPECTED_CONTAINERS = ("bare", "ami", "ari", "aki")
"""Containers whose content is the disk itself; in the others it is a package that nothing here ever boots."""

PLAIN = frozenset({"raw", "gpt", "luks"})
"""What is just blocks to a machine that is told "raw"."""

FITTING = {
    "raw": PLAIN, "ami": PLAIN, "ari": PLAIN, "aki": PLAIN, "ploop": PLAIN,
    "iso": frozenset({"iso", "gpt"}),
}  # fmt: skip
"""Kinds of content that may stand under a disk format; any other format only under its own name."""

BEGINNING = 16 * 1024
_QCOW2 = struct.Struct(">4sIQIIQIIQQI")


class _Pipe:
    """The file that the readers believe to read: whatever was pushed last."""

    def __init__(self) -> None:
        self.piece: bytes | memoryview = b""

    def read(self, size: int) -> bytes | memoryview:
        return self.piece

    def close(self) -> None:
        self.piece = b""


class Inspection:
    """Looks at one image as it comes in.

    Args:
        disk_format, container_format: what its record says.
    """

    def __init__(self, *, disk_format: str, container_format: str) -> None:
        # imported late: the readers are needed by the first upload, not by the start
        from oslo_utils.imageutils import format_inspector

        self.disk_format = disk_format
        self.opaque = container_format not in INSPECTED_CONTAINERS
        self._pipe = _Pipe()
        self._reader = format_inspector.InspectWrapper(cast(IO[bytes], self._pipe))
        self._failure = format_inspector.ImageFormatError
        self._unsafe = format_inspector.SafetyCheckFailed
        self._head = b""
        self._size = 0

    def feed(self, piece: bytes | memoryview) -> None:
        """The next bytes; they may change after the call."""
        if len(self._head) < _QCOW2.size:
            self._head += bytes(piece[: _QCOW2.size])
        beginning = self._size == 0
        self._size += len(piece)
        if self.opaque:
            return
        # each of a dozen readers copies all of the piece that holds what it looks for, and most look at the beginning
        step = BEGINNING if beginning else len(piece)
        for start in range(0, len(piece), max(step, 1)):
            self._pipe.piece = piece[start : start + step]
            self._reader.read(step)
        self._pipe.piece = b""

    def finish(self) -> int | None:
        """All bytes were seen: the size of the disk as a machine sees it, None for packages.

        Raises:
            Invalid: the content is something else, damaged, or refers to files outside itself.
        """
        if self.opaque:
            return None
        self._reader.close()
        found = {one.NAME: one for one in self._reader.formats or []}
        wanted = FITTING.get(self.disk_format, frozenset({self.disk_format}))
        other = sorted(set(found) - wanted)
        if other or not found:
            raise Invalid(
                f"Cannot take the image data: it is {' and '.join(other) or 'nothing known'}, and the image's disk_format is "
                f"{self.disk_format}."
            )
        reader = found.get(self.disk_format)
        if self.disk_format in FITTING or reader is None:
            return self._size
        self._refuse_unsafe(reader)
        if self.disk_format == "qcow2":
            _refuse_truncated(self._head, self._size)
        try:
            return int(reader.virtual_size)
        except self._failure as error:
            raise Invalid(f"Cannot take the image data: its {self.disk_format} header is damaged ({error}).") from None

    def _refuse_unsafe(self, reader: FileInspector) -> None:
        try:
            reader.safety_check()
        except self._unsafe as error:
            checks = ", ".join(sorted(error.failures))
            raise Invalid(
                f"Cannot take the image data: this {self.disk_format} refers to other files or uses what is not safe "
                f"({checks}); flatten it first."
            ) from None
        except self._failure as error:
            raise Invalid(f"Cannot take the image data: it is no whole {self.disk_format} ({error}).") from None


def _refuse_truncated(head: bytes, size: int) -> None:
    """A qcow2 whose own tables lie beyond its end is cut off; one that is encrypted can't be booted."""
    if len(head) < _QCOW2.size:
        raise Invalid("Cannot take the image data: it is no whole qcow2 (its header is cut off).")
    *_, crypt, l1_entries, l1_offset, refcounts_offset, refcount_clusters = _QCOW2.unpack(head)
    cluster_bits = _QCOW2.unpack(head)[4]
    if not 9 <= cluster_bits <= 21:
        raise Invalid("Cannot take the image data: its qcow2 header is damaged (cluster size).")
    if crypt:
        raise Invalid("Cannot take the image data: this qcow2 is encrypted; decrypt it first.")
    if l1_offset + 8 * l1_entries > size or refcounts_offset + (refcount_clusters << cluster_bits) > size + (
        1 << cluster_bits
    ):
        raise Invalid("Cannot take the image data: it is no whole qcow2 (its tables lie beyond its end).")
