"""What all nouns of this service have in common: to be listed, found or not found, changed in part, removed.

A noun's file declares one `Noun` and adds what is its own: how one is made, what a change may not do, what goes with it when it
goes. Called by the noun files; `api/resources.py` makes the usual routes of one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from minicloud.core.errors import NotFound
from minicloud.core.store import Db, Table

if TYPE_CHECKING:
    from minicloud.identity import Identity

Row = TypeVar("Row")
Check = Callable[[Db, Any, dict[str, Any]], None]
"""(db, row, changes): refuses a change, or completes it in place."""


def _nothing(db: Db, row: Any, changes: dict[str, Any]) -> None:
    """No change is refused."""


@dataclass(frozen=True)
class Noun(Generic[Row]):
    """One kind of thing.

    Attributes:
        table: where its rows are.
        name: how messages call one: "endpoint group".
        order: SQL, in which lists are.
        check: runs inside the transaction of each change.
        sweep: removes what hangs on a row, or refuses, inside the transaction that deletes it.
    """

    table: Table[Row]
    name: str
    order: str = "id"
    check: Check = _nothing
    sweep: Callable[[Db, Row], object] = lambda db, row: None

    def listed(self, identity: Identity, condition: str = "", params: Sequence[Any] = ()) -> list[Row]:
        """Those that satisfy an SQL condition, or all."""
        return identity.store.read(self.table.where, condition, params, order=self.order)

    def seek(self, identity: Identity, key: str) -> Row | None:
        """The one with this id, if there is one: for callers who refuse first and tell what is missing then."""
        return identity.store.read(self.table.get, key)

    def found(self, row: Row | None, key: str) -> Row:
        """That row; `NotFound` for none."""
        if row is None:
            raise NotFound(f"Could not find {self.name}: {key}.")
        return row

    def show(self, identity: Identity, key: str) -> Row:
        """The one with this id; `NotFound` for none."""
        return self.found(self.seek(identity, key), key)

    def need_in(self, db: Db, key: str) -> Row:
        """The same, inside a transaction."""
        return self.found(self.table.get(db, key), key)

    async def update(self, identity: Identity, key: str, changes: Mapping[str, Any]) -> Row:
        """Change attributes; `extra` is merged into what is there. `NotFound` for none, and whatever `check` raises."""

        def change(db: Db) -> Row:
            row, values = self.need_in(db, key), dict(changes)
            self.check(db, row, values)
            if "extra" in values:
                values["extra"] = {**getattr(row, "extra"), **values["extra"]}  # noqa: B009 - rows of some nouns have none
            return self.table.change(db, key, **values)

        return await identity.write(change)

    async def delete(self, identity: Identity, key: str) -> None:
        """Remove one and what hangs on it. `NotFound` for none, and whatever `sweep` raises."""

        def remove(db: Db) -> None:
            self.sweep(db, self.need_in(db, key))
            self.table.delete(db, key)

        await identity.write(remove)
