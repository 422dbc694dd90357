"""`/os-simple-tenant-usage`: hours of servers, cores, memory and disk, computed from the rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN, READER
from minicloud.api.route import Call, Reply, Route
from minicloud.compute import states
from minicloud.compute.tables import SERVERS, Server
from minicloud.core.clock import moment, stamp
from minicloud.core.errors import Forbidden, Invalid, NotFound

if TYPE_CHECKING:
    from minicloud.compute import Compute

RULE = "os_compute_api:os-simple-tenant-usage"
QUERY = ("start", "end", "detailed", "limit", "marker")


def _period(compute: Compute, call: Call) -> tuple[datetime, datetime]:
    now = compute.clock.now()
    found = []
    for name, default in (("start", now - timedelta(weeks=4)), ("end", now)):
        text = call.query.get(name)
        try:
            told = default if text is None else datetime.fromisoformat(text)
        except ValueError:
            raise Invalid(f"Cannot use {name} {text!r}: it is no date-time.") from None
        found.append(told if told.tzinfo else told.replace(tzinfo=UTC))
    if found[0] >= found[1]:
        raise Invalid("Invalid start time. The start time cannot occur after the end time.")
    return found[0], found[1]


def _hours(row: Server, start: datetime, end: datetime) -> float:
    begun = moment(row.launched_at or row.created_at)
    ended = moment(row.terminated_at) if row.terminated_at else end
    return max(0.0, (min(ended, end) - max(begun, start)).total_seconds() / 3600)


def _server(row: Server, start: datetime, end: datetime) -> dict[str, Any]:
    begun = row.launched_at or row.created_at
    until = moment(row.terminated_at) if row.terminated_at else end
    return {
        "hours": _hours(row, start, end), "flavor": row.flavor["name"], "instance_id": row.id, "name": row.name,
        "tenant_id": row.project_id, "memory_mb": row.flavor["ram_mb"],
        "local_gb": row.flavor["disk_gb"] + row.flavor["ephemeral_gb"], "vcpus": row.flavor["vcpus"], "started_at": begun,
        "ended_at": row.terminated_at, "state": "terminated" if row.deleted else states.Vm(row.vm_state).value,
        "uptime": max(0, int((until - moment(begun)).total_seconds())),
    }  # fmt: skip


def _usage(project_id: str, rows: list[Server], start: datetime, end: datetime, *, detailed: bool) -> dict[str, Any]:
    usages = [_server(row, start, end) for row in rows]
    told: dict[str, Any] = {
        "tenant_id": project_id,
        "total_hours": sum(one["hours"] for one in usages),
        "total_vcpus_usage": sum(one["hours"] * one["vcpus"] for one in usages),
        "total_memory_mb_usage": sum(one["hours"] * one["memory_mb"] for one in usages),
        "total_local_gb_usage": sum(one["hours"] * one["local_gb"] for one in usages),
        "start": stamp(start),
        "stop": stamp(end),
    }
    return told | {"server_usages": usages} if detailed else told


def _rows(compute: Compute, start: datetime, end: datetime, project_id: str | None) -> list[Server]:
    condition = "created_at < ? AND (terminated_at IS NULL OR terminated_at > ?)"
    values: list[Any] = [stamp(end), stamp(start)]
    if project_id is not None:
        condition, values = condition + " AND project_id = ?", [*values, project_id]
    return compute.store.read(SERVERS.where, condition, values, order="project_id, created_at")


async def list_usages(compute: Compute, call: Call) -> Reply:
    """`GET /os-simple-tenant-usage`; with a slash at the end it asks for a project without an id, and there is none."""
    if call.request.path.endswith("/"):
        raise NotFound("Cannot show the usage: no project is named.")
    start, end = _period(compute, call)
    projects: dict[str, list[Server]] = {}
    for row in _rows(compute, start, end, None):
        projects.setdefault(row.project_id, []).append(row)
    detailed = call.query.get("detailed") == "1"
    return Reply(
        {"tenant_usages": [_usage(one, rows, start, end, detailed=detailed) for one, rows in projects.items()]}
    )


async def show_usage(compute: Compute, call: Call) -> Reply:
    """`GET /os-simple-tenant-usage/{project}`."""
    project_id = call.params["tenant_id"]
    if not call.ctx.sees(project_id):
        raise Forbidden(f"Policy doesn't allow {RULE}:show to be performed.", code=f"{RULE}:show")
    start, end = _period(compute, call)
    rows = _rows(compute, start, end, project_id)
    return Reply({"tenant_usage": _usage(project_id, rows, start, end, detailed=True) if rows else {}})


ROUTES = [
    Route("GET", "/os-simple-tenant-usage", list_usages, policy=ADMIN, rule=f"{RULE}:list", query=QUERY),
    Route("GET", "/os-simple-tenant-usage/{tenant_id}", show_usage, policy=READER, rule=f"{RULE}:show", query=QUERY),
]
