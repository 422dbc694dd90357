"""Instance actions: the history that a server's owner may read. Written inside the transactions of the stories."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicloud.compute.tables import INSTANCE_ACTIONS, SERVERS, InstanceAction, Server
from minicloud.core.context import Context
from minicloud.core.errors import NotFound
from minicloud.core.store import Db
from minicloud.volume import VolumeExtended

if TYPE_CHECKING:
    from minicloud.compute import Compute


def begin_in(db: Db, ctx: Context, server: Server, action: str, now: str) -> None:
    """Note that `action` begins."""
    row = InstanceAction(
        id=None, server_id=server.id, request_id=ctx.request_id, action=action, user_id=ctx.user_id,
        project_id=ctx.project_id or server.project_id, started_at=now, updated_at=now, message=None, events=[],
    )  # fmt: skip
    INSTANCE_ACTIONS.insert(db, row)


def finish_in(db: Db, ctx: Context, server_id: str, event: str, now: str, *, error: str | None = None) -> None:
    """Note how it went; `error` is what the owner is told when it failed."""
    row = _of_request_in(db, server_id, ctx.request_id)
    if row is None or row.id is None:
        return
    told = {
        "event": event, "start_time": row.started_at, "finish_time": now,
        "result": "Success" if error is None else "Error", "details": error,
    }  # fmt: skip
    INSTANCE_ACTIONS.change(db, row.id, updated_at=now, events=[*row.events, told], message="Error" if error else None)


def volume_extended_in(compute: Compute, db: Db, fact: VolumeExtended) -> None:
    """Note that a volume of the server was made larger, or why it was not."""
    server = SERVERS.get(db, fact.server_id)
    if server is not None and not server.deleted:
        begin_in(db, fact.ctx, server, "extend_volume", fact.started_at)
        finish_in(db, fact.ctx, server.id, "compute_extend_volume", compute.now(), error=fact.error)


def listed(compute: Compute, server_id: str) -> list[InstanceAction]:
    """A server's actions, newest first."""
    return compute.store.read(INSTANCE_ACTIONS.where, "server_id = ?", (server_id,), order="id DESC")


def show(compute: Compute, server_id: str, request_id: str) -> InstanceAction:
    """What one request did to a server."""
    found = compute.store.read(_of_request_in, server_id, request_id)
    if found is None:
        raise NotFound(f"Action for request_id {request_id} on instance {server_id} not found.")
    return found


def _of_request_in(db: Db, server_id: str, request_id: str) -> InstanceAction | None:
    return INSTANCE_ACTIONS.first(db, "server_id = ? AND request_id = ?", (server_id, request_id), order="id DESC")
