"""What an import finds around a disk, taken off: gzip, xz and zstd while the bytes stream by, and OVA packages.

Why: most projects publish their cloud images packed, and a machine boots none of them so. The first bytes decide, not
the name of the URL. Called by `imports`, whose limits of size count what comes out, so a bomb ends at the limit.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import IO, Protocol

from minicloud.core.errors import Invalid, TooLarge
from minicloud.host import filesystem
from minicloud.image.blobs import PIECE

HEAD = 512
"""Bytes that tell all that is told apart here (a tar's magic ends at 262)."""
PADDING = b"\0"
XZ_MEMORY = 256 * 1024**2
ZSTD_WINDOW = 27
"""Log of the largest window, 128 MiB: what `zstd -d` takes without being told."""
OVA_MEMBERS = 100
TAR_MAGIC, TAR_MAGIC_AT = b"ustar", 257


class Decoder(Protocol):
    """How the libraries unpack: bounded output, one member or frame each."""

    @property
    def eof(self) -> bool:
        """The end of the member was seen."""

    @property
    def needs_input(self) -> bool:
        """Nothing more comes without more input."""

    @property
    def unused_data(self) -> bytes:
        """What followed the member."""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """At most `max_length` bytes of output."""


class _Gzip:
    """zlib with the manners of the others."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


def _xz() -> Decoder:
    import lzma

    return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=XZ_MEMORY)


def _zstd() -> Decoder:
    from backports import zstd

    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW})


PACKINGS: dict[bytes, tuple[str, Callable[[], Decoder]]] = {
    b"\x1f\x8b\x08": ("gzip", _Gzip),
    b"\xfd7zXZ\0": ("xz", _xz),
    b"\x28\xb5\x2f\xfd": ("zstd", _zstd),
}
"""First bytes -> name and decoder."""


async def peeked(source: AsyncIterator[bytes]) -> tuple[bytes, AsyncIterator[bytes]]:
    """The first bytes of a stream, and the whole stream."""
    head = b""
    async for piece in source:
        head += piece
        if len(head) >= HEAD:
            break

    async def whole() -> AsyncIterator[bytes]:
        yield head
        async for piece in source:
            yield piece

    return head[:HEAD], whole()


def packing(head: bytes) -> str | None:
    """What the first bytes say the stream is packed with: "gzip", "xz", "zstd", or nothing of these."""
    return next((name for magic, (name, _) in PACKINGS.items() if head.startswith(magic)), None)


def is_tar(head: bytes) -> bool:
    """Whether the first bytes begin a tar, as an OVA is one."""
    return head[TAR_MAGIC_AT : TAR_MAGIC_AT + len(TAR_MAGIC)] == TAR_MAGIC


async def unpacked(source: AsyncIterator[bytes], name: str, *, limit: int) -> AsyncIterator[bytes]:
    """What comes out of a packed stream, in pieces of at most `PIECE` bytes; all members or frames after each other.

    Args:
        name: as `packing` told.
        limit: bytes of input that are taken; the output is bounded by who reads it.

    Raises:
        Invalid: it is damaged, cut off, followed by something else, or wants more memory than is given.
        TooLarge: more than `limit` bytes of input.
    """
    opened = next(opener for one, opener in PACKINGS.values() if one == name)
    decoder: Decoder = await filesystem.in_thread(opened)
    taken = 0
    async for data in source:
        taken += len(data)
        if taken > limit:
            raise TooLarge(f"Cannot take the image data: packed, it is larger than the limit of {limit} bytes.")
        while True:
            if decoder.eof:
                data = data.lstrip(PADDING)
                if not data:
                    break
                decoder = await filesystem.in_thread(opened)
            piece = await filesystem.in_thread(_step, decoder, data, name)
            data = b""
            if piece:
                yield piece
            if decoder.eof:
                data = decoder.unused_data
            elif decoder.needs_input:
                break
    if not decoder.eof:
        raise Invalid(f"Cannot take the image data: the {name} stream is cut off.")


def _step(decoder: Decoder, data: bytes, name: str) -> bytes:
    import lzma

    from backports import zstd

    try:
        return decoder.decompress(data, PIECE)
    except (zlib.error, lzma.LZMAError, zstd.ZstdError, EOFError, MemoryError) as error:
        raise Invalid(f"Cannot take the image data: the {name} stream is damaged ({error}).") from None


def disk_of_ova(package: Path, target: Path, *, limit: int) -> None:
    """Write the one disk of an OVA (a tar with a description and disks) to `target`; blocking.

    Raises:
        Invalid: it is damaged, or holds no disk or several. TooLarge: the disk is over `limit` bytes.
    """
    try:
        with tarfile.open(package, "r:") as tar:
            disks = []
            for number, member in enumerate(tar):
                if number >= OVA_MEMBERS:
                    raise Invalid(f"Cannot take the OVA: it holds more than {OVA_MEMBERS} files.")
                if member.isreg() and not member.issparse() and member.name.lower().endswith(".vmdk"):
                    disks.append(member)
            if len(disks) != 1:
                raise Invalid(f"Cannot take the OVA: it holds {len(disks)} disks (.vmdk), and an image is one disk.")
            if disks[0].size > limit:
                raise TooLarge(f"Cannot take the OVA: its disk is larger than the limit of {limit} bytes.")
            source = tar.extractfile(disks[0])
            if source is None:
                raise Invalid("Cannot take the OVA: its disk can't be read.")
            with target.open("wb", buffering=0) as file:
                _copy(source, file, disks[0].size)
    except (tarfile.TarError, EOFError, UnicodeError, ValueError, OverflowError) as error:
        raise Invalid(f"Cannot take the OVA: it is damaged ({error}).") from None


def _copy(source: IO[bytes], target: IO[bytes], size: int) -> None:
    while size:
        piece = source.read(min(PIECE, size))
        if not piece:
            raise Invalid("Cannot take the OVA: it is cut off within its disk.")
        target.write(piece)
        size -= len(piece)
