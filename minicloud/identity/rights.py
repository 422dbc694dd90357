"""What a user may: the roles that count in a scope, now, from rows.

Roles come from assignments of the user and of their groups, on the scope itself or inherited from above, plus all the
roles that those imply. Called at each request after anything changed (`Identity.authenticate` keeps the result until then).
"""

from __future__ import annotations

from collections.abc import Iterable

from minicloud.core.store import Db
from minicloud.identity.tables import PROJECTS, ROLES, Project, Role
from minicloud.identity.tokens import Scope

DEEPEST = 16
"""Levels of projects that are ever walked; far above what may be made."""


def ancestors(db: Db, project: Project) -> list[Project]:
    """The projects above one, nearest first, its domain last."""
    above: list[Project] = []
    current: Project | None = project
    while current is not None and current.parent_id is not None and len(above) < DEEPEST:
        current = PROJECTS.get(db, current.parent_id)
        if current is not None:
            above.append(current)
    return above


def assigned(db: Db, user_id: str, scope: Scope) -> set[str]:
    """Ids of the roles that a user was given in a scope, directly, by a group or from above; not yet the implied ones."""
    targets = [(scope.kind, scope.id, 0)]
    if scope.kind == "project":
        project = PROJECTS.get(db, scope.id)
        if project is None:
            return set()
        if project.is_domain:
            targets = [("domain", scope.id, 0), ("project", scope.id, 0)]
        targets += [("domain" if one.is_domain else "project", one.id, 1) for one in ancestors(db, project)]
    where = " OR ".join("(target_kind = ? AND target_id = ? AND inherited = ?)" for _ in targets)
    rows = db.execute(
        "SELECT DISTINCT role_id FROM assignments WHERE ((actor_kind = 'user' AND actor_id = ?) OR (actor_kind = 'group' AND"
        f" actor_id IN (SELECT group_id FROM memberships WHERE user_id = ?))) AND ({where})",
        (user_id, user_id, *(value for target in targets for value in target)),
    )
    return {role_id for (role_id,) in rows}


def with_implied(db: Db, role_ids: Iterable[str]) -> set[str]:
    """Those roles and all that they imply, through any number of steps."""
    found, fresh = set(role_ids), list(role_ids)
    while fresh:
        marks = ", ".join("?" for _ in fresh)
        rows = db.execute(f"SELECT implied_role_id FROM role_implications WHERE prior_role_id IN ({marks})", fresh)
        fresh = [role_id for (role_id,) in rows if role_id not in found]
        found.update(fresh)
    return found


def effective(db: Db, user_id: str, scope: Scope, *, only: Iterable[str] | None = None) -> list[Role]:
    """The global roles that count for a user in a scope, by name.

    Args:
        only: ids of the roles that an application credential passes on; of these, those count that the user still has.
    """
    if scope.kind == "unscoped":
        return []
    counting = with_implied(db, assigned(db, user_id, scope))
    if only is not None:
        counting &= with_implied(db, only)
    marks = ", ".join("?" for _ in counting)
    return ROLES.where(db, f"domain_id IS NULL AND id IN ({marks})", sorted(counting), order="name")
