"""What a volume holds, while machines may be writing to it: copies that are consistent, and growing in place.

A disk that a running machine has open is the hypervisor's: only it can copy or grow it. All others are files.
Called by the stories of snapshots, uploads, clones and extension.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from minicloud.core.errors import Conflict
from minicloud.host.hypervisor import Power
from minicloud.volume.tables import VolumeRow

if TYPE_CHECKING:
    from minicloud.volume import Volume


async def running_holder(volume: Volume, row: VolumeRow) -> str | None:
    """The server whose running (or paused) machine has the disk; `Conflict` if several have it."""
    machines = await volume.host.hypervisor.actual()
    found = [one.id for one in machines.values() if row.id in one.disks and one.power in (Power.RUNNING, Power.PAUSED)]
    if len(found) > 1:
        raise Conflict(
            f"Cannot touch volume {row.id} now: {len(found)} running servers share it; stop or detach all but one."
        )
    return found[0] if found else None


async def copy_out(volume: Volume, row: VolumeRow, target: Path, *, format: str) -> None:
    """A flat, independent copy of what the volume holds at this moment.

    Args:
        format: of the copy, "raw" or "qcow2" (any that `Disks.convert` writes, if no machine is running on it).

    Raises:
        Conflict: several machines share it, or one began to run on it meanwhile. HostFailure, Unavailable.
    """
    holder = await running_holder(volume, row)
    if holder is not None:
        await volume.host.hypervisor.copy_disk(holder, row.id, target, format=format)
        return
    await copy_file(volume, volume.path(row), row.format, target, format)
    if await running_holder(volume, row) is not None:  # what was copied may be torn
        await volume.host.disks.remove(target)
        raise Conflict(f"Cannot copy volume {row.id}: a server began to run on it meanwhile; try again.")


async def copy_file(volume: Volume, source: Path, source_format: str, target: Path, target_format: str) -> None:
    """A copy of a file that no machine has open, in the other format if need be."""
    if source_format == target_format:
        await volume.host.disks.copy(source, target)
    else:
        await volume.host.disks.convert(source, target, source_format=source_format, target_format=target_format)


async def grow_file(volume: Volume, path: Path, format: str, size: int) -> None:
    """Grow a file that no machine has open to `size` bytes; nothing if it is as large already."""
    have = (await volume.host.disks.inspect(path, format=format)).virtual_size
    if have < size:
        await volume.host.disks.resize(path, format=format, size=size)


async def grow(volume: Volume, row: VolumeRow, size: int) -> None:
    """Grow the volume's disk to `size` bytes, under its running machine if there is one."""
    holder = await running_holder(volume, row)
    if holder is not None:
        await volume.host.hypervisor.resize_disk(holder, row.id, size)
    else:
        await grow_file(volume, volume.path(row), row.format, size)
