"""What all resources here have in common: their standard attributes, whom they belong to, and who may know of them.

An object is known to its project, to admins, and to projects that an RBAC policy names ("*" names all). Called by the
noun files of this folder.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from minicloud.core.clock import Clock, stamp
from minicloud.core.context import Context
from minicloud.core.errors import Invalid, NotFound, PreconditionFailed
from minicloud.core.store import Db, Table

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    class Owned(DataclassInstance, Protocol):
        """A row of a project."""

        @property
        def project_id(self) -> str: ...

    class Counted(DataclassInstance, Protocol):
        """A row that counts its changes."""

        @property
        def id(self) -> str: ...
        @property
        def revision_number(self) -> int: ...


Row = TypeVar("Row", bound="Owned")
Changed = TypeVar("Changed", bound="Counted")
SHARED = "access_as_shared"
EXTERNAL = "access_as_external"


def fresh(clock: Clock, values: Mapping[str, Any]) -> dict[str, Any]:
    """The standard attributes of a new row, over the given values."""
    now = stamp(clock.now())
    plain = {"id": str(uuid.uuid4()), "name": "", "description": "", "tags": []}
    return {**plain, **values, "created_at": now, "updated_at": now, "revision_number": 0}


def project_of(ctx: Context, values: Mapping[str, Any]) -> str:
    """The project that a new object belongs to: the caller's, or the one that an admin names.

    Raises:
        Invalid: another project, asked for by someone who is no admin; or none at all.
    """
    asked = values.get("project_id")
    if asked and asked != ctx.project_id and not (ctx.is_admin or "service" in ctx.roles):
        raise Invalid("Cannot create this for another project: only an admin may name one.", code="HTTPBadRequest")
    project_id: str | None = asked or ctx.project_id
    if project_id is None:
        raise Invalid(
            "Cannot create this: the token has no project, and the request names none.", code="HTTPBadRequest"
        )
    return project_id


def shared_sql(table: str) -> str:
    """An SQL condition, with one parameter (a project id): an RBAC policy lets that project use the row."""
    return f"EXISTS (SELECT 1 FROM rbac_policies r WHERE r.object_id = {table}.id AND r.target IN ('*', ?))"


def is_shared_in(db: Db, object_id: str, project_id: str | None, action: str | None = None) -> bool:
    """Whether an RBAC policy lets a project use an object."""
    sql = "SELECT 1 FROM rbac_policies WHERE object_id = ? AND target IN ('*', ?)"
    params = [object_id, project_id or "*"]
    if action is not None:
        sql, params = sql + " AND action = ?", [*params, action]
    return db.execute(sql, params).fetchone() is not None


def visible_in(db: Db, ctx: Context, table: Table[Row], object_id: str, code: str) -> Row:
    """The row, if the caller may know of it. Raises `NotFound` with Neutron's type for it."""
    row = table.get(db, object_id)
    if row is None or not (ctx.sees(row.project_id) or is_shared_in(db, object_id, ctx.project_id)):
        raise NotFound(f"{table.noun} {object_id} could not be found.", code=code)
    return row


def owned_in(db: Db, ctx: Context, table: Table[Row], object_id: str, code: str) -> Row:
    """The row, if the caller may change it. What is only shared with the caller is not found for writing, as in Neutron."""
    row = visible_in(db, ctx, table, object_id, code)
    if not ctx.sees(row.project_id):
        raise NotFound(f"{table.noun} {object_id} could not be found.", code=code)
    return row


def require_revision(row: Any, wanted: int | None) -> None:
    """Raise `PreconditionFailed` unless the row has the revision that an If-Match of the caller names."""
    if wanted is not None and row.revision_number != wanted:
        raise PreconditionFailed(
            f"Cannot change {row.id}: it has revision {row.revision_number}, the request wants {wanted}.",
            code="RevisionNumberConstraintFailed",
        )


def changed_in(db: Db, clock: Clock, table: Table[Changed], row: Changed, values: Mapping[str, Any]) -> Changed:
    """Set columns, count the revision up and note the time; a change of nothing counts too, as in Neutron."""
    counted = {"updated_at": stamp(clock.now()), "revision_number": row.revision_number + 1}
    return table.change(db, row.id, **{**values, **counted})


def touch_in(db: Db, clock: Clock, table: Table[Any], key: str) -> None:
    """Count the revision of a row up because something that belongs to it changed."""
    row = table.get(db, key)
    if row is not None:
        changed_in(db, clock, table, row, {})


def shared_in(db: Db, ids: Sequence[str], project_id: str | None, action: str = SHARED) -> set[str]:
    """Which of some objects are shared with a project (or with all)."""
    marks = ", ".join("?" * len(ids))
    told = db.execute(
        f"SELECT object_id FROM rbac_policies WHERE object_id IN ({marks}) AND action = ? AND target IN ('*', ?)",
        [*ids, action, project_id],
    )
    return {key for (key,) in told}


def visible_sql(table: str, ctx: Context) -> tuple[str, list[Any]]:
    """An SQL condition on a table of shareable things, with its parameters: what the caller may know of."""
    if ctx.is_admin:
        return "", []
    return f"({table}.project_id = ? OR {shared_sql(table)})", [ctx.project_id, ctx.project_id]
