"""Server groups: wishes about which servers share a host. With one host, anti-affinity means one member."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from minicloud.compute.tables import SERVER_GROUPS, SERVERS, Server, ServerGroup
from minicloud.core.context import Context
from minicloud.core.errors import Invalid, NoCapacity, NotFound, OverQuota
from minicloud.core.quota import UNLIMITED
from minicloud.core.store import Db

if TYPE_CHECKING:
    from minicloud.compute import Compute

POLICIES = ("anti-affinity", "affinity", "soft-anti-affinity", "soft-affinity")


def visible_in(db: Db, ctx: Context, group_id: str) -> ServerGroup:
    """A group that the caller may know."""
    row = SERVER_GROUPS.get(db, group_id)
    if row is None or not ctx.sees(row.project_id):
        raise NotFound(f"Instance group {group_id} could not be found.")
    return row


def show(compute: Compute, ctx: Context, group_id: str) -> ServerGroup:
    """A group that the caller may know."""
    return compute.store.read(visible_in, ctx, group_id)


def listed(compute: Compute, ctx: Context, *, all_projects: bool, limit: int, offset: int) -> list[ServerGroup]:
    """A project's groups, or everybody's, oldest first."""
    condition, params = ("", ()) if all_projects else ("project_id = ?", (ctx.project_id,))
    rows = compute.store.read(SERVER_GROUPS.where, condition, params, order="created_at, id")
    return rows[offset : offset + limit]


def members(compute: Compute, group: ServerGroup) -> list[str]:
    """Ids of the group's living servers."""
    found = compute.store.read(SERVERS.where, "server_group_id = ? AND deleted = 0", (group.id,), order="created_at")
    return [server.id for server in found]


def of_server(compute: Compute, server: Server) -> list[str]:
    """Ids of the groups that a server is in."""
    return [server.server_group_id] if server.server_group_id else []


async def create(compute: Compute, ctx: Context, *, name: str, policy: str, rules: dict[str, Any]) -> ServerGroup:
    """A new group. Raises `Invalid` for rules that don't go with the policy, `OverQuota`."""
    if rules and policy != "anti-affinity":
        raise Invalid("Cannot use rules: only the policy anti-affinity has one, max_server_per_host.")
    row = ServerGroup(
        id=str(uuid.uuid4()), project_id=ctx.project_id or "", user_id=ctx.user_id, name=name, policy=policy,
        rules=rules, created_at=compute.now(),
    )  # fmt: skip

    def add(db: Db) -> ServerGroup:
        compute.quotas.check_in(db, row.project_id, server_groups=1)
        return SERVER_GROUPS.insert(db, row)

    return await compute.store.write(add)


async def delete(compute: Compute, ctx: Context, group_id: str) -> None:
    """Remove a group; its servers stay."""

    def remove(db: Db) -> None:
        visible_in(db, ctx, group_id)
        db.execute("UPDATE servers SET server_group_id = NULL WHERE server_group_id = ?", (group_id,))
        SERVER_GROUPS.delete(db, group_id)

    await compute.store.write(remove)


def join_in(db: Db, compute: Compute, server: Server) -> None:
    """Check that a server may become a member of the group it names; `OverQuota` when the group is full."""
    if server.server_group_id is None:
        return
    limit = compute.quotas.limits(db, server.project_id)["server_group_members"]
    count = SERVERS.count(db, "server_group_id = ? AND deleted = 0", (server.server_group_id,))
    if limit != UNLIMITED and count >= limit:
        raise OverQuota("Quota exceeded, too many servers in group.", code="server_group_members")


def require_room(compute: Compute, server: Server) -> None:
    """Raise `NoCapacity` if the server's group or hints forbid the only host there is."""
    others = {
        one.id for one in compute.store.read(SERVERS.where, "deleted = 0 AND placed = 1 AND id != ?", (server.id,))
    }
    hinted = server.hints.get("different_host", [])
    different = {hinted} if isinstance(hinted, str) else set(hinted)
    if different & others:
        raise NoCapacity(
            "There are not enough hosts available: different_host asks for another host, this cloud has one."
        )
    wanted = server.hints.get("same_host", [])
    same = {wanted} if isinstance(wanted, str) else set(wanted)
    if same and not same & others:
        raise NoCapacity("There are not enough hosts available: none of the servers in same_host is on this host.")
    if server.server_group_id is None:
        return
    group = compute.store.read(SERVER_GROUPS.get, server.server_group_id)
    if group is None or group.policy != "anti-affinity":
        return
    most = int(group.rules.get("max_server_per_host", 1))
    if len(others & set(members(compute, group))) >= most:
        raise NoCapacity(f"There are not enough hosts available: the group {group.name} allows {most} a host, and this "
                         "cloud has one host.")  # fmt: skip
