"""What all nouns of this service have in common: to be listed, found or not found, changed in part, removed.

A noun's file declares one `Noun` and adds what is its own: how one is made, what a change may not do, what goes with it when it
goes. Called by the noun files; `api/resources.py` makes the usual routes of one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from minicloud.core.errors import Conflict, Forbidden, Invalid, NotFound
from minicloud.core.store import Db, Table

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from minicloud.identity import Identity

Row = TypeVar("Row", bound="DataclassInstance")
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

    def change_in(self, db: Db, key: str, changes: Mapping[str, Any]) -> Row:
        """Change attributes inside a transaction, see `update`."""
        row: Any = self.need_in(db, key)  # those that can be given options or extra have such columns
        values = dict(changes)
        self.check(db, row, values)
        if "options" in values:
            values["options"] = merged(row.options, values["options"])
        if "extra" in values:
            values["extra"] = {**row.extra, **values["extra"]}
        return self.table.change(db, key, **values)

    async def update(self, identity: Identity, key: str, changes: Mapping[str, Any]) -> Row:
        """Change attributes; `extra` and `options` are merged into what is there. `NotFound` for none, and whatever `check` raises."""
        return await identity.write(self.change_in, key, changes)

    def delete_in(self, db: Db, row: Row) -> None:
        """Remove a row and what hangs on it, inside a transaction."""
        self.sweep(db, row)
        self.table.delete(db, getattr(row, self.table.key))

    async def delete(self, identity: Identity, key: str) -> None:
        """Remove one and what hangs on it. `NotFound` for none, and whatever `sweep` raises."""

        def remove(db: Db) -> None:
            self.delete_in(db, self.need_in(db, key))

        await identity.write(remove)

    # --- nouns that live in a domain and have a name of their own there -----------------------------------------------

    async def matching(self, identity: Identity, domain_id: str | None, values: Mapping[str, str]) -> list[Row]:
        """Those of one domain, or all, with these values. There may be very many: but for one by its name they are read beside
        the loop."""
        wanted = {**values, **({} if domain_id is None else {"domain_id": domain_id})}
        condition = " AND ".join(f"{column} = ?" for column in wanted)
        if "name" in wanted or "id" in wanted:
            return self.listed(identity, condition, tuple(wanted.values()))
        return await identity.store.scan(self.table.where, condition, tuple(wanted.values()), order=self.order)

    def refuse_taken_in(self, db: Db, name: str, domain_id: str | None, *, but: str = "") -> None:
        """`Conflict` if another one of the domain (of none, for None) has that name."""
        same = "coalesce(domain_id, '') = ? AND name = ? AND id != ?"
        found = db.execute(f"SELECT id FROM {self.table.name} WHERE {same}", (domain_id or "", name, but)).fetchone()
        if found is not None:
            raise Conflict(f"Cannot use the name {name}: {self.name} {found[0]} has it.")

    def stay_in(self, db: Db, row: Any, changes: dict[str, Any]) -> None:
        """`Invalid` for a change to another domain, `Conflict` for a name that is taken."""
        if changes.pop("domain_id", row.domain_id) != row.domain_id:
            raise Invalid(f"Cannot move {self.name} {row.id} to another domain.")
        if "name" in changes:
            self.refuse_taken_in(db, changes["name"], row.domain_id, but=row.id)


def merged(options: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Options after a change; None takes one away."""
    return {name: value for name, value in {**options, **changes}.items() if value is not None}


def refuse_immutable(options: Mapping[str, Any], changes: Mapping[str, Any] | None, noun: str) -> None:
    """`Forbidden` for a change (None: a delete) of a thing with the option `immutable`, unless it takes that option off."""
    if not options.get("immutable"):
        return
    lifts = (
        changes is not None and set(changes) == {"options"} and not (changes["options"] or {}).get("immutable", True)
    )
    if not lifts:
        raise Forbidden(f"Cannot change {noun}: it is immutable; set its option immutable to false first.")
