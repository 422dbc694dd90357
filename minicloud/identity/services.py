"""Services of the catalogue. One that is deleted takes its endpoints along; the cloud's own come back at the next start."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minicloud.core.errors import NotFound
from minicloud.core.store import Db
from minicloud.identity.tables import ENDPOINTS, SERVICES, CatalogService

if TYPE_CHECKING:
    from minicloud.identity import Identity


def listed(identity: Identity) -> list[CatalogService]:
    """All services by type."""
    return identity.store.read(SERVICES.where, order="type, name, id")


def show(identity: Identity, service_id: str) -> CatalogService:
    """One service; `NotFound` for none."""
    return identity.store.read(_need_in, service_id)


def _need_in(db: Db, service_id: str) -> CatalogService:
    row = SERVICES.get(db, service_id)
    if row is None:
        raise NotFound(f"Could not find service: {service_id}.")
    return row


async def create(
    identity: Identity,
    *,
    type: str,
    name: str = "",
    description: str = "",
    enabled: bool = True,
    extra: Mapping[str, Any] | None = None,
) -> CatalogService:
    """A new service."""
    row = CatalogService(uuid.uuid4().hex, type, name, description, enabled, dict(extra or {}))
    return await identity.write(SERVICES.insert, row)


async def update(identity: Identity, service_id: str, changes: Mapping[str, Any]) -> CatalogService:
    """Change a service; a disabled one is in no catalogue."""

    def change(db: Db) -> CatalogService:
        row, values = _need_in(db, service_id), dict(changes)
        if "extra" in values:
            values["extra"] = {**row.extra, **values["extra"]}
        return SERVICES.change(db, service_id, **values)

    return await identity.write(change)


async def delete(identity: Identity, service_id: str) -> None:
    """Remove a service and its endpoints."""

    def remove(db: Db) -> None:
        _need_in(db, service_id)
        ENDPOINTS.delete_where(db, "service_id = ?", (service_id,))
        SERVICES.delete(db, service_id)

    await identity.write(remove)
