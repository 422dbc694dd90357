"""Routers on the wire, with their interfaces and extra routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN as ADMIN_POLICY
from minicloud.api.policy import MEMBER, READER, require
from minicloud.api.route import Call, Listed, Reply, Route
from minicloud.api.schema import BOOLEAN, OPTIONAL, REQUIRED, TEXT, UUID, Field, Schema, Type, nullable, string
from minicloud.network import routers
from minicloud.network.api.listing import Collection
from minicloud.network.api.ports import FIXED_IPS
from minicloud.network.api.standard import HINTS, HOST_ROUTES, columns, revision_of, shown, standard
from minicloud.network.tables import PORTS, ROUTERS, Port, Router

if TYPE_CHECKING:
    from minicloud.network import Network

GATEWAY = Schema(
    "external_gateway_info",
    Field("network_id", nullable(string(low=1)), create=OPTIONAL, update=OPTIONAL),
    Field("enable_snat", BOOLEAN, create=OPTIONAL, update=OPTIONAL),
    Field("external_fixed_ips", FIXED_IPS, create=OPTIONAL, update=OPTIONAL),
)
ROUTER = Schema(
    "router",
    *standard(
        Field("admin_state_up", BOOLEAN, out=True, create=OPTIONAL, update=OPTIONAL),
        Field("status", TEXT, out=True),
        Field("external_gateway_info", nullable(GATEWAY.as_type()), out=True, create=OPTIONAL, update=OPTIONAL),
        Field("routes", nullable(HOST_ROUTES), out=True, update=OPTIONAL),
        Field("availability_zone_hints", HINTS, out=True, create=OPTIONAL),
        Field("availability_zones", Type({"type": "array"}), attr=lambda row, call: ["nova"], out=True),
        Field("flavor_id", nullable(TEXT), attr=lambda row, call: None, out=True),
        Field("distributed", BOOLEAN, attr=lambda row, call: False, out=True, show=ADMIN_POLICY),
        Field("ha", BOOLEAN, attr=lambda row, call: False, out=True, show=ADMIN_POLICY),
    ),
)
EXTRA_ROUTES = Schema("router", Field("routes", HOST_ROUTES, update=REQUIRED))
INTERFACE = Schema(
    "interface",
    Field("subnet_id", nullable(UUID), update=OPTIONAL),
    Field("port_id", nullable(UUID), update=OPTIONAL),
)
COLLECTION = Collection(ROUTERS, hidden=frozenset({"tags", "routes"}))


async def list_routers(service: Network, call: Call) -> Listed:
    """List routers."""
    page = COLLECTION.list(service.store.read, call, routers.visible_sql(call.ctx))
    return Listed([_shown(service, row) for row in page.rows], page.page, page.more)


async def create_routers(service: Network, call: Call) -> list[dict[str, Any]]:
    """Create one or many routers."""
    rows = await routers.create(service, call.ctx, [_read(call, one) for one in call.body])
    return [_shown(service, row) for row in rows]


async def show_router(service: Network, call: Call) -> dict[str, Any]:
    """Show a router."""
    return _shown(service, routers.show(service, call.ctx, call.params["router_id"]))


async def update_router(service: Network, call: Call) -> dict[str, Any]:
    """Change a router, its gateway or its routes."""
    values = _read(call, call.body)
    return _shown(service, await routers.update(service, call.ctx, call.params["router_id"], values, revision_of(call)))


async def delete_router(service: Network, call: Call) -> None:
    """Delete a router without interfaces."""
    await routers.delete(service, call.ctx, call.params["router_id"], revision_of(call))


async def add_interface(service: Network, call: Call) -> Reply:
    """Connect a subnet or port to a router."""
    row, port = await routers.add_interface(
        service,
        call.ctx,
        call.params["router_id"],
        subnet_id=call.body.get("subnet_id"),
        port_id=call.body.get("port_id"),
    )
    return Reply(_interface(row, port))


async def remove_interface(service: Network, call: Call) -> Reply:
    """Disconnect a subnet or port from a router."""
    row, port, _ = await routers.remove_interface(
        service,
        call.ctx,
        call.params["router_id"],
        subnet_id=call.body.get("subnet_id"),
        port_id=call.body.get("port_id"),
    )
    return Reply(_interface(row, port))


async def add_routes(service: Network, call: Call) -> dict[str, Any]:
    """Add extra routes."""
    row = await routers.change_routes(service, call.ctx, call.params["router_id"], added=call.body["routes"])
    return _shown(service, row)


async def remove_routes(service: Network, call: Call) -> dict[str, Any]:
    """Remove extra routes."""
    row = await routers.change_routes(service, call.ctx, call.params["router_id"], removed=call.body["routes"])
    return _shown(service, row)


def _read(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    values = columns(body)
    if "external_gateway_info" in values:
        gateway = values.pop("external_gateway_info") or {}
        for name in ("enable_snat", "external_fixed_ips"):
            if name in gateway:
                require(call.ctx, ADMIN_POLICY, f"{call.route.rule}:external_gateway_info:{name}")
        values["gateway"] = gateway
    if values.get("routes", ()) is None:
        values["routes"] = []
    return values


def _shown(service: Network, row: Router) -> dict[str, Any]:
    gateway = None
    if row.gateway_port_id is not None:
        port = service.store.read(PORTS.need, row.gateway_port_id)
        gateway = {
            "network_id": row.gateway_network_id, "enable_snat": row.enable_snat, "external_fixed_ips": port.fixed_ips,
        }  # fmt: skip
    return shown(row, external_gateway_info=gateway)


def _interface(row: Router, port: Port) -> dict[str, Any]:
    ids = [one["subnet_id"] for one in port.fixed_ips]
    return {
        "id": row.id, "tenant_id": row.project_id, "project_id": row.project_id, "port_id": port.id,
        "network_id": port.network_id, "subnet_id": ids[0], "subnet_ids": ids,
    }  # fmt: skip


ONE = "/routers/{router_id}"
ROUTES = [
    Route("GET", "/routers", list_routers, READER, "get_router", view=ROUTER, many=True),
    Route("POST", "/routers", create_routers, MEMBER, "create_router", 201, body=ROUTER, view=ROUTER, bulk=True),
    Route("GET", ONE, show_router, READER, "get_router", view=ROUTER),
    Route("PUT", ONE, update_router, MEMBER, "update_router", body=ROUTER, view=ROUTER),
    Route("DELETE", ONE, delete_router, MEMBER, "delete_router", 204),
    Route("PUT", ONE + "/add_router_interface", add_interface, MEMBER, "add_router_interface", body=INTERFACE, envelope=False),
    Route("PUT", ONE + "/remove_router_interface", remove_interface, MEMBER, "remove_router_interface", body=INTERFACE,
          envelope=False),
    Route("PUT", ONE + "/add_extraroutes", add_routes, MEMBER, "add_extraroutes", body=EXTRA_ROUTES, view=ROUTER),
    Route("PUT", ONE + "/remove_extraroutes", remove_routes, MEMBER, "remove_extraroutes", body=EXTRA_ROUTES, view=ROUTER),
]  # fmt: skip
