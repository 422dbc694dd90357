"""`/v3/roles` and `/v3/role_inferences` (identity API v3, "Roles")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN, ADMIN_OR_SYSTEM_READER, ANYONE, domain_role
from minicloud.api.route import Call, Listed, Reply, Route
from minicloud.api.schema import OPTIONAL, REQUIRED, Field, Schema, nullable
from minicloud.core.errors import Forbidden, NotFound
from minicloud.identity import roles
from minicloud.identity.api.fields import IMMUTABLE, NAME64, NAME255, TEXT, links, values_of
from minicloud.identity.api.lists import page
from minicloud.identity.api.rules import NO_DOMAIN, allow, allow_outside_domains, sees_all
from minicloud.identity.tables import Role

if TYPE_CHECKING:
    from minicloud.identity import Identity

ROLE = Schema(
    "role",
    Field("id", NAME64, out=True),
    Field("name", NAME255, out=True, create=REQUIRED, update=OPTIONAL),
    Field("domain_id", nullable(NAME64), out=True, create=OPTIONAL, update=OPTIONAL),
    Field("description", TEXT, out=True, create=OPTIONAL, update=OPTIONAL),
    Field("options", IMMUTABLE, out=True, create=OPTIONAL, update=OPTIONAL),
    links("roles"),
    extra=True,
    rest="extra",
)
NOUN = roles.ROLE
MANAGED = ("manager", "member", "reader")
"""Roles that a domain's manager may look at and give."""


async def list_roles(identity: Identity, call: Call) -> Listed:
    """The global roles; with `domain_id` those of that domain."""
    domain_id = call.query.get("domain_id") or None
    if domain_id is not None and (call.ctx.domain_id is not None or not sees_all(call.ctx)):
        raise Forbidden("You are not authorized to perform the requested action: identity:list_domain_roles.")
    return page(call, roles.listed(identity, domain_id), "id", "name", "description")


async def create_role(identity: Identity, call: Call) -> Role:
    """A new role."""
    return await roles.create(identity, **values_of(ROLE, call.body))


async def show_role(identity: Identity, call: Call) -> Role:
    """One role."""
    row = NOUN.show(identity, call.params["role_id"])
    if row.domain_id is not None and call.ctx.domain_id is not None:
        allow_outside_domains(call.ctx, call.route.rule)
    managed = row.name in MANAGED and row.domain_id is None and "manager" in call.ctx.roles
    if not managed:
        allow(call.ctx, call.route.rule, domain_id=None)
    return row


async def update_role(identity: Identity, call: Call) -> Role:
    """Change a role; one that isn't there is not found for anybody, as Keystone has it."""
    _managed(identity, call)
    return await NOUN.update(identity, call.params["role_id"], values_of(ROLE, call.body))


async def delete_role(identity: Identity, call: Call) -> None:
    """Remove a role."""
    _managed(identity, call)
    await NOUN.delete(identity, call.params["role_id"])


def _managed(identity: Identity, call: Call) -> None:
    NOUN.show(identity, call.params["role_id"])
    allow_outside_domains(call.ctx, call.route.rule)


# --- implied roles ---------------------------------------------------------------------------------------------------


async def list_implied(identity: Identity, call: Call) -> Any:
    """What a role implies."""
    prior = NOUN.show(identity, call.params["prior_role_id"])
    implied = [_short(call, one) for one in roles.implied_by(identity, prior.id)]
    place = f"{call.root}/roles/{prior.id}/implies"
    return {"role_inference": {"prior_role": _short(call, prior), "implies": implied}, "links": {"self": place}}


async def show_implied(identity: Identity, call: Call) -> Any:
    """One rule; a HEAD of it has another status than the GET, here only."""
    rule = _rule(identity, call)
    return Reply(None, status=204) if call.request.method == "HEAD" else rule


async def create_implied(identity: Identity, call: Call) -> Any:
    """Have a role imply another."""
    await roles.imply(identity, call.params["prior_role_id"], call.params["implied_role_id"])
    return _rule(identity, call)


async def delete_implied(identity: Identity, call: Call) -> None:
    """End that."""
    await roles.imply_no_more(identity, call.params["prior_role_id"], call.params["implied_role_id"])


async def list_inferences(identity: Identity, call: Call) -> Any:
    """All rules."""
    rules = [
        {"prior_role": _short(call, prior), "implies": [_short(call, one) for one in implied]}
        for prior, implied in roles.inferences(identity)
    ]
    return {"role_inferences": rules, "links": {"self": f"{call.root}/role_inferences"}}


def _rule(identity: Identity, call: Call) -> Any:
    prior_id, implied_id = call.params["prior_role_id"], call.params["implied_role_id"]
    prior = NOUN.show(identity, prior_id)
    implied = next((one for one in roles.implied_by(identity, prior_id) if one.id == implied_id), None)
    if implied is None:
        raise NotFound(f"Could not find a rule by which role {prior_id} implies {implied_id}.")
    place = f"{call.root}/roles/{prior_id}/implies/{implied_id}"
    return {
        "role_inference": {"prior_role": _short(call, prior), "implies": _short(call, implied)},
        "links": {"self": place},
    }


def _short(call: Call, role: Role) -> dict[str, Any]:
    return {"id": role.id, "name": role.name, "links": {"self": f"{call.root}/roles/{role.id}"}}


ONE, IMPLIES = "/roles/{role_id}", "/roles/{prior_role_id}/implies"
SEEN = ADMIN_OR_SYSTEM_READER | domain_role("manager")
READ = ADMIN_OR_SYSTEM_READER
ROUTES = [
    Route("GET", "/roles", list_roles, view=ROLE, many=True, policy=SEEN, rule="identity:list_roles"),
    Route(
        "POST",
        "/roles",
        create_role,
        body=ROLE,
        view=ROLE,
        status=201,
        policy=ADMIN,
        rule="identity:create_role",
        scopes=NO_DOMAIN,
    ),
    Route("GET", ONE, show_role, view=ROLE, policy=ANYONE, rule="identity:get_role"),
    Route("PATCH", ONE, update_role, body=ROLE, view=ROLE, policy=ANYONE, rule="identity:update_role"),
    Route("DELETE", ONE, delete_role, status=204, policy=ANYONE, rule="identity:delete_role"),
    Route("GET", IMPLIES, list_implied, policy=READ, rule="identity:list_implied_roles", scopes=NO_DOMAIN),
    Route(
        "GET",
        IMPLIES + "/{implied_role_id}",
        show_implied,
        policy=READ,
        rule="identity:get_implied_role",
        scopes=NO_DOMAIN,
    ),
    Route(
        "PUT",
        IMPLIES + "/{implied_role_id}",
        create_implied,
        status=201,
        policy=ADMIN,
        rule="identity:create_implied_role",
        scopes=NO_DOMAIN,
    ),
    Route(
        "DELETE",
        IMPLIES + "/{implied_role_id}",
        delete_implied,
        status=204,
        policy=ADMIN,
        rule="identity:delete_implied_role",
        scopes=NO_DOMAIN,
    ),
    Route(
        "GET",
        "/role_inferences",
        list_inferences,
        policy=READ,
        rule="identity:list_role_inference_rules",
        scopes=NO_DOMAIN,
    ),
]
