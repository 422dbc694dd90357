"""Quotas: how much of each resource one project may have.

Use is counted from the rows themselves inside the transaction that wants more, so it can't drift; limits lie in one
table for all services. Each service makes one `Quotas` with its resources.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from minicloud.core.errors import OverQuota
from minicloud.core.migrations import Migrations
from minicloud.core.store import Db

if TYPE_CHECKING:
    from sqlite_utils import Database

UNLIMITED = -1
migrations = Migrations("quota")


@migrations()
def m001_quotas(db: Database) -> None:
    db["quotas"].create(
        {"project_id": str, "service": str, "resource": str, "hard_limit": int},
        pk=("project_id", "service", "resource"),
    )


DEFAULT_CLASS = "class:default"
"""Stands for a project's id where an administrator changed what every project has by default ("quota class")."""

Counter = Callable[[Db, str], int]
"""How much of a resource a project uses now: `counter(db, project_id)`."""


class Quotas:
    """The quotas of one service.

    Args:
        service: its name ("compute").
        defaults: limit of each resource where a project has none of its own; -1 is unlimited.
        counters: how each countable resource is counted; one without a counter is a plain limit (bytes of a file).
    """

    def __init__(self, service: str, defaults: Mapping[str, int], counters: Mapping[str, Counter]) -> None:
        self.service, self.defaults, self.counters = service, dict(defaults), dict(counters)

    def limits(self, db: Db, project_id: str) -> dict[str, int]:
        """Every resource's limit for a project."""
        return {**self.defaults, **self._own(db, DEFAULT_CLASS), **self._own(db, project_id)}

    def _own(self, db: Db, owner: str) -> dict[str, int]:
        rows = db.execute(
            "SELECT resource, hard_limit FROM quotas WHERE project_id = ? AND service = ?", (owner, self.service)
        )
        return dict(rows.fetchall())

    def usage(self, db: Db, project_id: str) -> dict[str, int]:
        """What a project uses now, counted."""
        return {resource: count(db, project_id) for resource, count in self.counters.items()}

    def check_in(self, db: Db, project_id: str, **wanted: int) -> None:
        """Raise `OverQuota` if the project may not have so much more; the message names all that is short, with numbers."""
        limits, short = self.limits(db, project_id), []
        for resource, more in wanted.items():
            limit = limits[resource]
            used = self.counters[resource](db, project_id) if resource in self.counters else 0
            if limit != UNLIMITED and more > 0 and used + more > limit:
                short.append((resource, more, used, limit))
        if short:
            told = "; ".join(f"{name}: {more} asked, {used} of {limit} used" for name, more, used, limit in short)
            names = ", ".join(name for name, *_ in short)
            raise OverQuota(f"Quota exceeded for {names} ({told}).", code=names)

    def set_in(self, db: Db, project_id: str, values: Mapping[str, int]) -> None:
        """Give a project limits of its own."""
        for resource, limit in values.items():
            db.execute(
                "INSERT INTO quotas VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET hard_limit = excluded.hard_limit",
                (project_id, self.service, resource, limit),
            )

    def reset_in(self, db: Db, project_id: str) -> None:
        """Back to the defaults."""
        db.execute("DELETE FROM quotas WHERE project_id = ? AND service = ?", (project_id, self.service))
