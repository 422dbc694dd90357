"""Rows as frozen dataclasses: one `Table` a kind, and `Page`, which part of a list is wanted.

Not an ORM: a method here is one statement over one table, anything cleverer is SQL in the resource's file. Called by the
noun files of every service, inside functions that `store.py` runs.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import operator
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from minicloud.core.errors import Conflict, Invalid, NotFound

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from minicloud.core.store import Db

Row = TypeVar("Row", bound="DataclassInstance")


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is wanted.

    Attributes:
        limit: at most so many rows; None is all.
        marker: key of the row after which the page starts.
        sorts: (column, ascending) pairs; the key is always added as the last.
        reverse: the page that *ends* before the marker.
    """

    limit: int | None = None
    marker: str | None = None
    sorts: tuple[tuple[str, bool], ...] = ()
    reverse: bool = False


def _scalar(hint: Any) -> Any:
    """The one type that is left of `X | None`."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        kept = [one for one in typing.get_args(hint) if one is not type(None)]
        return kept[0] if len(kept) == 1 else hint
    return hint


class Table(Generic[Row]):
    """Maps the rows of one table to a frozen dataclass whose fields are its columns, in their order.

    Fields of a mapping, list or tuple type are JSON columns; bool fields are 0 or 1. Anything cleverer than these
    methods is SQL in the resource's file.

    Args:
        name: of the table.
        row: the dataclass.
        key: the primary key's column.
        noun: how messages call one row: "Server".
    """

    def __init__(self, name: str, row: type[Row], *, key: str = "id", noun: str) -> None:
        self.name, self.row, self.key, self.noun = name, row, key, noun
        self.columns = tuple(field.name for field in dataclasses.fields(row))
        self._select = f"SELECT {', '.join(f'{name}.{column}' for column in self.columns)} FROM {name}"
        self._insert = f"INSERT INTO {name} ({', '.join(self.columns)}) VALUES ({', '.join('?' * len(self.columns))})"

    @functools.cached_property
    def _codec(self) -> tuple[list[tuple[int, Callable[[Any], Any]]], dict[str, Callable[[Any], Any]]]:
        """(index, decoder) of the columns that aren't plain, and encoders by column; worked out when first used, as a start
        uses few tables."""
        decoders: list[tuple[int, Callable[[Any], Any]]] = []
        encoders: dict[str, Callable[[Any], Any]] = {}
        hints = typing.get_type_hints(self.row)
        for index, column in enumerate(self.columns):
            kind = _scalar(hints[column])
            origin = typing.get_origin(kind) or kind
            if origin is bool:
                decoders.append((index, _is_one))
            elif origin is tuple:
                decoders.append((index, lambda text: tuple(_from_json(text))))
                encoders[column] = _to_json
            elif origin in (dict, list, Mapping, Any):
                decoders.append((index, _from_json))
                encoders[column] = _to_json
            elif isinstance(origin, type) and issubclass(origin, str) and origin is not str:
                known = {one.value: one for one in origin} if issubclass(origin, enum.Enum) else None
                decoders.append((index, origin if known is None else known.__getitem__))

        return decoders, encoders

    def _row(self, values: tuple[Any, ...]) -> Row:
        decoders = self._codec[0]
        if decoders:
            listed = list(values)
            for index, decode in decoders:
                if listed[index] is not None:
                    listed[index] = decode(listed[index])
            return self.row(*listed)
        return self.row(*values)

    def _value(self, column: str, value: Any) -> Any:
        encode = self._codec[1].get(column)
        return value if encode is None or value is None else encode(value)

    def get(self, db: Db, key: str | int | None) -> Row | None:
        """The row with this key."""
        found = db.execute(f"{self._select} WHERE {self.key} = ?", (key,)).fetchone()
        return None if found is None else self._row(found)

    def need(self, db: Db, key: str | int | None) -> Row:
        """The row with this key; `NotFound` names the noun and the key."""
        row = self.get(db, key)
        if row is None:
            raise NotFound(f"{self.noun} {key} could not be found.")
        return row

    def where(
        self, db: Db, condition: str = "", params: Sequence[Any] = (), *, order: str = "", limit: int | None = None
    ) -> list[Row]:
        """Rows that satisfy an SQL condition over `params`, ordered by an SQL expression."""
        sql = self._select + (f" WHERE {condition}" if condition else "")
        sql += (f" ORDER BY {order}" if order else "") + (f" LIMIT {limit:d}" if limit is not None else "")
        return [self._row(values) for values in db.execute(sql, params)]

    def first(self, db: Db, condition: str, params: Sequence[Any] = (), *, order: str = "") -> Row | None:
        """The first such row, if any."""
        rows = self.where(db, condition, params, order=order, limit=1)
        return rows[0] if rows else None

    def joined(self, db: Db, rest: str, params: Sequence[Any] = ()) -> list[Row]:
        """Rows of `SELECT <columns> FROM <table> <rest>`: joins, groups, limits."""
        return [self._row(values) for values in db.execute(f"{self._select} {rest}", params)]

    def count(self, db: Db, condition: str = "", params: Sequence[Any] = ()) -> int:
        """How many rows satisfy a condition."""
        sql = f"SELECT count(*) FROM {self.name}" + (f" WHERE {condition}" if condition else "")
        return int(db.execute(sql, params).fetchone()[0])

    def page(self, db: Db, page: Page, condition: str = "", params: Sequence[Any] = ()) -> list[Row]:
        """One page of the rows that satisfy a condition: keyset paging over any columns, missing values sort first.

        Raises:
            Invalid: an unknown sort column, or a marker that is no row.
        """
        sorts = [*page.sorts, *([] if any(c == self.key for c, _ in page.sorts) else [(self.key, True)])]
        for column, _ in sorts:
            if column not in self.columns:
                raise Invalid(f"Cannot sort by {column}: {self.noun} has no such attribute.")
        if page.reverse:
            sorts = [(column, not ascending) for column, ascending in sorts]
        keys = [f"coalesce({self.name}.{column}, '')" for column, _ in sorts]
        clauses, values = [f"({condition})"] if condition else [], list(params)
        if page.marker is not None:
            marked = db.execute(
                f"SELECT {', '.join(keys)} FROM {self.name} WHERE {self.key} = ?", (page.marker,)
            ).fetchone()
            if marked is None:
                raise Invalid(f"Cannot continue the list: marker {page.marker} could not be found.")
            parts = []
            for index, (_, ascending) in enumerate(sorts):
                same = [f"{key} = ?" for key in keys[:index]]
                parts.append("(" + " AND ".join([*same, f"{keys[index]} {'>' if ascending else '<'} ?"]) + ")")
                values += [*marked[:index], marked[index]]
            clauses.append("(" + " OR ".join(parts) + ")")
        order = ", ".join(f"{key} {'ASC' if up else 'DESC'}" for key, (_, up) in zip(keys, sorts, strict=True))
        rows = self.where(db, " AND ".join(clauses), values, order=order, limit=page.limit)
        return rows[::-1] if page.reverse else rows

    def insert(self, db: Db, row: Row) -> Row:
        """Add a row."""
        db.execute(self._insert, [self._value(column, getattr(row, column)) for column in self.columns])
        return row

    def change(self, db: Db, key: str | int, /, expect: Mapping[str, Any] | Any = None, **values: Any) -> Row:
        """Set columns of one row and return it.

        Raises:
            NotFound: no such row.
            Conflict: it no longer has the values in `expect` (a value may be a list of allowed ones).
        """
        row = self.need(db, key)
        for column, wanted in (expect or {}).items():
            found = getattr(row, column)
            if found not in (wanted if isinstance(wanted, list | tuple | set | frozenset) else (wanted,)):
                raise Conflict(f"Cannot change {self.noun} {key}: its {column} is {found}.")
        if values:
            settings = ", ".join(f"{column} = ?" for column in values)
            encoded = [self._value(column, value) for column, value in values.items()]
            db.execute(f"UPDATE {self.name} SET {settings} WHERE {self.key} = ?", [*encoded, key])
            row = dataclasses.replace(row, **values)
        return row

    def delete(self, db: Db, key: str | int | None) -> bool:
        """Remove a row; whether there was one."""
        return db.execute(f"DELETE FROM {self.name} WHERE {self.key} = ?", (key,)).rowcount > 0

    def delete_where(self, db: Db, condition: str, params: Sequence[Any] = ()) -> int:
        """Remove all rows that satisfy a condition; how many there were."""
        return db.execute(f"DELETE FROM {self.name} WHERE {condition}", params).rowcount


_is_one = functools.partial(operator.eq, 1)
"""Whether a truth value's column holds exactly 1: what somebody else wrote there ("False", "no") lets nobody in."""

_ENCODER = json.JSONEncoder(separators=(",", ":"), sort_keys=True)
_DECODER = json.JSONDecoder()


def _to_json(value: Any) -> str:
    return _ENCODER.encode(value)


def _from_json(text: str) -> Any:
    """What `_to_json` wrote: nothing stands around it, so the scanner alone does, and most columns hold nothing."""
    if text == "{}":
        return {}
    if text == "[]":
        return []
    return _DECODER.raw_decode(text)[0]
