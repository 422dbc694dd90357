"""The list of all role assignments, as they were given or (effective) as they work out for single users.

Effective means: groups are replaced by their users, inherited roles by what they give on each project below, and each role
is followed by those that it implies. Called by `GET /v3/role_assignments`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from minicloud.core.store import Db
from minicloud.identity import rights
from minicloud.identity.tables import ASSIGNMENTS, PROJECTS, ROLES, Assignment


@dataclass(frozen=True, slots=True)
class Given:
    """An assignment in a list.

    Attributes:
        row: what holds.
        source: the assignment that it follows from (the same, when nothing was worked out).
        prior_role_id: the role that implies this one, if that is why.
    """

    row: Assignment
    source: Assignment
    prior_role_id: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Filters; None is any. `below`: the project and all below it (`include_subtree`)."""

    user_id: str | None = None
    group_id: str | None = None
    role_id: str | None = None
    target_kind: str | None = None
    target_id: str | None = None
    inherited: bool | None = None
    below: bool = False


ORDER = "target_kind, target_id, actor_kind, actor_id, role_id, inherited"


def listed(db: Db, wanted: Wanted, *, effective: bool = False) -> list[Given]:
    """Assignments that pass the filters. There may be tens of thousands: to be read beside the loop."""
    targets = _targets(db, wanted)
    rows = ASSIGNMENTS.where(db, *_narrowed(wanted, effective), order=ORDER)
    given: Iterator[Given] | Sequence[Given] = [Given(row, row) for row in rows]
    if effective:
        given = _worked_out(db, rows)
    found = [one for one in given if _passes(one.row, wanted, targets, effective)]
    return list(dict.fromkeys(found))


def _narrowed(wanted: Wanted, effective: bool) -> tuple[str, list[str]]:
    """SQL that leaves out what can't pass: of a user what they have and, where effects count, what their groups have."""
    if wanted.user_id is None:
        return ("", []) if wanted.group_id is None else ("actor_kind = 'group' AND actor_id = ?", [wanted.group_id])
    own = "actor_kind = 'user' AND actor_id = ?"
    if not effective:
        return own, [wanted.user_id]
    groups = "actor_kind = 'group' AND actor_id IN (SELECT group_id FROM memberships WHERE user_id = ?)"
    return f"({own}) OR ({groups})", [wanted.user_id, wanted.user_id]


def _targets(db: Db, wanted: Wanted) -> set[str] | None:
    if wanted.target_id is None:
        return None
    reached = {wanted.target_id}
    if wanted.below:
        fresh = [wanted.target_id]
        while fresh:
            fresh = [
                row.id for one in fresh for row in PROJECTS.where(db, "parent_id = ?", (one,)) if row.id not in reached
            ]
            reached.update(fresh)
    return reached


def _passes(row: Assignment, wanted: Wanted, targets: set[str] | None, effective: bool) -> bool:
    actors = {"user": wanted.user_id, "group": wanted.group_id}
    picky = wanted.user_id is not None or wanted.group_id is not None
    if picky and actors[row.actor_kind] != row.actor_id:
        return False
    if wanted.target_kind is not None and row.target_kind != wanted.target_kind:
        return False
    if targets is not None and row.target_id not in targets:
        return False
    if wanted.inherited is not None and not effective and row.inherited != wanted.inherited:
        return False
    return wanted.role_id in (None, row.role_id)


def _worked_out(db: Db, rows: Sequence[Assignment]) -> Iterator[Given]:
    local = {role.id for role in ROLES.where(db, "domain_id IS NOT NULL")}
    for source in rows:
        for reached in _reached(db, source):
            actors = [reached.actor_id]
            if source.actor_kind == "group":
                members = db.execute(
                    "SELECT user_id FROM memberships WHERE group_id = ? ORDER BY 1", (source.actor_id,)
                )
                actors = [user_id for (user_id,) in members]
            for user_id in actors:
                held = replace(reached, actor_kind="user", actor_id=user_id)
                if source.role_id not in local:  # a domain's role counts only by what it implies
                    yield Given(held, source)
                for role_id in sorted(rights.with_implied(db, [source.role_id]) - {source.role_id} - local):
                    yield Given(replace(held, role_id=role_id), source, source.role_id)


def _reached(db: Db, source: Assignment) -> list[Assignment]:
    """Where an assignment counts: on its target, or on each project below it."""
    if not source.inherited:
        return [source]
    fresh, found = [source.target_id], []
    while fresh:
        below = [
            row.id
            for one in fresh
            for row in PROJECTS.where(db, "parent_id = ? AND is_domain = 0", (one,), order="name")
        ]
        found += below
        fresh = below
    return [replace(source, target_kind="project", target_id=one, inherited=False) for one in found]
