"""How the lists of this API are asked for: whose rows, filters, sorting and pages, in Cinder's manner.

`all_tenants` and `project_id` are an admin's; `name~=x` means like from 3.34 on; unknown filters are ignored before 3.31
and refused from then on; the newest rows come first; `offset` counts; `with_count` adds how many there are in all (3.45).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from minicloud.api.paging import page_of
from minicloud.api.route import Call, Listed
from minicloud.core.errors import Invalid, NotFound
from minicloud.core.store import Db, Table

if TYPE_CHECKING:
    from minicloud.volume import Volume

Condition = tuple[str, tuple[Any, ...]]
Filter = Callable[[str, bool], Condition]
"""(value, whether "like" is meant) -> SQL over the table's columns, and its parameters."""

PAGING = frozenset({
    "limit", "marker", "offset", "sort", "sort_key", "sort_dir", "all_tenants", "project_id", "with_count", "detail",
    "is_detail", "tenant_id",
})  # fmt: skip
TRUE = ("1", "true", "t", "yes", "y", "on")
NEWEST_FIRST = (("created_at", False), ("id", False))
COMPARISONS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<=", "eq": "=", "neq": "!="}


@dataclass(frozen=True)
class Lists:
    """How rows of one table are listed.

    Attributes:
        sorts: sortable name on the wire -> column. filters: name on the wire -> condition.
        owner: column of the owning project; "" where rows have none of their own.
    """

    table: Table[Any]
    sorts: Mapping[str, str]
    filters: Mapping[str, Filter]
    owner: str = "project_id"

    def rows(self, volume: Volume, call: Call, *, extra: Sequence[Condition] = ()) -> Listed:
        """The page that the call asks for.

        Raises:
            Invalid: an unknown sort key, limit or (from 3.31 on) filter. NotFound: the marker is no row.
        """
        conditions = [*self.whose(call), *self._filters(call), *extra]
        sql = " AND ".join(f"({text})" for text, _ in conditions)
        params = [value for _, values in conditions for value in values]
        page = page_of(call, columns=self.sorts, default_sort=NEWEST_FIRST)
        offset = _offset(call)

        def read(db: Db) -> tuple[list[Any], int]:
            if page.marker is not None and self.table.get(db, page.marker) is None:
                raise NotFound(f"{self.table.noun} {page.marker} could not be found.")
            limit = None if page.limit is None else page.limit + offset + 1
            total = self.table.count(db, sql, params) if _wants_count(call) else 0
            return self.table.page(db, replace(page, limit=limit), sql, params)[offset:], total

        rows, total = volume.store.read(read)
        counted = {"count": total} if _wants_count(call) else {}
        if page.limit is None or len(rows) <= page.limit:
            return Listed(rows, page, extra=counted)
        return Listed(rows[: page.limit], page, more=page.limit > 0, extra=counted)

    def whose(self, call: Call) -> list[Condition]:
        """Which project's rows the caller means."""
        if not self.owner:
            return []
        query, ctx = call.query, call.ctx
        if ctx.is_admin and query.get("all_tenants", "0").lower() in TRUE:
            asked = query.get("project_id") or query.get("tenant_id")
            return [(f"{self.owner} = ?", (asked,))] if asked else []
        return [(f"{self.owner} = ?", (ctx.project_id,))]

    def _filters(self, call: Call) -> list[Condition]:
        found, unknown = [], []
        for key, value in call.query.items():
            name, like = key.removesuffix("~"), key.endswith("~") and call.at_least(3, 34)
            if name in self.filters:
                found.append(self.filters[name](value, like))
            elif name not in PAGING:
                unknown.append(name)
        if unknown and call.at_least(3, 31):
            raise Invalid(f"Invalid filters {', '.join(sorted(unknown))} are found in query options.")
        return found


def _offset(call: Call) -> int:
    text = call.query.get("offset", "0")
    if not text.isascii() or not text.isdigit():
        raise Invalid(f"Cannot use offset {text[:40]!r}: it must be a whole number, 0 or more.")
    return min(int(text), 2**31)


def _wants_count(call: Call) -> bool:
    return call.at_least(3, 45) and call.query.get("with_count", "0").lower() in TRUE


def column(name: str) -> Filter:
    """Rows whose column has the value, or holds it somewhere."""

    def condition(value: str, like: bool) -> Condition:
        if like:
            pattern = value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            return f"{name} LIKE ? ESCAPE '\\'", (f"%{pattern}%",)
        return f"{name} = ?", (value,)

    return condition


def number(name: str) -> Filter:
    """Rows whose column has this number."""

    def condition(value: str, like: bool) -> Condition:
        if not value.isascii() or not value.isdigit():
            raise Invalid(f"Cannot filter by {name} {value[:40]!r}: it must be a whole number.")
        return f"{name} = ?", (int(value),)

    return condition


def truth(name: str) -> Filter:
    """Rows whose column is so."""

    def condition(value: str, like: bool) -> Condition:
        if value.lower() not in (*TRUE, "0", "false", "f", "no", "n", "off"):
            raise Invalid(f"Cannot filter by {name} {value[:40]!r}: it must be true or false.")
        return f"{name} = ?", (1 if value.lower() in TRUE else 0,)

    return condition


def moment(name: str) -> Filter:
    """Rows whose time compares so: "gt:2026-01-01T00:00:00,lt:..." or one time alone (3.60)."""

    def condition(value: str, like: bool) -> Condition:
        parts, params = [], []
        for part in value.split(","):
            sign, colon, when = part.partition(":")
            if sign not in COMPARISONS or not colon:
                sign, when = "eq", part
            parts.append(f"{name} {COMPARISONS[sign]} ?")
            params.append(when.replace(" ", "T").removesuffix("Z"))
        return " AND ".join(parts), tuple(params)

    return condition


def pairs(name: str) -> Filter:
    """Rows whose JSON column has all these pairs; clients write them as a Python dictionary."""

    def condition(value: str, like: bool) -> Condition:
        try:
            wanted = ast.literal_eval(value[:4096])
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            wanted = None
        if not isinstance(wanted, dict):
            raise Invalid(f"Cannot filter by {name} {value[:80]!r}: it must be of the form {{'key': 'value'}}.")
        one = f"EXISTS (SELECT 1 FROM json_each({name}) WHERE json_each.key = ? AND json_each.value = ?)"
        params = tuple(str(part) for pair in wanted.items() for part in pair)
        return " AND ".join([one] * len(wanted)) or "1", params

    return condition


def flag(call: Call, name: str, *, otherwise: bool = False) -> bool:
    """A true-or-false parameter of the query."""
    value = call.query.get(name)
    return otherwise if value is None else value.lower() in TRUE


def links(call: Call, collection: str, row_id: str) -> list[dict[str, str]]:
    """Where a row is found, with and without the version."""
    project = call.params.get("project_id") or call.ctx.project_id or ""
    place = f"{project}/{collection}/{row_id}" if project else f"{collection}/{row_id}"
    return [
        {"rel": "self", "href": f"{call.root}/{place}"},
        {"rel": "bookmark", "href": f"{call.base}/{place}"},
    ]
