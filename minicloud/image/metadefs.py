"""Metadata definitions: a catalogue, kept by administrators, of what may be said of images, servers and volumes.

Nothing in the cloud obeys it; dashboards offer its properties to people. A namespace holds objects, properties, tags, and
the types of resources that it is about. All four are items of one table and differ only in what their bodies hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from minicloud.core.clock import stamp
from minicloud.core.context import Context
from minicloud.core.errors import Conflict, Forbidden, NotFound
from minicloud.core.store import Db, Page
from minicloud.image.tables import ITEMS, NAMESPACES, Item, Namespace

if TYPE_CHECKING:
    from minicloud.image import Image

RESOURCE_TYPES = (
    "OS::Cinder::Volume", "OS::Glance::Image", "OS::Nova::Aggregate", "OS::Nova::Flavor", "OS::Nova::Server",
)  # fmt: skip
"""What definitions may be about, by Heat's names."""


class Kind(StrEnum):
    """What an item is."""

    OBJECT = "object"
    PROPERTY = "property"
    TAG = "tag"
    RESOURCE_TYPE = "resource_type"


def visible(image: Image, ctx: Context, name: str) -> Namespace:
    """The namespace, if the caller may know of it; else `NotFound`."""
    found = image.store.read(NAMESPACES.get, name)
    if found is None or not (found.visibility == "public" or ctx.sees(found.owner)):
        raise NotFound(f"Metadata definition namespace={name[:80]} not found.")
    return found


def listed(image: Image, ctx: Context, page: Page, *, visibility: str | None, types: Sequence[str]) -> list[Namespace]:
    """One page of the namespaces that the caller may know of, those about some types of resources where asked."""
    clauses, values = ["1"], []
    if not ctx.is_admin:
        clauses.append("(visibility = 'public' OR owner = ?)")
        values.append(ctx.project_id or "")
    if visibility is not None:
        clauses.append("visibility = ?")
        values.append(visibility)
    if types:
        about = "SELECT namespace FROM metadef_items WHERE kind = 'resource_type' AND name IN"
        clauses.append(f"name IN ({about} ({', '.join('?' * len(types))}))")
        values += types
    return image.store.read(NAMESPACES.page, page, " AND ".join(clauses), values)


async def create(
    image: Image,
    ctx: Context,
    name: str,
    body: Mapping[str, Any],
    items: Mapping[Kind, Mapping[str, Mapping[str, Any]]],
) -> Namespace:
    """Make a namespace with what is in it. Raises `Conflict` if the name is taken."""
    now = stamp(image.clock.now())
    row = Namespace(
        name, body.get("owner") or ctx.project_id, body.get("visibility", "private"), body.get("protected", False),
        body.get("display_name"), body.get("description"), now, now,
    )  # fmt: skip

    def insert(db: Db) -> Namespace:
        if NAMESPACES.get(db, name) is not None:
            raise Conflict(f"The metadata definition namespace={name} already exists.")
        NAMESPACES.insert(db, row)
        for kind, several in items.items():
            for key, inner in several.items():
                ITEMS.insert(db, Item(name, kind, key, dict(inner), now, now))
        return row

    return await image.store.write(insert)


async def change(image: Image, row: Namespace, name: str, values: Mapping[str, Any]) -> Namespace:
    """Change a namespace, its name included."""
    now = stamp(image.clock.now())

    def update(db: Db) -> Namespace:
        if name == row.name:
            return NAMESPACES.change(db, name, updated_at=now, **dict(values))
        if NAMESPACES.get(db, name) is not None:
            raise Conflict(f"The metadata definition namespace={name} already exists.")
        NAMESPACES.insert(db, Namespace(**{**_fields(row), "name": name}))
        db.execute("UPDATE metadef_items SET namespace = ? WHERE namespace = ?", (name, row.name))
        NAMESPACES.delete(db, row.name)
        return NAMESPACES.change(db, name, updated_at=now, **dict(values))

    return await image.store.write(update)


async def remove(image: Image, row: Namespace) -> None:
    """Remove a namespace and all that is in it. Raises `Forbidden` for a protected one."""
    _refuse_protected(row)

    def forget(db: Db) -> None:
        ITEMS.delete_where(db, "namespace = ?", (row.name,))
        NAMESPACES.delete(db, row.name)

    await image.store.write(forget)


def resource_types(image: Image) -> list[str]:
    """What definitions may be about: the usual, and what a namespace names beside them."""
    sql = "SELECT DISTINCT name FROM metadef_items WHERE kind = ? ORDER BY name"
    named = image.store.read(lambda db: [name for (name,) in db.execute(sql, (Kind.RESOURCE_TYPE,))])
    return list(dict.fromkeys((*RESOURCE_TYPES, *named)))


def items(image: Image, row: Namespace, kind: Kind) -> list[Item]:
    """All items of a kind in a namespace, in the order of their making."""
    return image.store.read(ITEMS.where, "namespace = ? AND kind = ?", (row.name, kind), order="rowid")


def item(image: Image, row: Namespace, kind: Kind, name: str) -> Item:
    """One item, or `NotFound`."""
    found = image.store.read(_get, row.name, kind, name)
    if found is None:
        raise _missing(row, kind, name)
    return found


async def add(
    image: Image, row: Namespace, kind: Kind, several: Mapping[str, Mapping[str, Any]], *, alone: bool
) -> list[Item]:
    """Put items into a namespace; `alone` takes out first what was there of their kind. Raises `Conflict` for a taken name."""
    now = stamp(image.clock.now())

    def insert(db: Db) -> list[Item]:
        if alone:
            ITEMS.delete_where(db, "namespace = ? AND kind = ?", (row.name, kind))
        for name in several:
            if _get(db, row.name, kind, name) is not None:
                raise Conflict(
                    f"A metadata definition {kind} with name={name[:80]} already exists in namespace={row.name}."
                )
        return [ITEMS.insert(db, Item(row.name, kind, name, dict(body), now, now)) for name, body in several.items()]

    return await image.store.write(insert)


async def change_item(image: Image, row: Namespace, kind: Kind, name: str, new: str, body: Mapping[str, Any]) -> Item:
    """Replace what an item holds, and its name."""
    known = item(image, row, kind, name)
    now = stamp(image.clock.now())

    def update(db: Db) -> Item:
        if new != name and _get(db, row.name, kind, new) is not None:
            raise Conflict(f"A metadata definition {kind} with name={new[:80]} already exists in namespace={row.name}.")
        ITEMS.delete_where(db, "namespace = ? AND kind = ? AND name = ?", (row.name, kind, name))
        return ITEMS.insert(db, Item(row.name, kind, new, dict(body), known.created_at, now))

    return await image.store.write(update)


async def remove_item(image: Image, row: Namespace, kind: Kind, name: str) -> None:
    """Take one item out. Raises `NotFound` if it is not there, `Forbidden` if the namespace is protected."""
    item(image, row, kind, name)
    _refuse_protected(row)
    condition = "namespace = ? AND kind = ? AND name = ?"
    if not await image.store.write(ITEMS.delete_where, condition, (row.name, kind, name)):
        raise _missing(row, kind, name)


async def remove_items(image: Image, row: Namespace, kind: Kind) -> None:
    """Take all items of a kind out. Raises `Forbidden` if the namespace is protected."""
    _refuse_protected(row)
    await image.store.write(ITEMS.delete_where, "namespace = ? AND kind = ?", (row.name, kind))


def _refuse_protected(row: Namespace) -> None:
    if row.protected:
        raise Forbidden(f"Metadata definition namespace {row.name} is protected: nothing of it can be deleted.")


def _get(db: Db, namespace: str, kind: Kind, name: str) -> Item | None:
    return ITEMS.first(db, "namespace = ? AND kind = ? AND name = ?", (namespace, kind, name))


def _missing(row: Namespace, kind: Kind, name: str) -> NotFound:
    return NotFound(f"The metadata definition {kind} with name={name[:80]} was not found in namespace={row.name}.")


def _fields(row: Namespace) -> dict[str, Any]:
    return {field: getattr(row, field) for field in NAMESPACES.columns}
