"""Disk files of the fake host: real, sparse files with truthful headers, made without qemu-img.

Sizes, formats and backing files are as on a real host and live in the files themselves. What differs: `convert` and
`Hypervisor.copy_disk` don't carry content from one format into another, as no guest ever reads it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from minicloud.core.errors import HostFailure
from minicloud.host import config_drive, filesystem, qcow2
from minicloud.host.disks import Inspected, Space
from minicloud.host.fake.world import World


class FakeDisks:
    """`Disks` in plain Python; each effect is a step of `world` ("disks.create", subject: the file's name)."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def inspect(self, path: Path, *, format: str) -> Inspected:
        """As promised; formats beside raw and qcow2 by oslo.utils' readers, which run in this process."""
        async with self._world.step("disks.inspect", path.name):
            with filesystem.told("read the disk", path):
                return await filesystem.in_thread(inspected, path, format)

    async def create(self, path: Path, *, format: str, size: int) -> None:
        """As promised."""
        await self._make("create", path, format=format, size=size)

    async def overlay(self, path: Path, *, base: Path, base_format: str, size: int) -> None:
        """As promised."""
        with filesystem.told("read the disk", base):
            least = (await filesystem.in_thread(inspected, base, base_format)).virtual_size
        if size < least:
            raise HostFailure(f"Cannot make the disk {path.name}: {size} bytes are less than its base's {least}.")
        async with self._world.step("disks.overlay", path.name), filesystem.draft(path, what="make the disk") as draft:
            await filesystem.in_thread(
                qcow2.write_blank, draft, size=size, backing=base.absolute(), backing_format=base_format
            )

    async def copy(self, source: Path, target: Path) -> None:
        """As promised, content and all."""
        async with (
            self._world.step("disks.copy", target.name),
            filesystem.draft(target, what="copy to the disk") as draft,
        ):
            await filesystem.in_thread(filesystem.copy, source, draft)

    async def convert(
        self, source: Path, target: Path, *, source_format: str, target_format: str, limit: int | None = None
    ) -> None:
        """As promised for size and format, within any limit; raw to raw keeps the content."""
        if source_format == target_format == "raw":
            await self.copy(source, target)
            return
        with filesystem.told("read the disk", source):
            seen = await filesystem.in_thread(inspected, source, source_format)
        await self._make("convert", target, format=target_format, size=seen.virtual_size)

    async def resize(self, path: Path, *, format: str, size: int) -> None:
        """As promised."""
        async with self._world.step("disks.resize", path.name):
            with filesystem.told("grow the disk", path):
                await filesystem.in_thread(grow, path, format, size)

    async def remove(self, path: Path) -> None:
        """As promised."""
        async with self._world.step("disks.remove", path.name):
            with filesystem.told("remove", path):
                await filesystem.in_thread(filesystem.remove, path)

    async def config_drive(self, path: Path, files: Mapping[str, bytes]) -> None:
        """As promised: the same image as on a real host."""
        what = "make the config drive"
        async with self._world.step("disks.config_drive", path.name), filesystem.draft(path, what=what) as draft:
            await filesystem.in_thread(config_drive.write, draft, files)

    async def actual(self, folder: Path) -> frozenset[str]:
        """As promised."""
        with filesystem.told("list the folder", folder):
            return await filesystem.in_thread(filesystem.names, folder)

    async def space(self, folder: Path) -> Space:
        """As promised: of the real file system."""
        with filesystem.told("measure the folder", folder):
            usage = await filesystem.in_thread(shutil.disk_usage, folder)
        return Space(total=usage.total, free=usage.free)

    async def _make(self, verb: str, path: Path, *, format: str, size: int) -> None:
        async with self._world.step(f"disks.{verb}", path.name), filesystem.draft(path, what="make the disk") as draft:
            await filesystem.in_thread(blank, draft, format, size)


def inspected(path: Path, format: str) -> Inspected:
    """What the file says of itself when read as `format`; blocking."""
    status = os.stat(path)
    actual = status.st_blocks * 512
    if format == "raw":
        return Inspected(format=format, virtual_size=status.st_size, actual_size=actual)
    if format == "qcow2":
        header = qcow2.read(path)
        return Inspected(
            format=format,
            virtual_size=header.virtual_size,
            actual_size=actual,
            backing_file=header.backing_file,
            data_file="external" if header.external_data else None,
        )
    from oslo_utils.imageutils import format_inspector

    try:
        reader = format_inspector.get_inspector(format)
        found = reader.from_file(str(path)) if reader is not None else None
    except format_inspector.ImageFormatError as error:
        raise HostFailure(f"Cannot read the disk {path.name} as {format}.", detail=str(error)) from error
    if found is None or not found.format_match:
        raise HostFailure(f"Cannot read the disk {path.name} as {format}.")
    return Inspected(format=format, virtual_size=found.virtual_size, actual_size=actual)


def blank(path: Path, format: str, size: int) -> None:
    """Write a disk without content; blocking."""
    if format == "qcow2":
        qcow2.write_blank(path, size=size)
        return
    if format != "raw":
        raise HostFailure(f"Cannot make the disk {path.name}: the fake host writes raw and qcow2 only, not {format}.")
    with path.open("wb") as file:
        file.truncate(size)


def grow(path: Path, format: str, size: int) -> None:
    """Grow a disk in place; blocking. Raises `HostFailure` if it is larger already."""
    now = inspected(path, format).virtual_size
    if size < now:
        raise HostFailure(f"Cannot grow the disk {path.name} to {size} bytes: it has {now} already.")
    if format == "qcow2":
        qcow2.set_size(path, size)
        return
    os.truncate(path, size)
