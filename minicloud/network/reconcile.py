"""Rows against host: at boot, every minute, and when something did not follow.

Looks first, reads rows then: what was seen and has no row is an orphan, since rows are written before the host is touched.
One odd network stops no other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import structlog

from minicloud.core.errors import Failure
from minicloud.core.store import Db
from minicloud.host import Host
from minicloud.host.firewall import GroupFilter, PortFilter, Uplink
from minicloud.host.links import BRIDGE_MARK, bridge_name, tap_name
from minicloud.host.namespaces import DHCP_PREFIX, ROUTER_PREFIX
from minicloud.network import external, plan, ports
from minicloud.network.converge import PLUGGED, group_rows
from minicloud.network.tables import NETWORKS, PORTS, SECURITY_GROUPS, SUBNETS

if TYPE_CHECKING:
    from minicloud.network import Network

log = structlog.get_logger(__name__)


async def run(service: Network, host: Host) -> None:
    """Close the gap between rows and host."""
    await external.make_once(service)
    await _remove_orphans(service, host)
    await load_filters(service, host)
    for network_id in service.store.read(_without_dhcp_port):
        await service.store.write(_keep_dhcp_port, service, network_id)
    for network_id in service.store.read(_ids, "networks"):
        await service.converge.network(network_id)
    for router_id in service.store.read(_ids, "routers"):
        await service.converge.router(router_id)


async def load_filters(service: Network, host: Host) -> None:
    """All port filters at once, if the host's differ from the rows' (always at boot: a rule may have changed unseen)."""
    filters, groups, uplinks = service.store.read(_filters, service)
    present = await host.firewall.actual()
    if service.converge.filters_loaded and present == {one.tap for one in filters}:
        return
    await host.firewall.load(ports=filters, groups=groups, uplinks=uplinks)
    service.converge.filters_loaded, service.converge.known_uplinks = True, uplinks


async def _remove_orphans(service: Network, host: Host) -> None:
    links, spaces, served = await host.links.actual(), await host.namespaces.actual(), await host.dhcp.actual()
    networks, routers = set(service.store.read(_ids, "networks")), set(service.store.read(_ids, "routers"))
    named = {bridge_name(network_id) for network_id in networks}
    for owner_id in served - networks - routers:
        await _drop(host.dhcp.remove, owner_id)
    for space in spaces:
        known = routers if space.startswith(ROUTER_PREFIX) else networks
        if space.removeprefix(ROUTER_PREFIX).removeprefix(DHCP_PREFIX) not in known:
            await _drop(host.namespaces.remove, space)
    for name in links.bridges:
        if name.startswith(BRIDGE_MARK) and name not in named:
            await _drop(host.links.remove_bridge, name)
    # A guest's tap that fell off its bridge is put back by its network: removed, it would be dead to the guest.
    explained = {tap_name(port_id) for port_id in service.store.read(_plugged)}
    for name in links.loose - explained:
        await _drop(host.links.remove_link, name)


async def _drop(remove: Callable[[str], Awaitable[None]], name: str) -> None:
    try:
        await remove(name)
        log.info("removed what no row explains", name=name)
    except Failure as failure:
        log.warning("cannot remove what no row explains", name=name, error=failure.message)


def _ids(db: Db, table: str) -> list[str]:
    return [key for (key,) in db.execute(f"SELECT id FROM {table} ORDER BY created_at, id")]


def _plugged(db: Db) -> list[str]:
    return [key for (key,) in db.execute(f"SELECT id FROM ports WHERE {PLUGGED}")]


def _without_dhcp_port(db: Db) -> list[str]:
    """Networks with a served subnet in which our DHCP port has no address (somebody deleted it, or there was no room)."""
    sql = (
        "SELECT DISTINCT s.network_id FROM subnets s WHERE s.enable_dhcp = 1 AND NOT EXISTS (SELECT 1 FROM port_addresses a"
        " JOIN ports p ON p.id = a.port_id WHERE a.subnet_id = s.id AND p.device_owner = ?)"
    )
    return [key for (key,) in db.execute(sql, (ports.DHCP,))]


def _keep_dhcp_port(db: Db, service: Network, network_id: str) -> None:
    if NETWORKS.get(db, network_id) is not None:
        ports.keep_dhcp_port_in(db, service, network_id)


def _filters(db: Db, service: Network) -> tuple[tuple[PortFilter, ...], tuple[GroupFilter, ...], tuple[Uplink, ...]]:
    networks = {row.id: row for row in NETWORKS.where(db)}
    plugged = PORTS.where(db, PLUGGED, order="number")
    filters = tuple(plan.port_filter_of(port, networks[port.network_id]) for port in plugged)
    groups = tuple(
        plan.group_filter_of(group, *group_rows(db, group.id)[1:])
        for group in SECURITY_GROUPS.where(db, order="number")
    )
    outside = [
        (row, SUBNETS.where(db, "network_id = ?", (row.id,), order="id")) for row in networks.values() if row.external
    ]
    return filters, groups, plan.uplinks_of(sorted(outside, key=lambda one: one[0].id), service.config.network)
