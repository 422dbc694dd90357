"""`/os-hosts`: this host as clients of old knew it (until 2.42; `openstack host list` still asks for it)."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from minicloud.api.policy import ADMIN
from minicloud.api.route import Call, Reply, Route
from minicloud.compute import aggregates, services
from minicloud.compute.api.hypervisors import placed, sizes
from minicloud.core.errors import NotFound

if TYPE_CHECKING:
    from minicloud.compute import Compute

LAST = (2, 42)
RULE = "os_compute_api:os-hosts"


async def list_hosts(compute: Compute, call: Call) -> Reply:
    """`GET /os-hosts`: one line for each service of this host."""
    host, zone = services.host_name(compute), aggregates.zone_of_host(compute)
    told = [
        {
            "host_name": host,
            "service": row.binary.removeprefix("nova-"),
            "zone": zone if row.binary == services.COMPUTE else "internal",
        }
        for row in services.listed(compute)
    ]
    return Reply({"hosts": [one for one in told if call.query.get("zone") in (None, one["zone"])]})


async def show_host(compute: Compute, call: Call) -> Reply:
    """`GET /os-hosts/{host_name}`: what there is, what is promised, and to whom."""
    host, name = services.host_name(compute), call.params["host_name"]
    if name != host:
        raise NotFound(f"Compute host {name[:80]} could not be found.")
    seen = sizes(compute)
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for row in placed(compute):
        flavor = row.flavor
        amounts = flavor["vcpus"], flavor["ram_mb"], flavor["disk_gb"] + flavor.get("ephemeral_gb", 0)
        sums[row.project_id] = [one + more for one, more in zip(sums[row.project_id], amounts, strict=True)]
    most = [sum(column) for column in zip(*sums.values(), strict=True)] or [0, 0, 0]
    lines = {
        "(total)": [seen["vcpus"], seen["memory_mb"], seen["local_gb"]],
        "(used_now)": [seen["vcpus_used"], seen["memory_mb_used"], seen["local_gb_used"]],
        "(used_max)": most,
        **sums,
    }
    return Reply(
        {
            "host": [
                {"resource": {"host": host, "project": project, "cpu": cpu, "memory_mb": memory, "disk_gb": disk}}
                for project, (cpu, memory, disk) in lines.items()
            ]
        }
    )


ROUTES = [
    Route("GET", "/os-hosts", list_hosts, policy=ADMIN, rule=RULE + ":list", until=LAST),
    Route("GET", "/os-hosts/{host_name}", show_host, policy=ADMIN, rule=RULE + ":show", until=LAST),
]
