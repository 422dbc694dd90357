"""`GET /v3/role_assignments` (identity API v3, "Roles", list role assignments)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from minicloud.api.route import Call, Listed, Reply, Route
from minicloud.core.errors import Forbidden, Invalid
from minicloud.core.store import Db, Page
from minicloud.identity import role_assignments
from minicloud.identity.api.lists import is_true
from minicloud.identity.api.rules import READERS, own_domain
from minicloud.identity.role_assignments import Given, Wanted
from minicloud.identity.tables import GROUPS, PROJECTS, ROLES, USERS, Assignment

if TYPE_CHECKING:
    from minicloud.identity import Identity


async def list_role_assignments(identity: Identity, call: Call) -> Reply:
    """Who has which role where, with names if asked for."""
    query, effective = call.query, is_true(call, "effective")
    wanted = _wanted(call)
    if effective and wanted.group_id is not None:
        raise Invalid("Cannot list effective assignments of a group: they are worked out for users.")
    if wanted.user_id is not None and wanted.group_id is not None:
        raise Invalid("Cannot list assignments of a user and a group at once.")
    home, names = own_domain(call), is_true(call, "include_names")
    extra = call.dialect.list_extra(call, "role_assignments", Listed([], Page()))

    def told(db: Db) -> str:
        given = role_assignments.listed(db, wanted, effective=effective)
        shown = [_view(db, call, one, names) for one in given if home is None or _home(db, one.row) == home]
        return json.dumps({"role_assignments": shown, **extra})

    if wanted.below and home is not None and not call.ctx.is_admin:
        project = identity.project(query["scope.project.id"])
        if project is None or project.domain_id != home:
            raise Forbidden(
                "You are not authorized to perform the requested action: identity:list_role_assignments_for_tree."
            )
    return Reply(await identity.store.scan(told))


def _wanted(call: Call) -> Wanted:
    query = call.query
    kinds = [kind for kind in ("project", "domain") if query.get(f"scope.{kind}.id")]
    kinds += ["system"] if is_true(call, "scope.system") or query.get("scope.system") == "all" else []
    if len(kinds) > 1:
        raise Invalid("Cannot list assignments of several scopes at once: give one.")
    inherited_to = query.get("scope.OS-INHERIT:inherited_to")
    if inherited_to not in (None, "projects"):
        raise Invalid("Cannot list these: scope.OS-INHERIT:inherited_to can only be projects.")
    below = is_true(call, "include_subtree")
    if below and kinds != ["project"]:
        raise Invalid("Cannot list a subtree: scope.project.id says of which project.")
    return Wanted(
        user_id=query.get("user.id"),
        group_id=query.get("group.id"),
        role_id=query.get("role.id"),
        target_kind=kinds[0] if kinds else None,
        target_id=query.get(f"scope.{kinds[0]}.id", "all") if kinds else None,
        inherited=True if inherited_to else None,
        below=below,
    )


def _home(db: Db, row: Assignment) -> str | None:
    target = PROJECTS.get(db, row.target_id) if row.target_kind != "system" else None
    return None if target is None else target.domain_id or target.id


def _view(db: Db, call: Call, given: Given, names: bool) -> dict[str, Any]:
    row, source = given.row, given.source
    scope: dict[str, Any] = (
        {"system": {"all": True}} if row.target_kind == "system" else {row.target_kind: {"id": row.target_id}}
    )
    actor, role = {"id": row.actor_id}, {"id": row.role_id}
    if names:
        actor |= _named(db, _actor(db, row.actor_kind, row.actor_id))
        role |= _named(db, ROLES.get(db, row.role_id))
        if row.target_kind != "system":
            scope[row.target_kind] |= _named(db, PROJECTS.get(db, row.target_id))
    if row.inherited or source.inherited:
        scope["OS-INHERIT:inherited_to"] = "projects"
    links = {"assignment": _link(call, source)}
    if row.actor_kind != source.actor_kind:
        links["membership"] = f"{call.root}/groups/{source.actor_id}/users/{row.actor_id}"
    if given.prior_role_id is not None:
        links["prior_role"] = f"{call.root}/prior_role/{given.prior_role_id}/implies/{row.role_id}"
    return {"links": links, "scope": scope, row.actor_kind: actor, "role": role}


def _actor(db: Db, kind: str, actor_id: str) -> Any:
    return USERS.get(db, actor_id) if kind == "user" else GROUPS.get(db, actor_id)


def _named(db: Db, row: Any) -> dict[str, Any]:
    if row is None:
        return {}
    named: dict[str, Any] = {"name": row.name}
    domain = PROJECTS.get(db, row.domain_id)
    if domain is not None:
        named["domain"] = {"id": domain.id, "name": domain.name}
    return named


def _link(call: Call, row: Assignment) -> str:
    target = "system" if row.target_kind == "system" else f"{row.target_kind}s/{row.target_id}"
    if row.inherited:
        path = f"OS-INHERIT/{target}/{row.actor_kind}s/{row.actor_id}/roles/{row.role_id}/inherited_to_projects"
        return f"{call.root}/{path}"
    return f"{call.root}/{target}/{row.actor_kind}s/{row.actor_id}/roles/{row.role_id}"


ROUTES = [
    Route("GET", "/role_assignments", list_role_assignments, policy=READERS, rule="identity:list_role_assignments")
]
