"""Assignments: which role a user or group has where. What follows from them in a scope is `rights.py`'s."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from minicloud.core.errors import Forbidden, NotFound
from minicloud.core.store import Db
from minicloud.identity.tables import ASSIGNMENTS, GROUPS, PROJECTS, ROLES, USERS, Assignment, Role

if TYPE_CHECKING:
    from minicloud.identity import Identity

WHOLE = "actor_kind = ? AND actor_id = ? AND target_kind = ? AND target_id = ? AND role_id = ? AND inherited = ?"


def domain_of_target(identity: Identity, kind: str, target_id: str) -> str | None:
    """The domain that a target is in (itself, for a domain); None for the system and for what doesn't exist."""
    row = identity.store.read(PROJECTS.get, target_id) if kind != "system" else None
    return None if row is None else row.domain_id or row.id


def domain_of_actor(identity: Identity, kind: str, actor_id: str) -> str | None:
    """The domain of a user or group; None for one who doesn't exist."""
    row = identity.store.read(USERS.get, actor_id) if kind == "user" else identity.store.read(GROUPS.get, actor_id)
    return None if row is None else row.domain_id


def _need_all_in(db: Db, row: Assignment) -> Role | None:
    actors = USERS if row.actor_kind == "user" else GROUPS
    if db.execute(f"SELECT 1 FROM {actors.name} WHERE id = ?", (row.actor_id,)).fetchone() is None:
        raise NotFound(f"Could not find {row.actor_kind}: {row.actor_id}.")
    if row.target_kind != "system":
        target = PROJECTS.get(db, row.target_id)
        if target is None or (row.target_kind == "domain" and not target.is_domain):
            raise NotFound(f"Could not find {row.target_kind}: {row.target_id}.")
    if not row.role_id:
        return None
    role = ROLES.get(db, row.role_id)
    if role is None:
        raise NotFound(f"Could not find role: {row.role_id}.")
    return role


def granted(identity: Identity, row: Assignment) -> list[Role]:
    """The roles that an actor has directly on a target, by name; `role_id` of the argument is not looked at.

    Raises:
        NotFound: no such actor or target.
    """

    def read(db: Db) -> list[Role]:
        _need_all_in(db, dataclasses.replace(row, role_id=""))
        rest = (
            "JOIN assignments ON role_id = roles.id WHERE actor_kind = ? AND actor_id = ? AND target_kind = ?"
            " AND target_id = ? AND inherited = ? ORDER BY name"
        )
        return ROLES.joined(db, rest, (row.actor_kind, row.actor_id, row.target_kind, row.target_id, row.inherited))

    return identity.store.read(read)


def check(identity: Identity, row: Assignment) -> None:
    """`NotFound` unless the assignment exists."""

    def read(db: Db) -> None:
        _need_all_in(db, row)
        if not ASSIGNMENTS.count(db, WHOLE, dataclasses.astuple(row)):
            raise _missing(row)

    identity.store.read(read)


async def grant(identity: Identity, row: Assignment) -> None:
    """Give a role; nothing happens if they have it.

    Raises:
        NotFound: no such actor, target or role. Forbidden: a role of another domain on a project, or of any domain on the system.
    """

    def insert(db: Db) -> None:
        role = _need_all_in(db, row)
        if role is not None and role.domain_id is not None and row.target_kind != "domain":
            target = PROJECTS.get(db, row.target_id) if row.target_kind == "project" else None
            if target is None or role.domain_id != (target.domain_id or target.id):
                raise Forbidden(f"Cannot assign role {role.id} there: it belongs to domain {role.domain_id}.")
        db.execute("INSERT OR IGNORE INTO assignments VALUES (?, ?, ?, ?, ?, ?)", dataclasses.astuple(row))

    await identity.write(insert)


async def revoke(identity: Identity, row: Assignment) -> None:
    """Take a role away; `NotFound` if they haven't got it."""

    def remove(db: Db) -> None:
        if not ASSIGNMENTS.delete_where(db, WHOLE, dataclasses.astuple(row)):
            raise _missing(row)

    await identity.write(remove)


def _missing(row: Assignment) -> NotFound:
    return NotFound(
        f"Could not find role assignment with role: {row.role_id}, {row.actor_kind}: {row.actor_id}, "
        f"{row.target_kind}: {row.target_id}."
    )
