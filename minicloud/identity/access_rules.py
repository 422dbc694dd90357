"""Access rules: which requests a token of an application credential may make; and the rules that users keep.

A rule names a service type, a method and a path, in which `*` and `{anything}` stand for one part and `**` for any number
(identity API v3, "Application credentials", access rules). Enforced by `Identity.authenticate` at each request.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from os_service_types import ServiceTypes

from minicloud.core.errors import Forbidden, NotFound
from minicloud.core.store import Db
from minicloud.identity.tables import ACCESS_RULES, APPLICATION_CREDENTIALS, AccessRule

if TYPE_CHECKING:
    from minicloud.identity import Identity

TYPES = ServiceTypes()


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule ready for use."""

    service: str
    method: str
    path: re.Pattern[str]


@functools.lru_cache(maxsize=256)
def official(service: str) -> str:
    """The official service type of an alias ("volumev3" is "block-storage")."""
    return TYPES.get_service_type(service) or service


def pattern(path: str) -> re.Pattern[str]:
    """What a rule's path matches."""
    parts = re.split(r"(\*\*|\*|\{[^{}/]*\})", path)
    wild = {"**": ".*"}
    text = "".join(wild.get(part, "[^/]+") if index % 2 else re.escape(part) for index, part in enumerate(parts))
    return re.compile(text + r"\Z")


def rules_of(db: Db, rule_ids: Sequence[str]) -> tuple[Rule, ...]:
    """The rules with these ids, ready for use."""
    rows = [row for row in (ACCESS_RULES.get(db, rule_id) for rule_id in rule_ids) if row is not None]
    return tuple(Rule(official(row.service), row.method, pattern(row.path)) for row in rows)


def require(rules: Sequence[Rule], *, service: str, method: str, path: str) -> None:
    """Raise `Forbidden` unless a rule allows the request; `path` is the whole one, the service's prefix included."""
    kind, short = official(service), path.removeprefix(f"/{service}")
    for rule in rules:
        if rule.service == kind and rule.method == method and rule.path.match(short):
            return
    raise Forbidden("Cannot make this request: the application credential's access rules do not allow it.")


def listed(identity: Identity, user_id: str) -> list[AccessRule]:
    """The rules of a user."""
    return identity.store.read(ACCESS_RULES.where, "user_id = ?", (user_id,), order="id")


def show(identity: Identity, user_id: str, rule_id: str) -> AccessRule:
    """One of them; `NotFound` otherwise."""
    row = identity.store.read(ACCESS_RULES.get, rule_id)
    if row is None or row.user_id != user_id:
        raise NotFound(f"Could not find access rule: {rule_id}.")
    return row


async def delete(identity: Identity, user_id: str, rule_id: str) -> None:
    """Remove a rule that no application credential uses any more; `Forbidden` if one does."""
    show(identity, user_id, rule_id)

    def remove(db: Db) -> None:
        for row in APPLICATION_CREDENTIALS.where(db, "user_id = ?", (user_id,)):
            if row.access_rule_ids and rule_id in row.access_rule_ids:
                raise Forbidden(f"Cannot delete access rule {rule_id}: application credential {row.id} uses it.")
        ACCESS_RULES.delete(db, rule_id)

    await identity.write(remove)
