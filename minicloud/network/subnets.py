"""Subnets: ranges of addresses on a network, and how machines learn of them.

Called by `api/subnets.py`. Sources: Networking API v2.0 reference, "Subnets"; RFC 4862 for the /64 of SLAAC.
"""

from __future__ import annotations

import ipaddress
import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from minicloud.core.context import Context
from minicloud.core.errors import Conflict, Invalid
from minicloud.core.store import Db
from minicloud.network import addresses, networks, ports, standing, subnetpools
from minicloud.network.tables import NETWORKS, PORTS, ROUTERS, SUBNETS, NetworkRow, Port, Subnet

if TYPE_CHECKING:
    from minicloud.network import Network

NOT_FOUND = "SubnetNotFound"
MOST_NAMESERVERS = 5
MOST_ROUTES = 20
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


async def create(service: Network, ctx: Context, many: Sequence[Mapping[str, Any]]) -> list[Subnet]:
    """Make subnets, all or none, and the DHCP port's addresses in them.

    Raises:
        NotFound: the network. Invalid: ranges, pools, gateways or modes that make no sense. Conflict: the gateway lies
        in a pool. OverQuota: no more subnets for the project.
    """

    def write(db: Db) -> list[Subnet]:
        return [create_in(db, service, ctx, values) for values in many]

    rows = await service.store.write(write)
    for network_id in {row.network_id for row in rows}:
        await service.converge.network(network_id)
    for network_id in {row.network_id for row in rows if row.takes_addresses_from_macs}:
        await service.converge.machines(network_id)
    return rows


def create_in(db: Db, service: Network, ctx: Context, values: Mapping[str, Any]) -> Subnet:
    """Write the row of one subnet."""
    network = standing.owned_in(db, ctx, NETWORKS, values["network_id"], networks.NOT_FOUND)
    project_id = standing.project_of(ctx, values)
    service.quotas.check_in(db, project_id, subnet=1)
    version = values["ip_version"]
    if version not in (4, 6):
        raise Invalid(f"Cannot use IP version {version}: it must be 4 or 6.", code="HTTPBadRequest")
    pool_id, cidr = subnetpools.cut_in(db, ctx, network, project_id, values)
    ranged = parsed(cidr, version)
    enable_dhcp = values.get("enable_dhcp", True)
    _check_range(db, network, ranged, enable_dhcp)
    _check_modes(ranged, values, enable_dhcp)
    gateway = str(ranged[1] if ranged.num_addresses > 2 else ranged[0])
    if "gateway_ip" in values:
        gateway = values["gateway_ip"] and addresses.canonical(values["gateway_ip"])
    pools = values.get("allocation_pools")
    asked = {key: value for key, value in values.items() if key in SUBNETS.columns and value is not None}
    row = Subnet(
        **standing.fresh(
            service.clock,
            {
                "ipv6_ra_mode": None, "ipv6_address_mode": None, "dns_nameservers": [], "host_routes": [],
                "service_types": [], **asked, "project_id": project_id, "cidr": str(ranged), "gateway_ip": gateway,
                "enable_dhcp": enable_dhcp, "subnetpool_id": pool_id,
                "allocation_pools": _default_pools(ranged, gateway) if pools is None else _checked_pools(ranged, pools),
            },
        )
    )  # fmt: skip
    _check_gateway(row)
    _check_servers_and_routes(row)
    SUBNETS.insert(db, row)
    standing.touch_in(db, service.clock, NETWORKS, network.id)
    if row.takes_addresses_from_macs:
        _give_automatic_addresses(db, row)
    ports.keep_dhcp_port_in(db, service, network.id)
    return row


async def update(
    service: Network, ctx: Context, subnet_id: str, values: Mapping[str, Any], revision: int | None = None
) -> Subnet:
    """Change a subnet.

    Raises:
        NotFound: no such subnet. Invalid, Conflict: as in `create`; `GatewayIpInUse` when a router has the old gateway.
    """

    def write(db: Db) -> Subnet:
        row = standing.owned_in(db, ctx, SUBNETS, subnet_id, NOT_FOUND)
        standing.require_revision(row, revision)
        given = {key: value for key, value in values.items() if key in SUBNETS.columns}
        ranged = parsed(row.cidr, row.ip_version)
        if "gateway_ip" in given:
            given["gateway_ip"] = given["gateway_ip"] and addresses.canonical(given["gateway_ip"])
            if given["gateway_ip"] != row.gateway_ip:
                _require_gateway_unused(db, row)
        if given.get("allocation_pools") is not None:
            given["allocation_pools"] = _checked_pools(ranged, given["allocation_pools"])
        given = {key: value for key, value in given.items() if value is not None or key == "gateway_ip"}
        row = standing.changed_in(db, service.clock, SUBNETS, row, given)
        _check_gateway(row)
        _check_servers_and_routes(row)
        if row.enable_dhcp:
            _check_range(db, None, ranged, True)
        ports.keep_dhcp_port_in(db, service, row.network_id)
        standing.touch_in(db, service.clock, NETWORKS, row.network_id)
        return row

    row = await service.store.write(write)
    await service.converge.network(row.network_id)
    for router_id in service.store.read(routers_of, subnet_id):
        await service.converge.router(router_id)
    return row


async def delete(service: Network, ctx: Context, subnet_id: str, revision: int | None = None) -> None:
    """Remove a subnet.

    Raises:
        NotFound: no such subnet. Conflict: ports have addresses in it (`SubnetInUse`); those that we or the machines
        themselves chose by a MAC go along.
    """

    def write(db: Db) -> Subnet:
        row = standing.owned_in(db, ctx, SUBNETS, subnet_id, NOT_FOUND)
        standing.require_revision(row, revision)
        users = _ports_in(db, row.id)
        holding = [
            port.id
            for port in users
            if port.device_owner != ports.DHCP
            and not (row.takes_addresses_from_macs and not port.device_owner.startswith("network:router"))
        ]
        if holding:
            raise Conflict(
                f"Cannot delete subnet {row.id}: ports have addresses in it: {', '.join(holding[:20])}.",
                code="SubnetInUse",
            )
        for port in users:
            left = [fixed for fixed in port.fixed_ips if fixed["subnet_id"] != row.id]
            ports.set_addresses_in(db, port, left)
        SUBNETS.delete(db, row.id)
        ports.keep_dhcp_port_in(db, service, row.network_id)
        standing.touch_in(db, service.clock, NETWORKS, row.network_id)
        return row

    row = await service.store.write(write)
    await service.converge.network(row.network_id)
    if row.takes_addresses_from_macs:
        await service.converge.machines(row.network_id)


def show(service: Network, ctx: Context, subnet_id: str) -> Subnet:
    """One subnet that the caller may know of: their own, or one of a network that is theirs or shared with them. An
    external network is known to all, its subnets are not."""

    def read(db: Db) -> Subnet:
        return visible_in(db, ctx, subnet_id)

    return service.store.read(read)


def visible_in(db: Db, ctx: Context, subnet_id: str) -> Subnet:
    """As `show`, in a transaction."""
    row = SUBNETS.get(db, subnet_id)
    if row is not None and not ctx.sees(row.project_id):
        network = NETWORKS.need(db, row.network_id)
        if not (ctx.sees(network.project_id) or standing.is_shared_in(db, network.id, ctx.project_id, standing.SHARED)):
            row = None
    if row is None:
        return standing.visible_in(db, ctx, SUBNETS, subnet_id, NOT_FOUND)
    return row


def visible_sql(ctx: Context) -> tuple[str, list[Any]]:
    """An SQL condition on `subnets`, with its parameters: what the caller may know of."""
    if ctx.is_admin:
        return "", []
    owned = "SELECT id FROM networks WHERE project_id = ?"
    shared = f"SELECT object_id FROM rbac_policies WHERE action = '{standing.SHARED}' AND target IN ('*', ?)"
    condition = f"(subnets.project_id = ? OR network_id IN ({owned}) OR network_id IN ({shared}))"
    return condition, [ctx.project_id] * 3


def parsed(cidr: str, version: int) -> IpNetwork:
    """A range from its text, host bits left out. Raises `Invalid` for one that is none or is of the other version."""
    try:
        ranged = addresses.range_of(cidr)
    except ValueError:
        raise Invalid(f"Cannot use {cidr[:80]}: it is not in CIDR form.", code="InvalidInput") from None
    if "/" not in cidr or ranged.version != version:
        raise Invalid(f"Cannot use {cidr}: it is no CIDR of IP version {version}.", code="InvalidInput")
    return ranged


def routers_of(db: Db, subnet_id: str) -> list[str]:
    """Ids of the routers with a port in a subnet."""
    rows = db.execute(
        "SELECT DISTINCT p.device_id FROM ports p JOIN port_addresses a ON a.port_id = p.id"
        " WHERE a.subnet_id = ? AND p.device_owner LIKE 'network:router%'",
        (subnet_id,),
    )
    return [router_id for (router_id,) in rows]


def _ports_in(db: Db, subnet_id: str) -> list[Port]:
    return PORTS.where(db, "id IN (SELECT port_id FROM port_addresses WHERE subnet_id = ?)", (subnet_id,))


def _check_range(db: Db, network: NetworkRow | None, ranged: IpNetwork, enable_dhcp: bool) -> None:
    if enable_dhcp and ranged.version == 4 and ranged.prefixlen > 30:
        raise Invalid(
            f"Cannot serve DHCP in {ranged}: it has no room for a server; turn enable_dhcp off.", code="InvalidInput"
        )
    if ranged.prefixlen == 0 or ranged.is_multicast or ranged.is_loopback or (enable_dhcp and ranged.is_link_local):
        raise Invalid(f"Cannot use {ranged} for a subnet: machines can't have such addresses.", code="InvalidInput")
    if network is None:
        return
    for other in SUBNETS.where(db, "network_id = ? AND ip_version = ?", (network.id, ranged.version)):
        if ranged.overlaps(ipaddress.ip_network(other.cidr)):  # type: ignore[arg-type]
            raise Invalid(
                f"Cannot use {ranged} on network {network.id}: it overlaps with another subnet, {other.id} ({other.cidr}).",
                code="InvalidInput",
            )


def _check_modes(ranged: IpNetwork, values: Mapping[str, Any], enable_dhcp: bool) -> None:
    advertised, addressed = values.get("ipv6_ra_mode"), values.get("ipv6_address_mode")
    if not advertised and not addressed:
        return
    if ranged.version == 4:
        raise Invalid("Cannot use ipv6_ra_mode or ipv6_address_mode: the subnet is IPv4.", code="InvalidInput")
    if not enable_dhcp:
        raise Invalid("Cannot use ipv6_ra_mode or ipv6_address_mode while enable_dhcp is off.", code="InvalidInput")
    if advertised and addressed and advertised != addressed:
        raise Invalid(
            f"Cannot use ipv6_ra_mode {advertised} with ipv6_address_mode {addressed}: they must agree.",
            code="InvalidInput",
        )
    if (addressed or advertised) != "dhcpv6-stateful" and ranged.prefixlen != 64:
        raise Invalid(f"Cannot use {ranged} with {addressed or advertised}: it must be a /64.", code="InvalidInput")


def _default_pools(ranged: IpNetwork, gateway: str | None) -> list[dict[str, str]]:
    """All that machines can have, without the gateway."""
    first, last = int(ranged.network_address), int(ranged.broadcast_address)
    if ranged.num_addresses > 2:
        first, last = first + 1, last - 1 if ranged.version == 4 else last
    kind = type(ranged.network_address)
    cut = (
        int(ipaddress.ip_address(gateway)) if gateway is not None and ipaddress.ip_address(gateway) in ranged else None
    )
    spans = [(first, last)] if cut is None else [(first, min(last, cut - 1)), (max(first, cut + 1), last)]
    if cut is not None and not first <= cut <= last:
        spans = [(first, last)]
    return [{"start": str(kind(low)), "end": str(kind(high))} for low, high in spans if low <= high]


def _checked_pools(ranged: IpNetwork, pools: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    checked: list[tuple[int, int, dict[str, str]]] = []
    for pool in pools:
        start, end = ipaddress.ip_address(pool["start"]), ipaddress.ip_address(pool["end"])
        told = f"{start}-{end}"
        if start.version != end.version or int(start) > int(end):
            raise Invalid(
                f"Cannot use the allocation pool {told}: it ends before it starts.", code="InvalidAllocationPool"
            )
        if start not in ranged or end not in ranged:
            raise Invalid(
                f"Cannot use the allocation pool {told}: it leaves {ranged}.", code="OutOfBoundsAllocationPool"
            )
        checked.append((int(start), int(end), {"start": str(start), "end": str(end)}))
    checked.sort(key=lambda one: one[0])
    for (_, end_of_one, one), (start_of_next, _, other) in itertools.pairwise(checked):
        if start_of_next <= end_of_one:
            raise Conflict(f"Cannot use overlapping pools {one} and {other}.", code="OverlappingAllocationPools")
    return [pool for _, _, pool in checked]


def _check_gateway(row: Subnet) -> None:
    if row.gateway_ip is None:
        return
    gateway = ipaddress.ip_address(row.gateway_ip)
    if gateway.version != row.ip_version:
        raise Invalid(f"Cannot use gateway {gateway}: it is not of IP version {row.ip_version}.", code="InvalidInput")
    if addresses.contains(row, row.gateway_ip) and not addresses.is_usable(row, row.gateway_ip):
        raise Invalid(f"Cannot use gateway {gateway} in {row.cidr}: no machine can have it.", code="InvalidInput")
    for pool in row.allocation_pools:
        if ipaddress.ip_address(pool["start"]).version == gateway.version and (
            int(ipaddress.ip_address(pool["start"])) <= int(gateway) <= int(ipaddress.ip_address(pool["end"]))
        ):
            raise Conflict(
                f"Cannot use gateway {gateway}: it lies in the allocation pool {pool['start']}-{pool['end']}.",
                code="GatewayConflictWithAllocationPools",
            )


def _check_servers_and_routes(row: Subnet) -> None:
    if len(row.dns_nameservers) > MOST_NAMESERVERS:
        raise Invalid(f"Cannot set more than {MOST_NAMESERVERS} name servers.", code="DNSNameServersExhausted")
    if len(set(row.dns_nameservers)) != len(row.dns_nameservers):
        raise Invalid("Cannot set a name server twice.", code="HTTPBadRequest")
    if len(row.host_routes) > MOST_ROUTES:
        raise Invalid(f"Cannot set more than {MOST_ROUTES} host routes.", code="HostRoutesExhausted")
    for server in row.dns_nameservers:
        if ipaddress.ip_address(server).version != row.ip_version:
            raise Invalid(f"Cannot use name server {server}: it is not IPv{row.ip_version}.", code="InvalidInput")
    for route in row.host_routes:
        versions = {
            ipaddress.ip_network(route["destination"], strict=False).version,
            ipaddress.ip_address(route["nexthop"]).version,
        }
        if versions != {row.ip_version}:
            raise Invalid(f"Cannot use host route {route}: it is not IPv{row.ip_version}.", code="InvalidInput")


def _require_gateway_unused(db: Db, row: Subnet) -> None:
    holder = PORTS.first(
        db,
        "device_owner = ? AND id IN (SELECT port_id FROM port_addresses WHERE network_id = ? AND address = ?)",
        (ports.INTERFACE, row.network_id, row.gateway_ip),
    )
    if holder is not None and ROUTERS.get(db, holder.device_id) is not None:
        raise Conflict(
            f"Cannot change gateway {row.gateway_ip}: port {holder.id} of a router has it.", code="GatewayIpInUse"
        )


def _give_automatic_addresses(db: Db, row: Subnet) -> None:
    """Ports that are there already make themselves an address in a new SLAAC subnet too."""
    for port in PORTS.where(db, "network_id = ? AND device_owner NOT LIKE 'network:router%'", (row.network_id,)):
        if port.fixed_ips and port.device_owner not in (ports.DHCP, ports.FLOATING):
            own = {"subnet_id": row.id, "ip_address": addresses.eui64(row.cidr, port.mac_address)}
            ports.set_addresses_in(db, port, [*port.fixed_ips, own])
