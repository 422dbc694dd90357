"""Address scopes: sets of subnet pools within which no address stands twice.

Called by `api/address_scopes.py`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from minicloud.core.context import Context
from minicloud.core.errors import Conflict, Invalid
from minicloud.core.store import Db
from minicloud.network import standing, subnetpools
from minicloud.network.tables import ADDRESS_SCOPES, RBAC_POLICIES, SUBNETPOOLS, AddressScope

if TYPE_CHECKING:
    from minicloud.network import Network

NOT_FOUND = "AddressScopeNotFound"


async def create(service: Network, ctx: Context, many: Sequence[Mapping[str, Any]]) -> list[AddressScope]:
    """Make scopes, all or none."""

    def write(db: Db) -> list[AddressScope]:
        made = []
        for values in many:
            if values["ip_version"] not in (4, 6):
                raise Invalid(
                    f"Cannot use IP version {values['ip_version']}: it must be 4 or 6.", code="HTTPBadRequest"
                )
            row = AddressScope(
                str(uuid.uuid4()), standing.project_of(ctx, values), values.get("name") or "", values["ip_version"]
            )
            made.append(ADDRESS_SCOPES.insert(db, row))
            if values.get("shared"):
                subnetpools.share_in(db, row, "address_scope")
        return made

    return await service.store.write(write)


async def update(service: Network, ctx: Context, scope_id: str, values: Mapping[str, Any]) -> AddressScope:
    """Rename or share a scope; sharing can't be taken back (`AddressScopeUpdateError`)."""

    def write(db: Db) -> AddressScope:
        row = standing.owned_in(db, ctx, ADDRESS_SCOPES, scope_id, NOT_FOUND)
        shared = standing.is_shared_in(db, row.id, "*")
        if shared and values.get("shared") is False:
            raise Invalid(f"Cannot stop sharing address scope {row.id}.", code="AddressScopeUpdateError")
        if values.get("shared") and not shared:
            subnetpools.share_in(db, row, "address_scope")
        name = values.get("name")
        return row if name is None else ADDRESS_SCOPES.change(db, row.id, name=name)

    return await service.store.write(write)


async def delete(service: Network, ctx: Context, scope_id: str) -> None:
    """Remove a scope. Raises `Conflict` while pools are in it (`AddressScopeInUse`)."""

    def write(db: Db) -> None:
        row = standing.owned_in(db, ctx, ADDRESS_SCOPES, scope_id, NOT_FOUND)
        if SUBNETPOOLS.count(db, "address_scope_id = ?", (row.id,)):
            raise Conflict(f"Cannot delete address scope {row.id}: subnet pools are in it.", code="AddressScopeInUse")
        RBAC_POLICIES.delete_where(db, "object_id = ?", (row.id,))
        ADDRESS_SCOPES.delete(db, row.id)

    await service.store.write(write)


def show(service: Network, ctx: Context, scope_id: str) -> AddressScope:
    """One scope that the caller may know of."""
    return service.store.read(standing.visible_in, ctx, ADDRESS_SCOPES, scope_id, NOT_FOUND)
