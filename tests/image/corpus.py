"""Disks that nobody vetted: each format whole, and spoiled in each way that a stranger may think of.

Made at test time by qemu-img and by hand; nothing is shipped. `SECRET` stands in a file of the host that hostile disks point at.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from minicloud.host import config_drive
from minicloud.host.run import run

SECRET = b"root:x:0:0:the host's own secret"
SIZE = 8 * 1024**2
QEMU = {"qcow2": "qcow2", "vmdk": "vmdk", "vdi": "vdi", "vhd": "vpc", "vhdx": "vhdx"}
OPTIONS = {"vhd": ["-o", "force_size=on"]}
CONTENT = b"a disk's content " * 5000


@dataclass(frozen=True)
class Hostile:
    """A spoiled disk: `refused` must not be taken; otherwise it may be, if nothing comes of it."""

    name: str
    format: str
    spoil: Callable[[bytes, Path], bytes]
    refused: bool = True


async def plain(folder: Path, format: str, *, options: tuple[str, ...] = ()) -> bytes:
    """A whole disk of a format, with content in it."""
    source, target = folder / "source.raw", folder / f"plain.{format}"
    with source.open("wb") as file:
        file.write(CONTENT)
        file.truncate(SIZE)
    if format == "raw":
        return source.read_bytes()
    if format == "iso":
        config_drive.write(target, {"a/file": b"content"})
        return target.read_bytes()
    argv = ["qemu-img", "convert", "-f", "raw", "-O", QEMU[format], *(options or OPTIONS.get(format, ()))]
    await run([*argv, str(source), str(target)])
    return target.read_bytes()


def sparse_vmdk() -> bytes:
    """A sparse VMDK's header and description, as far as readers of headers look."""
    text = b'# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="monolithicSparse"\n'
    text += b'RW 2048 SPARSE "disk.vmdk"\n'
    head = struct.pack("<4sIIQQQQIQQQB", b"KDMV", 1, 3, 2048, 128, 1, 20, 512, 21, 26, 128, 0)
    return head.ljust(512, b"\0") + text.ljust(20 * 512, b"\0") + bytes(107 * 512)


def at(offset: int, value: bytes) -> Callable[[bytes, Path], bytes]:
    """Other bytes at an offset (from the end, if negative)."""

    def spoil(data: bytes, secret: Path) -> bytes:
        place = offset if offset >= 0 else len(data) + offset
        return data[:place] + value + data[place + len(value) :]

    return spoil


def cut(share: float) -> Callable[[bytes, Path], bytes]:
    """Only the first part of it."""
    return lambda data, secret: data[: int(len(data) * share)]


def backing(prefix: bytes = b"") -> Callable[[bytes, Path], bytes]:
    """A qcow2 whose header names a backing file."""

    def spoil(data: bytes, secret: Path) -> bytes:
        name = prefix + str(secret).encode()
        spoiled = bytearray(data)
        spoiled[8:20] = struct.pack(">QI", 1024, len(name))
        spoiled[1024 : 1024 + len(name)] = name
        return bytes(spoiled)

    return spoil


def descriptor(kind: str, extent: str) -> Callable[[bytes, Path], bytes]:
    """A VMDK that is only a description, whose data lies in another file."""

    def spoil(data: bytes, secret: Path) -> bytes:
        lines = ("# Disk DescriptorFile", "version=1", "CID=12345678", "parentCID=ffffffff", f'createType="{kind}"')
        return "\n".join((*lines, extent.format(secret), "")).encode().ljust(2048, b"\0")

    return spoil


def embedded(extent: str) -> Callable[[bytes, Path], bytes]:
    """A sparse VMDK whose embedded description names another extent."""

    def spoil(data: bytes, secret: Path) -> bytes:
        begin = data.index(b"RW ")
        end = data.index(b"\n", begin)
        line = extent.format(secret).encode()
        room = data.index(b"\0", end)
        text = data[begin:room].replace(data[begin:end], line)
        return data[:begin] + text + data[begin + len(text) :]

    return spoil


def with_iso(data: bytes, secret: Path) -> bytes:
    """The same file is a CD as well."""
    spoiled = bytearray(data.ljust(64 * 1024, b"\0"))
    spoiled[32769:32774] = b"CD001"
    return bytes(spoiled)


def with_parent(data: bytes, secret: Path) -> bytes:
    """A VHD that is the difference to another one."""
    name = str(secret).encode("utf-16-be")
    spoiled = bytearray(data)
    spoiled[60:64] = struct.pack(">I", 4)
    spoiled[512 + 64 : 512 + 64 + len(name)] = name
    return bytes(spoiled)


HOSTILE = [
    Hostile("a backing file", "qcow2", backing()),
    Hostile("a backing file by JSON", "qcow2", backing(b'json:{"driver":"raw","file.filename":"x"}')),
    Hostile("a backing file over the network", "qcow2", backing(b"nbd://127.0.0.1")),
    Hostile("an external data file", "qcow2", at(72, struct.pack(">Q", 4))),
    Hostile("unknown features", "qcow2", at(72, struct.pack(">Q", 1 << 40))),
    Hostile("encryption", "qcow2", at(32, struct.pack(">I", 2))),
    Hostile("a huge table of tables", "qcow2", at(36, struct.pack(">I", 0xFFFFFFFF))),
    Hostile("a huge table of reference counts", "qcow2", at(56, struct.pack(">I", 0xFFFFFFFF))),
    Hostile("clusters of 2 GiB", "qcow2", at(20, struct.pack(">I", 31))),
    Hostile("an exabyte", "qcow2", at(24, struct.pack(">Q", 1 << 60))),
    Hostile("a backing name beyond the file", "qcow2", at(8, struct.pack(">QI", 1 << 50, 1023))),
    Hostile("a version of the future", "qcow2", at(4, struct.pack(">I", 9))),
    Hostile("a flat extent", "vmdk", descriptor("monolithicFlat", 'RW 16384 FLAT "{}" 0')),
    Hostile("a flat extent of many", "vmdk", descriptor("twoGbMaxExtentFlat", 'RW 16384 FLAT "{}" 0')),
    Hostile("a device", "vmdk", descriptor("fullDevice", 'RW 16384 FLAT "{}" 0')),
    Hostile("a flat extent in a sparse file", "vmdk", embedded('RW 16384 FLAT "{}" 0')),
    Hostile("an extent of another file", "vmdk", embedded('RW 16384 SPARSE "{}"')),
    Hostile("petabytes", "vmdk", at(12, struct.pack("<Q", 1 << 42))),
    Hostile("grains of 2 TiB", "vmdk", at(20, struct.pack("<Q", 1 << 32))),
    Hostile("a description of 8 EiB", "vmdk", at(36, struct.pack("<Q", 1 << 53))),
    Hostile("petabytes", "vdi", at(0x170, struct.pack("<Q", 1 << 50))),
    Hostile("blocks without end", "vdi", at(0x180, struct.pack("<I", 0xFFFFFFFF))),
    Hostile("a parent", "vhd", with_parent, refused=False),
    Hostile("petabytes", "vhd", at(48, struct.pack(">Q", 1 << 50)), refused=False),
    Hostile("a table of nothing", "vhd", at(512 + 28, struct.pack(">I", 0xFFFFFFFF)), refused=False),
    Hostile("a damaged table of regions", "vhdx", at(192 * 1024, b"\0" * 64)),
    Hostile("regions beyond the end", "vhdx", at(192 * 1024 + 32, struct.pack("<Q", 1 << 60)), refused=False),
    *(
        Hostile(f"only {share:.0%} of it", format, cut(share), refused=format == "qcow2" or share < 0.001)
        for format in QEMU
        for share in (0.0001, 0.01, 0.5)
    ),
    *(Hostile("no magic", format, at(0, b"\0" * 128)) for format in ("qcow2", "vmdk", "vdi", "vhdx")),
    *(Hostile("another's magic", format, at(0, b"conectix")) for format in ("qcow2", "vdi", "vmdk")),
    *(Hostile("a CD as well", format, with_iso) for format in ("qcow2", "vmdk", "vdi", "vhd")),
]
