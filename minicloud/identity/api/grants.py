"""Giving and taking roles: the same four requests for users and groups, on projects, domains and the system, on the thing
itself or (OS-INHERIT) on all projects below it (identity API v3, "Roles" and "OS-INHERIT").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicloud.api.policy import ADMIN, ADMIN_OR_SYSTEM_READER, Policy
from minicloud.api.route import Call, Handler, Listed, Route
from minicloud.core.store import Page
from minicloud.identity import assignments, roles
from minicloud.identity.api.roles import MANAGED, ROLE
from minicloud.identity.api.rules import MANAGERS, NO_DOMAIN, READERS, allow
from minicloud.identity.tables import Assignment

if TYPE_CHECKING:
    from minicloud.identity import Identity


async def list_grants(identity: Identity, call: Call, *, inherited: bool = False) -> Listed:
    """Roles that an actor has directly on a target."""
    row = _row(call, inherited)
    _allow(identity, call, row, "reader")
    return Listed(assignments.granted(identity, row), Page())


async def check_grant(identity: Identity, call: Call, *, inherited: bool = False) -> None:
    """Whether the actor has the role."""
    row = _row(call, inherited)
    _allow(identity, call, row, "reader")
    assignments.check(identity, row)


async def create_grant(identity: Identity, call: Call, *, inherited: bool = False) -> None:
    """Give a role."""
    row = _row(call, inherited)
    _allow(identity, call, row, "manager")
    await assignments.grant(identity, row)


async def revoke_grant(identity: Identity, call: Call, *, inherited: bool = False) -> None:
    """Take a role away."""
    row = _row(call, inherited)
    _allow(identity, call, row, "manager")
    await assignments.revoke(identity, row)


def _row(call: Call, inherited: bool) -> Assignment:
    params = call.params
    actor = "user" if "user_id" in params else "group"
    target = next((kind for kind in ("project", "domain") if f"{kind}_id" in params), "system")
    return Assignment(
        actor, params[f"{actor}_id"], target, params.get(f"{target}_id", "all"), params.get("role_id", ""), inherited
    )


def _allow(identity: Identity, call: Call, row: Assignment, role: str) -> None:
    """A domain's manager may give the ordinary roles to actors of the domain on targets of the domain; its reader may look, but
    not for the roles of other domains."""
    home = assignments.domain_of_target(identity, row.target_kind, row.target_id)
    if home != assignments.domain_of_actor(identity, row.actor_kind, row.actor_id):
        home = None
    given = roles.ROLE.seek(identity, row.role_id)
    if role == "manager" and (given is None or given.name not in MANAGED):
        home = None
    if given is not None and given.domain_id not in (None, home):
        home = None
    allow(call.ctx, call.route.rule, domain_id=home, role=role)


def _one(
    path: str,
    suffix: str,
    read: Policy,
    write: Policy,
    handlers: tuple[Handler, Handler, Handler],
    scopes: tuple[str, ...] | None = None,
) -> list[Route]:
    """Check, give and take one role; `suffix` is the rest of the rules' names."""
    check, create, revoke = handlers
    return [
        Route("GET", path, check, status=204, policy=read, rule=f"identity:check_{suffix}", scopes=scopes),
        Route("PUT", path, create, status=204, policy=write, rule=f"identity:create_{suffix}", scopes=scopes),
        Route("DELETE", path, revoke, status=204, policy=write, rule=f"identity:revoke_{suffix}", scopes=scopes),
    ]


async def list_inherited(identity: Identity, call: Call) -> Listed:
    """Roles that an actor has on all projects below a target."""
    return await list_grants(identity, call, inherited=True)


async def check_inherited(identity: Identity, call: Call) -> None:
    """Whether the actor has the role on all projects below."""
    await check_grant(identity, call, inherited=True)


async def create_inherited(identity: Identity, call: Call) -> None:
    """Give a role on all projects below."""
    await create_grant(identity, call, inherited=True)


async def revoke_inherited(identity: Identity, call: Call) -> None:
    """Take a role on all projects below away."""
    await revoke_grant(identity, call, inherited=True)


HERE = (check_grant, create_grant, revoke_grant)
BELOW = (check_inherited, create_inherited, revoke_inherited)


def _routes(actor: str) -> list[Route]:
    actors = f"{actor}s/{{{actor}_id}}/roles"
    system, routes = f"system_grant_for_{actor}", []
    for target in ("/projects/{project_id}", "/domains/{domain_id}"):
        path, below = f"{target}/{actors}", f"/OS-INHERIT{target}/{actors}"
        routes += [
            Route("GET", path, list_grants, view=ROLE, many=True, policy=READERS, rule="identity:list_grants"),
            *_one(path + "/{role_id}", "grant", READERS, MANAGERS, HERE),
            Route(
                "GET",
                below + "/inherited_to_projects",
                list_inherited,
                view=ROLE,
                many=True,
                policy=READERS,
                rule="identity:list_grants",
            ),
            *_one(below + "/{role_id}/inherited_to_projects", "grant", READERS, MANAGERS, BELOW),
        ]
    path, rule = f"/system/{actors}", f"identity:list_system_grants_for_{actor}"
    routes.append(
        Route(
            "GET", path, list_grants, view=ROLE, many=True, policy=ADMIN_OR_SYSTEM_READER, rule=rule, scopes=NO_DOMAIN
        )
    )
    return [*routes, *_one(path + "/{role_id}", system, ADMIN_OR_SYSTEM_READER, ADMIN, HERE, NO_DOMAIN)]


ROUTES = [*_routes("user"), *_routes("group")]
