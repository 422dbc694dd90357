"""Subnet pools and address scopes on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ANYONE, MEMBER
from minicloud.api.route import Call, Listed, Reply, Route
from minicloud.api.schema import (
    ADMIN,
    ADMIN_UNLESS_FALSE,
    BOOLEAN,
    OPTIONAL,
    REQUIRED,
    TEXT,
    UUID,
    Field,
    Schema,
    array,
    integer,
    nullable,
    string,
)
from minicloud.network import address_scopes, standing, subnetpools
from minicloud.network.api.listing import Collection, shared_filter
from minicloud.network.api.standard import PROJECT_ID, columns, revision_of, shown, standard
from minicloud.network.tables import ADDRESS_SCOPES, SUBNETPOOLS

if TYPE_CHECKING:
    from minicloud.network import Network

PREFIXES = array(string(low=1, high=64))
LENGTH = integer(low=0, high=128)


def _length(name: str) -> Field:
    # Neutron tells prefix lengths of pools as text; clients know.
    return Field(name, LENGTH, attr=lambda row, call: str(row[name]), out=True, create=OPTIONAL, update=OPTIONAL)


SUBNETPOOL = Schema(
    "subnetpool",
    *standard(
        Field("prefixes", PREFIXES, out=True, create=REQUIRED, update=OPTIONAL),
        Field("ip_version", integer(), out=True),
        _length("default_prefixlen"),
        _length("min_prefixlen"),
        _length("max_prefixlen"),
        Field("is_default", BOOLEAN, out=True, create=ADMIN_UNLESS_FALSE, update=ADMIN),
        Field("shared", BOOLEAN, out=True, create=ADMIN_UNLESS_FALSE),
        Field("default_quota", nullable(integer(low=0)), out=True, create=OPTIONAL, update=OPTIONAL),
        Field("address_scope_id", nullable(UUID), out=True, create=OPTIONAL, update=OPTIONAL),
    ),
)
PREFIX_CHANGE = Schema("prefixes", Field("prefixes", PREFIXES, update=REQUIRED))
SCOPE = Schema(
    "address_scope",
    Field("id", TEXT, out=True),
    Field("name", TEXT, out=True, create=OPTIONAL, update=OPTIONAL),
    Field("tenant_id", PROJECT_ID, attr="project_id", out=True, create=OPTIONAL),
    Field("project_id", PROJECT_ID, out=True, create=OPTIONAL),
    Field("ip_version", integer(), out=True, create=REQUIRED),
    Field("shared", BOOLEAN, out=True, create=ADMIN_UNLESS_FALSE, update=ADMIN),
)
POOLS = Collection(
    SUBNETPOOLS,
    special={"shared": shared_filter("subnetpools", standing.SHARED)},
    hidden=frozenset({"tags", "prefixes"}),
)
SCOPES = Collection(ADDRESS_SCOPES, special={"shared": shared_filter("address_scopes", standing.SHARED)})


async def list_pools(service: Network, call: Call) -> Listed:
    """List subnet pools."""
    page = POOLS.list(service.store.read, call, standing.visible_sql("subnetpools", call.ctx))
    return Listed(_shown(service, call, page.rows), page.page, page.more)


async def create_pools(service: Network, call: Call) -> list[dict[str, Any]]:
    """Create one or many subnet pools."""
    return _shown(service, call, await subnetpools.create(service, call.ctx, [columns(one) for one in call.body]))


async def show_pool(service: Network, call: Call) -> dict[str, Any]:
    """Show a subnet pool."""
    row = service.store.read(
        standing.visible_in, call.ctx, SUBNETPOOLS, call.params["subnetpool_id"], subnetpools.NOT_FOUND
    )
    return _shown(service, call, [row])[0]


async def update_pool(service: Network, call: Call) -> dict[str, Any]:
    """Change a subnet pool."""
    key = call.params["subnetpool_id"]
    row = await subnetpools.update(service, call.ctx, key, columns(call.body), revision_of(call))
    return _shown(service, call, [row])[0]


async def delete_pool(service: Network, call: Call) -> None:
    """Delete a subnet pool that no subnet was cut out of."""
    await subnetpools.delete(service, call.ctx, call.params["subnetpool_id"], revision_of(call))


async def add_prefixes(service: Network, call: Call) -> Reply:
    """Put prefixes into a pool."""
    key = call.params["subnetpool_id"]
    row = await subnetpools.change_prefixes(service, call.ctx, key, added=call.body["prefixes"])
    return Reply({"prefixes": row.prefixes})


async def remove_prefixes(service: Network, call: Call) -> Reply:
    """Take prefixes out of a pool."""
    key = call.params["subnetpool_id"]
    row = await subnetpools.change_prefixes(service, call.ctx, key, removed=call.body["prefixes"])
    return Reply({"prefixes": row.prefixes})


async def list_scopes(service: Network, call: Call) -> Listed:
    """List address scopes."""
    page = SCOPES.list(service.store.read, call, standing.visible_sql("address_scopes", call.ctx))
    return Listed(_shown(service, call, page.rows), page.page, page.more)


async def create_scopes(service: Network, call: Call) -> list[dict[str, Any]]:
    """Create one or many address scopes."""
    return _shown(service, call, await address_scopes.create(service, call.ctx, [columns(one) for one in call.body]))


async def show_scope(service: Network, call: Call) -> dict[str, Any]:
    """Show an address scope."""
    return _shown(service, call, [address_scopes.show(service, call.ctx, call.params["address_scope_id"])])[0]


async def update_scope(service: Network, call: Call) -> dict[str, Any]:
    """Change an address scope."""
    row = await address_scopes.update(service, call.ctx, call.params["address_scope_id"], call.body)
    return _shown(service, call, [row])[0]


async def delete_scope(service: Network, call: Call) -> None:
    """Delete an address scope without pools."""
    await address_scopes.delete(service, call.ctx, call.params["address_scope_id"])


def _shown(service: Network, call: Call, rows: Sequence[Any]) -> list[dict[str, Any]]:
    shared = service.store.read(standing.shared_in, [row.id for row in rows], call.ctx.project_id)
    return [shown(row, shared=row.id in shared) for row in rows]


POOL, ONE_SCOPE = "/subnetpools/{subnetpool_id}", "/address-scopes/{address_scope_id}"
ROUTES = [
    Route("GET", "/subnetpools", list_pools, ANYONE, "get_subnetpool", view=SUBNETPOOL, many=True),
    Route(
        "POST",
        "/subnetpools",
        create_pools,
        MEMBER,
        "create_subnetpool",
        201,
        body=SUBNETPOOL,
        view=SUBNETPOOL,
        bulk=True,
    ),
    Route("GET", POOL, show_pool, ANYONE, "get_subnetpool", view=SUBNETPOOL),
    Route("PUT", POOL, update_pool, MEMBER, "update_subnetpool", body=SUBNETPOOL, view=SUBNETPOOL),
    Route("DELETE", POOL, delete_pool, MEMBER, "delete_subnetpool", 204),
    Route("PUT", POOL + "/add_prefixes", add_prefixes, MEMBER, "add_prefixes", body=PREFIX_CHANGE, envelope=False),
    Route(
        "PUT", POOL + "/remove_prefixes", remove_prefixes, MEMBER, "remove_prefixes", body=PREFIX_CHANGE, envelope=False
    ),
    Route("GET", "/address-scopes", list_scopes, ANYONE, "get_address_scope", view=SCOPE, many=True),
    Route(
        "POST", "/address-scopes", create_scopes, MEMBER, "create_address_scope", 201, body=SCOPE, view=SCOPE, bulk=True
    ),
    Route("GET", ONE_SCOPE, show_scope, ANYONE, "get_address_scope", view=SCOPE),
    Route("PUT", ONE_SCOPE, update_scope, MEMBER, "update_address_scope", body=SCOPE, view=SCOPE),
    Route("DELETE", ONE_SCOPE, delete_scope, MEMBER, "delete_address_scope", 204),
]
