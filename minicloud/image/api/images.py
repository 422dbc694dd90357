"""Images on the wire: create, list, show, patch, delete, tags, deactivation (API reference: Images)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minicloud.api.paging import listed, page_of
from minicloud.api.policy import ADMIN, MEMBER, READER
from minicloud.api.route import Call, Listed, Reply, Route
from minicloud.api.schema import Schema
from minicloud.core.errors import Conflict, Forbidden, Invalid, NotFound, TooLarge, UnsupportedMedia
from minicloud.core.store import Page
from minicloud.image import images, patches
from minicloud.image.api.attributes import ATTRIBUTES, IMAGE, VISIBILITIES, shown
from minicloud.image.images import Filters, NewImage
from minicloud.image.imports import METHODS, STORE
from minicloud.image.tables import ImageRow, Status, Visibility

if TYPE_CHECKING:
    from minicloud.image import Image

PATCH_TYPES = {
    "application/openstack-images-v2.1-json-patch": False,
    "application/openstack-images-v2.0-json-patch": True,
}
"""Media type of a patch -> whether it is the old form."""

PATCH_LIMIT = 1024 * 1024
SORTABLE = {
    name: name
    for name in ("name", "status", "container_format", "disk_format", "size", "id", "created_at", "updated_at", "min_disk",
                 "min_ram", "owner", "visibility")
}  # fmt: skip
EXACT = ("id", "name", "status", "container_format", "disk_format", "checksum")
SEVERAL = ("id", "name", "status", "container_format", "disk_format")
COMPARISONS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "eq": "=", "neq": "!="}
PAGING = ("limit", "marker", "sort", "sort_key", "sort_dir")
_TIME = re.compile(r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?")


class _Images(Schema):
    """The view of an image, whose properties have names of their own."""

    def view(self, row: Any, call: Call) -> dict[str, Any]:
        return shown(row)


VIEW = _Images("image", *IMAGE.fields)


async def create_image(image: Image, call: Call) -> Reply:
    """Register an image."""
    body = dict(call.body)
    base = {one.name for one in ATTRIBUTES if not one.custom}
    properties = {name: value for name, value in body.items() if name not in base}
    row = await images.create(
        image,
        call.ctx,
        NewImage(
            id=body.get("id"), name=body.get("name"), owner=body.get("owner"),
            visibility=Visibility(body.get("visibility", "shared")), disk_format=body.get("disk_format"),
            container_format=body.get("container_format"), min_disk=body.get("min_disk", 0), min_ram=body.get("min_ram", 0),
            protected=body.get("protected", False), hidden=body.get("os_hidden", False), properties=properties,
            tags=body.get("tags", ()),
        ),
    )  # fmt: skip
    headers = {
        "Location": f"{call.root}/images/{row.id}",
        "OpenStack-image-import-methods": ",".join(METHODS),
        "OpenStack-image-store-ids": STORE,
    }
    return Reply(shown(row), headers=headers)


async def list_images(image: Image, call: Call) -> Listed:
    """One page of images, narrowed by any attribute."""
    for name in ("limit",):
        if call.query.get(name, "0").startswith("-"):
            raise Invalid("Cannot list so many: limit must be a positive number.")
    if "sort" in call.query and ("sort_key" in call.query or "sort_dir" in call.query):
        raise Invalid("Old and new sorting syntax cannot be combined.")
    newest = (("created_at", False), ("id", False))
    page = page_of(call, columns=SORTABLE, default_sort=newest, default_limit=25)
    filters = _filters(call)

    def read(wanted: Page) -> list[ImageRow]:
        return [images.so_far(image, row) for row in images.listed(image, call.ctx, filters, wanted)]

    return listed(read, page)


def _filters(call: Call) -> Filters:
    query = call.query
    visibility = query.get("visibility")
    if visibility is not None and visibility not in (*VISIBILITIES, "all"):
        raise Invalid(f"Invalid visibility value: {visibility[:80]}")
    member_status = query.get("member_status", "accepted")
    if member_status not in ("pending", "accepted", "rejected", "all"):
        raise Invalid(f"Invalid status: {member_status[:80]}")
    if "changes-since" in query:
        raise Invalid("Cannot filter by changes-since: use updated_at=gte:2026-11-22T21:28:59Z.")
    conditions: list[tuple[str, tuple[Any, ...]]] = []
    for name, value in query.items():
        if name in PAGING or name in ("visibility", "member_status", "os_hidden", "owner"):
            continue
        conditions.append(_condition(name, value))
    return Filters(
        conditions=conditions,
        visibility=visibility,
        member_status=member_status,
        hidden=_flag(query.get("os_hidden", "false"), "os_hidden"),
        owner=query.get("owner"),
    )


def _condition(name: str, value: str) -> tuple[str, tuple[Any, ...]]:
    """One query parameter as SQL; a name that is no attribute is a property's."""
    if name == "tag":
        return "EXISTS (SELECT 1 FROM json_each(images.tags) WHERE json_each.value = ?)", (value.strip(),)
    if name in SEVERAL and value.startswith("in:"):
        wanted = _listed(value.removeprefix("in:"))
        return f"{name} IN ({', '.join('?' * len(wanted))})", tuple(wanted)
    if name in EXACT:
        return f"{name} = ?", (value,)
    if name == "os_hash_value":
        return "hash_value = ?", (value,)
    if name == "os_hash_algo":
        return ("hash_value IS NOT NULL" if value == "sha512" else "0"), ()
    if name == "protected":
        return "protected = ?", (int(_flag(value, name)),)
    if name in ("min_ram", "min_disk", "size", "virtual_size"):
        return f"{name} = ?", (_number(value, name),)
    if name in ("size_min", "size_max"):
        return f"size {'>=' if name == 'size_min' else '<='} ?", (_number(value, name),)
    if name in ("created_at", "updated_at"):
        operator, _, moment = value.partition(":")
        if operator not in COMPARISONS:
            operator, moment = "eq", value
        if not _TIME.match(moment):
            raise Invalid(f"Cannot filter by {name}: {value[:80]!r} is no time, like 'gte:2026-11-22T21:28:59Z'.")
        return f"substr({name}, 1, 19) {COMPARISONS[operator]} ?", (moment.replace(" ", "T")[:19],)
    return "EXISTS (SELECT 1 FROM json_each(images.properties) WHERE key = ? AND value = ?)", (name, value)


def _listed(text: str) -> list[str]:
    """The values of an `in:` filter: comma-separated, those with commas in double quotes."""
    if text.count('"') % 2:
        raise Invalid(f"Cannot use the filter {text[:80]!r}: a quote is missing.")
    found = [quoted or plain for quoted, plain in re.findall(r'"([^"]*)"|([^,"]+)', text)]
    if not found:
        raise Invalid("Cannot use an in: filter without values.")
    return found


def _flag(text: str, name: str) -> bool:
    lowered = text.lower()
    if lowered not in ("true", "false"):
        raise Invalid(f"Cannot use {name} {text[:40]!r}: it must be true or false.")
    return lowered == "true"


def _number(text: str, name: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Invalid(f"Cannot use {name} {text[:40]!r}: it must be a whole number, 0 or more.")
    return int(text)


async def show_image(image: Image, call: Call) -> ImageRow:
    """One image."""
    return images.so_far(image, images.visible(image, call.ctx, call.params["image_id"]))


async def update_image(image: Image, call: Call) -> ImageRow:
    """Change attributes and properties by a JSON patch."""
    media = call.request.content_type
    if media not in PATCH_TYPES:
        raise UnsupportedMedia(
            f"The request media type {media[:80]} is not supported by this server: send {' or '.join(PATCH_TYPES)}."
        )
    if (call.request.content_length or 0) > PATCH_LIMIT:
        raise TooLarge(f"Cannot read the patch: it is larger than {PATCH_LIMIT} bytes.")
    try:
        body = json.loads(await call.request.read())
    except (ValueError, RecursionError):
        raise Invalid("Malformed JSON in request body.") from None
    changes = patches.read(body, old_form=PATCH_TYPES[media])
    await IMAGE.prepare("update", None)
    for one in changes:
        if one.operation == "remove":
            patches.refuse(one.name)
        else:
            IMAGE.read({one.name: one.value}, "update", call)

    def applied(row: ImageRow) -> Mapping[str, Any]:
        values = dict(patches.applied(call.ctx, row, changes))
        if "visibility" in values:
            values["visibility"] = Visibility(values["visibility"])
            if values["visibility"] != row.visibility:
                images.may_show(call.ctx, values["visibility"])
        return values

    row = images.owned(image, call.ctx, call.params["image_id"], "modify_image")
    return await images.change(image, row.id, applied)


async def delete_from_store(image: Image, call: Call) -> None:
    """Take an image's data out of one of several stores, of which there are none: the last copy stays."""
    if call.params["store_id"] != STORE:
        raise Conflict(f"The selected store {call.params['store_id'][:80]} is not available on this node.")
    row = images.owned(image, call.ctx, call.params["image_id"], "delete_image_location")
    if row.status is not Status.ACTIVE:
        raise Conflict(f"Cannot take the data of image {row.id} out of a store: it is {row.status}, not active.")
    raise Forbidden(f"Cannot take image {row.id} out of the only store that has it: delete the image instead.")


async def delete_image(image: Image, call: Call) -> None:
    """Delete an image."""
    await images.remove(image, call.ctx, call.params["image_id"])


async def add_tag(image: Image, call: Call) -> None:
    """Mark an image with a word; twice is fine."""
    row = images.owned(image, call.ctx, call.params["image_id"], "modify_image")
    tag = call.params["tag"]
    if len(tag) > 255:
        raise Invalid("Cannot use the tag: it has more than 255 characters.")
    await images.change(image, row.id, lambda now: {"tags": [*now.tags, tag]})


async def delete_tag(image: Image, call: Call) -> None:
    """Take a mark away."""
    row = images.owned(image, call.ctx, call.params["image_id"], "modify_image")

    def without(now: ImageRow) -> Mapping[str, Any]:
        if call.params["tag"] not in now.tags:
            raise NotFound(f"Image {row.id} has no such tag.")
        return {"tags": [tag for tag in now.tags if tag != call.params["tag"]]}

    await images.change(image, row.id, without)


async def deactivate_image(image: Image, call: Call) -> None:
    """Keep everybody but administrators from the data."""
    await images.deactivate(image, call.ctx, call.params["image_id"])


async def reactivate_image(image: Image, call: Call) -> None:
    """Give the data back."""
    await images.reactivate(image, call.ctx, call.params["image_id"])


ONE, STORED = "/images/{image_id}", "/stores/{store_id}/{image_id}"
ROUTES = [
    Route("POST", "/images", create_image, body=IMAGE, status=201, policy=MEMBER, rule="add_image"),
    Route("GET", "/images", list_images, view=VIEW, many=True, policy=READER, rule="get_images"),
    Route("GET", ONE, show_image, view=VIEW, policy=READER, rule="get_image"),
    Route("PATCH", ONE, update_image, view=VIEW, raw=True, policy=MEMBER, rule="modify_image"),
    Route("DELETE", ONE, delete_image, status=204, policy=MEMBER, rule="delete_image"),
    Route("DELETE", STORED, delete_from_store, status=204, policy=ADMIN, rule="delete_image_location"),
    Route("PUT", ONE + "/tags/{tag}", add_tag, status=204, policy=MEMBER, rule="modify_image"),
    Route("DELETE", ONE + "/tags/{tag}", delete_tag, status=204, policy=MEMBER, rule="modify_image"),
    Route("POST", ONE + "/actions/deactivate", deactivate_image, status=204, policy=MEMBER, rule="deactivate"),
    Route("POST", ONE + "/actions/reactivate", reactivate_image, status=204, policy=MEMBER, rule="reactivate"),
]
