"""The database, read beside the running daemon (or without one) by `trace`, `why` and `ops`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from minicloud.cli.options import config_of
from minicloud.core.errors import Invalid, NotFound
from minicloud.core.store import Db, Store

NAMED = {
    "server": "servers", "volume": "volumes", "snapshot": "snapshots", "image": "images",
    "network": "networks", "port": "ports", "router": "routers",
}  # fmt: skip
"""Kinds of subject whose rows have a name, and their tables."""


def opened(file: Path | None, state: Path | None, *, fake: bool) -> AbstractContextManager[Store]:
    """The store of the configured cloud, for reading.

    Raises:
        Unavailable: no cloud was made there yet, or its database can't be read.
    """
    return Store.reading(config_of(file, state, fake=fake).state / "minicloud.db")


def subjects(db: Db, thing: str) -> list[str]:
    """Subjects ("server/5f3c...") that a person means: a subject, an id or its beginning, or a name.

    Raises:
        NotFound: nothing is known of such a thing.
        Invalid: it is the beginning of several.
    """
    known = "SELECT subject FROM spans UNION SELECT subject FROM decisions UNION SELECT subject FROM operations"
    pattern = thing if "/" in thing else f"%/{thing}"
    rows = db.execute(f"SELECT subject FROM ({known}) WHERE subject LIKE ? || '%' ORDER BY subject", (pattern,))
    found = [str(row[0]) for row in rows]
    if len({subject.partition("/")[2] for subject in found}) > 1:
        raise Invalid(f"Cannot tell which is meant by {thing}: " + ", ".join(found[:10]) + ".")
    found = found or _by_name(db, thing)
    if not found:
        raise NotFound(f"Nothing is known of {thing}. Give its id, the beginning of it, its name, or a request id.")
    return found


def _by_name(db: Db, name: str) -> list[str]:
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return [
        f"{kind}/{row[0]}"
        for kind, table in NAMED.items()
        if table in tables
        for row in db.execute(f"SELECT id FROM {table} WHERE name = ?", (name,))
    ]
