"""How machines get their network: which ports a new one has, plugging them in and letting them go.

Called by compute through `Network`. Sources: Compute API guide, "networks" of POST /servers; metadata format
network_data.json as cloud-init documents it ("OpenStack metadata: network_data.json").
"""

from __future__ import annotations

import ipaddress
import json
import uuid
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from minicloud.core.context import Context
from minicloud.core.errors import Conflict, Forbidden, Invalid, NotFound
from minicloud.core.store import Db
from minicloud.host.links import tap_name
from minicloud.network import addresses, networks, ports, security_groups, standing
from minicloud.network.tables import (
    NETWORKS,
    PORTS,
    SECURITY_GROUPS,
    SUBNETS,
    NetworkRow,
    Port,
    Subnet,
)

if TYPE_CHECKING:
    from minicloud.network import Network


@dataclass(frozen=True, slots=True)
class NicRequest:
    """What a client wants of one interface: a network (and perhaps an address in it) or a port."""

    network_id: str | None = None
    port_id: str | None = None
    fixed_ip: str | None = None
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class Nic:
    """One interface as decided; JSON-able. `created`: the port does not exist yet, we make it and delete it again."""

    port_id: str
    network_id: str
    created: bool
    fixed_ip: str | None = None
    security_groups: tuple[str, ...] = ()
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class PortInfo:
    """A machine's port as other services see it.

    `fixed_ips` are (subnet id, address), `floating` (floating IP, fixed address), `security_groups` names.
    """

    id: str
    network_id: str
    network_name: str
    mac: str
    fixed_ips: tuple[tuple[str, str], ...]
    tap: str
    mtu: int
    security_groups: tuple[str, ...]
    floating: tuple[tuple[str, str], ...]
    status: str
    device_id: str
    project_id: str = ""
    name: str = ""


def choose(
    service: Network,
    ctx: Context,
    requested: Sequence[NicRequest] | Literal["auto", "none"] | None,
    *,
    groups: Sequence[str],
) -> tuple[Nic, ...]:
    """Decide a new machine's interfaces. Checks everything that can be checked, writes nothing.

    Args:
        requested: interfaces in order; None or "auto" is the one network that the project has, "none" no interface.
        groups: names or ids of security groups for the ports that we make; none: the default group.

    Raises:
        Conflict: several networks to choose from; a port or address in use. Invalid: a network without subnets, an address
        that is none of it. NotFound: a network, port or group. Forbidden: an external network, for members.
        OverQuota: no room for so many ports.
    """
    if requested == "none":
        return ()

    def read(db: Db) -> tuple[Nic, ...]:
        group_ids = tuple(_group_ids_in(db, ctx, groups))
        wanted = _only_network_in(db, ctx, requested) if requested is None or isinstance(requested, str) else requested
        chosen = [_nic_in(db, ctx, one, group_ids) for one in wanted]
        ids = [one.port_id for one in chosen]
        if len(set(ids)) != len(ids):
            raise Invalid("Cannot use one port twice.")
        made = sum(one.created for one in chosen)
        if made and ctx.project_id:
            service.quotas.check_in(db, ctx.project_id, port=made)
        return tuple(chosen)

    return service.store.read(read)


def _only_network_in(db: Db, ctx: Context, requested: str | None) -> list[NicRequest]:
    """The project's own networks and those shared with it; external ones don't count unless they are shared."""
    sql = (
        "(networks.project_id = ? AND external = 0) OR EXISTS (SELECT 1 FROM rbac_policies r"
        " WHERE r.object_id = networks.id AND r.action = 'access_as_shared' AND r.target IN ('*', ?))"
    )
    found = NETWORKS.where(db, sql, (ctx.project_id, ctx.project_id), limit=2)
    if len(found) > 1:
        raise Conflict("Multiple possible networks found, use a Network ID to be more specific.")
    if not found and requested == "auto":
        raise Conflict("Cannot allocate a network automatically: the project has none; create one with a subnet first.")
    if found and not SUBNETS.count(db, "network_id = ?", (found[0].id,)) and requested is None:
        raise Invalid(f"Network {found[0].id} requires a subnet in order to boot instances on.")
    return [NicRequest(network_id=one.id) for one in found]


def _group_ids_in(db: Db, ctx: Context, groups: Sequence[str]) -> list[str]:
    ids: list[str] = []
    for wanted in groups:
        condition, params = security_groups.visible_sql(ctx)
        own = "(id = ? OR (name = ? AND project_id = ?))"
        sql = f"{own} AND {condition}" if condition else own
        found = SECURITY_GROUPS.where(db, sql, (wanted, wanted, ctx.project_id, *params))
        exact = [one for one in found if one.id == wanted] or found
        if len(exact) > 1:
            raise Conflict(f"Multiple security groups found matching '{wanted}'. Use an ID to be more specific.")
        if not exact and wanted == security_groups.DEFAULT:
            continue  # made with the first port
        if not exact:
            raise Invalid(
                f"Security group {wanted} not found for project {ctx.project_id}.", code="SecurityGroupNotFound"
            )
        ids.append(exact[0].id)
    return list(dict.fromkeys(ids))


def _nic_in(db: Db, ctx: Context, request: NicRequest, groups: tuple[str, ...]) -> Nic:
    if request.port_id is not None:
        port = ports.visible_in(db, ctx, request.port_id)
        if port.device_id:
            raise Conflict(f"Port {port.id} is still in use.", code="PortInUse")
        if not port.fixed_ips and SUBNETS.count(db, "network_id = ?", (port.network_id,)):
            raise Invalid(f"Port {port.id} requires a FixedIP in order to be used.")
        return Nic(port.id, port.network_id, created=False, tag=request.tag)
    network = standing.visible_in(db, ctx, NETWORKS, request.network_id or "", networks.NOT_FOUND)
    shared = standing.is_shared_in(db, network.id, ctx.project_id, standing.SHARED)
    if network.external and not shared and not ctx.is_admin:
        raise Forbidden(f"It is not allowed to create an interface on external network {network.id}.")
    subnets = SUBNETS.where(db, "network_id = ?", (network.id,))
    if not subnets:
        raise Invalid(f"Network {network.id} requires a subnet in order to boot instances on.")
    if request.fixed_ip is not None:
        _check_address_in(db, network, subnets, request.fixed_ip)
    return Nic(
        str(uuid.uuid4()), network.id, created=True, fixed_ip=request.fixed_ip, security_groups=groups, tag=request.tag
    )


def _check_address_in(db: Db, network: NetworkRow, subnets: Sequence[Subnet], asked: str) -> None:
    address = addresses.canonical(asked)
    if not any(addresses.is_usable(subnet, address) for subnet in subnets):
        raise Invalid(f"Fixed IP address {address} is not a valid ip address for network {network.id}.")
    taken = "SELECT 1 FROM port_addresses WHERE network_id = ? AND address = ?"
    if db.execute(taken, (network.id, address)).fetchone() is not None:
        raise Invalid(f"Fixed IP address {address} is already in use on instance of network {network.id}.")


def hold_in(service: Network, db: Db, port_ids: Sequence[str], server_id: str) -> None:
    """See `Network.hold_in`: of several servers that want one port, one is accepted."""
    for port_id in port_ids:
        row = PORTS.get(db, port_id)
        if row is None or row.device_id:
            raise Conflict(f"Port {port_id} is still in use.", code="PortInUse")
        standing.changed_in(db, service.clock, PORTS, row, {"device_id": server_id})


def let_go_in(service: Network, db: Db, port_ids: Sequence[str], server_id: str) -> None:
    """See `Network.let_go_in`."""
    for port_id in port_ids:
        row = PORTS.get(db, port_id)
        if row is not None and row.device_id == server_id and not row.host_id:
            standing.changed_in(db, service.clock, PORTS, row, {"device_id": ""})


async def plug(
    service: Network, ctx: Context, nic: Nic, server_id: str, *, hostname: str, availability_zone: str
) -> PortInfo:
    """Have a machine's interface be ready: the port written and bound, filtered, connected, known to DHCP. Idempotent.

    Raises:
        Conflict: the port belongs to another device by now; no free address. HostFailure: the host did not follow.
    """

    def write(db: Db) -> Port:
        row = PORTS.get(db, nic.port_id)
        bound = {
            "device_id": server_id, "device_owner": f"compute:{availability_zone}", "host_id": service.host_name,
            "dns_name": hostname,
        }  # fmt: skip
        if row is not None:
            if row.device_id not in ("", server_id):
                raise Conflict(f"Port {row.id} is still in use.", code="PortInUse")
            return standing.changed_in(db, service.clock, PORTS, row, bound)
        if not nic.created:
            raise NotFound(f"Port {nic.port_id} could not be found.", code=ports.NOT_FOUND)
        network = NETWORKS.get(db, nic.network_id)
        if network is None:
            raise NotFound(f"Network {nic.network_id} could not be found.", code=networks.NOT_FOUND)
        asked = [{"ip_address": nic.fixed_ip}] if nic.fixed_ip else None
        service.quotas.check_in(db, ctx.project_id or "", port=1)
        return ports.write_in(
            db,
            service,
            ctx,
            network,
            {
                **bound, "id": nic.port_id, "project_id": ctx.project_id, "fixed_ips": asked, "made_for_device": True,
                "network_id": network.id,
                "security_groups": list(nic.security_groups) if nic.security_groups and network.port_security_enabled else None,
            },
        )  # fmt: skip

    row = await service.store.write(write)
    await service.converge.port_now(row)
    return service.store.read(info_in, row.id)


async def unplug(service: Network, port_id: str, server_id: str) -> None:
    """Let an interface go, if that machine has it: a port that we made is deleted, another one is free again."""

    def write(db: Db) -> tuple[Port | None, list[str]]:
        row = PORTS.get(db, port_id)
        if row is None or row.device_id != server_id:
            return None, []
        if row.made_for_device:
            routers = ports.forget_floating_ips_in(db, service, row, set())
            ports.remove_in(db, row.id)
            return row, routers
        free = {"device_id": "", "device_owner": "", "host_id": "", "status": "DOWN", "dns_name": ""}
        standing.changed_in(db, service.clock, PORTS, row, free)
        return row, []

    row, routers = await service.store.write(write)
    if row is None:
        return
    await service.converge.gone(row)
    for router_id in routers:
        await service.converge.router(router_id)


async def set_status(service: Network, server_id: str, *, active: bool) -> None:
    """Have the ports of a machine say that it runs, or that it does not."""

    def write(db: Db) -> None:
        for row in PORTS.where(db, "device_id = ? AND host_id != ''", (server_id,)):
            status = "ACTIVE" if active and row.admin_state_up else "DOWN"
            if row.status != status:
                standing.changed_in(db, service.clock, PORTS, row, {"status": status})

    await service.store.write(write)


_PORTS_AS_SEEN = """
    SELECT ports.id, network_id, networks.name, mac_address, fixed_ips, mtu, security_groups, ports.status, device_id,
        ports.project_id, ports.name
    FROM ports JOIN networks ON networks.id = network_id
"""


def infos_in(db: Db, condition: str, values: Sequence[Any]) -> list[PortInfo]:
    """Ports as other services see them: three narrow queries for one as for a thousand, as every view of a server asks.

    Args:
        condition: SQL over `ports`, with its values.
    """
    rows = db.execute(f"{_PORTS_AS_SEEN} WHERE {condition} ORDER BY ports.created_at, ports.number", values).fetchall()
    if not rows:
        return []
    groups_of = {row[0]: json.loads(row[6]) for row in rows}
    group_ids = sorted({group for groups in groups_of.values() for group in groups})
    names: dict[str, str] = {}
    if group_ids:
        names = dict(db.execute(f"SELECT id, name FROM security_groups WHERE id IN ({_marks(group_ids)})", group_ids))
    floating: dict[str, list[tuple[str, str]]] = defaultdict(list)
    led = f"SELECT port_id, floating_ip_address, fixed_ip_address FROM floatingips WHERE port_id IN ({_marks(rows)}) ORDER BY 2"
    for port_id, outside, inside in db.execute(led, list(groups_of)):
        floating[port_id].append((outside, inside or ""))
    return [
        PortInfo(
            id=port_id,
            network_id=network_id,
            network_name=network_name,
            mac=mac,
            fixed_ips=tuple((one["subnet_id"], one["ip_address"]) for one in json.loads(fixed_ips)),
            tap=tap_name(port_id),
            mtu=mtu,
            security_groups=tuple(sorted(names[group] for group in groups_of[port_id] if group in names)),
            floating=tuple(floating[port_id]),
            status=status,
            device_id=device_id,
            project_id=project_id,
            name=name,
        )
        for port_id, network_id, network_name, mac, fixed_ips, mtu, _, status, device_id, project_id, name in rows
    ]


def info_in(db: Db, port_id: str) -> PortInfo:
    """One port as other services see it."""
    return infos_in(db, "ports.id = ?", (port_id,))[0]


def at_in(db: Db, owner_id: str, address: str) -> PortInfo | None:
    """The machine's port with this address, on a network or on one of the networks behind a router. A link-local address
    is that of the machine on the network that makes it of its MAC."""
    if address.startswith("fe80:"):
        row = PORTS.first(db, "network_id = ? AND mac_address = ?", (owner_id, addresses.mac_of(address)))
    else:
        behind = "SELECT network_id FROM ports WHERE device_id = ? AND device_owner = 'network:router_interface'"
        row = PORTS.first(
            db,
            "id IN (SELECT port_id FROM port_addresses WHERE address = ?"
            f" AND (network_id = ? OR network_id IN ({behind}))) AND host_id != ''",
            (address, owner_id, owner_id),
        )
    return None if row is None or not row.is_plugged else info_in(db, row.id)


def of_devices_in(db: Db, device_ids: Sequence[str]) -> dict[str, list[PortInfo]]:
    """The ports of each machine that has some, in the order in which it got them."""
    told: dict[str, list[PortInfo]] = defaultdict(list)
    for one in infos_in(db, f"device_id IN ({_marks(device_ids)}) AND host_id != ''", device_ids):
        told[one.device_id].append(one)
    return told


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


def network_data(service: Network, server_id: str) -> dict[str, Any]:
    """network_data.json of a machine: its links, how each gets its addresses, and name servers."""

    def read(db: Db) -> dict[str, Any]:
        links: list[dict[str, Any]] = []
        told: list[dict[str, Any]] = []
        services: list[dict[str, str]] = []
        for row in PORTS.where(db, "device_id = ? AND host_id != ''", (server_id,), order="created_at, number"):
            network, link = NETWORKS.need(db, row.network_id), tap_name(row.id)
            links.append(
                {
                    "id": link, "vif_id": row.id, "type": "bridge", "mtu": network.mtu,
                    "ethernet_mac_address": row.mac_address,
                }
            )  # fmt: skip
            for fixed in row.fixed_ips:
                subnet = SUBNETS.need(db, fixed["subnet_id"])
                told.append(_network_told(f"network{len(told)}", link, network, subnet, fixed["ip_address"]))
                for server in subnet.dns_nameservers:
                    entry = {"type": "dns", "address": server}
                    if entry not in services:
                        services.append(entry)
        return {"links": links, "networks": told, "services": services}

    return service.store.read(read)


def _network_told(key: str, link: str, network: NetworkRow, subnet: Subnet, address: str) -> dict[str, Any]:
    plain = {"id": key, "link": link, "network_id": network.id}
    if subnet.ip_version == 6 and subnet.ipv6_address_mode:
        return {**plain, "type": f"ipv6_{subnet.ipv6_address_mode}"}
    if subnet.ip_version == 4 and subnet.enable_dhcp:
        return {**plain, "type": "ipv4_dhcp"}
    ranged = ipaddress.ip_network(subnet.cidr)
    routes = [_route_told(one["destination"], one["nexthop"]) for one in subnet.host_routes]
    if subnet.gateway_ip:
        routes.append(_route_told("::/0" if subnet.ip_version == 6 else "0.0.0.0/0", subnet.gateway_ip))
    return {
        **plain,
        "type": f"ipv{subnet.ip_version}",
        "ip_address": address,
        "netmask": str(ranged.netmask),
        "routes": routes,
        "services": [{"type": "dns", "address": server} for server in subnet.dns_nameservers],
    }


def _route_told(destination: str, gateway: str) -> dict[str, str]:
    ranged = ipaddress.ip_network(destination, strict=False)
    return {"network": str(ranged.network_address), "netmask": str(ranged.netmask), "gateway": gateway}
