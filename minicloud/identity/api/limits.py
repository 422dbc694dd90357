"""`/v3/registered_limits` and `/v3/limits` (identity API v3, "Unified limits"). Both are created in lists, all or none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN, ANYONE
from minicloud.api.route import Call, Listed, Route
from minicloud.api.schema import OPTIONAL, REQUIRED, Field, Schema, array, integer, nullable
from minicloud.core.errors import Forbidden
from minicloud.identity import limits
from minicloud.identity.api.fields import NAME64, NAME255, TEXT, links
from minicloud.identity.api.lists import page
from minicloud.identity.api.rules import NO_DOMAIN, sees_all
from minicloud.identity.tables import Limit, RegisteredLimit

if TYPE_CHECKING:
    from minicloud.identity import Identity

NUMBER = integer(low=-1, high=2**31 - 1)
REGION = nullable(NAME255)
REGISTERED = Schema(
    "registered_limit",
    Field("id", NAME64, out=True),
    Field("service_id", NAME64, out=True, create=REQUIRED, update=OPTIONAL),
    Field("region_id", REGION, out=True, create=OPTIONAL, update=OPTIONAL),
    Field("resource_name", NAME255, out=True, create=REQUIRED, update=OPTIONAL),
    Field("default_limit", NUMBER, out=True, create=REQUIRED, update=OPTIONAL),
    Field("description", TEXT, out=True, create=OPTIONAL, update=OPTIONAL),
    links("registered_limits"),
)
LIMIT = Schema(
    "limit",
    Field("id", NAME64, out=True),
    Field("service_id", NAME64, out=True, create=REQUIRED),
    Field("region_id", REGION, out=True, create=OPTIONAL),
    Field("resource_name", NAME255, out=True, create=REQUIRED),
    Field("project_id", nullable(NAME64), out=True, create=OPTIONAL),
    Field("domain_id", nullable(NAME64), out=True, create=OPTIONAL),
    Field("resource_limit", NUMBER, out=True, create=REQUIRED, update=OPTIONAL),
    Field("description", TEXT, out=True, create=OPTIONAL, update=OPTIONAL),
    links("limits"),
)
MANY_REGISTERED = Schema("body", Field("registered_limits", array(REGISTERED, low=1, high=200), create=REQUIRED))
MANY_LIMITS = Schema("body", Field("limits", array(LIMIT, low=1, high=200), create=REQUIRED))


async def list_registered_limits(identity: Identity, call: Call) -> Listed:
    """All defaults."""
    return page(call, limits.registered(identity), "service_id", "region_id", "resource_name")


async def create_registered_limits(identity: Identity, call: Call) -> list[RegisteredLimit]:
    """New defaults."""
    return await limits.register(identity, call.body["registered_limits"])


async def show_registered_limit(identity: Identity, call: Call) -> RegisteredLimit:
    """One default."""
    return limits.show_registered(identity, call.params["registered_limit_id"])


async def update_registered_limit(identity: Identity, call: Call) -> RegisteredLimit:
    """Change a default."""
    return await limits.update_registered(identity, call.params["registered_limit_id"], call.body)


async def delete_registered_limit(identity: Identity, call: Call) -> None:
    """Remove a default."""
    await limits.unregister(identity, call.params["registered_limit_id"])


async def show_model(identity: Identity, call: Call) -> dict[str, Any]:
    """How limits are enforced."""
    return {
        "model": {
            "name": "flat",
            "description": "Each limit stands for itself; a project's place in the tree is not looked at.",
        }
    }


async def list_limits(identity: Identity, call: Call) -> Listed:
    """Limits that concern the caller; all for those who read everything."""
    rows = [row for row in limits.listed(identity) if _concerns(identity, call, row)]
    return page(call, rows, "service_id", "region_id", "resource_name", "project_id", "domain_id")


async def create_limits(identity: Identity, call: Call) -> list[Limit]:
    """New limits."""
    return await limits.create(identity, call.body["limits"])


async def show_limit(identity: Identity, call: Call) -> Limit:
    """One limit."""
    row = limits.show(identity, call.params["limit_id"])
    if not _concerns(identity, call, row):
        raise Forbidden(
            "You are not authorized to perform the requested action: identity:get_limit.", code=call.route.rule
        )
    return row


async def update_limit(identity: Identity, call: Call) -> Limit:
    """Change a limit."""
    return await limits.update(identity, call.params["limit_id"], call.body)


async def delete_limit(identity: Identity, call: Call) -> None:
    """Remove a limit."""
    await limits.delete(identity, call.params["limit_id"])


def _concerns(identity: Identity, call: Call, row: Limit) -> bool:
    """Limits are seen by whoever is in their project, in their domain, or in the domain of their project."""
    ctx = call.ctx
    if sees_all(ctx) or (ctx.project_id is not None and ctx.project_id == row.project_id):
        return True
    project = identity.project(row.project_id) if row.project_id is not None else None
    return ctx.domain_id is not None and ctx.domain_id in (row.domain_id, project.domain_id if project else None)


ONE, MINE = "/registered_limits/{registered_limit_id}", "/limits/{limit_id}"
ROUTES = [
    Route("GET", "/registered_limits", list_registered_limits, view=REGISTERED, many=True, policy=ANYONE, rule="identity:list_registered_limits"),
    Route(
        "POST", "/registered_limits", create_registered_limits, body=MANY_REGISTERED, envelope=False, view=REGISTERED, many=True,
        status=201, policy=ADMIN, rule="identity:create_registered_limits", scopes=NO_DOMAIN,
    ),
    Route("GET", ONE, show_registered_limit, view=REGISTERED, policy=ANYONE, rule="identity:get_registered_limit"),
    Route("PATCH", ONE, update_registered_limit, body=REGISTERED, view=REGISTERED, policy=ADMIN, rule="identity:update_registered_limit", scopes=NO_DOMAIN),
    Route("DELETE", ONE, delete_registered_limit, status=204, policy=ADMIN, rule="identity:delete_registered_limit", scopes=NO_DOMAIN),
    Route("GET", "/limits/model", show_model, policy=ANYONE, rule="identity:get_limit_model"),
    Route("GET", "/limits", list_limits, view=LIMIT, many=True, policy=ANYONE, rule="identity:list_limits"),
    Route(
        "POST", "/limits", create_limits, body=MANY_LIMITS, envelope=False, view=LIMIT, many=True, status=201, policy=ADMIN,
        rule="identity:create_limits", scopes=NO_DOMAIN,
    ),
    Route("GET", MINE, show_limit, view=LIMIT, policy=ANYONE, rule="identity:get_limit"),
    Route("PATCH", MINE, update_limit, body=LIMIT, view=LIMIT, policy=ADMIN, rule="identity:update_limit", scopes=NO_DOMAIN),
    Route("DELETE", MINE, delete_limit, status=204, policy=ADMIN, rule="identity:delete_limit", scopes=NO_DOMAIN),
]  # fmt: skip
