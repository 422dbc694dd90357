"""The bytes of images on the wire: upload, download with ranges, staging (API reference: Image data, Interoperable import)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from aiohttp import ClientPayloadError, web

from minicloud.api.policy import ADMIN, MEMBER
from minicloud.api.route import Call, Reply, Route
from minicloud.core.errors import Forbidden, Invalid, TooLarge, UnsupportedMedia
from minicloud.image import images, upload
from minicloud.image.imports import STORE
from minicloud.image.tables import Status

if TYPE_CHECKING:
    from minicloud.image import Image

OCTETS = "application/octet-stream"
SIZE = "X-OpenStack-Image-Size"
"""Header in which clients say how many bytes they will send, also where they send them in chunks."""


async def upload_image(image: Image, call: Call) -> None:
    """Send an image's data; its content decides whether it may."""
    store = call.request.headers.get("X-Image-Meta-Store", STORE)
    if store != STORE:
        raise Invalid(f"Cannot keep the data in the store {store[:80]!r}: this cloud has the one store '{STORE}'.")
    await upload.receive(image, call.ctx, call.params["image_id"], _stream(image, call))


async def stage_image(image: Image, call: Call) -> None:
    """Send data that an import takes up later."""
    await upload.stage(image, call.ctx, call.params["image_id"], _stream(image, call))


async def download_image(image: Image, call: Call) -> web.StreamResponse | Reply:
    """Get an image's data, all of it or a range; 204 while there is none."""
    row = images.visible(image, call.ctx, call.params["image_id"])
    if row.status is Status.DEACTIVATED and not ADMIN.allows(call.ctx):
        raise Forbidden("The requested image has been deactivated. Image data download is forbidden.")
    if row.status not in (Status.ACTIVE, Status.DEACTIVATED):
        return Reply(status=204)
    headers = {"Content-Type": OCTETS, **({"Content-MD5": row.checksum} if row.checksum else {})}
    if not row.size:
        return web.Response(headers=headers)
    return web.FileResponse(image.blob(row.id), headers=headers)


def _stream(image: Image, call: Call) -> AsyncIterator[bytes]:
    media = call.request.content_type
    if media != OCTETS:
        raise UnsupportedMedia(f"The request media type {media[:80]} is not supported by this server: send {OCTETS}.")
    limit, told = image.config.image.size_limit, call.request.headers.get(SIZE)
    if told is not None and not (told.isascii() and told.isdigit() and len(told) <= 18):
        raise Invalid(f"Cannot use the header {SIZE} {told[:40]!r}: it must be a number of bytes.")
    size = None if told is None else int(told)
    if max(call.request.content_length or 0, size or 0) > limit:
        raise TooLarge(f"Cannot take the image data: it is larger than the limit of {limit} bytes.")
    return _pieces(call, size)


async def _pieces(call: Call, size: int | None) -> AsyncIterator[bytes]:
    """The bytes of a request; `size`: how many there are, as the client says."""
    came = 0
    try:
        # as they came: `iter_any` would join what waits into one, and the memory for that costs a fifth of an upload's time
        async for piece, _end in call.request.content.iter_chunks():
            came += len(piece)
            yield piece
    except ClientPayloadError as error:
        raise Invalid(f"Cannot take the image data: it ended too early ({error}).") from None
    if size is not None and came != size:
        raise Invalid(f"Cannot take the image data: {came} bytes came, and {SIZE} says {size}.")


FILE = "/images/{image_id}/file"
ROUTES = [
    Route("PUT", FILE, upload_image, raw=True, status=204, policy=MEMBER, rule="upload_image"),
    Route("GET", FILE, download_image, policy=MEMBER, rule="download_image"),
    Route("PUT", "/images/{image_id}/stage", stage_image, raw=True, status=204, policy=MEMBER, rule="upload_image"),
]
