"""Regions: where endpoints are. They may lie within each other."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minicloud.core.errors import Conflict, Forbidden, Invalid
from minicloud.core.store import Db
from minicloud.identity.nouns import Noun
from minicloud.identity.tables import ENDPOINTS, REGIONS, Region

if TYPE_CHECKING:
    from minicloud.identity import Identity


def _check(db: Db, row: Region, values: dict[str, Any]) -> None:
    above = values.get("parent_region_id")
    while above is not None:
        if above == row.id:
            raise Invalid(f"Cannot put region {row.id} there: it would lie within itself.")
        above = REGION.need_in(db, above).parent_region_id


def _sweep(db: Db, row: Region) -> None:
    if ENDPOINTS.count(db, "region_id = ?", (row.id,)) or REGIONS.count(db, "parent_region_id = ?", (row.id,)):
        raise Forbidden(f"Cannot delete region {row.id}: there are endpoints or regions in it.")
    db.execute("DELETE FROM policy_associations WHERE region_id = ?", (row.id,))


REGION = Noun(REGIONS, "region", check=_check, sweep=_sweep)


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
            REGION.need_in(db, parent_region_id)
        return REGIONS.insert(
            db, Region(region_id or uuid.uuid4().hex, description, parent_region_id, dict(extra or {}))
        )

    return await identity.write(insert)
