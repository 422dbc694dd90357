"""`/v3/policies` (identity API v3, "Policies", deprecated there)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicloud.api.policy import ADMIN, ADMIN_OR_SYSTEM_READER
from minicloud.api.route import Call, Listed, Route
from minicloud.api.schema import OPTIONAL, REQUIRED, Field, Schema, Type
from minicloud.identity import policies
from minicloud.identity.api.fields import NAME64, NAME255, links, values_of
from minicloud.identity.api.lists import page
from minicloud.identity.api.rules import NO_DOMAIN
from minicloud.identity.tables import StoredPolicy

if TYPE_CHECKING:
    from minicloud.identity import Identity

POLICY = Schema(
    "policy",
    Field("id", NAME64, out=True),
    Field("type", NAME255, out=True, create=REQUIRED, update=OPTIONAL),
    Field("blob", Type({"type": ["string", "object"]}), out=True, create=REQUIRED, update=OPTIONAL),
    links("policies"),
    plural="policies",
    extra=True,
    rest="extra",
)


async def list_policies(identity: Identity, call: Call) -> Listed:
    """All of them."""
    return page(call, policies.listed(identity), "type")


async def create_policy(identity: Identity, call: Call) -> StoredPolicy:
    """Keep a text."""
    return await policies.create(identity, **values_of(POLICY, call.body))


async def show_policy(identity: Identity, call: Call) -> StoredPolicy:
    """Show a policy."""
    return policies.show(identity, call.params["policy_id"])


async def update_policy(identity: Identity, call: Call) -> StoredPolicy:
    """Change one."""
    return await policies.update(identity, call.params["policy_id"], values_of(POLICY, call.body))


async def delete_policy(identity: Identity, call: Call) -> None:
    """Remove one."""
    await policies.delete(identity, call.params["policy_id"])


ONE, READ = "/policies/{policy_id}", ADMIN_OR_SYSTEM_READER
ROUTES = [
    Route(
        "GET",
        "/policies",
        list_policies,
        view=POLICY,
        many=True,
        policy=READ,
        rule="identity:list_policies",
        scopes=NO_DOMAIN,
    ),
    Route(
        "POST",
        "/policies",
        create_policy,
        body=POLICY,
        view=POLICY,
        status=201,
        policy=ADMIN,
        rule="identity:create_policy",
        scopes=NO_DOMAIN,
    ),
    Route("GET", ONE, show_policy, view=POLICY, policy=READ, rule="identity:get_policy", scopes=NO_DOMAIN),
    Route(
        "PATCH",
        ONE,
        update_policy,
        body=POLICY,
        view=POLICY,
        policy=ADMIN,
        rule="identity:update_policy",
        scopes=NO_DOMAIN,
    ),
    Route("DELETE", ONE, delete_policy, status=204, policy=ADMIN, rule="identity:delete_policy", scopes=NO_DOMAIN),
]
