"""The story of an image's bytes: from a client's stream to a file that may be booted.

`queued -> saving -> active`; whatever goes wrong (the client leaves, the content is refused, the disk is full) leaves
the image queued and no file. A killed daemon leaves `saving` and a draft, which `reconcile` takes back at the next start.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from minicloud.core.context import Context
from minicloud.core.errors import Conflict, Failure, Gone, Invalid, NotFound
from minicloud.core.store import Db
from minicloud.host import filesystem
from minicloud.image import blobs, images, quotas, sharing
from minicloud.image.blobs import Blob
from minicloud.image.formats import INSPECTED_CONTAINERS, Inspection
from minicloud.image.qcow2_tables import survey
from minicloud.image.tables import ImageRow, Status

if TYPE_CHECKING:
    from minicloud.image import Image

SELF_TOLD = ("raw", "iso", "ami", "ari", "aki", "ploop")
"""Formats without a header that qemu-img could read once more."""


async def receive(image: Image, ctx: Context, image_id: str, source: AsyncIterator[bytes]) -> None:
    """Take in the bytes that a client sends.

    Raises:
        Conflict: the image has its bytes, or somebody is sending them.
        Invalid: formats are not set, or the content is not what they say.
        TooLarge, Unavailable: over the limit; the disk is full.
        Gone: the image was deleted meanwhile.
    """
    row = images.owned(image, ctx, image_id, "upload_image")
    need_formats(row)
    with image.coming_in(row.id):
        # from here on the formats stay as they are
        row = await images.set_status(image, row.id, Status.SAVING, expect=(Status.QUEUED,))
        async with back_to_queued(image, row.id, Status.SAVING):
            need_formats(row)
            async with received(image, row, source) as blob:
                pass
            await activate(image, row.id, blob, expect=Status.SAVING)


async def stage(image: Image, ctx: Context, image_id: str, source: AsyncIterator[bytes]) -> None:
    """Take in bytes that an import will look at later: `queued -> uploading`."""
    row = images.owned(image, ctx, image_id, "upload_image")
    with image.coming_in(row.id):
        await images.set_status(image, row.id, Status.UPLOADING, expect=(Status.QUEUED,))
        async with back_to_queued(image, row.id, Status.UPLOADING):
            limit, came = quotas.room(image, row.owner, resource=quotas.STAGE), progress(image, row.id)
            async with blobs.received(image.staged(row.id), source, limit=limit, progress=came) as blob:
                pass
            await images.set_status(image, row.id, Status.UPLOADING, expect=(Status.UPLOADING,), size=blob.size)


def progress(image: Image, image_id: str) -> blobs.Progress:
    """Keeps how many bytes of an image came in so far."""

    def came(size: int) -> None:
        image.under_way[image_id] = size

    return came


@contextlib.asynccontextmanager
async def received(
    image: Image, row: ImageRow, source: AsyncIterator[bytes], *, path: Path | None = None
) -> AsyncIterator[Blob]:
    """Write and check an image's bytes; they are in place (`path`, or the image's own file) when the body has ended well."""
    path = path or image.blob(row.id)
    # on a thread: the first one imports the readers, which takes a tenth of a second
    kind = {"disk_format": row.disk_format or "", "container_format": row.container_format or ""}
    inspection = await filesystem.in_thread(Inspection, **kind)
    limit = quotas.room(image, row.owner)
    came = progress(image, row.id)
    async with blobs.received(path, source, limit=limit, inspection=inspection, progress=came) as blob:
        await _ask_qemu_too(image, row, path.with_name(path.name + blobs.DRAFT), blob)
        yield blob


async def activate(
    image: Image,
    image_id: str,
    blob: Blob,
    *,
    expect: Status,
    also: Callable[[Db], None] | None = None,
    **formats: str | None,
) -> ImageRow:
    """Let everybody who sees the image have its bytes; `formats` are those that an import gave it, `also` is done in the
    same transaction. Raises `Gone` if the image was deleted meanwhile; then the file goes, too."""
    with filesystem.told("store the image", image.blob(image_id)):
        await sharing.share(image, image_id, blob)
    try:
        return await images.set_status(
            image, image_id, Status.ACTIVE, expect=(expect,), also=also, size=blob.size, virtual_size=blob.virtual_size,
            checksum=blob.checksum, hash_value=blob.hash_value, **formats,
        )  # fmt: skip
    except NotFound:
        await image.drop_files(image_id)
        raise Gone(f"Image {image_id} could not be found after upload: it was deleted meanwhile.") from None


@contextlib.asynccontextmanager
async def back_to_queued(image: Image, image_id: str, status: Status) -> AsyncIterator[None]:
    """Take the state back if the body fails in any way."""
    try:
        yield
    except BaseException:
        await image.drop_files(image_id)
        with contextlib.suppress(NotFound, Conflict):
            await images.set_status(image, image_id, Status.QUEUED, expect=(status,), size=None)
        raise


def need_formats(row: ImageRow) -> None:
    """Raise `Invalid` unless the record says what the bytes will be."""
    missing = [name for name in ("container_format", "disk_format") if getattr(row, name) is None]
    if missing:
        raise Invalid(f"Properties {', '.join(missing)} must be set prior to saving data.")


async def _ask_qemu_too(image: Image, row: ImageRow, path: Path, blob: Blob) -> None:
    """A second opinion, by explicit format and under limits, from the program that will open the disk."""
    if row.disk_format in (None, *SELF_TOLD) or row.container_format not in INSPECTED_CONTAINERS:
        return
    try:
        seen = await image.host.disks.inspect(path, format=row.disk_format)
    except Failure:
        raise Invalid(f"Cannot take the image data: it can't be read as {row.disk_format}.") from None
    if seen.backing_file is not None or seen.data_file is not None:
        raise Invalid(f"Cannot take the image data: this {row.disk_format} refers to other files; flatten it first.")
    if row.disk_format == "qcow2" and not (await filesystem.in_thread(survey, path)).whole:
        raise Invalid("Cannot take the image data: it is no whole qcow2 (clusters lie beyond its end).")
