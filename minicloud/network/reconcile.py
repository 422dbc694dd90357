"""Rows against host: at boot, every half minute, and when something did not follow.

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
from minicloud.host.links import BRIDGE_MARK, bridge_name, tap_name
from minicloud.host.namespaces import DHCP_PREFIX, ROUTER_PREFIX
from minicloud.network import external, ports
from minicloud.network.converge import PLUGGED
from minicloud.network.tables import NETWORKS

if TYPE_CHECKING:
    from minicloud.network import Network

log = structlog.get_logger(__name__)


async def run(service: Network, host: Host) -> None:
    """Close the gap between rows and host."""
    await external.make_once(service)
    await _remove_orphans(service, host)
    for network_id in service.store.read(_without_dhcp_port):
        await service.store.write(_keep_dhcp_port, service, network_id)
    with service.converge.one_look():
        for network_id in service.store.read(_ids, "networks"):
            await service.converge.network(network_id)
        for router_id in service.store.read(_ids, "routers"):
            await service.converge.router(router_id)


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
