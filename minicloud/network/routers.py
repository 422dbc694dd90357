"""Routers: between subnets, and out of the cloud.

A router's interfaces are ports that name it as device; so is its gateway. Called by `api/routers.py`; the namespace follows
through `converge.py`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from minicloud.core.context import Context
from minicloud.core.errors import Conflict, Invalid, NotFound
from minicloud.core.store import Db
from minicloud.network import addresses, networks, ports, standing, subnets
from minicloud.network.tables import FLOATINGIPS, NETWORKS, PORTS, ROUTERS, SUBNETS, Port, Router, Subnet

if TYPE_CHECKING:
    from minicloud.network import Network

NOT_FOUND = "RouterNotFound"
MOST_ROUTES = 30


async def create(service: Network, ctx: Context, many: Sequence[Mapping[str, Any]]) -> list[Router]:
    """Make routers, all or none. Values are columns, and `gateway` (see `_set_gateway_in`).

    Raises:
        NotFound: the external network. Invalid: it is not external. OverQuota.
    """

    def write(db: Db) -> list[Router]:
        return [_create_in(db, service, ctx, values) for values in many]

    rows = await service.store.write(write)
    for row in rows:
        await service.converge.router(row.id)
    return [service.store.read(ROUTERS.need, row.id) for row in rows]


def _create_in(db: Db, service: Network, ctx: Context, values: Mapping[str, Any]) -> Router:
    project_id = standing.project_of(ctx, values)
    service.quotas.check_in(db, project_id, router=1)
    given = {key: value for key, value in values.items() if key in ROUTERS.columns and value is not None}
    row = Router(
        **standing.fresh(
            service.clock,
            {
                "admin_state_up": True, "availability_zone_hints": [], **given, "project_id": project_id, "status": "ACTIVE",
                "gateway_network_id": None, "gateway_port_id": None, "enable_snat": True, "routes": [],
            },
        )
    )  # fmt: skip
    ROUTERS.insert(db, row)
    if values.get("gateway"):
        row = _set_gateway_in(db, service, ctx, row, values["gateway"])
    return row


async def update(
    service: Network, ctx: Context, router_id: str, values: Mapping[str, Any], revision: int | None = None
) -> Router:
    """Change a router. Values are columns, and `gateway`.

    Raises:
        NotFound: no such router. Invalid: routes whose next hop nobody can reach. Conflict: floating IPs need the gateway.
    """

    def write(db: Db) -> Router:
        row = standing.owned_in(db, ctx, ROUTERS, router_id, NOT_FOUND)
        standing.require_revision(row, revision)
        given = {key: value for key, value in values.items() if key in ROUTERS.columns and value is not None}
        if "gateway" in values:
            row = _set_gateway_in(db, service, ctx, row, values["gateway"] or {})
        if "routes" in given:
            given["routes"] = _checked_routes(db, row, given["routes"])
        return standing.changed_in(db, service.clock, ROUTERS, row, given)

    return await _followed(service, await service.store.write(write))


async def change_routes(
    service: Network,
    ctx: Context,
    router_id: str,
    *,
    added: Sequence[dict[str, str]] = (),
    removed: Sequence[dict[str, str]] = (),
) -> Router:
    """Put routes in or take them out, without a look at the others (extension extraroute-atomic)."""

    def write(db: Db) -> Router:
        row = standing.owned_in(db, ctx, ROUTERS, router_id, NOT_FOUND)
        kept = [one for one in row.routes if one not in removed]
        kept += [one for one in added if one not in kept]
        return standing.changed_in(db, service.clock, ROUTERS, row, {"routes": _checked_routes(db, row, kept)})

    return await _followed(service, await service.store.write(write))


async def delete(service: Network, ctx: Context, router_id: str, revision: int | None = None) -> None:
    """Remove a router and its gateway. Raises `Conflict` while it has interfaces (`RouterInUse`)."""

    def write(db: Db) -> None:
        row = standing.owned_in(db, ctx, ROUTERS, router_id, NOT_FOUND)
        standing.require_revision(row, revision)
        held = [port.id for port in _interfaces_in(db, row.id)]
        if held:
            raise Conflict(
                f"Cannot delete router {row.id}: ports are still attached: {', '.join(held)}.", code="RouterInUse"
            )
        if row.gateway_port_id is not None:
            ports.remove_in(db, row.gateway_port_id)
        ROUTERS.delete(db, row.id)

    await service.store.write(write)
    await service.converge.router(router_id)


def show(service: Network, ctx: Context, router_id: str) -> Router:
    """One router of the caller."""
    return service.store.read(standing.visible_in, ctx, ROUTERS, router_id, NOT_FOUND)


def visible_sql(ctx: Context) -> tuple[str, list[Any]]:
    """An SQL condition on rows with a project, with its parameters: what the caller may know of."""
    return ("", []) if ctx.is_admin else ("project_id = ?", [ctx.project_id])


async def _followed(service: Network, row: Router) -> Router:
    await service.converge.router(row.id)
    return service.store.read(ROUTERS.need, row.id)


# --- the gateway -----------------------------------------------------------------------------------------------------


def _set_gateway_in(db: Db, service: Network, ctx: Context, row: Router, wanted: Mapping[str, Any]) -> Router:
    """Connect a router to an external network, or (an empty `wanted`) to none.

    Args:
        wanted: `network_id`, and perhaps `enable_snat` and `external_fixed_ips`.
    """
    network_id = wanted.get("network_id")
    old = None if row.gateway_port_id is None else PORTS.get(db, row.gateway_port_id)
    moves = network_id != row.gateway_network_id
    if moves and old is not None and FLOATINGIPS.count(db, "router_id = ?", (row.id,)):
        raise Conflict(
            f"Cannot change the gateway of router {row.id}: floating IPs of network {row.gateway_network_id} need it.",
            code="RouterExternalGatewayInUseByFloatingIp",
        )
    snat = wanted.get("enable_snat")
    snat = row.enable_snat if snat is None else snat
    if network_id is None:
        if old is not None:
            ports.remove_in(db, old.id)
        return ROUTERS.change(db, row.id, gateway_network_id=None, gateway_port_id=None, enable_snat=True)
    network = standing.visible_in(db, ctx, NETWORKS, network_id, networks.NOT_FOUND)
    if not network.external:
        raise Invalid(f"Bad router request: Network {network.id} is not an external network.", code="BadRequest")
    asked = wanted.get("external_fixed_ips")
    if old is not None and (moves or asked is not None):
        ports.remove_in(db, old.id)
        old = None
    if old is None:
        _check_no_overlap(db, row, SUBNETS.where(db, "network_id = ?", (network.id,)))
        old = ports.write_in(
            db,
            service,
            Context.internal("router gateway"),
            network,
            {
                "project_id": "", "device_id": row.id, "device_owner": ports.GATEWAY, "fixed_ips": asked,
                "host_id": service.host_name, "status": "ACTIVE",
            },
        )  # fmt: skip
    return ROUTERS.change(db, row.id, gateway_network_id=network.id, gateway_port_id=old.id, enable_snat=snat)


# --- interfaces ------------------------------------------------------------------------------------------------------


async def add_interface(
    service: Network, ctx: Context, router_id: str, *, subnet_id: str | None, port_id: str | None
) -> tuple[Router, Port]:
    """Connect a subnet (by its gateway's address) or a port to a router.

    Raises:
        NotFound: router, subnet or port. Invalid: neither or both; a subnet without gateway, one that overlaps with
        another of the router's. Conflict: a port that something has; a gateway address that another port has.
    """
    _require_one(subnet_id, port_id)

    def write(db: Db) -> tuple[Router, Port]:
        row = standing.owned_in(db, ctx, ROUTERS, router_id, NOT_FOUND)
        port = (
            _port_as_interface(db, ctx, row, port_id)
            if port_id
            else _subnet_as_interface(db, service, ctx, row, subnet_id or "")
        )
        bound = {
            "device_id": row.id, "device_owner": ports.INTERFACE, "host_id": service.host_name, "status": "ACTIVE",
            "security_groups": [], "port_security_enabled": False,
        }  # fmt: skip
        port = standing.changed_in(db, service.clock, PORTS, port, bound)
        ports.set_groups_in(db, port, [])
        standing.touch_in(db, service.clock, ROUTERS, row.id)
        return row, port

    row, port = await service.store.write(write)
    await service.converge.router(row.id)
    return row, port


def _subnet_as_interface(db: Db, service: Network, ctx: Context, row: Router, subnet_id: str) -> Port:
    subnet = subnets.visible_in(db, ctx, subnet_id)
    network = NETWORKS.need(db, subnet.network_id)
    if not ctx.sees(subnet.project_id) and not standing.is_shared_in(db, network.id, ctx.project_id, standing.SHARED):
        raise NotFound(f"Subnet {subnet_id} could not be found.", code=subnets.NOT_FOUND)
    if subnet.gateway_ip is None:
        raise Invalid("Cannot add a router interface: the subnet has no gateway IP.", code="BadRequest")
    if subnet.takes_addresses_from_macs and subnet.ipv6_ra_mode is None:
        raise Invalid(f"Cannot route IPv6 subnet {subnet.id}: an outside router advertises it.", code="BadRequest")
    _check_no_overlap(db, row, [subnet])
    service.quotas.check_in(db, row.project_id, port=1)
    return ports.write_in(
        db,
        service,
        Context.internal("router interface"),
        network,
        {
            "project_id": row.project_id, "device_owner": ports.INTERFACE, "device_id": row.id,
            "fixed_ips": [{"subnet_id": subnet.id, "ip_address": subnet.gateway_ip}],
        },
    )  # fmt: skip


def _port_as_interface(db: Db, ctx: Context, row: Router, port_id: str) -> Port:
    port = ports.visible_in(db, ctx, port_id)
    if port.device_id:
        raise Conflict(
            f"Cannot use port {port.id}: it belongs to {port.device_owner or 'device'} {port.device_id}.",
            code="PortInUse",
        )
    if not port.fixed_ips:
        raise Invalid("Cannot add a router interface: the port has no fixed IP.", code="BadRequest")
    four = [one for one in port.fixed_ips if ":" not in one["ip_address"]]
    if len(four) > 1:
        raise Invalid("Cannot add a router interface: the port has several IPv4 addresses.", code="BadRequest")
    _check_no_overlap(db, row, [SUBNETS.need(db, one["subnet_id"]) for one in port.fixed_ips])
    return port


async def remove_interface(
    service: Network, ctx: Context, router_id: str, *, subnet_id: str | None, port_id: str | None
) -> tuple[Router, Port, list[str]]:
    """Disconnect a subnet or port; its port is deleted. The router, the port as it was, and the subnets it was on.

    Raises:
        NotFound: no such interface. Conflict: floating IPs or routes need it; subnet and port don't belong together.
    """
    if not subnet_id and not port_id:
        raise Invalid("Bad router request: either subnet_id or port_id must be specified.", code="BadRequest")

    def write(db: Db) -> tuple[Router, Port]:
        row = standing.owned_in(db, ctx, ROUTERS, router_id, NOT_FOUND)
        port = _interface_in(db, ctx, row, subnet_id, port_id)
        for fixed in port.fixed_ips:
            _require_not_needed(db, row, port, SUBNETS.need(db, fixed["subnet_id"]))
        ports.remove_in(db, port.id)
        standing.touch_in(db, service.clock, ROUTERS, row.id)
        return row, port

    row, port = await service.store.write(write)
    await service.converge.router(row.id)
    return row, port, [one["subnet_id"] for one in port.fixed_ips]


def _interface_in(db: Db, ctx: Context, row: Router, subnet_id: str | None, port_id: str | None) -> Port:
    held = _interfaces_in(db, row.id)
    if port_id:
        port = next((one for one in held if one.id == port_id), None)
        if port is None:
            raise NotFound(
                f"Router {row.id} does not have an interface with id {port_id}.", code="RouterInterfaceNotFound"
            )
        if subnet_id and not any(one["subnet_id"] == subnet_id for one in port.fixed_ips):
            raise Conflict(
                f"Cannot remove port {port_id}: it is not on subnet {subnet_id}.", code="SubnetMismatchForPort"
            )
        return port
    subnets.visible_in(db, ctx, subnet_id or "")
    port = next((one for one in held if any(fixed["subnet_id"] == subnet_id for fixed in one.fixed_ips)), None)
    if port is None:
        raise NotFound(
            f"Router {row.id} has no interface on subnet {subnet_id}.", code="RouterInterfaceNotFoundForSubnet"
        )
    return port


def _require_not_needed(db: Db, row: Router, port: Port, subnet: Subnet) -> None:
    own = [one.fixed_ip_address for one in FLOATINGIPS.where(db, "router_id = ?", (row.id,))]
    if any(address and addresses.contains(subnet, address) for address in own):
        raise Conflict(
            f"Cannot remove the interface for subnet {subnet.id} from router {row.id}: floating IPs need it.",
            code="RouterInterfaceInUseByFloatingIP",
        )
    if any(addresses.contains(subnet, one["nexthop"]) for one in row.routes):
        raise Conflict(
            f"Cannot remove the interface for subnet {subnet.id} from router {row.id}: routes need it.",
            code="RouterInterfaceInUseByRoute",
        )


def _require_one(subnet_id: str | None, port_id: str | None) -> None:
    if bool(subnet_id) == bool(port_id):
        told = "not both of subnet_id and port_id" if subnet_id else "either subnet_id or port_id"
        raise Invalid(f"Bad router request: {told} must be specified.", code="BadRequest")


def _interfaces_in(db: Db, router_id: str) -> list[Port]:
    return PORTS.where(db, "device_id = ? AND device_owner = ?", (router_id, ports.INTERFACE), order="created_at, id")


def _connected_in(db: Db, router_id: str) -> list[Subnet]:
    return SUBNETS.joined(
        db,
        "WHERE subnets.id IN (SELECT a.subnet_id FROM port_addresses a JOIN ports p ON p.id = a.port_id"
        " WHERE p.device_id = ? AND p.device_owner LIKE 'network:router%')",
        (router_id,),
    )


def _check_no_overlap(db: Db, row: Router, wanted: Sequence[Subnet]) -> None:
    for present in _connected_in(db, row.id):
        for subnet in wanted:
            if present.id == subnet.id:
                raise Invalid(
                    f"Bad router request: Router already has a port on subnet {subnet.id}.", code="BadRequest"
                )
            if present.ip_version == subnet.ip_version and ipaddress.ip_network(present.cidr).overlaps(
                ipaddress.ip_network(subnet.cidr)  # type: ignore[arg-type]
            ):
                raise Invalid(
                    f"Bad router request: {subnet.cidr} of subnet {subnet.id} overlaps with {present.cidr} of {present.id}.",
                    code="BadRequest",
                )


def _checked_routes(db: Db, row: Router, routes: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """Routes by way of somebody on a connected subnet, who is not the router itself."""
    if len(routes) > MOST_ROUTES:
        raise Invalid(f"Cannot set more than {MOST_ROUTES} routes.", code="RoutesExhausted")
    connected = _connected_in(db, row.id)
    own = {address for port in PORTS.where(db, "device_id = ?", (row.id,)) for address in port.addresses}
    checked: list[dict[str, str]] = []
    for route in routes:
        hop = addresses.canonical(route["nexthop"])
        if not any(addresses.contains(subnet, hop) for subnet in connected):
            raise Invalid(
                f"Invalid format for routes: {route}, the nexthop is not connected with router.", code="InvalidRoutes"
            )
        if hop in own:
            raise Invalid(f"Invalid format for routes: {route}, the nexthop is used by router.", code="InvalidRoutes")
        destination = str(ipaddress.ip_network(route["destination"], strict=False))
        if ipaddress.ip_network(destination).version != ipaddress.ip_address(hop).version:
            raise Invalid(f"Invalid format for routes: {route}, two IP versions.", code="InvalidRoutes")
        checked.append({"destination": destination, "nexthop": hop})
    return [one for index, one in enumerate(checked) if one not in checked[:index]]
