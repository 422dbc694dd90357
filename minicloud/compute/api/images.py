"""Nova's old window on images: `/images`, until 2.35, and their metadata, until 2.38.

Clients that still speak 2.1 wait here for the image of a server that they had made.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from minicloud.api.paging import listed, page_of
from minicloud.api.policy import MEMBER, READER
from minicloud.api.route import Call, Listed, Reply, Route
from minicloud.api.schema import MISSING, Field, Schema, seconds_z
from minicloud.compute.api.metadata import META, METADATA
from minicloud.compute.api.server_view import ANY, links
from minicloud.core.clock import moment
from minicloud.core.errors import Invalid, NotFound
from minicloud.core.store import Page
from minicloud.image import ImageRow, Status

if TYPE_CHECKING:
    from minicloud.compute import Compute

STATUSES = {Status.ACTIVE: "ACTIVE", Status.QUEUED: "SAVING", Status.SAVING: "SAVING"}
PROGRESS = {Status.ACTIVE: 100, Status.SAVING: 50, Status.QUEUED: 25}


def _status(row: ImageRow) -> str:
    return STATUSES.get(row.status, "UNKNOWN")


def _links(row: ImageRow, call: Call) -> list[dict[str, str]]:
    alternate = {"rel": "alternate", "type": "application/vnd.openstack.image", "href": f"{call.base}/images/{row.id}"}
    return [*links(call, "images", row.id), alternate]


def _server(row: ImageRow, call: Call) -> Any:
    server_id = row.properties.get("instance_uuid")
    return {"id": server_id, "links": links(call, "servers", server_id)} if server_id else MISSING


BRIEF = Schema(
    "image",
    Field("id", ANY, out=True),
    Field("name", ANY, out=True),
    Field("links", ANY, attr=_links, out=True),
)
IMAGE = Schema(
    "image",
    *BRIEF.fields,
    Field("status", ANY, attr=lambda row, call: _status(row), out=True),
    Field("progress", ANY, attr=lambda row, call: PROGRESS.get(row.status, 0), out=True),
    Field("created", ANY, attr=lambda row, call: seconds_z(row.created_at), out=True),
    Field("updated", ANY, attr=lambda row, call: seconds_z(row.updated_at), out=True),
    Field("minDisk", ANY, attr="min_disk", out=True),
    Field("minRam", ANY, attr="min_ram", out=True),
    Field("metadata", ANY, attr="properties", out=True),
    Field("OS-EXT-IMG-SIZE:size", ANY, attr="size", out=True),
    Field("server", ANY, attr=_server, out=True),
)


def _filters(call: Call) -> list[Callable[[ImageRow], bool]]:
    """What the query narrows a list to; Nova overlooks parameters that it doesn't know."""
    query = call.query
    tests: list[Callable[[ImageRow], bool]] = []
    if "name" in query:
        tests.append(lambda row: row.name == query["name"])
    if "status" in query:
        tests.append(lambda row: _status(row) == query["status"].upper())
    if "type" in query:
        tests.append(lambda row: row.properties.get("image_type", "base") == query["type"].lower())
    if "server" in query:  # an id, or a link to the server
        server_id = query["server"].rstrip("/").rpartition("/")[2]
        tests.append(lambda row: row.properties.get("instance_uuid") == server_id)
    for name, column in (("minDisk", "min_disk"), ("minRam", "min_ram")):
        if name in query:
            tests.append(partial(_has, column, _number(query[name], name)))
    if "changes-since" in query:
        try:
            since = moment(query["changes-since"])
        except ValueError:
            raise Invalid("Cannot use changes-since: it is no time in ISO 8601.") from None
        tests.append(lambda row: moment(row.updated_at) >= since)
    return tests


def _has(column: str, least: int, row: ImageRow) -> bool:
    return int(getattr(row, column)) >= least


def _number(text: str, name: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise Invalid(f"Cannot use {name} {text[:40]!r}: it must be a whole number, 0 or more.")
    return int(text)


async def list_images(compute: Compute, call: Call) -> Listed:
    """`GET /images`, `GET /images/detail`: those that the caller may list, the newest first."""
    tests = _filters(call)
    rows = [row for row in compute.image.listed(call.ctx) if all(test(row) for test in tests)]

    def read(page: Page) -> list[ImageRow]:
        places = [index for index, row in enumerate(rows) if row.id == page.marker]
        if page.marker is not None and not places:
            raise Invalid(f"Cannot continue the list: marker {page.marker[:80]} could not be found.")
        return rows[places[0] + 1 if places else 0 :][: page.limit]

    return listed(read, page_of(call, columns={}))


async def show_image(compute: Compute, call: Call) -> ImageRow:
    """`GET /images/{id}`."""
    return _one(compute, call)


async def delete_image(compute: Compute, call: Call) -> None:
    """`DELETE /images/{id}`."""
    row = _one(compute, call)
    await compute.image.delete(call.ctx, row.id)


async def list_metadata(compute: Compute, call: Call) -> Reply:
    """`GET /images/{id}/metadata`."""
    return Reply({"metadata": _one(compute, call).properties})


async def merge_metadata(compute: Compute, call: Call) -> Reply:
    """`POST /images/{id}/metadata`."""
    return Reply({"metadata": await _describe(compute, call, {**_one(compute, call).properties, **call.body})})


async def replace_metadata(compute: Compute, call: Call) -> Reply:
    """`PUT /images/{id}/metadata`."""
    return Reply({"metadata": await _describe(compute, call, dict(call.body))})


async def show_item(compute: Compute, call: Call) -> Reply:
    """`GET /images/{id}/metadata/{key}`."""
    return Reply({"meta": {call.params["key"]: _item(compute, call)[call.params["key"]]}})


async def set_item(compute: Compute, call: Call) -> Reply:
    """`PUT /images/{id}/metadata/{key}`."""
    if call.params["key"] not in call.body:
        raise Invalid("Request body and URI mismatch.")
    await _describe(compute, call, {**_one(compute, call).properties, **call.body})
    return Reply({"meta": call.body})


async def delete_item(compute: Compute, call: Call) -> None:
    """`DELETE /images/{id}/metadata/{key}`."""
    known = _item(compute, call)
    await _describe(compute, call, {key: value for key, value in known.items() if key != call.params["key"]})


def _one(compute: Compute, call: Call) -> ImageRow:
    try:
        return compute.image.visible(call.ctx, call.params["image_id"])
    except NotFound:
        raise NotFound("Image not found.") from None


def _item(compute: Compute, call: Call) -> dict[str, Any]:
    known = _one(compute, call).properties
    if call.params["key"] not in known:
        raise NotFound("Metadata item was not found.")
    return known


async def _describe(compute: Compute, call: Call, properties: dict[str, Any]) -> dict[str, Any]:
    row = await compute.image.describe(call.ctx, _one(compute, call).id, properties)
    return row.properties


_ALL, _ONE = "/images", "/images/{image_id}"
_METADATA, _ITEM = "/images/{image_id}/metadata", "/images/{image_id}/metadata/{key}"
_UNTIL, _METADATA_UNTIL = (2, 35), (2, 38)
ROUTES = [
    Route("GET", _ALL, list_images, view=BRIEF, many=True, policy=READER, rule="-", until=_UNTIL),
    Route("GET", "/images/detail", list_images, view=IMAGE, many=True, policy=READER, rule="-", until=_UNTIL),
    Route("GET", _ONE, show_image, view=IMAGE, policy=READER, rule="-", until=_UNTIL),
    Route("DELETE", _ONE, delete_image, status=204, policy=MEMBER, rule="-", until=_UNTIL),
    Route("GET", _METADATA, list_metadata, policy=READER, rule="-", until=_METADATA_UNTIL),
    Route("POST", _METADATA, merge_metadata, body=METADATA, policy=MEMBER, rule="-", until=_METADATA_UNTIL),
    Route(
        "PUT", _METADATA, replace_metadata, body=METADATA, mode="create", policy=MEMBER, rule="-", until=_METADATA_UNTIL
    ),
    Route("GET", _ITEM, show_item, policy=READER, rule="-", until=_METADATA_UNTIL),
    Route("PUT", _ITEM, set_item, body=META, mode="create", policy=MEMBER, rule="-", until=_METADATA_UNTIL),
    Route("DELETE", _ITEM, delete_item, status=204, policy=MEMBER, rule="-", until=_METADATA_UNTIL),
]
