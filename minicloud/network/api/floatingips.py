"""Floating IPs on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minicloud.api.policy import MANAGER, MEMBER, READER
from minicloud.api.route import Call, Listed, Route
from minicloud.api.schema import IP, OPTIONAL, REQUIRED, TEXT, Field, Schema, Setting, Type, nullable, string
from minicloud.network import floatingips, routers
from minicloud.network.api.listing import Collection
from minicloud.network.api.standard import DNS_NAME, columns, revision_of, shown, standard
from minicloud.network.tables import FLOATINGIPS, FloatingIp, Port

if TYPE_CHECKING:
    from minicloud.network import Network

DETAILS = ("name", "network_id", "mac_address", "admin_state_up", "status", "device_id", "device_owner")
FLOATINGIP = Schema(
    "floatingip",
    *standard(
        Field("floating_network_id", string(low=1), out=True, create=REQUIRED),
        Field("floating_ip_address", nullable(IP), out=True, create=Setting(policy=MANAGER)),
        Field("subnet_id", nullable(TEXT), create=OPTIONAL),
        Field("port_id", nullable(TEXT), out=True, create=OPTIONAL, update=OPTIONAL),
        Field("fixed_ip_address", nullable(IP), out=True, create=OPTIONAL, update=OPTIONAL),
        Field("router_id", nullable(TEXT), out=True),
        Field("status", TEXT, out=True),
        Field("port_details", nullable(Type({"type": "object"})), out=True),
        Field("dns_name", nullable(DNS_NAME), out=True, create=OPTIONAL),
        Field("dns_domain", nullable(DNS_NAME), out=True, create=OPTIONAL),
        name=False,
    ),
)
COLLECTION = Collection(FLOATINGIPS, hidden=frozenset({"tags", "name", "floating_port_id"}))


async def list_floatingips(service: Network, call: Call) -> Listed:
    """List floating IPs."""
    page = COLLECTION.list(service.store.read, call, routers.visible_sql(call.ctx))
    return Listed(_shown(service, page.rows), page.page, page.more)


async def create_floatingips(service: Network, call: Call) -> list[dict[str, Any]]:
    """Create one or many floating IPs."""
    return _shown(service, await floatingips.create(service, call.ctx, [columns(one) for one in call.body]))


async def show_floatingip(service: Network, call: Call) -> dict[str, Any]:
    """Show a floating IP."""
    return _shown(service, [floatingips.show(service, call.ctx, call.params["floatingip_id"])])[0]


async def update_floatingip(service: Network, call: Call) -> dict[str, Any]:
    """Lead a floating IP elsewhere, or nowhere."""
    key = call.params["floatingip_id"]
    row = await floatingips.update(service, call.ctx, key, columns(call.body), revision_of(call))
    return _shown(service, [row])[0]


async def delete_floatingip(service: Network, call: Call) -> None:
    """Give a floating IP back."""
    await floatingips.delete(service, call.ctx, call.params["floatingip_id"], revision_of(call))


def _shown(service: Network, rows: Sequence[FloatingIp]) -> list[dict[str, Any]]:
    held = service.store.read(floatingips.ports_beside_in, rows)

    def details(port: Port | None) -> dict[str, Any] | None:
        return None if port is None else {name: getattr(port, name) for name in DETAILS}

    return [shown(row, port_details=details(held.get(row.port_id or ""))) for row in rows]


ONE = "/floatingips/{floatingip_id}"
ROUTES = [
    Route("GET", "/floatingips", list_floatingips, READER, "get_floatingip", view=FLOATINGIP, many=True),
    Route("POST", "/floatingips", create_floatingips, MEMBER, "create_floatingip", 201, body=FLOATINGIP, view=FLOATINGIP,
          bulk=True),
    Route("GET", ONE, show_floatingip, READER, "get_floatingip", view=FLOATINGIP),
    Route("PUT", ONE, update_floatingip, MEMBER, "update_floatingip", body=FLOATINGIP, view=FLOATINGIP),
    Route("DELETE", ONE, delete_floatingip, MEMBER, "delete_floatingip", 204),
]  # fmt: skip
