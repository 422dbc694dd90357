"""Quotas on the wire: limits of a project, what it uses, and what everyone gets by default."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN, MANAGER
from minicloud.api.route import Call, Reply, Route
from minicloud.api.schema import BOOLEAN, OPTIONAL, Field, Schema, Type, string
from minicloud.core.errors import Forbidden, Invalid
from minicloud.core.store import Db

if TYPE_CHECKING:
    from minicloud.network import Network

RESOURCES = (
    "network", "subnet", "subnetpool", "port", "router", "floatingip", "rbac_policy", "security_group",
    "security_group_rule",
)  # fmt: skip


def _limit(value: Any) -> int:
    return int(value)


LIMIT = Type(
    {
        "anyOf": [
            {"type": "integer", "minimum": -1, "maximum": 2147483647},
            {"type": "string", "pattern": r"^(-1|\d{1,9})$"},
        ]
    },
    _limit,
)
QUOTA = Schema(
    "quota",
    *(Field(name, LIMIT, update=OPTIONAL) for name in RESOURCES),
    Field("tenant_id", string(), update=OPTIONAL),
    Field("project_id", string(), update=OPTIONAL),
    Field("check_limit", BOOLEAN, update=OPTIONAL),
    Field("force", BOOLEAN, update=OPTIONAL),
)


async def list_quotas(service: Network, call: Call) -> Reply:
    """List projects whose limits are not the defaults."""

    def read(db: Db) -> list[dict[str, Any]]:
        own = db.execute(
            "SELECT DISTINCT project_id FROM quotas WHERE service = 'network' ORDER BY project_id"
        ).fetchall()
        return [{**service.quotas.limits(db, key), "project_id": key, "tenant_id": key} for (key,) in own]

    return Reply({"quotas": service.store.read(read)})


async def show_quota(service: Network, call: Call) -> Reply:
    """Show a project's limits."""
    return Reply({"quota": service.store.read(service.quotas.limits, _project(call))})


async def show_details(service: Network, call: Call) -> Reply:
    """Show a project's limits and what it uses."""

    def read(db: Db) -> dict[str, Any]:
        limits, used = service.quotas.limits(db, _project(call)), service.quotas.usage(db, _project(call))
        return {name: {"limit": limits[name], "used": used[name], "reserved": 0} for name in limits}

    return Reply({"quota": service.store.read(read)})


async def show_default(service: Network, call: Call) -> Reply:
    """Show the limits of projects that have none of their own."""
    _project(call)
    return Reply({"quota": service.quotas.defaults})


async def update_quota(service: Network, call: Call) -> Reply:
    """Give a project limits of its own."""
    project_id, values = call.params["project_id"], {name: call.body[name] for name in RESOURCES if name in call.body}

    def write(db: Db) -> dict[str, int]:
        if call.body.get("check_limit") and not call.body.get("force"):
            used = service.quotas.usage(db, project_id)
            for name, limit in values.items():
                if 0 <= limit < used[name]:
                    raise Invalid(f"Cannot set {name} to {limit}: {used[name]} are in use.", code="InvalidQuotaValue")
        service.quotas.set_in(db, project_id, values)
        return service.quotas.limits(db, project_id)

    return Reply({"quota": await service.store.write(write)})


async def delete_quota(service: Network, call: Call) -> None:
    """Give a project the default limits again."""
    await service.store.write(service.quotas.reset_in, call.params["project_id"])


def _project(call: Call) -> str:
    project_id = call.params["project_id"]
    if not call.ctx.sees(project_id):
        raise Forbidden("Policy doesn't allow get_quota to be performed.", code="get_quota")
    return project_id


ONE = "/quotas/{project_id}"
ROUTES = [
    Route("GET", "/quotas", list_quotas, MANAGER, "get_quota"),
    Route("GET", ONE, show_quota, MANAGER, "get_quota"),
    Route("GET", ONE + "/details", show_details, MANAGER, "get_quota"),
    Route("GET", ONE + "/default", show_default, MANAGER, "get_quota"),
    Route("PUT", ONE, update_quota, ADMIN, "update_quota", body=QUOTA),
    Route("DELETE", ONE, delete_quota, ADMIN, "delete_quota", 204),
]
