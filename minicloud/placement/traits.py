"""Traits: what a provider is like. OpenStack's own names and those that administrators add (CUSTOM_...)."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

from minicloud.core.errors import Conflict, Invalid, NotFound
from minicloud.core.store import Db
from minicloud.placement import providers

CUSTOM = re.compile(r"^CUSTOM_[A-Z0-9_]{1,248}\Z")
SHARES = "MISC_SHARES_VIA_AGGREGATE"
"""A provider with this trait lends its resources to everything in its aggregates."""


@functools.cache
def standard() -> frozenset[str]:
    """OpenStack's own traits."""
    import os_traits  # some hundred small modules, for the few who place by traits

    return frozenset(os_traits.get_traits())


def listed(db: Db) -> list[tuple[str, str | None]]:
    """Every trait with the time of its making (None: it always was)."""
    custom = db.execute("SELECT name, updated_at FROM placement_custom_traits ORDER BY name").fetchall()
    return [(name, None) for name in sorted(standard())] + [(name, at) for name, at in custom]


def made_at(db: Db, name: str) -> str | None:
    """When a custom trait was made; None for OpenStack's own. Raises `NotFound`."""
    if name in standard():
        return None
    found = db.execute("SELECT updated_at FROM placement_custom_traits WHERE name = ?", (name,)).fetchone()
    if found is None:
        raise NotFound(f"No such trait(s): {name[:255]}.")
    return str(found[0])


def need(db: Db, names: Iterable[str]) -> None:
    """Raise `Invalid` naming every trait that there isn't."""
    custom = {row[0] for row in db.execute("SELECT name FROM placement_custom_traits")}
    unknown = sorted(set(names) - standard() - custom)
    if unknown:
        raise Invalid(f"No such trait(s): {', '.join(unknown)[:1000]}.")


def of_provider(db: Db, provider_id: str) -> list[str]:
    """A provider's traits by name."""
    found = db.execute(
        "SELECT trait FROM placement_provider_traits WHERE provider_id = ? ORDER BY trait", (provider_id,)
    )
    return [row[0] for row in found]


def in_use(db: Db) -> set[str]:
    """Traits that some provider has."""
    return {row[0] for row in db.execute("SELECT DISTINCT trait FROM placement_provider_traits")}


def make_in(db: Db, name: str, *, now: str) -> bool:
    """Add a custom trait; whether it was new."""
    sql = "INSERT INTO placement_custom_traits VALUES (?, ?) ON CONFLICT DO NOTHING"
    return db.execute(sql, (name, now)).rowcount > 0


def remove_in(db: Db, name: str) -> None:
    """Remove a custom trait.

    Raises:
        Invalid: it is OpenStack's own. NotFound, Conflict: nothing to remove; providers have it.
    """
    if name in standard():
        raise Invalid(f"Cannot delete standard trait {name}.")
    made_at(db, name)
    if db.execute("SELECT 1 FROM placement_provider_traits WHERE trait = ?", (name,)).fetchone():
        raise Conflict(f"The trait {name} is in use by a resource provider.")
    db.execute("DELETE FROM placement_custom_traits WHERE name = ?", (name,))


def assign_in(db: Db, provider_id: str, names: Iterable[str], *, now: str) -> None:
    """Give a provider exactly these traits; its generation goes up when that changes something."""
    wanted = set(names)
    if wanted == set(of_provider(db, provider_id)):
        return
    db.execute("DELETE FROM placement_provider_traits WHERE provider_id = ?", (provider_id,))
    rows = [(provider_id, name) for name in sorted(wanted)]
    db.executemany("INSERT INTO placement_provider_traits VALUES (?, ?)", rows)
    providers.bump_in(db, provider_id, now=now)
