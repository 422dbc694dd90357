"""Roles, and which role implies which. A role of a domain counts only by the global roles that it implies."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minicloud.core.errors import Conflict, Forbidden, Invalid, NotFound
from minicloud.core.store import Db
from minicloud.identity import projects, rights
from minicloud.identity.tables import ROLES, Role

if TYPE_CHECKING:
    from minicloud.identity import Identity


def show(identity: Identity, role_id: str) -> Role | None:
    """A role, if there is one with this id."""
    return identity.store.read(ROLES.get, role_id)


def found(role: Role | None, role_id: str) -> Role:
    """That role; `NotFound` for none."""
    if role is None:
        raise NotFound(f"Could not find role: {role_id}.")
    return role


def listed(identity: Identity, domain_id: str | None) -> list[Role]:
    """The global roles, or those of one domain, by name."""
    return identity.store.read(ROLES.where, "coalesce(domain_id, '') = ?", (domain_id or "",), order="name")


async def create(
    identity: Identity,
    *,
    name: str,
    domain_id: str | None = None,
    description: str | None = None,
    options: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Role:
    """A new role; `NotFound` for no such domain, `Conflict` if the name is taken."""

    def insert(db: Db) -> Role:
        if domain_id is not None:
            projects.need_domain_in(db, domain_id)
        _refuse_taken_in(db, name, domain_id)
        return ROLES.insert(
            db, Role(uuid.uuid4().hex, name, domain_id, description, dict(options or {}), dict(extra or {}))
        )

    return await identity.write(insert)


def _refuse_taken_in(db: Db, name: str, domain_id: str | None, *, but: str = "") -> None:
    other = ROLES.first(db, "coalesce(domain_id, '') = ? AND name = ? AND id != ?", (domain_id or "", name, but))
    if other is not None:
        raise Conflict(f"Cannot use the name {name}: role {other.id} has it.")


async def update(identity: Identity, role_id: str, changes: Mapping[str, Any]) -> Role:
    """Change a role; `Forbidden` if it is immutable, `Invalid` for another domain, `Conflict` if the name is taken."""

    def change(db: Db) -> Role:
        row, values = found(ROLES.get(db, role_id), role_id), dict(changes)
        if values.pop("domain_id", row.domain_id) != row.domain_id:
            raise Invalid(f"Cannot move role {role_id} to another domain.")
        projects.refuse_immutable(row.options, values, f"role {role_id}")
        if "name" in values:
            _refuse_taken_in(db, values["name"], row.domain_id, but=role_id)
        if "options" in values:
            values["options"] = projects.merged(row.options, values["options"])
        if "extra" in values:
            values["extra"] = {**row.extra, **values["extra"]}
        return ROLES.change(db, role_id, **values)

    return await identity.write(change)


async def delete(identity: Identity, role_id: str) -> None:
    """Remove a role; nobody has it any more. `Forbidden` if it is immutable."""

    def remove(db: Db) -> None:
        row = found(ROLES.get(db, role_id), role_id)
        projects.refuse_immutable(row.options, None, f"role {role_id}")
        delete_in(db, role_id)

    await identity.write(remove)


def delete_in(db: Db, role_id: str) -> None:
    """Remove a role's row and all that hangs on it."""
    ROLES.delete(db, role_id)
    db.execute("DELETE FROM assignments WHERE role_id = ?", (role_id,))
    db.execute("DELETE FROM role_implications WHERE ? IN (prior_role_id, implied_role_id)", (role_id,))


# --- implied roles ---------------------------------------------------------------------------------------------------


def implied_by(identity: Identity, role_id: str) -> list[Role]:
    """The roles that one implies directly, by name."""
    rest = "JOIN role_implications ON implied_role_id = roles.id WHERE prior_role_id = ? ORDER BY name"
    return identity.store.read(ROLES.joined, rest, (role_id,))


def inferences(identity: Identity) -> list[tuple[Role, list[Role]]]:
    """Every role that implies others, with those."""
    rest = "WHERE roles.id IN (SELECT prior_role_id FROM role_implications) ORDER BY name"
    return [(role, implied_by(identity, role.id)) for role in identity.store.read(ROLES.joined, rest)]


async def imply(identity: Identity, prior_id: str, implied_id: str) -> None:
    """Have one role imply another.

    Raises:
        NotFound: no such role. Invalid: it would imply itself. Forbidden: a global role implying one of a domain, or the role admin being implied. Conflict: it does.
    """

    def insert(db: Db) -> None:
        prior = found(ROLES.get(db, prior_id), prior_id)
        implied = found(ROLES.get(db, implied_id), implied_id)
        if implied.domain_id is not None and prior.domain_id is None:
            raise Forbidden(f"Cannot have the global role {prior_id} imply {implied_id}, which is a domain's.")
        if implied.name == "admin":
            raise Forbidden(
                f"Cannot have role {implied_id} implied: whoever may change roles could make everybody an admin."
            )
        if prior_id in rights.with_implied(db, [implied_id]):
            raise Invalid(f"Cannot have role {prior_id} imply {implied_id}: it would imply itself.")
        taken = db.execute(
            "SELECT 1 FROM role_implications WHERE prior_role_id = ? AND implied_role_id = ?", (prior_id, implied_id)
        )
        if taken.fetchone() is not None:
            raise Conflict(f"Cannot have role {prior_id} imply {implied_id}: it does already.")
        db.execute("INSERT INTO role_implications VALUES (?, ?)", (prior_id, implied_id))

    await identity.write(insert)


async def imply_no_more(identity: Identity, prior_id: str, implied_id: str) -> None:
    """End that; `NotFound` if it isn't so."""

    def remove(db: Db) -> None:
        sql = "DELETE FROM role_implications WHERE prior_role_id = ? AND implied_role_id = ?"
        if not db.execute(sql, (prior_id, implied_id)).rowcount:
            raise NotFound(f"Could not find a rule by which role {prior_id} implies {implied_id}.")

    await identity.write(remove)
