"""The disks that a new server shall have: from what the client asked to rows with ids, names and sizes.

Pure but for the look at what is named (images, volumes, snapshots through their services). Called by `launch.py`
when a server is accepted and by `attach.py` for the next free device name.
"""

from __future__ import annotations

import string
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minicloud.compute.tables import BlockDevice, Flavor
from minicloud.core.errors import Invalid

GIB = 1024**3
BUSES = ("virtio", "scsi", "ide")
_PREFIX = {"virtio": "vd", "scsi": "sd", "ide": "hd"}


@dataclass(frozen=True, slots=True)
class NewDisk:
    """One entry of `block_device_mapping_v2` in the newest form; sizes in GiB."""

    source: str
    source_id: str | None
    destination: str
    boot_index: int | None = None
    size_gb: int | None = None
    delete_on_termination: bool = False
    bus: str | None = None
    device_type: str | None = None
    device: str | None = None
    guest_format: str | None = None
    tag: str | None = None
    volume_type: str | None = None


def wanted(disks: Sequence[NewDisk], image_id: str | None) -> list[NewDisk]:
    """All disks in boot order, the image's own one included.

    Raises:
        Invalid: combinations that no guest could boot from.
    """
    every = list(disks)
    for disk in every:
        _check(disk)
    roots = [disk for disk in every if disk.boot_index == 0]
    if image_id is not None and not roots:
        every.insert(0, NewDisk("image", image_id, "local", boot_index=0, delete_on_termination=True))
    elif image_id is not None and roots[0].source == "image" and roots[0].source_id != image_id:
        raise Invalid("Block Device Mapping is Invalid: Boot sequence for the instance and image/block device mapping "
                      "combination is not valid.")  # fmt: skip
    elif not roots:
        raise Invalid("Missing imageRef attribute.")
    boot = sorted(disk.boot_index for disk in every if disk.boot_index is not None and disk.boot_index >= 0)
    if boot != list(range(len(boot))):
        raise Invalid("Block Device Mapping is Invalid: the boot indexes must count up from 0, each once.")
    named = [disk.source_id for disk in every if disk.source == "volume"]
    if len(set(named)) != len(named):
        raise Invalid("Block Device Mapping is Invalid: a volume is named twice.")
    tags = [disk.tag for disk in every if disk.tag]
    if len(set(tags)) != len(tags):
        raise Invalid("Block Device Mapping is Invalid: two devices bear the same tag.")
    return sorted(
        every, key=lambda disk: disk.boot_index if disk.boot_index is not None and disk.boot_index >= 0 else 10_000
    )


def _check(disk: NewDisk) -> None:
    if disk.source not in ("image", "volume", "snapshot", "blank"):
        raise Invalid(f"Block Device Mapping is Invalid: {disk.source} is no source type.")
    if disk.destination not in ("local", "volume"):
        raise Invalid(f"Block Device Mapping is Invalid: {disk.destination} is no destination type.")
    if disk.source in ("volume", "snapshot") and disk.destination != "volume":
        raise Invalid(f"Block Device Mapping is Invalid: a {disk.source} can't become a local disk.")
    if disk.source != "blank" and not disk.source_id:
        raise Invalid(f"Block Device Mapping is Invalid: a {disk.source} needs its uuid.")
    if disk.source == "image" and disk.destination == "local" and disk.boot_index != 0:
        raise Invalid("Block Device Mapping is Invalid: a local disk from an image must be the one that boots.")
    if disk.destination == "volume" and disk.source in ("image", "blank") and not disk.size_gb:
        raise Invalid(f"Block Device Mapping is Invalid: a volume from {disk.source} needs a volume_size.")
    if disk.bus is not None and disk.bus not in BUSES:
        raise Invalid(f"Block Device Mapping is Invalid: bus {disk.bus} is not offered; use {', '.join(BUSES)}.")
    if disk.device_type not in (None, "disk"):
        raise Invalid(f"Block Device Mapping is Invalid: device type {disk.device_type} is not offered; use disk.")


def rows(
    disks: Sequence[NewDisk], *, server_id: str, flavor: Flavor, default_bus: str, created_at: str
) -> list[BlockDevice]:
    """Rows with device names; the flavor's ephemeral and swap disks are added as blank local ones."""
    every = list(disks)
    asked_blank = [disk for disk in every if disk.source == "blank" and disk.destination == "local"]
    swap = [disk for disk in asked_blank if disk.guest_format == "swap"]
    ephemeral = sum(disk.size_gb or flavor.ephemeral_gb for disk in asked_blank if disk not in swap)
    if ephemeral > flavor.ephemeral_gb:
        raise Invalid(
            f"Block Device Mapping is Invalid: {ephemeral} GB of ephemeral disk, the flavor has {flavor.ephemeral_gb}."
        )
    if len(swap) > 1 or (swap and (swap[0].size_gb or 0) * 1024 > flavor.swap_mb):
        raise Invalid("Block Device Mapping is Invalid: more swap than the flavor has.")
    if flavor.ephemeral_gb and not ephemeral:
        every.append(NewDisk("blank", None, "local", size_gb=flavor.ephemeral_gb, delete_on_termination=True))
    if flavor.swap_mb and not swap:
        size = -(-flavor.swap_mb // 1024)
        every.append(NewDisk("blank", None, "local", size_gb=size, delete_on_termination=True, guest_format="swap"))
    taken: set[str] = set()
    made: list[BlockDevice] = []
    for disk in every:
        bus = disk.bus or default_bus
        device = free_device(taken, bus)
        taken.add(device)
        local = disk.destination == "local"
        made.append(
            BlockDevice(
                id=str(uuid.uuid4()),
                server_id=server_id,
                source=disk.source,
                source_id=disk.source_id,
                destination=disk.destination,
                volume_id=None if local else (disk.source_id if disk.source == "volume" else str(uuid.uuid4())),
                device=device,
                bus=bus,
                boot_index=disk.boot_index if (disk.boot_index or 0) >= 0 else None,
                size_gb=(disk.size_gb or flavor.disk_gb) if local else disk.size_gb,
                delete_on_termination=disk.delete_on_termination,
                tag=disk.tag,
                volume_type=disk.volume_type,
                attachment_id=None if local else str(uuid.uuid4()),
                volume_file=None,
                created_at=created_at,
            )
        )
    return made


def free_device(taken: Iterable[str], bus: str = "virtio") -> str:
    """The first free name of a bus: /dev/vdb after /dev/vda."""
    used, prefix = set(taken), f"/dev/{_PREFIX[bus]}"
    letters = string.ascii_lowercase
    names = (prefix + one for one in [*letters, *(a + b for a in letters for b in letters)])
    return next(name for name in names if name not in used)


def bus_of(image_properties: Mapping[str, Any]) -> str:
    """The bus that an image wishes for its disks.

    Raises:
        Invalid: a bus that is not offered here.
    """
    bus = image_properties.get("hw_disk_bus", "virtio")
    if bus not in BUSES:
        raise Invalid(f"Cannot use the image: its hw_disk_bus is {bus}; offered are {', '.join(BUSES)}.")
    return str(bus)


def local_gb(devices: Iterable[BlockDevice]) -> int:
    """GiB of this host's disk that a server's own files may take."""
    return sum(device.size_gb or 0 for device in devices if device.destination == "local")
