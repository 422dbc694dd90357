"""From folders to a disk: MBR, a FAT partition that boots, an ext4 root that grows, all without a mount.

Why: mke2fs, mtools and SYSLINUX can write into a file at an offset, so neither loop devices nor a running virtual
machine are needed. The boot partition lies first on the disk but is the second by number: the root file system is
vda1 *and* the last one, so that it can grow with the flavor. Called by the package's `build_tiny`.
"""

from __future__ import annotations

import asyncio
import gzip
import os
from pathlib import Path

from minicloud.guest.recipe import FOLDER
from minicloud.guest.tree import Trees
from minicloud.host.run import run

MIB = 1024 * 1024
SECTOR = 512
BOOT_START = 1 * MIB
MASTER_BOOT_RECORD = Path("/usr/lib/SYSLINUX/mbr.bin")
DISK_ID = "0x74696e79"
LABEL = "tiny-root"
"""What the initial RAM disk looks for."""


async def write(trees: Trees, work: Path, target: Path, *, size: int = 64 * MIB) -> None:
    """Make the qcow2 image `target` of `size` bytes out of the trees; `work` holds what lies in between."""
    initrd = work / "initrd.gz"
    await _pack_initrd(trees.initrd, initrd)
    # kernel, initrd and loader, with some air for the FAT's own tables
    boot_size = _round_up(trees.vmlinuz.stat().st_size + initrd.stat().st_size + MIB // 2, MIB)
    raw = work / "disk.raw"
    with raw.open("wb") as disk:
        disk.truncate(size)
    await _partition(raw, boot_size)
    await _write_boot(raw, boot_size, trees.vmlinuz, initrd)
    await _write_root(raw, BOOT_START + boot_size, size - BOOT_START - boot_size, trees.root)
    # not compressed: each boot would inflate whole clusters for the small reads of the BIOS
    await run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(target)], what="write the qcow2 image")


async def _pack_initrd(tree: Path, target: Path) -> None:
    names = sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))
    archive = target.with_suffix(".cpio")
    await run(
        ["cpio", "--quiet", "-o", "-H", "newc", "-F", str(archive)],
        stdin="\n".join(names).encode(),
        cwd=str(tree),
        what="pack the initial RAM disk",
    )

    def compress() -> None:
        target.write_bytes(gzip.compress(archive.read_bytes(), compresslevel=9, mtime=0))

    await asyncio.to_thread(compress)


async def _partition(raw: Path, boot_size: int) -> None:
    boot_start, boot_sectors = BOOT_START // SECTOR, boot_size // SECTOR
    table = (
        f"label: dos\nlabel-id: {DISK_ID}\n"
        f"1 : start={boot_start + boot_sectors}, type=83\n"
        f"2 : start={boot_start}, size={boot_sectors}, type=c, bootable\n"
    )
    await run(["sfdisk", "-q", "--no-tell-kernel", str(raw)], stdin=table.encode(), what="partition the image")

    def boot_code() -> None:
        # the partition table begins at byte 440; the code must not reach it
        code = MASTER_BOOT_RECORD.read_bytes()[:440]
        descriptor = os.open(raw, os.O_WRONLY)
        try:
            os.pwrite(descriptor, code, 0)
        finally:
            os.close(descriptor)

    await asyncio.to_thread(boot_code)


async def _write_boot(raw: Path, size: int, vmlinuz: Path, initrd: Path) -> None:
    start = BOOT_START // SECTOR
    # -h: SYSLINUX finds itself by the number of sectors before the partition; the count is in KiB
    make = ["mkfs.fat", "-F", "16", "-n", "TINYBOOT", "-i", "74696e79", "-h", str(start), "--offset", str(start)]
    await run([*make, str(raw), str(size // 1024)], what="make the boot file system")
    image = f"{raw}@@{BOOT_START}"
    for source, name in ((vmlinuz, "vmlinuz"), (initrd, "initrd"), (FOLDER / "syslinux.cfg", "syslinux.cfg")):
        await run(["mcopy", "-i", image, str(source), f"::/{name}"], what=f"copy {name} onto the boot file system")
    await run(["syslinux", "--install", "--offset", str(BOOT_START), str(raw)], what="make the image bootable")


async def _write_root(raw: Path, start: int, size: int, tree: Path) -> None:
    # fixed uuid and hash seed: the same recipe gives the same bytes but for time stamps
    uuid = "74696e79-0000-4000-8000-000000000001"
    make = ["mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-I", "256", "-i", "8192", "-m", "1", "-J", "size=4"]
    name = ["-L", LABEL, "-U", uuid]
    extended = f"offset={start},hash_seed={uuid},lazy_itable_init=1,nodiscard"
    await run(
        [*make, *name, "-E", extended, "-d", str(tree), str(raw), f"{size // 1024}k"],
        what="make the root file system",
    )


def _round_up(value: int, unit: int) -> int:
    return (value + unit - 1) // unit * unit
