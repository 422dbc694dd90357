"""Floating IPs: addresses of an external network that a router translates to a machine's.

Called by `api/floatingips.py`; the router's translation follows through `converge.py`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from minicloud.core.context import Context
from minicloud.core.errors import Conflict, Invalid, NotFound
from minicloud.core.store import Db
from minicloud.network import addresses, networks, ports, standing
from minicloud.network.tables import FLOATINGIPS, NETWORKS, PORTS, SUBNETS, FloatingIp, NetworkRow, Port

if TYPE_CHECKING:
    from minicloud.network import Network

NOT_FOUND = "FloatingIPNotFound"
NOWHERE: dict[str, Any] = {"port_id": None, "fixed_ip_address": None, "router_id": None, "status": "DOWN"}


async def create(service: Network, ctx: Context, many: Sequence[Mapping[str, Any]]) -> list[FloatingIp]:
    """Take addresses, and perhaps lead them to ports, all or none.

    Raises:
        NotFound: the network or port, or no router from the one to the other. Invalid: a network that is not external, an
        address that is not the port's. Conflict: an address in use, none free, a port that has one. OverQuota.
    """

    def write(db: Db) -> list[FloatingIp]:
        return [_create_in(db, service, ctx, values) for values in many]

    rows = await service.store.write(write)
    for router_id in {row.router_id for row in rows if row.router_id}:
        await service.converge.router(router_id)
    return rows


def _create_in(db: Db, service: Network, ctx: Context, values: Mapping[str, Any]) -> FloatingIp:
    network = standing.visible_in(db, ctx, NETWORKS, values["floating_network_id"], networks.NOT_FOUND)
    if not network.external:
        raise Invalid(f"Network {network.id} is not a valid external network.", code="BadRequest")
    project_id = standing.project_of(ctx, values)
    service.quotas.check_in(db, project_id, floatingip=1)
    key = str(uuid.uuid4())
    port = ports.write_in(
        db,
        service,
        Context.internal("floating IP"),
        network,
        {
            "project_id": "", "device_id": key, "device_owner": ports.FLOATING, "status": "N/A",
            "fixed_ips": [_wanted_in(db, network, values)],
        },
    )  # fmt: skip
    given = {name: values[name] for name in ("description", "dns_name", "dns_domain") if values.get(name)}
    row = FloatingIp(
        **standing.fresh(
            service.clock,
            {
                "dns_name": "", "dns_domain": "", **given, **NOWHERE, "id": key, "project_id": project_id,
                "floating_network_id": network.id, "floating_port_id": port.id, "floating_ip_address": port.addresses[0],
            },
        )
    )  # fmt: skip
    FLOATINGIPS.insert(db, row)
    if values.get("port_id"):
        target = _target_in(db, ctx, row, values["port_id"], values.get("fixed_ip_address"))
        return FLOATINGIPS.change(db, row.id, **target)
    if values.get("fixed_ip_address"):
        raise Invalid("Cannot use fixed_ip_address without port_id.", code="BadRequest")
    return row


def _wanted_in(db: Db, network: NetworkRow, values: Mapping[str, Any]) -> dict[str, Any]:
    """Which address is wanted: that one, one of that subnet, or any IPv4 one."""
    if values.get("floating_ip_address"):
        return {"ip_address": values["floating_ip_address"]}
    if values.get("subnet_id"):
        return {"subnet_id": values["subnet_id"]}
    four = SUBNETS.where(db, "network_id = ? AND ip_version = 4", (network.id,), order="created_at, id")
    if not four:
        raise Invalid(f"Network {network.id} does not contain any IPv4 subnet.", code="BadRequest")
    for subnet in four:
        address = addresses.free_in(db, subnet)
        if address is not None:
            return {"subnet_id": subnet.id, "ip_address": address}
    raise Conflict(f"Cannot find a free address on network {network.id}.", code="IpAddressGenerationFailure")


async def update(
    service: Network, ctx: Context, floatingip_id: str, values: Mapping[str, Any], revision: int | None = None
) -> FloatingIp:
    """Lead a floating IP to another port, or (`port_id` null) nowhere; or describe it.

    Raises:
        as in `create`.
    """

    def write(db: Db) -> tuple[FloatingIp, FloatingIp]:
        before = standing.owned_in(db, ctx, FLOATINGIPS, floatingip_id, NOT_FOUND)
        standing.require_revision(before, revision)
        given = {
            name: values[name] for name in ("description", "dns_name", "dns_domain") if values.get(name) is not None
        }
        if values.get("port_id"):
            given |= _target_in(db, ctx, before, values["port_id"], values.get("fixed_ip_address"))
        elif "port_id" in values or not values:  # an empty change has always meant: lead nowhere
            given |= NOWHERE
        elif values.get("fixed_ip_address"):
            if before.port_id is None:
                raise Invalid("Cannot use fixed_ip_address without port_id.", code="BadRequest")
            given |= _target_in(db, ctx, before, before.port_id, values["fixed_ip_address"])
        return before, standing.changed_in(db, service.clock, FLOATINGIPS, before, given)

    before, row = await service.store.write(write)
    for router_id in {one.router_id for one in (before, row) if one.router_id}:
        await service.converge.router(router_id)
    return row


async def delete(service: Network, ctx: Context, floatingip_id: str, revision: int | None = None) -> None:
    """Give an address back."""

    def write(db: Db) -> FloatingIp:
        row = standing.owned_in(db, ctx, FLOATINGIPS, floatingip_id, NOT_FOUND)
        standing.require_revision(row, revision)
        FLOATINGIPS.delete(db, row.id)
        ports.remove_in(db, row.floating_port_id)
        return row

    row = await service.store.write(write)
    if row.router_id:
        await service.converge.router(row.router_id)


def show(service: Network, ctx: Context, floatingip_id: str) -> FloatingIp:
    """One floating IP of the caller."""
    return service.store.read(standing.visible_in, ctx, FLOATINGIPS, floatingip_id, NOT_FOUND)


def _target_in(db: Db, ctx: Context, row: FloatingIp, port_id: str, asked: str | None) -> dict[str, Any]:
    """The columns of a floating IP that leads to a port's address by the router between the two networks."""
    port = ports.visible_in(db, ctx, port_id)
    if port.project_id != row.project_id and not ctx.is_admin:
        raise Invalid(f"Port {port.id} is associated with a different project than the floating IP.", code="BadRequest")
    fixed = _fixed_of(port, None if asked is None else addresses.canonical(asked))
    held = FLOATINGIPS.first(
        db, "port_id = ? AND fixed_ip_address = ? AND id != ?", (port.id, fixed["ip_address"], row.id)
    )
    if held is not None:
        raise Conflict(
            f"Cannot associate {row.floating_ip_address} with port {port.id}: its address {fixed['ip_address']} has"
            f" floating IP {held.floating_ip_address} already.",
            code="FloatingIPPortAlreadyAssociated",
        )
    router_id = _router_between_in(db, fixed["subnet_id"], row.floating_network_id)
    if router_id is None:
        raise NotFound(
            f"External network {row.floating_network_id} is not reachable from subnet {fixed['subnet_id']}."
            f" Therefore, cannot associate Port {port.id} with a Floating IP.",
            code="ExternalGatewayForFloatingIPNotFound",
        )
    return {"port_id": port.id, "fixed_ip_address": fixed["ip_address"], "router_id": router_id, "status": "ACTIVE"}


def _fixed_of(port: Port, asked: str | None) -> dict[str, str]:
    four = [one for one in port.fixed_ips if ":" not in one["ip_address"]]
    if asked is not None:
        found = next((one for one in four if one["ip_address"] == asked), None)
        if found is None:
            raise Invalid(f"Port {port.id} does not have fixed ip {asked}.", code="BadRequest")
        return found
    if not four:
        raise Invalid(f"Cannot add floating IP to port {port.id} that has no fixed IPv4 addresses.", code="BadRequest")
    if len(four) > 1:
        raise Invalid(
            f"Port {port.id} has multiple fixed IPv4 addresses. Must provide a specific IPv4 address.",
            code="BadRequest",
        )
    return four[0]


def _router_between_in(db: Db, subnet_id: str, network_id: str) -> str | None:
    found = db.execute(
        "SELECT r.id FROM routers r JOIN ports p ON p.device_id = r.id AND p.device_owner = ?"
        " JOIN port_addresses a ON a.port_id = p.id JOIN subnets s ON s.id = a.subnet_id"
        " WHERE a.subnet_id = ? AND r.gateway_network_id = ? ORDER BY a.address = s.gateway_ip DESC, r.id LIMIT 1",
        (ports.INTERFACE, subnet_id, network_id),
    ).fetchone()
    return None if found is None else str(found[0])


def ports_beside_in(db: Db, rows: Sequence[FloatingIp]) -> dict[str, Port]:
    """The ports that floating IPs lead to, by id."""
    ids = [row.port_id for row in rows if row.port_id]
    return {port.id: port for port in PORTS.where(db, f"id IN ({', '.join('?' * len(ids))})", ids)}
