"""The one table of what may be done with a server in which state, and how states are shown.

`vm_state` is what the server is for its owner, `task_state` what is being done with it, `power_state` what the
hypervisor last said. The `status` of the API is made of the first two (compute API guide, "Server Concepts"; the state
table of the actions in the API reference).
"""

from __future__ import annotations

from enum import StrEnum

from minicloud.compute.tables import Server
from minicloud.core.context import Context
from minicloud.core.errors import Conflict
from minicloud.host.hypervisor import Power


class Vm(StrEnum):
    """What a server is."""

    BUILDING = "building"
    ACTIVE = "active"
    PAUSED = "paused"
    SUSPENDED = "suspended"
    STOPPED = "stopped"
    RESCUED = "rescued"
    RESIZED = "resized"
    SHELVED = "shelved"
    SHELVED_OFFLOADED = "shelved_offloaded"
    ERROR = "error"
    DELETED = "deleted"


class Task(StrEnum):
    """What is being done with a server."""

    SCHEDULING = "scheduling"
    NETWORKING = "networking"
    BLOCK_DEVICE_MAPPING = "block_device_mapping"
    SPAWNING = "spawning"
    POWERING_ON = "powering-on"
    POWERING_OFF = "powering-off"
    REBOOTING = "rebooting"
    REBOOTING_HARD = "rebooting_hard"
    PAUSING = "pausing"
    UNPAUSING = "unpausing"
    IMAGE_SNAPSHOT = "image_snapshot"
    DELETING = "deleting"


POWER = {Power.RUNNING: 1, Power.PAUSED: 3, Power.SHUTOFF: 4, Power.CRASHED: 6, Power.SAVED: 7}
"""Nova's numbers of power states; 0 is "no state"."""

RUNNING = (Vm.ACTIVE, Vm.PAUSED)
"""States in which a machine should be on."""

ALLOWED: dict[str, tuple[Vm, ...]] = {
    "start": (Vm.STOPPED,),
    "stop": (Vm.ACTIVE, Vm.ERROR),
    "reboot": (Vm.ACTIVE,),
    "reboot hard": (Vm.ACTIVE, Vm.STOPPED, Vm.PAUSED, Vm.SUSPENDED, Vm.ERROR),
    "pause": (Vm.ACTIVE,),
    "unpause": (Vm.PAUSED,),
    "createImage": (Vm.ACTIVE, Vm.STOPPED, Vm.PAUSED, Vm.SUSPENDED),
    "get_console_output": tuple(one for one in Vm if one not in (Vm.BUILDING, Vm.DELETED, Vm.SHELVED_OFFLOADED)),
    "attach_interface": (Vm.ACTIVE, Vm.PAUSED, Vm.STOPPED),
    "detach_interface": (Vm.ACTIVE, Vm.PAUSED, Vm.STOPPED),
    "attach_volume": (Vm.ACTIVE, Vm.PAUSED, Vm.STOPPED),
    "detach_volume": (Vm.ACTIVE, Vm.PAUSED, Vm.STOPPED),
    "update_server_metadata": (Vm.ACTIVE, Vm.PAUSED, Vm.SUSPENDED, Vm.STOPPED),
    "delete_server_metadata": (Vm.ACTIVE, Vm.PAUSED, Vm.SUSPENDED, Vm.STOPPED),
    "change_tags": (Vm.ACTIVE, Vm.PAUSED, Vm.SUSPENDED, Vm.STOPPED),
    "get_diagnostics": (Vm.ACTIVE, Vm.PAUSED),
    "changePassword": (Vm.ACTIVE,),
}
"""Action -> the states in which it may begin. What isn't here may be done in any state."""

WHILE_BUSY = frozenset(
    {"get_console_output", "update_server_metadata", "delete_server_metadata", "change_tags", "get_diagnostics"}
)
"""Actions that don't mind another task under way."""


def require(server: Server, action: str, ctx: Context) -> None:
    """Raise `Conflict` unless `action` may begin with this server now: not locked, no other task, a state that allows it."""
    require_unlocked(server, ctx)
    if action in ALLOWED and server.vm_state not in ALLOWED[action]:
        told = action.split()[0]
        raise Conflict(f"Cannot '{told}' instance {server.id} while it is in vm_state {server.vm_state}.")
    if server.task_state is not None and action not in WHILE_BUSY:
        told = action.split()[0]
        raise Conflict(f"Cannot '{told}' instance {server.id} while it is in task_state {server.task_state}.")


def require_unlocked(server: Server, ctx: Context) -> None:
    """Raise `Conflict` if the server is locked against this caller; administrators pass."""
    if server.locked and not ctx.is_admin:
        raise Conflict(f"Instance {server.id} is locked.")


_STATUS = {
    Vm.BUILDING: "BUILD", Vm.ACTIVE: "ACTIVE", Vm.PAUSED: "PAUSED", Vm.SUSPENDED: "SUSPENDED", Vm.STOPPED: "SHUTOFF",
    Vm.RESCUED: "RESCUE", Vm.RESIZED: "VERIFY_RESIZE", Vm.SHELVED: "SHELVED", Vm.SHELVED_OFFLOADED: "SHELVED_OFFLOADED",
    Vm.ERROR: "ERROR", Vm.DELETED: "DELETED",
}  # fmt: skip


def status(vm_state: str, task_state: str | None) -> str:
    """The status that the API shows."""
    if vm_state in (Vm.ACTIVE, Vm.STOPPED, Vm.PAUSED):
        if task_state == Task.REBOOTING and vm_state == Vm.ACTIVE:
            return "REBOOT"
        if task_state == Task.REBOOTING_HARD:
            return "HARD_REBOOT"
    return _STATUS[Vm(vm_state)]


def vm_states_of(wanted: str) -> list[str]:
    """The vm_states that a status filter means; empty for a word that is no status."""
    if wanted.upper() in ("REBOOT", "HARD_REBOOT"):
        return [Vm.ACTIVE]
    return [vm for vm, shown in _STATUS.items() if shown == wanted.upper()]
