"""RBAC policies on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import MEMBER, READER
from minicloud.api.route import Call, Listed, Route
from minicloud.api.schema import OPTIONAL, REQUIRED, TEXT, Field, Schema, string
from minicloud.core.errors import Invalid
from minicloud.network import rbac_policies, routers
from minicloud.network.api.listing import Collection
from minicloud.network.api.standard import PROJECT_ID, columns
from minicloud.network.tables import RBAC_POLICIES, RbacPolicy

if TYPE_CHECKING:
    from minicloud.network import Network

RENAMED = {"target_tenant": "target", "target_project": "target"}
TARGET = string(low=1)
POLICY = Schema(
    "rbac_policy",
    Field("id", TEXT, out=True),
    Field("object_type", string(low=1), out=True, create=REQUIRED),
    Field("object_id", string(low=1), out=True, create=REQUIRED),
    Field("action", string(low=1), out=True, create=REQUIRED),
    Field("target_tenant", TARGET, attr="target", out=True, create=OPTIONAL, update=OPTIONAL),
    Field("target_project", TARGET, create=OPTIONAL, update=OPTIONAL),
    Field("tenant_id", PROJECT_ID, attr="project_id", out=True, create=OPTIONAL),
    Field("project_id", PROJECT_ID, out=True, create=OPTIONAL),
    plural="rbac_policies",
)
COLLECTION = Collection(RBAC_POLICIES, columns={"target_tenant": "target"})


async def list_policies(service: Network, call: Call) -> Listed:
    """List RBAC policies."""
    return COLLECTION.list(service.store.read, call, routers.visible_sql(call.ctx))


async def create_policies(service: Network, call: Call) -> list[RbacPolicy]:
    """Create one or many RBAC policies."""
    return await rbac_policies.create(service, call.ctx, [_read(one) for one in call.body])


async def show_policy(service: Network, call: Call) -> RbacPolicy:
    """Show an RBAC policy."""
    return rbac_policies.show(service, call.ctx, call.params["rbac_policy_id"])


async def update_policy(service: Network, call: Call) -> RbacPolicy:
    """Have an RBAC policy name another project."""
    return await rbac_policies.update(service, call.ctx, call.params["rbac_policy_id"], _read(call.body)["target"])


async def delete_policy(service: Network, call: Call) -> None:
    """Delete an RBAC policy."""
    await rbac_policies.delete(service, call.ctx, call.params["rbac_policy_id"])


def _read(body: dict[str, Any]) -> dict[str, Any]:
    values = columns(body, RENAMED)
    if "target" not in values:
        raise Invalid("Cannot read the body: target_tenant is missing.", code="HTTPBadRequest")
    return values


ONE = "/rbac-policies/{rbac_policy_id}"
ROUTES = [
    Route("GET", "/rbac-policies", list_policies, READER, "get_rbac_policy", view=POLICY, many=True),
    Route(
        "POST",
        "/rbac-policies",
        create_policies,
        MEMBER,
        "create_rbac_policy",
        201,
        body=POLICY,
        view=POLICY,
        bulk=True,
    ),
    Route("GET", ONE, show_policy, READER, "get_rbac_policy", view=POLICY),
    Route("PUT", ONE, update_policy, MEMBER, "update_rbac_policy", body=POLICY, view=POLICY),
    Route("DELETE", ONE, delete_policy, MEMBER, "delete_rbac_policy", 204),
]
