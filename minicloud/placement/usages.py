"""What projects use, over all providers."""

from __future__ import annotations

from dataclasses import dataclass

from minicloud.core.store import Db

UNKNOWN = "unknown"
"""How consumers without a type are called."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the consumers of one type use together."""

    kind: str
    consumers: int
    resources: dict[str, int]


def of_project(db: Db, project_id: str, *, user_id: str | None = None, kind: str | None = None) -> list[Usage]:
    """A project's (or one of its user's) use by consumer type; of one type, or of "unknown", where asked."""
    condition, values = "c.project_id = ?", [project_id]
    if user_id is not None:
        condition, values = condition + " AND c.user_id = ?", [*values, user_id]
    if kind == UNKNOWN:
        condition += " AND c.kind IS NULL"
    elif kind is not None:
        condition, values = condition + " AND c.kind = ?", [*values, kind]
    joined = f"FROM placement_consumers c JOIN placement_allocations a ON a.consumer_id = c.id WHERE {condition}"
    counted = f"SELECT coalesce(c.kind, '{UNKNOWN}'), count(DISTINCT c.id) {joined} GROUP BY 1 ORDER BY 1"
    summed = f"SELECT coalesce(c.kind, '{UNKNOWN}'), a.resource_class, sum(a.used) {joined} GROUP BY 1, 2"
    found = {name: Usage(name, count, {}) for name, count in db.execute(counted, values)}
    for name, resource_class, amount in db.execute(summed, values):
        found[name].resources[resource_class] = amount
    return list(found.values())
