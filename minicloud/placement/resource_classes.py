"""Resource classes: OpenStack's own (VCPU, MEMORY_MB, ...) and those that administrators add (CUSTOM_...)."""

from __future__ import annotations

import re

import os_resource_classes

from minicloud.core.errors import Conflict, Invalid, NotFound
from minicloud.core.store import Db

CUSTOM = re.compile(r"^CUSTOM_[A-Z0-9_]{1,248}\Z")
FORM = re.compile(r"^[A-Z0-9_]{1,255}\Z")


def listed(db: Db) -> list[tuple[str, str | None]]:
    """Every class with the time of its making (None: it always was)."""
    custom = db.execute("SELECT name, updated_at FROM placement_custom_classes ORDER BY rowid").fetchall()
    return [(name, None) for name in os_resource_classes.STANDARDS] + [(name, at) for name, at in custom]


def made_at(db: Db, name: str) -> str | None:
    """When a custom class was made; None for OpenStack's own. Raises `NotFound`."""
    if name in os_resource_classes.STANDARDS:
        return None
    found = db.execute("SELECT updated_at FROM placement_custom_classes WHERE name = ?", (name,)).fetchone()
    if found is None:
        raise NotFound(f"No such resource class {name[:255]}.")
    return str(found[0])


def exists(db: Db, name: str) -> bool:
    """Whether there is such a class."""
    if name in os_resource_classes.STANDARDS:
        return True
    return db.execute("SELECT 1 FROM placement_custom_classes WHERE name = ?", (name,)).fetchone() is not None


def need(db: Db, name: str) -> None:
    """Raise `Invalid` unless there is such a class."""
    if not exists(db, name):
        raise Invalid(f"No such resource class {name[:255]}.")


def make_in(db: Db, name: str, *, now: str) -> bool:
    """Add a custom class; whether it was new."""
    sql = "INSERT INTO placement_custom_classes VALUES (?, ?) ON CONFLICT DO NOTHING"
    return db.execute(sql, (name, now)).rowcount > 0


def rename_in(db: Db, name: str, new: str) -> None:
    """Rename a custom class (microversions 1.2 to 1.6)."""
    if name in os_resource_classes.STANDARDS:
        raise Invalid(f"Cannot update standard resource class {name}.")
    if name != new and exists(db, new):
        raise Conflict(f"Resource class already exists: {new}.")
    for table, column in (
        ("placement_custom_classes", "name"),
        ("placement_inventories", "resource_class"),
        ("placement_allocations", "resource_class"),
    ):
        db.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", (new, name))


def remove_in(db: Db, name: str) -> None:
    """Remove a custom class.

    Raises:
        Invalid: it is OpenStack's own. NotFound, Conflict: nothing to remove; inventories have it.
    """
    if name in os_resource_classes.STANDARDS:
        raise Invalid(f"Error in delete resource class: Cannot delete standard resource class {name}.")
    made_at(db, name)
    if db.execute("SELECT 1 FROM placement_inventories WHERE resource_class = ?", (name,)).fetchone():
        raise Conflict(f"Error in delete resource class: Class is in use in inventory: {name}.")
    db.execute("DELETE FROM placement_custom_classes WHERE name = ?", (name,))
