"""`/os-hypervisors`: this host, its size and its servers."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN
from minicloud.api.route import Call, Reply, Route
from minicloud.compute import services
from minicloud.compute.states import Vm
from minicloud.compute.tables import SERVERS, Server
from minicloud.core.errors import Invalid, NotFound

if TYPE_CHECKING:
    from minicloud.compute import Compute

RULE = "os_compute_api:os-hypervisors"
NUMBER = 1
"""Its id before 2.53; from then on it is the resource provider's."""


def placed(compute: Compute) -> list[Server]:
    """The servers that have their place on this host."""
    return compute.store.read(SERVERS.where, "deleted = 0 AND placed = 1", order="number")


def _brief(compute: Compute, call: Call, *, with_servers: bool) -> dict[str, Any]:
    service = services.of_host(compute)
    told: dict[str, Any] = {
        "id": compute.placement.provider_id if call.at_least(2, 53) else NUMBER,
        "hypervisor_hostname": services.host_name(compute),
        "state": "down" if service.forced_down else "up",
        "status": "disabled" if service.disabled else "enabled",
    }
    if with_servers:
        found = [{"name": row.instance_name, "uuid": row.id} for row in placed(compute)]
        if found or call.at_least(2, 75):
            told["servers"] = found
    return told


def _details(compute: Compute, call: Call, *, with_servers: bool) -> dict[str, Any]:
    service, seen = services.of_host(compute), compute.hypervisor.capabilities()
    told = _brief(compute, call, with_servers=with_servers) | {
        "hypervisor_type": seen.hypervisor_type,
        "hypervisor_version": seen.hypervisor_version,
        "host_ip": compute.config.api.listen,
        "service": {
            "id": service.id if call.at_least(2, 53) else service.number, "host": services.host_name(compute),
            "disabled_reason": service.disabled_reason,
        },
    }  # fmt: skip
    if call.at_least(2, 88):
        return told | {"uptime": _uptime(compute)}
    cpu = {
        "arch": seen.architecture, "model": seen.cpu_model, "vendor": "", "topology": {"cells": 1, **seen.cpu_topology},
        "features": list(seen.cpu_features),
    }  # fmt: skip
    return told | sizes(compute) | {"cpu_info": cpu if call.at_least(2, 28) else json.dumps(cpu)}


def _uptime(compute: Compute) -> str:
    """As uptime(1) prints it, which is what clients take apart."""
    minutes = int(time.clock_gettime(time.CLOCK_BOOTTIME)) // 60
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    load = ", ".join(f"{one:.2f}" for one in os.getloadavg())
    return f" {compute.clock.now():%H:%M:%S} up {days} days, {hours:2}:{minutes:02},  0 users,  load average: {load}"


def sizes(compute: Compute) -> dict[str, int]:
    """What there is and what is promised; memory in MiB, disk in GiB."""
    seen, used = compute.hypervisor.capabilities(), compute.placement.usage()
    inventory = compute.placement.inventory()
    disk = inventory["DISK_GB"].total if "DISK_GB" in inventory else 0
    memory_used = used.get("MEMORY_MB", 0) + compute.config.compute.reserved_ram_mb
    rows = placed(compute)
    return {
        "vcpus": seen.vcpus, "memory_mb": seen.memory_mb, "local_gb": disk, "vcpus_used": used.get("VCPU", 0),
        "memory_mb_used": memory_used, "local_gb_used": used.get("DISK_GB", 0), "free_ram_mb": seen.memory_mb - memory_used,
        "free_disk_gb": disk - used.get("DISK_GB", 0), "disk_available_least": disk - used.get("DISK_GB", 0),
        "current_workload": sum(1 for row in rows if row.task_state), "running_vms": sum(1 for row in rows if row.vm_state == Vm.ACTIVE),
    }  # fmt: skip


def _wanted(compute: Compute, call: Call) -> bool:
    """Whether the only hypervisor matches the query's pattern; `NotFound` when a pattern matches none."""
    pattern = call.query.get("hypervisor_hostname_pattern")
    if pattern is None or not call.at_least(2, 53):
        return True
    if "limit" in call.query or "marker" in call.query:
        raise Invalid("Paging over hypervisors with the hypervisor_hostname_pattern query parameter is not supported.")
    if pattern not in services.host_name(compute):
        raise NotFound(f"No hypervisor matching '{pattern}' could be found.")
    return True


def _paged_out(compute: Compute, call: Call) -> bool:
    marker = call.query.get("marker") if call.at_least(2, 33) else None
    if marker is None:
        return call.query.get("limit") == "0"
    known = compute.placement.provider_id if call.at_least(2, 53) else str(NUMBER)
    if marker != known:
        raise Invalid(f"Marker [{marker}] not found.")
    return True


def _with_servers(call: Call) -> bool:
    return call.at_least(2, 53) and call.query.get("with_servers", "").lower() in ("1", "true", "yes", "on")


async def list_hypervisors(compute: Compute, call: Call) -> Reply:
    """`GET /os-hypervisors`."""
    shown = _wanted(compute, call) and not _paged_out(compute, call)
    return Reply({"hypervisors": [_brief(compute, call, with_servers=_with_servers(call))] if shown else []})


async def list_details(compute: Compute, call: Call) -> Reply:
    """`GET /os-hypervisors/detail`."""
    shown = _wanted(compute, call) and not _paged_out(compute, call)
    return Reply({"hypervisors": [_details(compute, call, with_servers=_with_servers(call))] if shown else []})


def _require(compute: Compute, call: Call) -> None:
    known = compute.placement.provider_id if call.at_least(2, 53) else str(NUMBER)
    if call.params["hypervisor_id"] != known:
        raise NotFound(f"Hypervisor with ID '{call.params['hypervisor_id']}' could not be found.")


async def show_hypervisor(compute: Compute, call: Call) -> Reply:
    """`GET /os-hypervisors/{id}`."""
    _require(compute, call)
    return Reply({"hypervisor": _details(compute, call, with_servers=_with_servers(call))})


async def show_uptime(compute: Compute, call: Call) -> Reply:
    """`GET /os-hypervisors/{id}/uptime`, before 2.88."""
    _require(compute, call)
    return Reply({"hypervisor": {**_brief(compute, call, with_servers=False), "uptime": _uptime(compute)}})


async def show_statistics(compute: Compute, call: Call) -> Reply:
    """`GET /os-hypervisors/statistics`, before 2.88."""
    return Reply({"hypervisor_statistics": {"count": 1, **sizes(compute)}})


async def search(compute: Compute, call: Call) -> Reply:
    """`GET /os-hypervisors/{pattern}/search` and `/servers`, before 2.53."""
    pattern = call.params["hypervisor_id"]
    if pattern not in services.host_name(compute):
        raise NotFound(f"No hypervisor matching '{pattern}' could be found.")
    with_servers = call.request.path.endswith("/servers")
    return Reply({"hypervisors": [_brief(compute, call, with_servers=with_servers)]})


QUERY = ("limit", "marker", "hypervisor_hostname_pattern", "with_servers")
_ONE = "/os-hypervisors/{hypervisor_id}"
ROUTES = [
    Route("GET", "/os-hypervisors", list_hypervisors, policy=ADMIN, rule=f"{RULE}:list", query=QUERY),
    Route("GET", "/os-hypervisors/detail", list_details, policy=ADMIN, rule=f"{RULE}:list-detail", query=QUERY),
    Route("GET", "/os-hypervisors/statistics", show_statistics, policy=ADMIN, rule=f"{RULE}:statistics", until=(2, 87)),
    Route("GET", _ONE, show_hypervisor, policy=ADMIN, rule=f"{RULE}:show", query=("with_servers",)),
    Route("GET", _ONE + "/uptime", show_uptime, policy=ADMIN, rule=f"{RULE}:uptime", until=(2, 87)),
    Route("GET", _ONE + "/search", search, policy=ADMIN, rule=f"{RULE}:search", until=(2, 52)),
    Route("GET", _ONE + "/servers", search, policy=ADMIN, rule=f"{RULE}:servers", until=(2, 52)),
]
