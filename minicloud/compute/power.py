"""Stories of one button: start, stop, reboot, pause, unpause. A crash in the middle leaves what the reconciler finds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from minicloud.compute import actions, states
from minicloud.compute.states import POWER, Task, Vm
from minicloud.compute.tables import SERVERS, Server
from minicloud.core.context import Context
from minicloud.core.errors import HostFailure, MinicloudError
from minicloud.core.operations import Operation
from minicloud.core.store import Db
from minicloud.host.hypervisor import Power

if TYPE_CHECKING:
    from minicloud.compute import Compute

TASKS = {
    "start": Task.POWERING_ON,
    "stop": Task.POWERING_OFF,
    "reboot": Task.REBOOTING,
    "reboot hard": Task.REBOOTING_HARD,
    "pause": Task.PAUSING,
    "unpause": Task.UNPAUSING,
}


async def accept(compute: Compute, ctx: Context, server_id: str, verb: str) -> None:
    """Begin one of `TASKS`.

    Raises:
        NotFound: no such server. Conflict: its state forbids it, it is locked, or something else is under way.
    """

    def admit(db: Db) -> None:
        server = compute.visible_in(db, ctx, server_id)
        states.require(server, verb, ctx)
        begin_in(db, compute, ctx, server, verb)

    await compute.store.write(admit)


def begin_in(db: Db, compute: Compute, ctx: Context, server: Server, verb: str) -> None:
    """Note the task and have it start; the caller has checked that it may."""
    SERVERS.change(db, server.id, task_state=TASKS[verb], updated_at=compute.now())
    actions.begin_in(db, ctx, server, verb.split()[0], compute.now())
    compute.operations.enlist_in(db, ctx, "server.power", server.subject, verb=verb)


async def run(compute: Compute, op: Operation) -> None:
    """Press it."""
    server = compute.row_of(op.subject)
    vm_state, power = await _VERBS[op.arguments["verb"]](compute, op, server)
    await compute.store.write(_settle, compute, op, vm_state, POWER[power])


async def _start(compute: Compute, op: Operation, server: Server) -> tuple[Vm, Power]:
    await boot(compute, server)
    return Vm.ACTIVE, Power.RUNNING


async def _stop(compute: Compute, op: Operation, server: Server) -> tuple[Vm, Power]:
    await _press_button(compute, op, server)
    await compute.hypervisor.destroy(server.id)
    return Vm.STOPPED, Power.SHUTOFF


async def _reboot(compute: Compute, op: Operation, server: Server) -> tuple[Vm, Power]:
    """Ask the guest; one that does not go off in time is started anew the hard way."""
    await _press_button(compute, op, server)
    return await _reboot_hard(compute, op, server)


async def _reboot_hard(compute: Compute, op: Operation, server: Server) -> tuple[Vm, Power]:
    await compute.hypervisor.destroy(server.id)
    await boot(compute, server)
    return Vm.ACTIVE, Power.RUNNING


async def _pause(compute: Compute, op: Operation, server: Server) -> tuple[Vm, Power]:
    await compute.hypervisor.pause(server.id)
    return Vm.PAUSED, Power.PAUSED


async def _unpause(compute: Compute, op: Operation, server: Server) -> tuple[Vm, Power]:
    await compute.hypervisor.resume(server.id)
    return Vm.ACTIVE, Power.RUNNING


Verb = Callable[["Compute", Operation, Server], Awaitable[tuple[Vm, Power]]]
_VERBS: dict[str, Verb] = {
    "start": _start, "stop": _stop, "reboot": _reboot, "reboot hard": _reboot_hard, "pause": _pause, "unpause": _unpause,
}  # fmt: skip


async def boot(compute: Compute, server: Server) -> None:
    """Define the machine from its rows and run it; its ports come up with it."""
    await compute.hypervisor.define(compute.domain_spec(server))
    await compute.hypervisor.start(server.id)
    await compute.network.activate(server.id)


async def _press_button(compute: Compute, op: Operation, server: Server) -> None:
    """ACPI shutdown, and a wait that a deletion cuts short."""
    if await compute.power_of(server.id) != Power.RUNNING:
        return
    try:
        await compute.hypervisor.shutdown(server.id)
    except HostFailure:
        return  # it went off in between, or takes no button: the hard way follows
    for _ in range(compute.config.compute.shutdown_seconds):
        if await compute.until_off(server.id, 1.0):
            return
        op.checkpoint()


def _settle(db: Db, compute: Compute, op: Operation, vm_state: Vm, power_state: int) -> None:
    server_id, now = op.subject.removeprefix("server/"), compute.now()
    server = SERVERS.need(db, server_id)
    deleting = server.task_state == Task.DELETING
    launched = now if server.launched_at is None and vm_state is Vm.ACTIVE else server.launched_at
    SERVERS.change(
        db, server_id, vm_state=vm_state, power_state=power_state, updated_at=now, launched_at=launched,
        task_state=Task.DELETING if deleting else None, fault=None,
    )  # fmt: skip
    actions.finish_in(db, op.ctx, server_id, f"compute_{_event(op)}_instance", now)


def failed(compute: Compute, db: Db, op: Operation, error: MinicloudError) -> None:
    """The task is over; what the machine is now, the reconciler says."""
    server_id, now = op.subject.removeprefix("server/"), compute.now()
    server = SERVERS.get(db, server_id)
    if server is None:
        return
    if server.task_state != Task.DELETING:
        SERVERS.change(db, server_id, task_state=None, updated_at=now)
    actions.finish_in(db, op.ctx, server_id, f"compute_{_event(op)}_instance", now, error=error.message)
    db.after_commit(compute.look_again)


def _event(op: Operation) -> str:
    return str(op.arguments["verb"]).split()[0]
