"""Regions: where endpoints are. They may lie within each other."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minicloud.core.errors import Conflict, Forbidden, Invalid, NotFound
from minicloud.core.store import Db
from minicloud.identity.tables import ENDPOINTS, REGIONS, Region

if TYPE_CHECKING:
    from minicloud.identity import Identity


def listed(identity: Identity) -> list[Region]:
    """All regions."""
    return identity.store.read(REGIONS.where, order="id")


def show(identity: Identity, region_id: str) -> Region:
    """One region; `NotFound` for none."""
    return identity.store.read(_need_in, region_id)


def _need_in(db: Db, region_id: str) -> Region:
    row = REGIONS.get(db, region_id)
    if row is None:
        raise NotFound(f"Could not find region: {region_id}.")
    return row


async def create(
    identity: Identity,
    *,
    region_id: str | None = None,
    description: str = "",
    parent_region_id: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Region:
    """A new region, with an id of the caller's choice if one is given; `Conflict` if that is taken."""

    def insert(db: Db) -> Region:
        if region_id is not None and REGIONS.get(db, region_id) is not None:
            raise Conflict(f"Cannot create region {region_id}: there is one with that id.")
        if parent_region_id is not None:
            _need_in(db, parent_region_id)
        return REGIONS.insert(
            db, Region(region_id or uuid.uuid4().hex, description, parent_region_id, dict(extra or {}))
        )

    return await identity.write(insert)


async def update(identity: Identity, region_id: str, changes: Mapping[str, Any]) -> Region:
    """Change a region; `Invalid` if it would lie within itself."""

    def change(db: Db) -> Region:
        row, values = _need_in(db, region_id), dict(changes)
        above = values.get("parent_region_id")
        while above is not None:
            if above == region_id:
                raise Invalid(f"Cannot put region {region_id} there: it would lie within itself.")
            above = _need_in(db, above).parent_region_id
        if "extra" in values:
            values["extra"] = {**row.extra, **values["extra"]}
        return REGIONS.change(db, region_id, **values)

    return await identity.write(change)


async def delete(identity: Identity, region_id: str) -> None:
    """Remove a region; `Forbidden` while endpoints or other regions are in it."""

    def remove(db: Db) -> None:
        _need_in(db, region_id)
        if ENDPOINTS.count(db, "region_id = ?", (region_id,)) or REGIONS.count(
            db, "parent_region_id = ?", (region_id,)
        ):
            raise Forbidden(f"Cannot delete region {region_id}: there are endpoints or regions in it.")
        REGIONS.delete(db, region_id)

    await identity.write(remove)
