"""Lists in Keystone's manner: filters by any attribute, also `name__contains=` and its like; whole unless a limit is asked.

Called by every list handler of this service. Unknown parameters and sort keys are ignored, as Keystone does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from minicloud.api.paging import key_of
from minicloud.api.route import Call, Listed
from minicloud.core.errors import Invalid
from minicloud.core.store import Page

COMPARISONS: Mapping[str, Callable[[str, str], bool]] = {
    "equals": lambda value, wanted: value == wanted,
    "iequals": lambda value, wanted: value.lower() == wanted.lower(),
    "contains": lambda value, wanted: wanted in value,
    "icontains": lambda value, wanted: wanted.lower() in value.lower(),
    "startswith": lambda value, wanted: value.startswith(wanted),
    "istartswith": lambda value, wanted: value.lower().startswith(wanted.lower()),
    "endswith": lambda value, wanted: value.endswith(wanted),
    "iendswith": lambda value, wanted: value.lower().endswith(wanted.lower()),
}
FALSE = ("0", "false", "no", "off")


def is_true(call: Call, name: str) -> bool:
    """Whether a flag of the query is set: present, with or without a true value."""
    return name in call.query and call.query[name].lower() not in FALSE


def exact(call: Call, *names: str) -> dict[str, str]:
    """The query's plain filters on these attributes, for reads that need not fetch everything; `page` looks at the rest."""
    return {name: call.query[name] for name in names if call.query.get(name)}


def page(call: Call, rows: Sequence[Any], *names: str) -> Listed:
    """The rows that pass the query's filters on these attributes, and the part of them that `limit` and `marker` ask for.

    Raises:
        Invalid: a limit that is no natural number, a marker that is not in the list.
    """
    for parameter, wanted in call.query.items():
        name, _, comparison = parameter.partition("__")
        compare = COMPARISONS.get(comparison or "equals")
        if name in names and compare is not None:
            rows = [row for row in rows if _passes(getattr(row, name), wanted, compare)]
    limit, marker = call.query.get("limit", ""), call.query.get("marker") or None
    if limit and not (limit.isascii() and limit.isdigit() and len(limit) < 10):
        raise Invalid(f"Cannot use limit {limit[:40]!r}: it must be a whole number, 0 or more.")
    if marker is not None:
        keys = [key_of(row) for row in rows]
        if marker not in keys:
            raise Invalid(f"Cannot continue the list: marker {marker[:64]} could not be found.")
        rows = rows[keys.index(marker) + 1 :]
    most = int(limit) if limit else None
    kept = rows if most is None else rows[:most]
    return Listed(kept, Page(most, marker), more=len(kept) < len(rows))


def _passes(value: Any, wanted: str, compare: Callable[[str, str], bool]) -> bool:
    if isinstance(value, bool):
        return value == (wanted.lower() not in FALSE)
    if value is None:
        return wanted == ""
    return compare(str(value), wanted)
