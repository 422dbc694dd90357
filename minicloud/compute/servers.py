"""Servers as their owners look at them and describe them: lists, names, metadata, tags, locks. What they do is in the stories."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minicloud.compute import domain, launch, quotas, states
from minicloud.compute.states import Vm
from minicloud.compute.tables import SERVERS, Server
from minicloud.core.context import Context
from minicloud.core.errors import Conflict, Invalid, NotFound
from minicloud.core.store import Db, Page

if TYPE_CHECKING:
    from minicloud.compute import Compute

TAGS_MOST = 50


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition of a list: an SQL expression over the servers table and its values."""

    sql: str
    values: tuple[Any, ...] = ()


def show(compute: Compute, ctx: Context, server_id: str) -> Server:
    """One living server that the caller may know."""
    return compute.server(ctx, server_id)


def listed(
    compute: Compute,
    ctx: Context,
    page: Page,
    *,
    filters: Sequence[Filter] = (),
    all_projects: bool = False,
    deleted: bool | None = False,
) -> list[Server]:
    """One page of servers, the newest first unless sorted otherwise. `deleted` None: living and deleted ones."""
    every = [*filters]
    if not all_projects:
        every.append(Filter("project_id = ?", (ctx.project_id,)))
    if deleted is not None:
        every.append(Filter("deleted = ?", (int(deleted),)))
    condition = " AND ".join(f"({one.sql})" for one in every)
    return compute.store.read(SERVERS.page, page, condition, [value for one in every for value in one.values])


async def update(compute: Compute, ctx: Context, server_id: str, values: Mapping[str, Any]) -> Server:
    """Change name, description, access addresses, disk_config or hostname; the guest sees a new hostname at its next boot."""
    changes = dict(values)
    if changes.get("hostname") is not None:
        changes["hostname"] = launch.hostname_of(changes["hostname"], server_id)

    def change(db: Db) -> Server:
        compute.visible_in(db, ctx, server_id)
        return SERVERS.change(db, server_id, updated_at=compute.now(), **changes)

    return await compute.store.write(change)


async def change_metadata(
    compute: Compute,
    ctx: Context,
    server_id: str,
    edit: Callable[[dict[str, str]], dict[str, str]],
    *,
    action: str = "update_server_metadata",
) -> dict[str, str]:
    """Replace a server's metadata by what `edit` makes of it; checks state and quota."""

    def change(db: Db) -> dict[str, str]:
        server = compute.visible_in(db, ctx, server_id)
        states.require(server, action, ctx)
        edited = edit(dict(server.metadata))
        quotas.require_metadata_in(compute.quotas, db, server.project_id, edited)
        SERVERS.change(db, server_id, metadata=edited, updated_at=compute.now())
        return edited

    return await compute.store.write(change)


async def change_tags(
    compute: Compute, ctx: Context, server_id: str, edit: Callable[[list[str]], list[str]]
) -> list[str]:
    """Replace a server's tags by what `edit` makes of them; `Invalid` for more than 50."""

    def change(db: Db) -> list[str]:
        server = compute.visible_in(db, ctx, server_id)
        states.require(server, "change_tags", ctx)
        edited = list(dict.fromkeys(edit(list(server.tags))))
        if len(edited) > TAGS_MOST:
            raise Invalid(f"The number of tags exceeded the per-server limit {TAGS_MOST}.")
        SERVERS.change(db, server_id, tags=edited, updated_at=compute.now())
        return edited

    return await compute.store.write(change)


def require_tag(server: Server, tag: str) -> None:
    """`NotFound` if a server doesn't bear the tag."""
    if tag not in server.tags:
        raise NotFound(f"Server {server.id} has no tag '{tag}'.")


async def lock(compute: Compute, ctx: Context, server_id: str, reason: str | None) -> None:
    """Keep everyone but administrators from changing a server."""

    def change(db: Db) -> None:
        server = compute.visible_in(db, ctx, server_id)
        by = "owner" if ctx.project_id == server.project_id else "admin"
        SERVERS.change(db, server_id, locked=by, locked_reason=reason, updated_at=compute.now())

    await compute.store.write(change)


async def unlock(compute: Compute, ctx: Context, server_id: str) -> None:
    """Take a lock off; `Conflict` for an owner when an administrator locked it."""

    def change(db: Db) -> None:
        server = compute.visible_in(db, ctx, server_id)
        if server.locked == "admin" and not ctx.is_admin:
            raise Conflict(f"Instance {server_id} is locked.")
        SERVERS.change(db, server_id, locked="", locked_reason=None, updated_at=compute.now())

    await compute.store.write(change)


async def reset_state(compute: Compute, ctx: Context, server_id: str, *, active: bool) -> None:
    """An administrator's word about a server's state; `Conflict` while something is under way with it."""

    def change(db: Db) -> None:
        server = compute.visible_in(db, ctx, server_id)
        if live := compute.operations.live_in(db, server.subject):
            raise Conflict(
                f"Cannot reset the state of instance {server_id}: {live[0].kind} is under way ({live[0].state})."
            )
        SERVERS.change(
            db, server_id, vm_state=Vm.ACTIVE if active else Vm.ERROR, task_state=None, updated_at=compute.now()
        )

    await compute.store.write(change)


async def console_output(compute: Compute, ctx: Context, server_id: str, lines: int | None) -> str:
    """What a server wrote to its console, all that is kept or its last lines.

    Raises:
        Conflict: it has none (yet).
    """
    server = compute.server(ctx, server_id)
    states.require(server, "get_console_output", ctx)
    path = domain.console_path(compute.folder(server_id))
    text = (await compute.hypervisor.console_log(server_id, str(path))).decode("utf-8", "replace")
    if lines is None or lines < 0:
        return text
    kept = text.splitlines()[-lines:] if lines else []
    return "\n".join(kept)


def diagnostics(compute: Compute, ctx: Context, server_id: str) -> dict[str, Any]:
    """What is known of a running machine in 2.48's schema; counters that the hypervisor does not tell are null.

    Raises:
        Conflict: the machine is off.
    """
    server = compute.server(ctx, server_id)
    states.require(server, "get_diagnostics", ctx)
    ports = compute.ports_in_order(server)
    devices = compute.devices_of(server_id)
    nothing = {"rx_octets": None, "rx_errors": None, "rx_drop": None, "rx_packets": None, "rx_rate": None,
               "tx_octets": None, "tx_errors": None, "tx_drop": None, "tx_packets": None, "tx_rate": None}  # fmt: skip
    unread = {
        "read_bytes": None,
        "read_requests": None,
        "write_bytes": None,
        "write_requests": None,
        "errors_count": None,
    }
    return {
        "state": "paused" if server.vm_state == Vm.PAUSED else "running",
        "driver": "libvirt",
        "hypervisor": compute.hypervisor.capabilities().domain_type,
        "hypervisor_os": "linux",
        "uptime": None,
        "config_drive": server.config_drive,
        "num_cpus": server.flavor["vcpus"],
        "num_nics": len(ports),
        "num_disks": len(devices),
        "disk_details": [unread for _ in devices],
        "cpu_details": [{"id": index, "time": None, "utilisation": None} for index in range(server.flavor["vcpus"])],
        "nic_details": [{"mac_address": port.mac, **nothing} for port in ports],
        "memory_details": {"maximum": server.flavor["ram_mb"], "used": None},
    }
