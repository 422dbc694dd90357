"""The schema's history: what each service's tables were made by, step by step, append only.

sqlite-utils carries the steps out and keeps the list of those that a file has gone through. Most starts find none to
carry out, which one query tells: the library is loaded only when there is one. Services declare theirs in `tables.py`;
`store.py` brings a file up to date when it opens it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlite_utils import Database

    from minicloud.core.store import Db

Step = Callable[["Database"], object]


class Migrations:
    """One service's steps, in the order in which they were written.

    Args:
        name: of the service; steps are known by this and their own name for ever.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.steps: dict[str, Step] = {}

    def __call__(self, *, name: str | None = None) -> Callable[[Step], Step]:
        """Declare a function as the next step, by its own name or by another."""

        def declare(step: Step) -> Step:
            self.steps[name or step.__name__] = step
            return step

        return declare


def made(db: Db) -> dict[str, list[str]]:
    """The steps that a file has gone through, by set."""
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = '_sqlite_migrations'").fetchone():
        return {}
    found: dict[str, list[str]] = {}
    for name, step in db.execute("SELECT migration_set, name FROM _sqlite_migrations ORDER BY id"):
        found.setdefault(name, []).append(step)
    return found


def apply(db: Db, sets: Sequence[Migrations]) -> None:
    """Carry out what a file hasn't gone through yet, all of it or nothing."""
    known = made(db)
    pending = [one for one in sets if not one.steps.keys() <= set(known.get(one.name, ()))]
    if not pending:
        return
    from sqlite_utils import Database
    from sqlite_utils.migrations import Migrations as Runner

    database = Database(db)
    with database.atomic():
        for one in pending:
            runner = Runner(one.name)
            for name, step in one.steps.items():
                runner(name=name)(step)  # type: ignore[type-var]  # it wants a __name__, which it doesn't use
            runner.apply(database)
