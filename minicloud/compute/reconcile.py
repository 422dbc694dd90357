"""The database against the machines found: power states told truthfully, orphans removed, guests that should run started.

`decide` is pure: a row, what the hypervisor shows, whether the host has been started anew. A server with a live
operation is left alone: the operation says how it ends. Run at boot, on a timer and whenever a machine changes by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from minicloud.compute import power
from minicloud.compute.states import POWER, RUNNING, Vm
from minicloud.compute.tables import SERVERS, Server
from minicloud.core.context import Context
from minicloud.core.store import Db
from minicloud.host.hypervisor import DomainSeen, Power

if TYPE_CHECKING:
    from minicloud.compute import Compute

log = structlog.get_logger(__name__)
BOOT = "boot id"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do about a server: say another state, or start it."""

    vm_state: Vm | None = None
    power_state: int | None = None
    start: bool = False


def decide(server: Server, seen: DomainSeen | None, *, rebooted: bool) -> Verdict:
    """What a machine that is `seen` (None: the hypervisor knows none) means for its row."""
    if server.vm_state in (Vm.BUILDING, Vm.DELETED, Vm.SHELVED_OFFLOADED):
        return Verdict()
    if seen is None:
        if server.vm_state not in RUNNING:
            return Verdict(power_state=0 if server.power_state else None)
        return Verdict(start=True) if rebooted else Verdict(Vm.STOPPED, 0)
    told = POWER[seen.power]
    told_power = None if told == server.power_state else told
    if seen.power is Power.RUNNING and server.vm_state in (Vm.STOPPED, Vm.PAUSED):
        return Verdict(Vm.ACTIVE, told_power)
    if seen.power in (Power.SHUTOFF, Power.CRASHED) and server.vm_state in RUNNING:
        return Verdict(start=True) if rebooted else Verdict(Vm.STOPPED, told_power)
    return Verdict(power_state=told_power)


async def run(compute: Compute) -> None:
    """One look at everything."""
    folders = await compute.disks.actual(compute.config.state / "servers")
    actual = await compute.hypervisor.actual()
    rows = {row.id: row for row in compute.store.read(SERVERS.where, "deleted = 0")}
    live = compute.store.read(compute.operations.subjects_in)
    boot_id = compute.hypervisor.capabilities().boot_id
    before = compute.store.read(_remembered, BOOT)
    rebooted = bool(before) and bool(boot_id) and before != boot_id
    for server in rows.values():
        if server.subject not in live:
            verdict = decide(server, actual.get(server.id), rebooted=rebooted)
            if verdict != Verdict():
                await compute.store.write(_apply, compute, server, verdict)
    for server_id in actual.keys() - rows.keys():
        if f"server/{server_id}" not in live:
            log.warning("a machine without a server is removed", server=server_id)
            await compute.remove_domain(server_id)
    for server_id in folders - rows.keys():
        if f"server/{server_id}" not in live:
            log.warning("files without a server are removed", server=server_id)
            await compute.remove_files(server_id)
    if boot_id and before != boot_id:
        await compute.store.write(_remember, BOOT, boot_id)


def _apply(db: Db, compute: Compute, looked_at: Server, verdict: Verdict) -> None:
    """Carry a verdict out, unless the server has changed since it was made."""
    server = SERVERS.get(db, looked_at.id)
    if server is None or (server.vm_state, server.task_state) != (looked_at.vm_state, looked_at.task_state):
        return
    if compute.operations.live_in(db, server.subject):
        return
    if verdict.start:
        log.info("a server that ran before the host went down is started again", server=server.id)
        power.begin_in(db, compute, Context.internal("reconcile compute"), server, "start")
        return
    values: dict[str, Any] = {}
    if verdict.vm_state is not None:
        log.info("a server changed by itself", server=server.id, was=server.vm_state, now=verdict.vm_state)
        values["vm_state"] = verdict.vm_state
        values["updated_at"] = compute.now()
    if verdict.power_state is not None:
        values["power_state"] = verdict.power_state
    SERVERS.change(db, server.id, **values)


def _remembered(db: Db, name: str) -> str | None:
    found = db.execute("SELECT value FROM compute_memory WHERE name = ?", (name,)).fetchone()
    return None if found is None else str(found[0])


def _remember(db: Db, name: str, value: str) -> None:
    db.execute(
        "INSERT INTO compute_memory VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (name, value)
    )
