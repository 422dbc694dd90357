"""Endpoint groups and filters: which endpoints the catalogue of a project tells of (OS-EP-FILTER).

A project with no endpoint and no group of its own sees all. Asked by `catalog.py`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minicloud.core.errors import Invalid, NotFound
from minicloud.core.store import Db
from minicloud.identity import projects
from minicloud.identity.endpoints import ENDPOINT
from minicloud.identity.nouns import Noun
from minicloud.identity.tables import ENDPOINT_GROUPS, ENDPOINTS, PROJECTS, Endpoint, EndpointGroup, Project

if TYPE_CHECKING:
    from minicloud.identity import Identity

FILTERS = ("service_id", "region_id", "interface", "enabled")
"""Attributes of endpoints that a group may look at."""


def _refuse_odd(filters: Mapping[str, Any] | None) -> None:
    for name in filters or ():
        if name not in FILTERS:
            told = ", ".join(FILTERS)
            raise Invalid(f"Cannot use the filters: {name[:40]} is none of those that there are, which are {told}.")


def _check(db: Db, row: EndpointGroup, values: dict[str, Any]) -> None:
    if values.get("filters", ()) is None:
        del values["filters"]
    elif "filters" in values:
        _refuse_odd(values["filters"])


def _sweep(db: Db, row: EndpointGroup) -> None:
    db.execute("DELETE FROM project_endpoint_groups WHERE endpoint_group_id = ?", (row.id,))


ENDPOINT_GROUP = Noun(ENDPOINT_GROUPS, "endpoint group", order="name, id", check=_check, sweep=_sweep)


async def create(
    identity: Identity,
    *,
    name: str,
    filters: Mapping[str, Any] | None,
    description: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> EndpointGroup:
    """A new group; `Invalid` for no filter, or one of something that endpoints haven't got."""
    if not filters:
        raise Invalid(f"Cannot make a group of all endpoints: its filters must be some of {', '.join(FILTERS)}.")
    _refuse_odd(filters)
    row = EndpointGroup(uuid.uuid4().hex, name, description, dict(filters), dict(extra or {}))
    return await identity.write(ENDPOINT_GROUPS.insert, row)


def endpoints_in(db: Db, group: EndpointGroup) -> list[Endpoint]:
    """The endpoints that are in a group now."""
    rows = ENDPOINTS.where(db, order=ENDPOINT.order)
    return [row for row in rows if all(getattr(row, name) == value for name, value in group.filters.items())]


def seen_by(db: Db, project_id: str) -> set[str] | None:
    """Ids of the endpoints that a project's catalogue is bound to; None: it has no filter at all."""
    own = db.execute("SELECT endpoint_id FROM project_endpoints WHERE project_id = ?", (project_id,)).fetchall()
    groups = groups_of(db, project_id)
    if not own and not groups:
        return None
    return {endpoint_id for (endpoint_id,) in own} | {row.id for one in groups for row in endpoints_in(db, one)}


# --- projects and their filters --------------------------------------------------------------------------------------


def groups_of(db: Db, project_id: str) -> list[EndpointGroup]:
    """The groups of a project, by name."""
    rest = (
        "JOIN project_endpoint_groups ON endpoint_group_id = endpoint_groups.id WHERE project_id = ? ORDER BY name, id"
    )
    return ENDPOINT_GROUPS.joined(db, rest, (project_id,))


def projects_of_group(db: Db, group_id: str) -> list[Project]:
    """The projects that a group was given to, by name."""
    rest = "JOIN project_endpoint_groups ON project_id = projects.id WHERE endpoint_group_id = ? ORDER BY name"
    return PROJECTS.joined(db, rest, (group_id,))


def endpoints_of(db: Db, project_id: str) -> list[Endpoint]:
    """The endpoints that a project was given, by itself or by its groups."""
    seen = seen_by(db, project_id) or set()
    return [row for row in ENDPOINTS.where(db, order=ENDPOINT.order) if row.id in seen]


def projects_of_endpoint(db: Db, endpoint_id: str) -> list[Project]:
    """The projects that were given an endpoint by itself, by name."""
    rest = "JOIN project_endpoints ON project_id = projects.id WHERE endpoint_id = ? ORDER BY name"
    return PROJECTS.joined(db, rest, (endpoint_id,))


def _place_in(db: Db, project_id: str, noun: str, key: str) -> str:
    """The table and condition of one association; `NotFound` if either side of it is missing."""
    projects.PROJECT.need_in(db, project_id)
    if noun == "endpoint":
        ENDPOINT.need_in(db, key)
    else:
        ENDPOINT_GROUP.need_in(db, key)
    return f"project_{noun}s WHERE project_id = ? AND {noun}_id = ?"


async def give(identity: Identity, project_id: str, noun: str, key: str) -> None:
    """Give a project an "endpoint" or an "endpoint_group"; nothing happens if it has it."""

    def insert(db: Db) -> None:
        _place_in(db, project_id, noun, key)
        db.execute(f"INSERT OR IGNORE INTO project_{noun}s (project_id, {noun}_id) VALUES (?, ?)", (project_id, key))

    await identity.write(insert)


def check(identity: Identity, project_id: str, noun: str, key: str) -> None:
    """`NotFound` unless a project was given that."""

    def read(db: Db) -> None:
        place = _place_in(db, project_id, noun, key)
        if db.execute(f"SELECT 1 FROM {place}", (project_id, key)).fetchone() is None:
            raise _missing(project_id, noun, key)

    identity.store.read(read)


async def take(identity: Identity, project_id: str, noun: str, key: str) -> None:
    """Take that from a project; `NotFound` if it hasn't got it."""

    def remove(db: Db) -> None:
        place = _place_in(db, project_id, noun, key)
        if not db.execute(f"DELETE FROM {place}", (project_id, key)).rowcount:
            raise _missing(project_id, noun, key)

    await identity.write(remove)


def _missing(project_id: str, noun: str, key: str) -> NotFound:
    return NotFound(f"Could not find {noun.replace('_', ' ')} {key} among those of project {project_id}.")
