"""Application credentials: a part of a user's roles on one project, for a program, with a secret of its own.

What one gives never goes beyond what its user has at that moment (`rights.effective(only=...)`), and unless it is
`unrestricted` it can't make further secrets. Read by `login.py` and `Identity.rights_of`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from minicloud.core.clock import stamp
from minicloud.core.context import Context
from minicloud.core.errors import Conflict, Forbidden, Invalid, NotFound
from minicloud.core.store import Db
from minicloud.identity import trusts
from minicloud.identity.passwords import fast_hash, new_secret
from minicloud.identity.tables import (
    ACCESS_RULES,
    APPLICATION_CREDENTIALS,
    ROLES,
    AccessRule,
    ApplicationCredential,
    Role,
)
from minicloud.identity.tokens import SIGNED

if TYPE_CHECKING:
    from minicloud.identity import Identity, Token


def refuse_lent(identity: Identity, token: Token, what: str) -> None:
    """`Forbidden` for a token whose rights were lent: a trust's, EC2 keys', or that of a restricted application credential."""
    if SIGNED in token.methods:
        raise Forbidden(f"Cannot {what} with a token that EC2 keys gave.")
    if token.trust_id is not None:
        raise Forbidden(f"Cannot {what} with a token that a trust gave.")
    if token.application_credential_id is None:
        return
    row = identity.store.read(APPLICATION_CREDENTIALS.get, token.application_credential_id)
    if row is None or not row.unrestricted:
        raise Forbidden(f"Cannot {what} with a token of a restricted application credential.")


def listed(identity: Identity, user_id: str) -> list[ApplicationCredential]:
    """Those of a user, by name."""
    return identity.store.read(APPLICATION_CREDENTIALS.where, "user_id = ?", (user_id,), order="name")


def show(identity: Identity, user_id: str, credential_id: str) -> ApplicationCredential:
    """One of a user's; `NotFound` otherwise."""
    row = identity.store.read(APPLICATION_CREDENTIALS.get, credential_id)
    if row is None or row.user_id != user_id:
        raise NotFound(f"Could not find application credential: {credential_id}.")
    return row


def refuse_foreign(identity: Identity, user_id: str, credential_id: str) -> None:
    """`Forbidden` for one that is there, but another user's."""
    row = identity.store.read(APPLICATION_CREDENTIALS.get, credential_id)
    if row is not None and row.user_id != user_id:
        raise Forbidden(f"Cannot reach application credential {credential_id}: it is not this user's.")


def roles_of(identity: Identity, row: ApplicationCredential) -> list[Role]:
    """The roles that it passes on, by name."""
    marks = ", ".join("?" for _ in row.role_ids)
    return identity.store.read(ROLES.where, f"id IN ({marks})", row.role_ids, order="name")


def rules_of(identity: Identity, row: ApplicationCredential) -> list[AccessRule] | None:
    """Its access rules; None means any request."""
    if row.access_rule_ids is None:
        return None
    found = [identity.store.read(ACCESS_RULES.get, rule_id) for rule_id in row.access_rule_ids]
    return [rule for rule in found if rule is not None]


def within(identity: Identity, token: Token, wanted: Sequence[Mapping[str, str]] | None) -> Sequence[Mapping[str, str]]:
    """The access rules of a new one that a token with access rules makes: the same, or those of them that are `wanted`.

    Raises:
        Forbidden: other rules are wanted.
    """
    row = identity.store.read(APPLICATION_CREDENTIALS.get, token.application_credential_id)
    own = (rules_of(identity, row) if row is not None else None) or []
    ids, rules = {rule.id for rule in own}, {(rule.service, rule.method, rule.path) for rule in own}
    for one in wanted or ():
        if not (one["id"] in ids if "id" in one else (one["service"], one["method"], one["path"]) in rules):
            raise Forbidden("Cannot create an application credential with access rules that this one does not have.")
    return [{"id": rule.id} for rule in own] if wanted is None else wanted


async def create(
    identity: Identity,
    ctx: Context,
    *,
    held: Sequence[Role],
    name: str,
    description: str | None = None,
    secret: str | None = None,
    roles: Sequence[Mapping[str, str]] | None = None,
    expires_at: str | None = None,
    unrestricted: bool = False,
    access_rules: Sequence[Mapping[str, str]] | None = None,
) -> tuple[ApplicationCredential, str]:
    """A new one for the caller on the project in scope, and its secret, told this once.

    Args:
        held: the roles of the caller's token; all of them if `roles` names none.

    Raises:
        Invalid: no project in scope, roles that the caller hasn't got, or an end in the past. Conflict: the name is taken.
    """
    project_id = ctx.project_id
    if project_id is None:
        raise Invalid("Cannot create an application credential: the token has no project in scope.")
    if expires_at is not None and expires_at <= stamp(identity.clock.now()):
        raise Invalid("Cannot create an application credential that is over: expires_at is in the past.")
    kept = fast_hash(made := new_secret()) if secret is None else await identity.passwords.hashed(secret)

    def insert(db: Db) -> ApplicationCredential:
        if APPLICATION_CREDENTIALS.first(db, "user_id = ? AND name = ?", (ctx.user_id, name)):
            raise Conflict(f"Cannot use the name {name}: another application credential of the user has it.")
        own = [role.id for role in held]
        role_ids = trusts.chosen_in(db, roles) if roles else own
        if not set(role_ids) <= set(own):
            raise Invalid("Cannot create an application credential with a role that is not assigned to the user.")
        rule_ids = None if access_rules is None else tuple(_rule_in(db, ctx.user_id, rule) for rule in access_rules)
        row = ApplicationCredential(
            uuid.uuid4().hex, name, ctx.user_id, project_id, description, kept, tuple(role_ids), expires_at, unrestricted,
            rule_ids,
        )  # fmt: skip
        return APPLICATION_CREDENTIALS.insert(db, row)

    return await identity.write(insert), made if secret is None else secret


def _rule_in(db: Db, user_id: str, told: Mapping[str, str]) -> str:
    """The id of a rule of the user: one that is there already, or a new one."""
    if "id" in told:
        known = ACCESS_RULES.get(db, told["id"])
        if known is None or known.user_id != user_id:
            raise NotFound(f"Could not find access rule: {told['id']}.")
        return known.id
    values = (told["service"], told["method"], told["path"])
    same = ACCESS_RULES.first(db, "user_id = ? AND service = ? AND method = ? AND path = ?", (user_id, *values))
    return (same or ACCESS_RULES.insert(db, AccessRule(uuid.uuid4().hex, user_id, *values))).id


async def delete(identity: Identity, user_id: str, credential_id: str) -> None:
    """Remove one; its tokens end."""
    show(identity, user_id, credential_id)
    await identity.write(APPLICATION_CREDENTIALS.delete, credential_id)
