"""What administrators see of the machinery: agents, and how full networks are.

There are no agents here: the daemon does their work. Clients look for them all the same (Horizon's system page, tests that
wait for one to be alive), so the two jobs that agents have elsewhere are told as what they are, parts of this daemon.
"""

from __future__ import annotations

import ipaddress
import uuid
from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN, ADMIN_OR_SERVICE, ANYONE
from minicloud.api.route import Call, Reply, Route
from minicloud.core.errors import Invalid, NotFound
from minicloud.core.store import Db
from minicloud.network import networks, ports, routers, standing
from minicloud.network.api.listing import PAGING
from minicloud.network.api.networks import NETWORK, shown_networks
from minicloud.network.tables import NETWORKS, PORTS, SUBNETS, NetworkRow, Subnet

if TYPE_CHECKING:
    from minicloud.network import Network

JOBS = {"DHCP agent": "dhcp_agent", "L3 agent": "l3_agent"}


def _agents(service: Network) -> list[dict[str, Any]]:
    now = service.clock.now().strftime("%Y-%m-%d %H:%M:%S")
    return [
        {
            "id": str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{topic}.{service.host_name}")), "agent_type": kind,
            "binary": "minicloud", "topic": topic, "host": service.host_name, "admin_state_up": True, "alive": True,
            "created_at": now, "started_at": now, "heartbeat_timestamp": now, "description": None,
            "availability_zone": "nova", "configurations": {},
        }
        for kind, topic in JOBS.items()
    ]  # fmt: skip


async def list_agents(service: Network, call: Call) -> Reply:
    """List agents; members see none."""
    known = _agents(service)
    for name in call.query:
        if name in known[0]:
            known = [
                one for one in known if str(one[name]).lower() in [text.lower() for text in call.query.getall(name)]
            ]
        elif name not in PAGING:
            raise Invalid(
                f"Cannot filter so: ['{name[:80]}'] is invalid attribute for filtering.", code="HTTPBadRequest"
            )
        if not known:
            break
    return Reply({"agents": known if call.ctx.is_admin else []})


async def show_agent(service: Network, call: Call) -> Reply:
    """Show an agent."""
    return Reply({"agent": _agent(service, call)})


def _agent(service: Network, call: Call) -> dict[str, Any]:
    found = next((one for one in _agents(service) if one["id"] == call.params["agent_id"]), None)
    if found is None:
        raise NotFound(f"Agent {call.params['agent_id']} could not be found.", code="AgentNotFound")
    return found


async def list_dhcp_agents(service: Network, call: Call) -> Reply:
    """List who serves a network's DHCP."""
    row = networks.show(service, call.ctx, call.params["network_id"])
    served = service.store.read(PORTS.count, "network_id = ? AND device_owner = ?", (row.id, ports.DHCP))
    return Reply({"agents": [one for one in _agents(service) if served and one["topic"] == "dhcp_agent"]})


async def list_dhcp_networks(service: Network, call: Call) -> Reply:
    """List the networks whose DHCP an agent serves."""
    agent = _agent(service, call)
    served: list[NetworkRow] = []
    if agent["topic"] == "dhcp_agent":
        sql = "id IN (SELECT network_id FROM ports WHERE device_owner = ?)"
        served = service.store.read(NETWORKS.where, sql, (ports.DHCP,), order="id")
    return Reply({"networks": [NETWORK.view(row, call) for row in shown_networks(service, call, served)]})


async def list_l3_agents(service: Network, call: Call) -> Reply:
    """List who runs a router."""
    routers.show(service, call.ctx, call.params["router_id"])
    return Reply({"agents": [one for one in _agents(service) if one["topic"] == "l3_agent"]})


async def list_availabilities(service: Network, call: Call) -> Reply:
    """List how many addresses of each network are in use."""
    names = {"network_id": "id", "network_name": "name", "project_id": "project_id", "tenant_id": "project_id"}
    rows = service.store.read(NETWORKS.where, order="id")
    for name in call.query:
        if name in names:
            rows = [row for row in rows if getattr(row, names[name]) in call.query.getall(name)]
        elif name == "ip_version":
            continue
        elif name not in ("fields", "limit", "marker"):
            raise Invalid(
                f"Cannot filter so: ['{name[:80]}'] is invalid attribute for filtering.", code="HTTPBadRequest"
            )
    versions = [int(one) for one in call.query.getall("ip_version", []) if one in ("4", "6")]
    return Reply({"network_ip_availabilities": [_availability(service, row, versions) for row in rows]})


async def show_availability(service: Network, call: Call) -> Reply:
    """Show how many addresses of a network are in use."""
    row = service.store.read(standing.visible_in, call.ctx, NETWORKS, call.params["network_id"], networks.NOT_FOUND)
    return Reply({"network_ip_availability": _availability(service, row, [])})


def _availability(service: Network, row: NetworkRow, versions: list[int]) -> dict[str, Any]:
    def read(db: Db) -> list[dict[str, Any]]:
        found = SUBNETS.where(db, "network_id = ?", (row.id,), order="created_at, id")
        return [_subnet_availability(db, one) for one in found if not versions or one.ip_version in versions]

    told = service.store.read(read)
    return {
        "network_id": row.id, "network_name": row.name, "project_id": row.project_id, "tenant_id": row.project_id,
        "total_ips": sum(one["total_ips"] for one in told), "used_ips": sum(one["used_ips"] for one in told),
        "subnet_ip_availability": told,
    }  # fmt: skip


def _subnet_availability(db: Db, subnet: Subnet) -> dict[str, Any]:
    used = db.execute("SELECT count(*) FROM port_addresses WHERE subnet_id = ?", (subnet.id,)).fetchone()[0]
    total = sum(
        int(ipaddress.ip_address(pool["end"])) - int(ipaddress.ip_address(pool["start"])) + 1
        for pool in subnet.allocation_pools
    )
    return {
        "subnet_id": subnet.id, "subnet_name": subnet.name, "cidr": subnet.cidr, "ip_version": subnet.ip_version,
        "total_ips": total, "used_ips": used,
    }  # fmt: skip


ROUTES = [
    Route("GET", "/agents", list_agents, ANYONE, "get_agent"),
    Route("GET", "/agents/{agent_id}", show_agent, ADMIN, "get_agent"),
    Route("GET", "/agents/{agent_id}/dhcp-networks", list_dhcp_networks, ADMIN, "get_dhcp-networks"),
    Route("GET", "/networks/{network_id}/dhcp-agents", list_dhcp_agents, ADMIN, "get_dhcp-agents"),
    Route("GET", "/routers/{router_id}/l3-agents", list_l3_agents, ADMIN, "get_l3-agents"),
    Route("GET", "/network-ip-availabilities", list_availabilities, ADMIN_OR_SERVICE, "get_network_ip_availability"),
    Route(
        "GET",
        "/network-ip-availabilities/{network_id}",
        show_availability,
        ADMIN_OR_SERVICE,
        "get_network_ip_availability",
    ),
]
