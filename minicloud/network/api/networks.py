"""Networks on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN as ADMIN_POLICY
from minicloud.api.policy import ANYONE, MEMBER
from minicloud.api.route import Call, Listed, Route
from minicloud.api.schema import (
    ADMIN,
    ADMIN_UNLESS_FALSE,
    BOOLEAN,
    OPTIONAL,
    TEXT,
    Field,
    Schema,
    Type,
    array,
    integer,
    nullable,
    string,
)
from minicloud.network import networks, standing
from minicloud.network.api.listing import Collection, shared_filter
from minicloud.network.api.standard import DNS_NAME, HINTS, columns, revision_of, shown, standard
from minicloud.network.tables import NETWORKS, NetworkRow

if TYPE_CHECKING:
    from minicloud.network import Network

RENAMED = {
    "router:external": "external", "provider:network_type": "network_type",
    "provider:physical_network": "physical_network", "provider:segmentation_id": "segmentation_id",
}  # fmt: skip
NETWORK = Schema(
    "network",
    *standard(
        Field("admin_state_up", BOOLEAN, out=True, create=OPTIONAL, update=OPTIONAL),
        Field("status", TEXT, out=True),
        Field("subnets", array(TEXT), out=True),
        Field("shared", BOOLEAN, out=True, create=ADMIN_UNLESS_FALSE, update=ADMIN),
        Field("mtu", nullable(integer(low=0, high=65535)), out=True, create=OPTIONAL, update=OPTIONAL),
        Field("router:external", BOOLEAN, attr="external", out=True, create=ADMIN_UNLESS_FALSE, update=ADMIN),
        Field("is_default", BOOLEAN, out=True, create=ADMIN_UNLESS_FALSE, update=ADMIN),
        Field("port_security_enabled", BOOLEAN, out=True, create=OPTIONAL, update=OPTIONAL),
        Field("provider:network_type", nullable(string()), attr="network_type", out=True, create=ADMIN, update=ADMIN,
              show=ADMIN_POLICY),
        Field("provider:physical_network", nullable(string()), attr="physical_network", out=True, create=ADMIN, update=ADMIN,
              show=ADMIN_POLICY),
        Field("provider:segmentation_id", nullable(integer()), attr=lambda row, call: None, out=True, create=ADMIN,
              update=ADMIN, show=ADMIN_POLICY),
        Field("dns_domain", DNS_NAME, out=True, create=OPTIONAL, update=OPTIONAL),
        Field("availability_zone_hints", HINTS, out=True, create=OPTIONAL),
        Field("availability_zones", Type({"type": "array"}), out=True),
        Field("ipv4_address_scope", nullable(TEXT), out=True),
        Field("ipv6_address_scope", nullable(TEXT), out=True),
    ),
)  # fmt: skip
COLLECTION = Collection(
    NETWORKS,
    columns=RENAMED | {"provider:segmentation_id": "physical_network"},
    special={"shared": shared_filter("networks", standing.SHARED)},
)


async def list_networks(service: Network, call: Call) -> Listed:
    """List networks that the caller may know of."""
    page = COLLECTION.list(service.store.read, call, networks.visible_sql(call.ctx))
    return Listed(shown_networks(service, call, page.rows), page.page, page.more)


async def create_networks(service: Network, call: Call) -> list[dict[str, Any]]:
    """Create one or many networks."""
    rows = await networks.create(service, call.ctx, [columns(one, RENAMED) for one in call.body])
    return shown_networks(service, call, rows)


async def show_network(service: Network, call: Call) -> dict[str, Any]:
    """Show a network."""
    return shown_networks(service, call, [networks.show(service, call.ctx, call.params["network_id"])])[0]


async def update_network(service: Network, call: Call) -> dict[str, Any]:
    """Change a network."""
    values = columns(call.body, RENAMED)
    row = await networks.update(service, call.ctx, call.params["network_id"], values, revision_of(call))
    return shown_networks(service, call, [row])[0]


async def delete_network(service: Network, call: Call) -> None:
    """Delete a network without ports."""
    await networks.delete(service, call.ctx, call.params["network_id"], revision_of(call))


def shown_networks(service: Network, call: Call, rows: Sequence[NetworkRow]) -> list[dict[str, Any]]:
    """Rows with what stands in other tables: subnets, whether shared with the caller, the address scopes of the subnets."""
    ids = [row.id for row in rows]
    subnets, scopes, shared = service.store.read(networks.beside_in, ids, call.ctx.project_id)
    return [
        shown(
            row,
            subnets=subnets.get(row.id, []),
            shared=row.id in shared,
            availability_zones=["nova"] if subnets.get(row.id) else [],
            ipv4_address_scope=scopes.get((row.id, 4)),
            ipv6_address_scope=scopes.get((row.id, 6)),
        )
        for row in rows
    ]


ROUTES = [
    Route("GET", "/networks", list_networks, ANYONE, "get_network", view=NETWORK, many=True),
    Route("POST", "/networks", create_networks, MEMBER, "create_network", 201, body=NETWORK, view=NETWORK, bulk=True),
    Route("GET", "/networks/{network_id}", show_network, ANYONE, "get_network", view=NETWORK),
    Route("PUT", "/networks/{network_id}", update_network, MEMBER, "update_network", body=NETWORK, view=NETWORK),
    Route("DELETE", "/networks/{network_id}", delete_network, MEMBER, "delete_network", 204),
]
