"""A server's tags: `/servers/{id}/tags`."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from minicloud.api.policy import MEMBER, READER
from minicloud.api.route import Call, Reply, Route
from minicloud.api.schema import REQUIRED, Field, Schema, array
from minicloud.compute import servers
from minicloud.compute.api.types import TAG
from minicloud.core.errors import Invalid

if TYPE_CHECKING:
    from minicloud.compute import Compute

TAGS = Schema("tags", Field("tags", array(TAG, high=servers.TAGS_MOST, unique=True), create=REQUIRED))
RULE = "os_compute_api:os-server-tags"
SINCE = (2, 26)


async def list_tags(compute: Compute, call: Call) -> Reply:
    """`GET .../tags`."""
    return Reply({"tags": compute.server(call.ctx, call.params["server_id"]).tags})


async def replace_tags(compute: Compute, call: Call) -> Reply:
    """`PUT .../tags`."""
    wanted = call.body["tags"]
    return Reply({"tags": await servers.change_tags(compute, call.ctx, call.params["server_id"], lambda known: wanted)})


async def clear_tags(compute: Compute, call: Call) -> None:
    """`DELETE .../tags`."""
    await servers.change_tags(compute, call.ctx, call.params["server_id"], lambda known: [])


async def check_tag(compute: Compute, call: Call) -> None:
    """`GET .../tags/{tag}`."""
    servers.require_tag(compute.server(call.ctx, call.params["server_id"]), call.params["tag"])


async def add_tag(compute: Compute, call: Call) -> Reply:
    """`PUT .../tags/{tag}`: 201 when it is new, 204 when the server has it."""
    server, tag = compute.server(call.ctx, call.params["server_id"]), call.params["tag"]
    if "," in tag or "/" in tag or len(tag) > 60:
        raise Invalid("Cannot use this tag: at most 60 characters, none of them a comma or a slash.")
    if tag in server.tags:
        return Reply(status=204)
    await servers.change_tags(compute, call.ctx, server.id, lambda known: [*known, tag])
    return Reply(status=201, headers={"Location": f"{call.root}/servers/{server.id}/tags/{quote(tag, safe='')}"})


async def remove_tag(compute: Compute, call: Call) -> None:
    """`DELETE .../tags/{tag}`."""
    server, tag = compute.server(call.ctx, call.params["server_id"]), call.params["tag"]
    servers.require_tag(server, tag)
    await servers.change_tags(compute, call.ctx, server.id, lambda known: [one for one in known if one != tag])


_ALL, _ONE = "/servers/{server_id}/tags", "/servers/{server_id}/tags/{tag}"
ROUTES = [
    Route("GET", _ALL, list_tags, policy=READER, rule=f"{RULE}:index", since=SINCE),
    Route(
        "PUT",
        _ALL,
        replace_tags,
        body=TAGS,
        mode="create",
        envelope=False,
        policy=MEMBER,
        rule=f"{RULE}:update_all",
        since=SINCE,
    ),
    Route("DELETE", _ALL, clear_tags, status=204, policy=MEMBER, rule=f"{RULE}:delete_all", since=SINCE),
    Route("GET", _ONE, check_tag, status=204, policy=READER, rule=f"{RULE}:show", since=SINCE),
    Route("PUT", _ONE, add_tag, policy=MEMBER, rule=f"{RULE}:update", since=SINCE),
    Route("DELETE", _ONE, remove_tag, status=204, policy=MEMBER, rule=f"{RULE}:delete", since=SINCE),
]
