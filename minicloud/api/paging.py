"""Which part of a list a client wants, and the links to the next part, in each service's manner.

Handlers call `page_of(call, ...)`, read `limit + 1` rows with `listed(...)`, and the dialect's `list_extra` makes the links.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from minicloud.api.route import Call, Listed
from minicloud.core.errors import Invalid
from minicloud.core.store import Page


def page_of(
    call: Call,
    *,
    columns: Mapping[str, str],
    default_sort: Sequence[tuple[str, bool]] = (),
    most: int | None = 1000,
    default_limit: int | None = None,
) -> Page:
    """The page that `limit`, `marker`, `sort_key`/`sort_dir` (repeatable), `sort=key:dir,...` and `page_reverse` ask for.

    Args:
        columns: sortable names on the wire -> column.
        default_sort: (column, ascending) pairs without a sort in the query.
        most: a larger limit is cut to this; None: no bound.

    Raises:
        Invalid: a limit that is no natural number, an unknown sort key or direction.
    """
    query = call.query
    limit = _natural(query.get("limit"), "limit")
    if limit is None:
        limit = default_limit
    if most is not None:
        limit = most if limit is None else min(limit, most)
    names, directions = query.getall("sort_key", []), query.getall("sort_dir", [])
    for entry in query.getall("sort", []):
        for part in filter(None, entry.split(",")):
            name, _, direction = part.partition(":")
            names, directions = [*names, name], [*directions, direction or "desc"]
    default_direction = "asc" if default_sort and default_sort[0][1] else "desc"
    if not default_sort:
        default_direction = "asc"
    sorts: list[tuple[str, bool]] = []
    for index, name in enumerate(names):
        direction = (
            directions[index] if index < len(directions) else (directions[-1] if directions else default_direction)
        )
        if direction.lower() not in ("asc", "desc"):
            raise Invalid(f"Cannot sort {direction!r}: a direction is asc or desc.")
        if name not in columns:
            raise Invalid(f"Cannot sort by {name}: it is none of {', '.join(sorted(columns))}.")
        sorts.append((columns[name], direction.lower() == "asc"))
    return Page(
        limit=limit,
        marker=query.get("marker") or None,
        sorts=tuple(sorts or default_sort),
        reverse=query.get("page_reverse", "").lower() == "true",
    )


def _natural(text: str | None, name: str) -> int | None:
    if text is None or text == "":
        return None
    if not text.isascii() or not text.isdigit():
        raise Invalid(f"Cannot use {name} {text[:40]!r}: it must be a whole number, 0 or more.")
    return min(int(text), 2**31)


def listed(read: Callable[[Page], Sequence[Any]], page: Page, **extra: Any) -> Listed:
    """Read one row more than asked, so as to know whether more follow."""
    if page.limit is None:
        return Listed(read(page), page, extra=extra)
    if page.limit == 0:
        return Listed([], page, extra=extra)
    rows = list(read(Page(page.limit + 1, page.marker, page.sorts, page.reverse)))
    more = len(rows) > page.limit
    kept = (rows[1:] if page.reverse else rows[: page.limit]) if more else rows
    return Listed(kept, page, more, extra)


def with_query(call: Call, url: str, **changes: str | None) -> str:
    """`url` with the call's query, some parameters set or (None) taken out."""
    kept = [(key, value) for key, value in call.query.items() if key not in changes]
    kept += [(key, value) for key, value in changes.items() if value is not None]
    return url + ("?" + urlencode(kept) if kept else "")


def here(call: Call) -> str:
    """The URL that the client used, without query."""
    return call.base + call.request.path.removeprefix(call.dialect.prefix)


def key_of(row: Any) -> str:
    """A row's marker."""
    return str(row["id"] if isinstance(row, Mapping) else row.id)


def next_link(call: Call, plural: str, listed: Listed) -> Mapping[str, Any]:
    """Nova's and Cinder's: `servers_links: [{"rel": "next", "href": ...}]` on a full page; they count rows, they don't look
    ahead, so that the last page may be an empty one."""
    limit = listed.page.limit
    if not limit or len(listed.rows) < limit:
        return {}
    href = with_query(call, here(call), marker=key_of(listed.rows[-1]))
    return {f"{plural.rstrip()}_links": [{"rel": "next", "href": href}]}


def both_links(call: Call, plural: str, listed: Listed) -> Mapping[str, Any]:
    """Neutron's: next and previous, when the client pages (gave a limit). A full page has both, a short or empty one tells
    which end of the list it is: Neutron counts rows, it does not look ahead."""
    limit = listed.page.limit
    if not limit:
        return {}
    links, full, rows = [], len(listed.rows) >= limit, listed.rows
    if full or listed.page.reverse:
        last = key_of(rows[-1]) if rows else None
        links.append({"rel": "next", "href": with_query(call, here(call), marker=last, page_reverse=None)})
    if full or not listed.page.reverse:
        first = key_of(rows[0]) if rows else None
        links.append({"rel": "previous", "href": with_query(call, here(call), marker=first, page_reverse="True")})
    return {f"{plural}_links": links}


def collection_links(call: Call, plural: str, listed: Listed) -> Mapping[str, Any]:
    """Keystone's: `links: {next, self, previous}`; lists are whole unless a limit was asked for."""
    following = with_query(call, here(call), marker=key_of(listed.rows[-1])) if listed.more and listed.rows else None
    return {"links": {"next": following, "self": with_query(call, here(call)), "previous": None}}


def relative_links(call: Call, plural: str, listed: Listed) -> Mapping[str, Any]:
    """Glance's: `first`, `next` and `schema`, relative to the service."""
    path = call.request.path.removeprefix(call.dialect.prefix)
    links: dict[str, Any] = {"first": with_query(call, path, marker=None), "schema": f"/v2/schemas/{plural}"}
    if listed.more and listed.rows:
        links["next"] = with_query(call, path, marker=key_of(listed.rows[-1]))
    return links
