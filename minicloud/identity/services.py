"""Services of the catalogue. One that is deleted takes its endpoints along; the cloud's own come back at the next start."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minicloud.core.store import Db
from minicloud.identity import endpoints
from minicloud.identity.nouns import Noun
from minicloud.identity.tables import ENDPOINTS, SERVICES, CatalogService

if TYPE_CHECKING:
    from minicloud.identity import Identity


def _sweep(db: Db, row: CatalogService) -> None:
    for endpoint in ENDPOINTS.where(db, "service_id = ?", (row.id,)):
        endpoints.ENDPOINT.sweep(db, endpoint)
    ENDPOINTS.delete_where(db, "service_id = ?", (row.id,))
    db.execute("DELETE FROM policy_associations WHERE service_id = ?", (row.id,))


SERVICE = Noun(SERVICES, "service", order="type, name, id", sweep=_sweep)


async def create(
    identity: Identity,
    *,
    type: str,
    name: str = "",
    description: str = "",
    enabled: bool = True,
    extra: Mapping[str, Any] | None = None,
) -> CatalogService:
    """A new service. One that is disabled is in no catalogue."""
    row = CatalogService(uuid.uuid4().hex, type, name, description, enabled, dict(extra or {}))
    return await identity.write(SERVICES.insert, row)
