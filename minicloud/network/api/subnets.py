"""Subnets on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicloud.api.policy import ANYONE, MEMBER
from minicloud.api.route import Call, Listed, Route
from minicloud.api.schema import (
    BOOLEAN,
    IP,
    OPTIONAL,
    REQUIRED,
    TEXT,
    Field,
    Schema,
    array,
    integer,
    nullable,
    string,
)
from minicloud.network import standing, subnets
from minicloud.network.api.listing import Collection, Sql, shared_filter
from minicloud.network.api.standard import HOST_ROUTES, POOLS, columns, revision_of, standard
from minicloud.network.tables import SUBNETS, Subnet

if TYPE_CHECKING:
    from minicloud.network import Network

MODE = nullable(string(enum=("slaac", "dhcpv6-stateful", "dhcpv6-stateless")))
SUBNET = Schema(
    "subnet",
    *standard(
        Field("network_id", string(low=1), out=True, create=REQUIRED),
        Field("ip_version", integer(), out=True, create=REQUIRED),
        Field("cidr", nullable(string(high=64)), out=True, create=OPTIONAL),
        Field("prefixlen", nullable(integer(low=0)), create=OPTIONAL),
        Field("subnetpool_id", nullable(TEXT), out=True, create=OPTIONAL),
        Field("use_default_subnetpool", BOOLEAN, create=OPTIONAL),
        Field("gateway_ip", nullable(IP), out=True, create=OPTIONAL, update=OPTIONAL),
        Field("enable_dhcp", BOOLEAN, out=True, create=OPTIONAL, update=OPTIONAL),
        Field("ipv6_ra_mode", MODE, out=True, create=OPTIONAL),
        Field("ipv6_address_mode", MODE, out=True, create=OPTIONAL),
        Field("allocation_pools", nullable(POOLS), out=True, create=OPTIONAL, update=OPTIONAL),
        Field("dns_nameservers", nullable(array(IP)), out=True, create=OPTIONAL, update=OPTIONAL),
        Field("host_routes", nullable(HOST_ROUTES), out=True, create=OPTIONAL, update=OPTIONAL),
        Field("service_types", array(string(low=1, high=255)), out=True, create=OPTIONAL, update=OPTIONAL),
    ),
)
_NETWORK_SHARED = shared_filter("n", standing.SHARED)


def _shared(values: list[str], call: Call) -> Sql:
    """Subnets of shared networks."""
    condition, params = _NETWORK_SHARED(values, call)
    return f"EXISTS (SELECT 1 FROM networks n WHERE n.id = subnets.network_id AND {condition})", params


COLLECTION = Collection(SUBNETS, special={"shared": _shared})


async def list_subnets(service: Network, call: Call) -> Listed:
    """List subnets that the caller may know of."""
    return COLLECTION.list(service.store.read, call, subnets.visible_sql(call.ctx))


async def create_subnets(service: Network, call: Call) -> list[Subnet]:
    """Create one or many subnets."""
    many = [columns(one) for one in call.body]
    return await subnets.create(service, call.ctx, many)


async def show_subnet(service: Network, call: Call) -> Subnet:
    """Show a subnet."""
    return subnets.show(service, call.ctx, call.params["subnet_id"])


async def update_subnet(service: Network, call: Call) -> Subnet:
    """Change a subnet."""
    return await subnets.update(service, call.ctx, call.params["subnet_id"], columns(call.body), revision_of(call))


async def delete_subnet(service: Network, call: Call) -> None:
    """Delete a subnet that no port uses."""
    await subnets.delete(service, call.ctx, call.params["subnet_id"], revision_of(call))


ROUTES = [
    Route("GET", "/subnets", list_subnets, ANYONE, "get_subnet", view=SUBNET, many=True),
    Route("POST", "/subnets", create_subnets, MEMBER, "create_subnet", 201, body=SUBNET, view=SUBNET, bulk=True),
    Route("GET", "/subnets/{subnet_id}", show_subnet, ANYONE, "get_subnet", view=SUBNET),
    Route("PUT", "/subnets/{subnet_id}", update_subnet, MEMBER, "update_subnet", body=SUBNET, view=SUBNET),
    Route("DELETE", "/subnets/{subnet_id}", delete_subnet, MEMBER, "delete_subnet", 204),
]
