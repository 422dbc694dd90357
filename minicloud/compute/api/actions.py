"""A server's history and health: `/servers/{id}/os-instance-actions`, `/servers/{id}/diagnostics`, `/servers/{id}/migrations`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN, MANAGER, READER
from minicloud.api.route import Call, Reply, Route
from minicloud.compute import actions, servers, services
from minicloud.compute.api.server_view import host_id
from minicloud.compute.api.servers import moment_of
from minicloud.compute.tables import SERVERS, InstanceAction
from minicloud.core.errors import Invalid, NotFound

if TYPE_CHECKING:
    from minicloud.compute import Compute

RULE = "os_compute_api:os-instance-actions"


def _row(compute: Compute, call: Call) -> str:
    """The server's id, if the caller may know it; from 2.21 on that of a deleted one too."""
    server_id = call.params["server_id"]
    if call.at_least(2, 21):
        row = compute.store.read(SERVERS.get, server_id)
        if row is not None and call.ctx.sees(row.project_id):
            return row.id
        raise NotFound(f"Instance {server_id} could not be found.")
    return compute.server(call.ctx, server_id).id


def _brief(call: Call, row: InstanceAction) -> dict[str, Any]:
    told = {
        "action": row.action, "instance_uuid": row.server_id, "request_id": row.request_id, "user_id": row.user_id,
        "project_id": row.project_id, "start_time": row.started_at, "message": row.message,
    }  # fmt: skip
    return told | {"updated_at": row.updated_at} if call.at_least(2, 58) else told


async def list_actions(compute: Compute, call: Call) -> Reply:
    """`GET .../os-instance-actions`."""
    rows = actions.listed(compute, _row(compute, call))
    extra: dict[str, Any] = {}
    if call.at_least(2, 58):
        rows = _since(call, rows)
        limit, marker = call.query.get("limit"), call.query.get("marker")
        if limit is not None and not (limit.isascii() and limit.isdigit()):
            raise Invalid(f"Cannot use limit {limit[:40]!r}: it must be a whole number, 0 or more.")
        if marker is not None:
            places = [index for index, row in enumerate(rows) if row.request_id == marker]
            if not places:
                raise Invalid(f"Marker [{marker}] not found.")
            rows = rows[places[0] + 1 :]
        if limit is not None and int(limit) < len(rows):
            rows = rows[: int(limit)]
            href = f"{call.root}/servers/{call.params['server_id']}/os-instance-actions?limit={limit}"
            extra["links"] = [{"rel": "next", "href": f"{href}&marker={rows[-1].request_id}"}] if rows else []
    return Reply({"instanceActions": [_brief(call, row) for row in rows], **extra})


def _since(call: Call, rows: list[InstanceAction]) -> list[InstanceAction]:
    if "changes-since" in call.query:
        since = moment_of(call.query["changes-since"], "changes-since")
        rows = [row for row in rows if row.updated_at >= since]
    if "changes-before" in call.query and call.at_least(2, 66):
        before = moment_of(call.query["changes-before"], "changes-before")
        rows = [row for row in rows if row.updated_at <= before]
    return rows


async def show_action(compute: Compute, call: Call) -> Reply:
    """`GET .../os-instance-actions/{request_id}`."""
    row = actions.show(compute, _row(compute, call), call.params["request_id"])
    told = _brief(call, row)
    if call.ctx.is_admin or call.at_least(2, 51):
        told["events"] = [_event(compute, call, row, one) for one in row.events]
    return Reply({"instanceAction": told})


def _event(compute: Compute, call: Call, row: InstanceAction, event: dict[str, Any]) -> dict[str, Any]:
    told = {name: event[name] for name in ("event", "start_time", "finish_time", "result")}
    if call.ctx.is_admin:
        told["traceback"] = None
    if call.at_least(2, 62):
        host = services.host_name(compute)
        told["hostId"] = host_id(row.project_id, host)
        if call.ctx.is_admin:
            told["host"] = host
    if call.at_least(2, 84):
        told["details"] = event["details"]
    return told


async def show_diagnostics(compute: Compute, call: Call) -> Reply:
    """`GET .../diagnostics`: 2.48's schema at every version."""
    return Reply(servers.diagnostics(compute, call.ctx, call.params["server_id"]))


async def list_migrations(compute: Compute, call: Call) -> Reply:
    """`GET .../migrations`: one host, nothing ever migrates."""
    compute.server(call.ctx, call.params["server_id"])
    return Reply({"migrations": []})


async def list_all_migrations(compute: Compute, call: Call) -> Reply:
    """`GET /os-migrations`: as above, for all servers."""
    return Reply({"migrations": []})


_ACTIONS = "/servers/{server_id}/os-instance-actions"
ROUTES = [
    Route("GET", _ACTIONS, list_actions, policy=READER, rule=f"{RULE}:list"),
    Route("GET", _ACTIONS + "/{request_id}", show_action, policy=READER, rule=f"{RULE}:show"),
    Route("GET", "/servers/{server_id}/diagnostics", show_diagnostics, policy=ADMIN, rule="os_compute_api:os-server-diagnostics"),
    Route("GET", "/servers/{server_id}/migrations", list_migrations, policy=MANAGER,
          rule="os_compute_api:servers:migrations:index", since=(2, 23)),
    Route("GET", "/os-migrations", list_all_migrations, policy=MANAGER, rule="os_compute_api:os-migrations:index"),
]  # fmt: skip
