"""Lists as Neutron's clients ask for them: filters by any attribute, tags, `changed_since`, sorting and paging.

A filter that is no attribute is refused (extension filter-validation). Repeated values mean "or". Called by every list
handler of this folder.
"""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from minicloud.api.paging import listed, page_of
from minicloud.api.route import Call, Listed
from minicloud.core.errors import Invalid
from minicloud.core.store import Page, Table

Sql = tuple[str, Sequence[Any]]
Texts = list[str]  # `list` names a method below
Special = Callable[[Texts, Call], Sql]
PAGING = {"limit", "marker", "page_reverse", "sort_key", "sort_dir", "fields"}
TRUE, FALSE = {"true", "1", "yes", "on", "t"}, {"false", "0", "no", "off", "f"}


@dataclass(frozen=True)
class Collection:
    """How one kind of resource is listed.

    Attributes:
        columns: names on the wire whose column has another name. Every column of the table may be filtered and sorted by.
        special: filters that are no columns: (values, call) -> SQL condition and parameters.
        hidden: columns that are not the clients' business.
    """

    table: Table[Any]
    columns: Mapping[str, str] = field(default_factory=dict)
    special: Mapping[str, Special] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset({"number", "tags"})

    def names(self) -> dict[str, str]:
        """Every filterable name and its column."""
        renamed = set(self.columns.values())
        plain = {column: column for column in self.table.columns if column not in self.hidden and column not in renamed}
        return {**plain, **self.columns, "tenant_id": "project_id"}

    def list(self, db_read: Callable[..., Any], call: Call, visible: tuple[str, Sequence[Any]]) -> Listed:
        """One page of what the caller may know of and asks for.

        Args:
            db_read: `store.read`.
            visible: SQL condition and parameters.

        Raises:
            Invalid: an unknown filter or sort key, a value of the wrong form, a marker that is no row.
        """
        names = self.names()
        clauses, params = ([visible[0]], list(visible[1])) if visible[0] else ([], [])
        for name in dict.fromkeys(call.query):
            if name in PAGING:
                continue
            condition, values = self._condition(name, call.query.getall(name), names, call)
            clauses.append(condition)
            params += values
        page = page_of(call, columns=names, most=None)
        if page.limit == 0:  # Neutron's way to ask for all
            page = dataclasses.replace(page, limit=None)
        condition = " AND ".join(f"({clause})" for clause in clauses)

        def read(wanted: Page) -> Any:
            return db_read(self.table.page, wanted, condition, params)

        return listed(read, page)

    def _condition(self, name: str, values: Texts, names: Mapping[str, str], call: Call) -> Sql:
        if name in self.special:
            return self.special[name](values, call)
        if "tags" in self.table.columns and name in TAG_FILTERS:
            return TAG_FILTERS[name](self.table.name, values)
        if name == "changed_since" and "updated_at" in self.table.columns:
            return "updated_at >= ?", [_moment(values[0])]
        if name not in names:
            raise Invalid(
                f"Cannot filter by {name[:80]}: ['{name[:80]}'] is invalid attribute for filtering.",
                code="HTTPBadRequest",
            )
        column = names[name]
        kind = self.table.row.__annotations__[column]
        if "bool" in kind:
            return _in(column, [boolean(value) for value in values])
        if kind.startswith("int"):
            return _in(column, [_integer(value) for value in values])
        marks = ", ".join("?" * len(values))
        return f"coalesce({column}, '') IN ({marks})", values


def boolean(value: str) -> bool:
    """A filter's truth value."""
    if value.lower() in TRUE:
        return True
    if value.lower() in FALSE:
        return False
    raise Invalid(f"Cannot filter by {value[:40]!r}: it cannot be converted to boolean.", code="InvalidInput")


def _integer(value: str) -> int:
    if not value.isascii() or not value.removeprefix("-").isdigit() or len(value) > 18:
        raise Invalid(f"Cannot filter by {value[:40]!r}: it is no number.", code="InvalidInput")
    return int(value)


def _in(column: str, values: Sequence[Any]) -> Sql:
    return f"{column} IN ({', '.join('?' * len(values))})", values


def _moment(value: str) -> str:
    from datetime import datetime

    try:
        return datetime.fromisoformat(value).replace(tzinfo=None).isoformat(timespec="microseconds")
    except ValueError:
        raise Invalid(f"Cannot filter by changed_since {value[:40]!r}: it is no time.", code="InvalidInput") from None


def _tags(values: list[str]) -> list[str]:
    return [tag for value in values for tag in value.split(",")]


def _count_of(table: str, tags: Sequence[str]) -> str:
    return f"(SELECT count(DISTINCT value) FROM json_each({table}.tags) WHERE value IN ({', '.join('?' * len(tags))}))"


def _tag_filter(render: Callable[[str, int], str]) -> Callable[[str, list[str]], Sql]:
    def condition(table: str, values: list[str]) -> Sql:
        tags = list(dict.fromkeys(_tags(values)))
        return render(_count_of(table, tags), len(tags)), tags

    return condition


TAG_FILTERS = {
    "tags": _tag_filter(lambda count, wanted: f"{count} = {wanted}"),
    "tags-any": _tag_filter(lambda count, wanted: f"{count} > 0"),
    "not-tags": _tag_filter(lambda count, wanted: f"{count} < {wanted}"),
    "not-tags-any": _tag_filter(lambda count, wanted: f"{count} = 0"),
}


def shared_filter(table: str, action: str) -> Special:
    """A filter by whether an RBAC policy gives the caller (or everyone) that use of a thing."""

    def condition(values: list[str], call: Call) -> Sql:
        exists = f"EXISTS (SELECT 1 FROM rbac_policies s WHERE s.object_id = {table}.id AND s.action = ? AND s.target IN ('*', ?))"
        wanted = {boolean(value) for value in values}
        params = [action, call.ctx.project_id]
        if wanted == {True}:
            return exists, params
        return (f"NOT {exists}", params) if wanted == {False} else ("1", [])

    return condition


def in_json(column: str) -> Special:
    """A filter by membership in a JSON list of texts."""

    def condition(values: list[str], call: Call) -> Sql:
        marks = ", ".join("?" * len(values))
        return f"EXISTS (SELECT 1 FROM json_each({column}) WHERE value IN ({marks}))", values

    return condition


def fixed_ips_filter(values: list[str], call: Call) -> Sql:
    """`fixed_ips=ip_address=10.0.0.5`, `subnet_id=...`, `ip_address_substr=10.0`; kinds are joined by "and", the
    values of one kind by "or"."""
    kinds: dict[str, list[str]] = {}
    for value in values:
        for part in value.split(","):
            kind, separator, wanted = part.partition("=")
            if not separator or kind not in ("ip_address", "subnet_id", "ip_address_substr"):
                raise Invalid(
                    f"Cannot filter by fixed_ips {part[:60]!r}: it wants ip_address=, subnet_id= or ip_address_substr=.",
                    code="HTTPBadRequest",
                )
            kinds.setdefault(kind, []).append(_same_address(wanted) if kind == "ip_address" else wanted)
    clauses, params = [], []
    for kind, wanted_values in kinds.items():
        if kind == "ip_address_substr":
            test = " OR ".join("instr(a.address, ?) > 0" for _ in wanted_values)
        else:
            column = "address" if kind == "ip_address" else "subnet_id"
            test = f"a.{column} IN ({', '.join('?' * len(wanted_values))})"
        clauses.append(f"EXISTS (SELECT 1 FROM port_addresses a WHERE a.port_id = ports.id AND ({test}))")
        params += wanted_values
    return " AND ".join(clauses) or "1", params


def _same_address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text
