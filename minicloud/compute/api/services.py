"""`/os-services`, `/os-availability-zone`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN, ANYONE
from minicloud.api.route import Call, Reply, Route
from minicloud.api.schema import BOOLEAN, OPTIONAL, REQUIRED, Field, Schema, string
from minicloud.compute import aggregates, services
from minicloud.compute.tables import ComputeService
from minicloud.core.errors import Invalid

if TYPE_CHECKING:
    from minicloud.compute import Compute

RULE = "os_compute_api:os-services"
CHANGE = Schema(
    "service",
    Field("status", string(enum=("enabled", "disabled")), update=OPTIONAL),
    Field("disabled_reason", string(low=1, high=255), update=OPTIONAL),
    Field("forced_down", BOOLEAN, update=OPTIONAL),
    rules={"minProperties": 1},
)
NAMED = Schema(
    "service", Field("host", string(low=1), update=REQUIRED), Field("binary", string(low=1), update=REQUIRED)
)
WITH_REASON = Schema("service", *NAMED.fields, Field("disabled_reason", string(low=1, high=255), update=REQUIRED))
FORCED = Schema("service", *NAMED.fields, Field("forced_down", BOOLEAN, update=OPTIONAL))


def _view(compute: Compute, call: Call, row: ComputeService) -> dict[str, Any]:
    told = {
        "id": row.id if call.at_least(2, 53) else row.number,
        "binary": row.binary,
        "host": services.host_name(compute),
        "zone": aggregates.zone_of_host(compute) if row.binary == services.COMPUTE else "internal",
        "status": "disabled" if row.disabled else "enabled",
        "state": "down" if row.forced_down else "up",
        "updated_at": compute.now()[:19] + ".000000",
        "disabled_reason": row.disabled_reason,
    }
    return told | {"forced_down": row.forced_down} if call.at_least(2, 11) else told


async def list_services(compute: Compute, call: Call) -> Reply:
    """`GET /os-services`."""
    rows = services.listed(compute, binary=call.query.get("binary"), host=call.query.get("host"))
    return Reply({"services": [_view(compute, call, row) for row in rows]})


async def update_service(compute: Compute, call: Call) -> Reply:
    """`PUT /os-services/{id}` (2.53)."""
    body = call.body
    disabled = None if "status" not in body else body["status"] == "disabled"
    row = await services.change(
        compute, call.params["service_id"], disabled=disabled, reason=body.get("disabled_reason"),
        forced_down=body.get("forced_down"),
    )  # fmt: skip
    return Reply({"service": _view(compute, call, row)})


async def change_by_name(compute: Compute, call: Call) -> Reply:
    """`PUT /os-services/enable` and its kin, before 2.53."""
    body, verb = call.body, call.request.path.rsplit("/", 1)[1]
    row = services.find_binary(compute, host=body["host"], binary=body["binary"])
    if verb == "force-down":
        if "forced_down" not in body:
            raise Invalid("Missing forced_down field.")
        row = await services.change(compute, row.id, forced_down=body["forced_down"])
        told: dict[str, Any] = {"forced_down": row.forced_down}
    else:
        row = await services.change(compute, row.id, disabled=verb != "enable", reason=body.get("disabled_reason"))
        told = {"status": "disabled" if row.disabled else "enabled"}
        if row.disabled_reason:
            told["disabled_reason"] = row.disabled_reason
    return Reply({"service": {"host": body["host"], "binary": body["binary"], **told}})


async def list_zones(compute: Compute, call: Call) -> Reply:
    """`GET /os-availability-zone`."""
    zones = [
        {"zoneName": name, "zoneState": {"available": _available(compute)}, "hosts": None}
        for name in aggregates.zones(compute)
    ]
    return Reply({"availabilityZoneInfo": zones})


async def list_zone_details(compute: Compute, call: Call) -> Reply:
    """`GET /os-availability-zone/detail`."""
    told, host = [], services.host_name(compute)
    by_zone: dict[str, dict[str, Any]] = {}
    for row in services.listed(compute):
        zone = aggregates.zone_of_host(compute) if row.binary == services.COMPUTE else "internal"
        state = {
            "available": not row.forced_down,
            "active": not row.disabled,
            "updated_at": compute.now()[:19] + ".000000",
        }
        by_zone.setdefault(zone, {})[row.binary] = state
    for zone, binaries in by_zone.items():
        available = True if zone == "internal" else _available(compute)
        told.append({"zoneName": zone, "zoneState": {"available": available}, "hosts": {host: binaries}})
    return Reply({"availabilityZoneInfo": told})


def _available(compute: Compute) -> bool:
    row = services.of_host(compute)
    return not row.disabled and not row.forced_down


_BARE: dict[str, Any] = {"envelope": False, "policy": ADMIN, "rule": f"{RULE}:update", "until": (2, 52)}
ROUTES = [
    Route("GET", "/os-services", list_services, policy=ADMIN, rule=f"{RULE}:list", query=("binary", "host")),
    Route("PUT", "/os-services/enable", change_by_name, body=NAMED, **_BARE),
    Route("PUT", "/os-services/disable", change_by_name, body=NAMED, **_BARE),
    Route("PUT", "/os-services/disable-log-reason", change_by_name, body=WITH_REASON, **_BARE),
    Route("PUT", "/os-services/force-down", change_by_name, body=FORCED, since=(2, 11), **_BARE),
    Route("PUT", "/os-services/{service_id}", update_service, body=CHANGE, envelope=False, policy=ADMIN, rule=f"{RULE}:update",
          since=(2, 53)),
    Route("GET", "/os-availability-zone", list_zones, policy=ANYONE, rule="os_compute_api:os-availability-zone:list"),
    Route("GET", "/os-availability-zone/detail", list_zone_details, policy=ADMIN, rule="os_compute_api:os-availability-zone:detail"),
]  # fmt: skip
