"""Roles, and which role implies which. A role of a domain counts only by the global roles that it implies."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minicloud.core.errors import Conflict, Forbidden, Invalid, NotFound
from minicloud.core.store import Db
from minicloud.identity import projects, rights
from minicloud.identity.nouns import Noun, refuse_immutable
from minicloud.identity.tables import ROLES, Role

if TYPE_CHECKING:
    from minicloud.identity import Identity


def _check(db: Db, row: Role, changes: dict[str, Any]) -> None:
    refuse_immutable(row.options, changes, f"role {row.id}")
    ROLE.stay_in(db, row, changes)


def _sweep(db: Db, row: Role) -> None:
    refuse_immutable(row.options, None, f"role {row.id}")
    db.execute("DELETE FROM assignments WHERE role_id = ?", (row.id,))
    db.execute("DELETE FROM role_implications WHERE ? IN (prior_role_id, implied_role_id)", (row.id,))


ROLE = Noun(ROLES, "role", order="name", check=_check, sweep=_sweep)


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
        ROLE.refuse_taken_in(db, name, domain_id)
        return ROLES.insert(
            db, Role(uuid.uuid4().hex, name, domain_id, description, dict(options or {}), dict(extra or {}))
        )

    return await identity.write(insert)


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
        prior = ROLE.need_in(db, prior_id)
        implied = ROLE.need_in(db, implied_id)
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
