"""Disk files of this machine: qemu-img for formats, the file system for copies, pycdlib for config drives.

Every qemu-img call is told the format and runs under limits of time and memory, for it reads bytes that users and
guests wrote. New files are drafts until they are whole (`host/filesystem.py`).
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minicloud.core.errors import HostFailure, TooLarge, Unavailable
from minicloud.host import config_drive, filesystem, qcow2
from minicloud.host.disks import Inspected, Space
from minicloud.host.run import run

GIB = 1024**3
INSPECT_LIMITS = {resource.RLIMIT_AS: 1 * GIB, resource.RLIMIT_CPU: 10}
WORK_LIMITS = {resource.RLIMIT_AS: 2 * GIB}
INSPECT_SECONDS = 30.0
MAKE_SECONDS = 60.0
CONVERT_SECONDS = 3600.0
NAMES = {"vhd": "vpc", "ploop": "parallels", "iso": "raw"}
"""What qemu-img calls formats that OpenStack names otherwise."""


class RealDisks:
    """`Disks` on this machine. Holds nothing: all state is in the files."""

    async def inspect(self, path: Path, *, format: str) -> Inspected:
        """As promised. Raw files are only measured: nothing reads their bytes."""
        with filesystem.told("read the disk", path):
            status = await filesystem.in_thread(os.stat, path)
        if format in ("raw", "iso"):
            return Inspected(format=format, virtual_size=status.st_size, actual_size=status.st_blocks * 512)
        return await _described(path, format)

    async def create(self, path: Path, *, format: str, size: int) -> None:
        """As promised."""
        async with filesystem.draft(path, what="make the disk") as draft:
            await _image(["create", "-q", "-f", format, str(draft), str(size)], what="make the disk", path=path)

    async def overlay(self, path: Path, *, base: Path, base_format: str, size: int) -> None:
        """As promised. The base's format is written into the overlay, so that no one ever has to guess it."""
        with filesystem.told("read the disk", base):
            least = await filesystem.in_thread(_size, base, base_format)
        if size < least:
            raise HostFailure(f"Cannot make the disk {path.name}: {size} bytes are less than its base's {least}.")
        options = ["-f", "qcow2", "-b", str(base.absolute()), "-F", base_format]
        async with filesystem.draft(path, what="make the disk") as draft:
            await _image(["create", "-q", *options, str(draft), str(size)], what="make the disk", path=path)

    async def copy(self, source: Path, target: Path) -> None:
        """As promised."""
        async with filesystem.draft(target, what="copy to the disk") as draft:
            await filesystem.in_thread(filesystem.copy, source, draft)

    async def convert(
        self, source: Path, target: Path, *, source_format: str, target_format: str, limit: int | None = None
    ) -> None:
        """As promised. The source may be open in a machine that is paused for the time (`-U`: QEMU's lock is left
        alone; a paused machine has written everything)."""
        formats = ["-f", NAMES.get(source_format, source_format), "-O", target_format]
        async with filesystem.draft(target, what="convert to the disk") as draft:
            await _image(
                ["convert", "-q", "-U", *formats, str(source), str(draft)],
                what="convert to the disk",
                path=target,
                seconds=CONVERT_SECONDS,
                limits=WORK_LIMITS if limit is None else {**WORK_LIMITS, resource.RLIMIT_FSIZE: limit},
            )

    async def resize(self, path: Path, *, format: str, size: int) -> None:
        """As promised."""
        with filesystem.told("grow the disk", path):
            now = await filesystem.in_thread(_size, path, format)
            if size < now:
                raise HostFailure(f"Cannot grow the disk {path.name} to {size} bytes: it has {now} already.")
            if format == "raw":
                await filesystem.in_thread(os.truncate, path, size)
                return
        await _image(["resize", "-q", "-f", format, str(path), str(size)], what="grow the disk", path=path)

    async def remove(self, path: Path) -> None:
        """As promised."""
        with filesystem.told("remove", path):
            await filesystem.in_thread(filesystem.remove, path)

    async def config_drive(self, path: Path, files: Mapping[str, bytes]) -> None:
        """As promised."""
        async with filesystem.draft(path, what="make the config drive") as draft:
            await filesystem.in_thread(config_drive.write, draft, files)

    async def actual(self, folder: Path) -> frozenset[str]:
        """As promised."""
        with filesystem.told("list the folder", folder):
            return await filesystem.in_thread(filesystem.names, folder)

    async def space(self, folder: Path) -> Space:
        """As promised."""
        with filesystem.told("measure the folder", folder):
            usage = await filesystem.in_thread(shutil.disk_usage, folder)
        return Space(total=usage.total, free=usage.free)


def _size(path: Path, format: str) -> int:
    """Size as a guest sees it, of a base or volume of ours."""
    if format == "raw":
        return path.stat().st_size
    if format == "qcow2":
        return qcow2.read(path).virtual_size
    raise HostFailure(f"Cannot use the disk {path.name}: disks are raw or qcow2, not {format}.")


async def _described(path: Path, format: str) -> Inspected:
    argv = ["qemu-img", "info", "-U", "--output=json", "-f", NAMES.get(format, format), str(path)]
    done = await run(argv, timeout=INSPECT_SECONDS, limits=INSPECT_LIMITS, check=False, what="read the disk")
    if done.code != 0:
        raise HostFailure(
            f"Cannot read the disk {path.name} as {format}.", detail=done.err.decode("utf-8", "replace")[-2000:]
        )
    try:
        told: dict[str, Any] = json.loads(done.out)
        return Inspected(
            format=format,
            virtual_size=int(told["virtual-size"]),
            actual_size=int(told.get("actual-size", 0)),
            backing_file=told.get("backing-filename"),
            data_file=told.get("format-specific", {}).get("data", {}).get("data-file"),
        )
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise HostFailure(
            f"Cannot read the disk {path.name} as {format}: qemu-img tells nothing that makes sense.",
            detail=done.text[:2000],
        ) from None


async def _image(
    arguments: list[str],
    *,
    what: str,
    path: Path,
    seconds: float = MAKE_SECONDS,
    limits: Mapping[int, int] = WORK_LIMITS,
) -> None:
    """Run qemu-img; a full disk becomes `Unavailable`, a file that outgrows its limit `TooLarge`."""
    done = await run(["qemu-img", *arguments], timeout=seconds, limits=limits, check=False, what=what)
    if done.code == 0:
        return
    if done.code == -signal.SIGXFSZ:
        raise TooLarge(f"Cannot {what} {path.name}: it would be larger than {limits[resource.RLIMIT_FSIZE]} bytes.")
    told = done.err.decode("utf-8", "replace")[-2000:]
    if "No space left on device" in told or "Disk quota exceeded" in told:
        raise Unavailable(f"Cannot {what} {path.name}: the host's disk is full.", retry_after=60)
    raise HostFailure(f"Cannot {what} {path.name}: qemu-img refused.", detail=f"{' '.join(done.argv)}\n{told}")
