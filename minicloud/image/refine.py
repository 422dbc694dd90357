"""The story of imported bytes: from what a project publishes to a disk that machines boot from, in one step.

Packed streams (gzip, xz, zstd) are unpacked, an OVA gives its disk, and formats of other hypervisors (VMDK, VDI, VHD,
VHDX) are converted to qcow2 by qemu-img, which is told the format that the bytes were found to have and runs under
limits. Only imports do so: an upload stays as the client sent it. Called by `imports`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from minicloud.core.errors import HostFailure, Invalid
from minicloud.host import filesystem
from minicloud.image import blobs, unpack, upload
from minicloud.image.blobs import Blob
from minicloud.image.tables import ImageRow

if TYPE_CHECKING:
    from minicloud.image import Image

FOREIGN = ("vmdk", "vdi", "vhd", "vhdx")
"""Disk formats that are converted."""
AS_THEY_ARE = ("ami", "ari", "aki", "docker")
"""Containers whose content may well be packed and is meant so (an initial RAM disk is)."""


async def taken_in(image: Image, row: ImageRow, source: AsyncIterator[bytes]) -> tuple[ImageRow, Blob]:
    """Take an import's bytes to the image's own file.

    Returns:
        The record with the formats that the bytes have now, and the bytes' measures.

    Raises:
        Invalid: damaged, not what the record says, more than one disk, or refused by qemu-img.
        TooLarge: over the limit, packed or not. Unavailable: the disk is full.
    """
    head, source = await unpack.peeked(source)
    packed = unpack.packing(head)
    if packed is not None and row.container_format not in AS_THEY_ARE:
        # peeked again: what is inside may be an OVA
        source = unpack.unpacked(source, packed, limit=image.config.image.size_limit)
        head, source = await unpack.peeked(source)
        container = "bare" if row.container_format == "compressed" else row.container_format
        row = dataclasses.replace(row, container_format=container)
    if unpack.is_tar(head) and (row.container_format == "ova" or row.disk_format == "vmdk"):
        row, source = await _disk_of_ova(image, row, source)
    if row.disk_format in FOREIGN and row.container_format == "bare" and image.config.image.convert:
        return await _converted(image, row, source)
    async with upload.received(image, row, source) as blob:
        pass
    return row, blob


async def _disk_of_ova(
    image: Image, row: ImageRow, source: AsyncIterator[bytes]
) -> tuple[ImageRow, AsyncIterator[bytes]]:
    package, disk = image.in_work(row.id, "ova"), image.in_work(row.id, "vmdk")
    limit = image.config.image.size_limit
    async with blobs.received(package, source, limit=limit, progress=upload.progress(image, row.id)):
        pass
    with filesystem.told("unpack the OVA", package):
        await filesystem.in_thread(unpack.disk_of_ova, package, disk, limit=limit)
    await image.host.disks.remove(package)
    return dataclasses.replace(row, container_format="bare", disk_format="vmdk"), blobs.of_file(disk)


async def _converted(image: Image, row: ImageRow, source: AsyncIterator[bytes]) -> tuple[ImageRow, Blob]:
    """Check the foreign disk as any upload, then make a qcow2 of it."""
    foreign, target = image.in_work(row.id, "foreign"), image.blob(row.id)
    async with upload.received(image, row, source, path=foreign) as seen:
        pass
    if (seen.virtual_size or 0) > image.config.image.size_limit:
        raise Invalid(
            f"Cannot convert the image: its disk of {seen.virtual_size} bytes is larger than the limit of "
            f"{image.config.image.size_limit}."
        )
    try:
        await image.host.disks.convert(
            foreign,
            target,
            source_format=str(row.disk_format),
            target_format="qcow2",
            limit=image.config.image.size_limit,
        )
    except HostFailure as error:
        raise Invalid(f"Cannot convert the image: qemu-img can't read it as {row.disk_format}.") from error
    told = await image.host.disks.inspect(target, format="qcow2")
    found = await blobs.measured(target)
    row = dataclasses.replace(row, disk_format="qcow2")
    return row, Blob(found.size, found.checksum, found.hash_value, told.virtual_size)
