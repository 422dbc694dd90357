"""Who may use identity's routes: OpenStack's newest defaults ("secure RBAC"), and the part of them that needs the target.

A route's policy lets through whoever might be allowed; where the rule compares the target's domain or user, the handler
asks `allow` with the row it found. A caller who may nothing learns nothing: they are refused before it is looked whether the
target exists.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

from minicloud.api.policy import ADMIN, ADMIN_OR_SYSTEM_READER, domain_role
from minicloud.core.context import Context
from minicloud.core.errors import Forbidden
from minicloud.identity.nouns import Noun

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from minicloud.api.route import Call
    from minicloud.identity import Identity, Rights

Row = TypeVar("Row", bound="DataclassInstance")

READERS = ADMIN_OR_SYSTEM_READER | domain_role("reader")
"""Admins, readers of the system, readers of the target's domain."""

MANAGERS = ADMIN | domain_role("manager")
"""Admins, managers of the target's domain."""

NO_DOMAIN = ("system", "project")
"""Scopes of tokens for what belongs to no domain: a domain's administrator is none of it."""

PROJECT_ONLY = ("project",)
"""Scopes of tokens for what a user does in a project of their own."""

__all__ = [
    "ADMIN",
    "ADMIN_OR_SYSTEM_READER",
    "MANAGERS",
    "NO_DOMAIN",
    "PROJECT_ONLY",
    "READERS",
    "allow",
    "allow_outside_domains",
    "in_own_domain",
    "own_domain",
    "own_rights",
    "reached",
    "sees_all",
]


def sees_all(ctx: Context) -> bool:
    """Whether the caller reads every domain."""
    return ctx.is_admin or (ctx.system and "reader" in ctx.roles)


def allow(ctx: Context, rule: str, *, domain_id: str | None, role: str = "reader", own: bool = False) -> None:
    """Raise `Forbidden` unless the caller is an admin, reads all (and only wants to read), has the role in the domain of the
    target, or `own`s it. `domain_id` is None for a target that doesn't exist."""
    if own or ctx.is_admin or (role == "reader" and sees_all(ctx)):
        return
    if ctx.domain_id is not None and ctx.domain_id == domain_id and role in ctx.roles:
        return
    raise Forbidden(f"You are not authorized to perform the requested action: {rule}.", code=rule)


def reached(identity: Identity, call: Call, noun: Noun[Row], *, role: str = "reader", own: str | None = None) -> Row:
    """The thing of a domain that the path names, for a caller who has the role in that domain or whose `own` id it is; others
    are refused before they learn whether it is there."""
    key = call.params[f"{noun.name}_id"]
    row = noun.seek(identity, key)
    allow(call.ctx, call.route.rule, domain_id=getattr(row, "domain_id", None), role=role, own=key == own)
    return noun.found(row, key)


def allow_outside_domains(ctx: Context, rule: str) -> None:
    """Raise `Forbidden` unless the caller is an admin whose token is not a domain's. For handlers that, as Keystone has it, say
    first what isn't there; elsewhere a route's `scopes=NO_DOMAIN` does this."""
    if not ctx.is_admin or ctx.domain_id is not None:
        raise Forbidden(f"You are not authorized to perform the requested action: {rule}.", code=rule)


def own_domain(call: Call) -> str | None:
    """The one domain whose rows a list tells; None is all. A domain's token stays in its domain, unless an admin names another."""
    ctx = call.ctx
    if ctx.domain_id is not None and not (ctx.is_admin and call.query.get("domain_id")):
        return ctx.domain_id
    return None if sees_all(ctx) else "none"


def in_own_domain(call: Call, rows: Sequence[Row]) -> list[Row]:
    """Those of the rows that a domain's token is told of; all for others."""
    home = call.ctx.domain_id
    return [row for row in rows if home in (None, getattr(row, "domain_id", None))]


def own_rights(identity: Identity, call: Call) -> Rights:
    """All that the caller's own token gives."""
    return identity.token_of(call.request.headers["X-Auth-Token"])
