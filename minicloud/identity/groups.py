"""Groups: users who get roles together."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minicloud.core.errors import NotFound
from minicloud.core.store import Db
from minicloud.identity import projects
from minicloud.identity.nouns import Noun
from minicloud.identity.tables import GROUPS, USERS, Group, User
from minicloud.identity.users import USER

if TYPE_CHECKING:
    from minicloud.identity import Identity


def _sweep(db: Db, row: Group) -> None:
    db.execute("DELETE FROM memberships WHERE group_id = ?", (row.id,))
    db.execute("DELETE FROM assignments WHERE actor_kind = 'group' AND actor_id = ?", (row.id,))


GROUP: Noun[Group] = Noun(
    GROUPS, "group", order="name, id", check=lambda db, row, changes: GROUP.stay_in(db, row, changes), sweep=_sweep
)


async def create(
    identity: Identity, *, name: str, domain_id: str, description: str = "", extra: Mapping[str, Any] | None = None
) -> Group:
    """A new group; `NotFound` for no such domain, `Conflict` if the name is taken in it."""

    def insert(db: Db) -> Group:
        home = projects.need_domain_in(db, domain_id)
        GROUP.refuse_taken_in(db, name, home.id)
        return GROUPS.insert(db, Group(uuid.uuid4().hex, name, home.id, description, dict(extra or {})))

    return await identity.write(insert)


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
        GROUP.need_in(db, group_id)
        USER.need_in(db, user_id)
        db.execute("INSERT OR IGNORE INTO memberships VALUES (?, ?)", (group_id, user_id))

    await identity.write(insert)


async def take_out(identity: Identity, group_id: str, user_id: str) -> None:
    """Take a user out of a group; `NotFound` if they are not in."""

    def remove(db: Db) -> None:
        if not db.execute("DELETE FROM memberships WHERE group_id = ? AND user_id = ?", (group_id, user_id)).rowcount:
            raise NotFound(f"Could not find user {user_id} in group {group_id}.")

    await identity.write(remove)
