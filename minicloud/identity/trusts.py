"""Trusts: a user lends another some of their roles on a project, until some moment or for some logins (OS-TRUST).

What a trust gives is looked at anew at each request, so it ends with the giver's own rights. A trust may allow to be lent on, so
many times: then it stands at the end of a chain, gives what the first of the chain still has, and ends with any of it.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from minicloud.core.clock import stamp
from minicloud.core.errors import Forbidden, Invalid, NotFound
from minicloud.core.store import Db
from minicloud.identity import rights
from minicloud.identity.rights import with_implied
from minicloud.identity.tables import ROLES, TRUSTS, USERS, Role, Trust
from minicloud.identity.tokens import Scope

if TYPE_CHECKING:
    from minicloud.identity import Identity

LONGEST = 100
"""Trusts in a chain that are ever walked; far above what may be made."""


def asked_for(scope: Any) -> str | None:
    """The id of the trust that a login's scope names, None if it names something else."""
    inner = scope.get("OS-TRUST:trust") if isinstance(scope, Mapping) and len(scope) == 1 else None
    if inner is None:
        return None
    if not isinstance(inner, Mapping) or not isinstance(inner.get("id"), str):
        raise Invalid("Cannot read the scope: a trust needs an id.")
    return str(inner["id"])


def consume_in(db: Db, trust_id: str, user_id: str, now: str) -> Trust:
    """Use a trust once; `Forbidden` unless it is there, lent to this user and not used up."""
    trust = TRUSTS.get(db, trust_id)
    over = trust is None or (trust.expires_at is not None and trust.expires_at <= now) or trust.remaining_uses == 0
    if trust is None or over or trust.trustee_user_id != user_id:
        raise Forbidden(f"Cannot use trust {trust_id[:64]}: it is not yours, or over.")
    if trust.remaining_uses is not None:
        TRUSTS.change(db, trust_id, remaining_uses=trust.remaining_uses - 1)
    return trust


def actor_of(trust: Trust) -> str:
    """Whom the tokens of a trust are told to be of."""
    return trust.trustor_user_id if trust.impersonation else trust.trustee_user_id


def chain_of(db: Db, trust: Trust) -> list[Trust | None]:
    """A trust, the one that it lends on from, and so on to the first; None for one that is gone."""
    chain: list[Trust | None] = [trust]
    while (last := chain[-1]) is not None and last.redelegated_trust_id is not None and len(chain) < LONGEST:
        chain.append(TRUSTS.get(db, last.redelegated_trust_id))
    return chain


def delete_in(db: Db, condition: str, params: Sequence[Any]) -> None:
    """Remove the trusts that satisfy an SQL condition, and all that were lent on from them."""
    fallen = (
        f"SELECT id FROM trusts WHERE {condition} UNION"
        " SELECT trusts.id FROM trusts JOIN fallen ON trusts.redelegated_trust_id = fallen.id"
    )
    db.execute(f"WITH RECURSIVE fallen(id) AS ({fallen}) DELETE FROM trusts WHERE id IN fallen", params)


def listed(identity: Identity, *, trustor_id: str | None, trustee_id: str | None) -> list[Trust]:
    """Trusts that stand, of a giver or a taker or all."""
    now = stamp(identity.clock.now())
    rows = identity.store.read(TRUSTS.where, "expires_at IS NULL OR expires_at > ?", (now,), order="id")
    return [
        row for row in rows if trustor_id in (None, row.trustor_user_id) and trustee_id in (None, row.trustee_user_id)
    ]


def show(identity: Identity, trust_id: str) -> Trust:
    """A trust that stands; `NotFound` otherwise."""
    row = identity.store.read(TRUSTS.get, trust_id)
    if row is None or (row.expires_at is not None and row.expires_at <= stamp(identity.clock.now())):
        raise NotFound(f"Could not find trust: {trust_id}.")
    return row


def roles_of(identity: Identity, trust: Trust) -> list[Role]:
    """The roles that a trust lends, by name."""
    marks = ", ".join("?" for _ in trust.role_ids)
    return identity.store.read(ROLES.where, f"id IN ({marks})", trust.role_ids, order="name")


async def create(
    identity: Identity,
    *,
    trustor_id: str,
    trustee_id: str,
    project_id: str,
    roles: Sequence[Mapping[str, str]],
    impersonation: bool,
    expires_at: str | None,
    remaining_uses: int | None,
    redelegations: int = 0,
    source_id: str | None = None,
    only: Collection[str] | None = None,
) -> Trust:
    """Lend roles.

    Args:
        redelegations: how often they may be lent on.
        source_id: the trust that the giver has them from; the new one can't go beyond it.
        only: ids of the roles that the giver has at hand, if those are not all of theirs.

    Raises:
        Invalid: an end in the past, or uses counted of what may be lent on. NotFound: no such trustee or role.
        Forbidden: no role, roles that the giver hasn't got, or more than the source allows.
    """
    if redelegations and remaining_uses is not None:
        raise Invalid("Cannot make such a trust: remaining_uses must not be set if it may be lent on.")
    if not roles:
        raise Forbidden("Cannot lend nothing: a trust needs at least one role.")
    if expires_at is not None and expires_at <= stamp(identity.clock.now()):
        raise Invalid("Cannot make a trust that is over: expires_at is in the past.")

    def insert(db: Db) -> Trust:
        if USERS.get(db, trustee_id) is None:
            raise NotFound(f"Could not find user: {trustee_id}.")
        lent = chosen_in(db, roles)
        row = Trust(
            uuid.uuid4().hex, trustor_id, trustee_id, project_id, impersonation, tuple(lent), expires_at, remaining_uses,
            source_id, redelegations,
        )  # fmt: skip
        if source_id is not None:
            return TRUSTS.insert(db, _lent_on_in(db, row))
        held = {role.id for role in rights.effective(db, trustor_id, Scope("project", project_id), only=only)}
        if not set(lent) <= held:
            raise Forbidden(f"Cannot lend roles on project {project_id} that user {trustor_id} hasn't got there.")
        return TRUSTS.insert(db, row)

    return await identity.write(insert)


def _lent_on_in(db: Db, row: Trust) -> Trust:
    """A new trust inside the bounds of its source; it ends with the source at the latest."""
    source = TRUSTS.need(db, row.redelegated_trust_id)
    on = f"Cannot lend on from trust {source.id}"
    if not source.redelegation_count:
        raise Forbidden(f"{on}: it does not allow that, or no more.")
    if row.redelegation_count >= source.redelegation_count:
        raise Forbidden(
            f"{on} for {row.redelegation_count} more times: there are {source.redelegation_count - 1} left."
        )
    if row.project_id != source.project_id or not set(row.role_ids) <= with_implied(db, source.role_ids):
        raise Forbidden(f"{on} what it doesn't give: another project, or further roles.")
    if row.impersonation and not source.impersonation:
        raise Forbidden(f"{on} with impersonation: it has none.")
    if row.expires_at is not None and source.expires_at is not None and row.expires_at > source.expires_at:
        raise Forbidden(f"{on} for longer than it lasts: until {source.expires_at}.")
    return dataclasses.replace(row, expires_at=row.expires_at or source.expires_at)


def chosen_in(db: Db, roles: Sequence[Mapping[str, str]]) -> list[str]:
    """Ids of the global roles that a request names by id or name; `NotFound` names the one that isn't there."""
    ids = []
    for told in roles:
        found = (
            ROLES.get(db, told["id"])
            if "id" in told
            else ROLES.first(db, "name = ? AND domain_id IS NULL", (told["name"],))
        )
        if found is None:
            raise NotFound(f"Could not find role: {told.get('id') or told.get('name')}.")
        ids.append(found.id)
    return list(dict.fromkeys(ids))


async def delete(identity: Identity, trust_id: str) -> None:
    """End a trust, all that were lent on from it, and the tokens that they gave."""
    show(identity, trust_id)
    await identity.write(delete_in, "id = ?", (trust_id,))
