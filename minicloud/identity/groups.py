"""Groups: users who get roles together."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minicloud.core.errors import Conflict, Invalid, NotFound
from minicloud.core.store import Db
from minicloud.identity import projects
from minicloud.identity.tables import GROUPS, USERS, Group, User
from minicloud.identity.users import found as found_user

if TYPE_CHECKING:
    from minicloud.identity import Identity


def show(identity: Identity, group_id: str) -> Group | None:
    """A group, if there is one with this id."""
    return identity.store.read(GROUPS.get, group_id)


def found(group: Group | None, group_id: str) -> Group:
    """That group; `NotFound` for none."""
    if group is None:
        raise NotFound(f"Could not find group: {group_id}.")
    return group


def listed(identity: Identity, domain_id: str | None) -> list[Group]:
    """Groups of a domain, or all, by name."""
    if domain_id is None:
        return identity.store.read(GROUPS.where, order="name, id")
    return identity.store.read(GROUPS.where, "domain_id = ?", (domain_id,), order="name")


async def create(
    identity: Identity, *, name: str, domain_id: str, description: str = "", extra: Mapping[str, Any] | None = None
) -> Group:
    """A new group; `NotFound` for no such domain, `Conflict` if the name is taken in it."""

    def insert(db: Db) -> Group:
        home = projects.need_domain_in(db, domain_id)
        _refuse_taken_in(db, name, home.id)
        return GROUPS.insert(db, Group(uuid.uuid4().hex, name, home.id, description, dict(extra or {})))

    return await identity.write(insert)


def _refuse_taken_in(db: Db, name: str, domain_id: str, *, but: str = "") -> None:
    other = GROUPS.first(db, "domain_id = ? AND name = ? AND id != ?", (domain_id, name, but))
    if other is not None:
        raise Conflict(f"Cannot use the name {name}: group {other.id} has it in domain {domain_id}.")


async def update(identity: Identity, group_id: str, changes: Mapping[str, Any]) -> Group:
    """Change a group; `Invalid` for another domain, `Conflict` if the name is taken."""

    def change(db: Db) -> Group:
        row, values = found(GROUPS.get(db, group_id), group_id), dict(changes)
        if values.pop("domain_id", row.domain_id) != row.domain_id:
            raise Invalid(f"Cannot move group {group_id} to another domain.")
        if "name" in values:
            _refuse_taken_in(db, values["name"], row.domain_id, but=group_id)
        if "extra" in values:
            values["extra"] = {**row.extra, **values["extra"]}
        return GROUPS.change(db, group_id, **values)

    return await identity.write(change)


async def delete(identity: Identity, group_id: str) -> None:
    """Remove a group; its users lose what they had through it."""

    def remove(db: Db) -> None:
        found(GROUPS.get(db, group_id), group_id)
        delete_in(db, group_id)

    await identity.write(remove)


def delete_in(db: Db, group_id: str) -> None:
    """Remove a group's row and all that hangs on it."""
    GROUPS.delete(db, group_id)
    db.execute("DELETE FROM memberships WHERE group_id = ?", (group_id,))
    db.execute("DELETE FROM assignments WHERE actor_kind = 'group' AND actor_id = ?", (group_id,))


def users_of(identity: Identity, group_id: str) -> list[User]:
    """The users in a group, by name."""
    rest = "JOIN memberships ON user_id = users.id WHERE group_id = ? ORDER BY name"
    return identity.store.read(USERS.joined, rest, (group_id,))


def is_in(identity: Identity, group_id: str, user_id: str) -> bool:
    """Whether a user is in a group."""
    sql = "SELECT 1 FROM memberships WHERE group_id = ? AND user_id = ?"
    return identity.store.read(lambda db: db.execute(sql, (group_id, user_id)).fetchone()) is not None


async def add(identity: Identity, group_id: str, user_id: str) -> None:
    """Put a user into a group; nothing happens if they are in."""

    def insert(db: Db) -> None:
        found(GROUPS.get(db, group_id), group_id)
        found_user(USERS.get(db, user_id), user_id)
        db.execute("INSERT OR IGNORE INTO memberships VALUES (?, ?)", (group_id, user_id))

    await identity.write(insert)


async def take_out(identity: Identity, group_id: str, user_id: str) -> None:
    """Take a user out of a group; `NotFound` if they are not in."""

    def remove(db: Db) -> None:
        if not db.execute("DELETE FROM memberships WHERE group_id = ? AND user_id = ?", (group_id, user_id)).rowcount:
            raise NotFound(f"Could not find user {user_id} in group {group_id}.")

    await identity.write(remove)
