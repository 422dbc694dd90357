"""`/os-server-groups`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN, MEMBER, READER, require
from minicloud.api.route import Call, Reply, Route
from minicloud.api.schema import OPTIONAL, REQUIRED, Field, Schema, array, integer, string
from minicloud.compute import server_groups
from minicloud.compute.api.types import NAME
from minicloud.compute.tables import ServerGroup
from minicloud.core.errors import Invalid

if TYPE_CHECKING:
    from minicloud.compute import Compute

RULE = "os_compute_api:os-server-groups"
_RULES = Schema("rules", Field("max_server_per_host", integer(low=1), create=OPTIONAL))
NEW = Schema(
    "server_group",
    Field("name", NAME, create=REQUIRED),
    Field("policies", array(string(enum=("anti-affinity", "affinity")), low=1, high=1), create=REQUIRED, until=(2, 14)),
    Field(
        "policies",
        array(string(enum=server_groups.POLICIES), low=1, high=1),
        create=REQUIRED,
        since=(2, 15),
        until=(2, 63),
    ),
    Field("policy", string(enum=server_groups.POLICIES), create=REQUIRED, since=(2, 64)),
    Field("rules", _RULES, create=OPTIONAL, since=(2, 64)),
)


def _view(compute: Compute, call: Call, row: ServerGroup) -> dict[str, Any]:
    told: dict[str, Any] = {"id": row.id, "name": row.name, "members": server_groups.members(compute, row)}
    if call.at_least(2, 64):
        told |= {"policy": row.policy, "rules": row.rules}
    else:
        told |= {"policies": [row.policy], "metadata": {}}
    if call.at_least(2, 13):
        told |= {"project_id": row.project_id, "user_id": row.user_id}
    return told


async def list_groups(compute: Compute, call: Call) -> Reply:
    """`GET /os-server-groups`."""
    everyone = "all_projects" in call.query
    if everyone and not call.ctx.is_admin:
        require(call.ctx, ADMIN, f"{RULE}:index:all_projects")
    numbers = {}
    for name, default in (("limit", "1000"), ("offset", "0")):
        text = call.query.get(name, default)
        if not text.isascii() or not text.isdigit():
            raise Invalid(f"Cannot use {name} {text[:40]!r}: it must be a whole number, 0 or more.")
        numbers[name] = min(int(text), 1_000_000)
    rows = server_groups.listed(
        compute, call.ctx, all_projects=everyone, limit=numbers["limit"], offset=numbers["offset"]
    )
    return Reply({"server_groups": [_view(compute, call, row) for row in rows]})


async def show_group(compute: Compute, call: Call) -> Reply:
    """`GET /os-server-groups/{id}`."""
    return Reply({"server_group": _view(compute, call, server_groups.show(compute, call.ctx, call.params["group_id"]))})


async def create_group(compute: Compute, call: Call) -> Reply:
    """`POST /os-server-groups`."""
    body = call.body
    row = await server_groups.create(
        compute,
        call.ctx,
        name=body["name"],
        policy=body.get("policy") or body["policies"][0],
        rules=body.get("rules", {}),
    )
    return Reply({"server_group": _view(compute, call, row)})


async def delete_group(compute: Compute, call: Call) -> None:
    """`DELETE /os-server-groups/{id}`."""
    await server_groups.delete(compute, call.ctx, call.params["group_id"])


ROUTES = [
    Route(
        "GET",
        "/os-server-groups",
        list_groups,
        policy=READER,
        rule=f"{RULE}:index",
        query=("all_projects", "limit", "offset"),
    ),
    Route("POST", "/os-server-groups", create_group, body=NEW, policy=MEMBER, rule=f"{RULE}:create"),
    Route("GET", "/os-server-groups/{group_id}", show_group, policy=READER, rule=f"{RULE}:show"),
    Route("DELETE", "/os-server-groups/{group_id}", delete_group, status=204, policy=MEMBER, rule=f"{RULE}:delete"),
]
