"""The services, pools and hosts that Cinder would be made of, as far as they are true of one process.

Administrators' tools list them; a disabled `cinder-volume` takes no new volumes, as in OpenStack.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from minicloud.core.errors import NoCapacity, NotFound
from minicloud.core.store import Db
from minicloud.volume.tables import SERVICE_STATES, ServiceState

if TYPE_CHECKING:
    from minicloud.volume import Volume

SCHEDULER, VOLUME = "cinder-scheduler", "cinder-volume"
BACKEND = "files"
ZONE = "nova"
"""The one availability zone of one host."""


@dataclass(frozen=True, slots=True)
class Service:
    """One line of `openstack volume service list`."""

    binary: str
    host: str
    disabled: bool
    reason: str | None
    updated_at: str


def host_name(volume: Volume) -> str:
    """This machine, as services and attachments name it."""
    return volume.host.hypervisor.host_name()


def pool(volume: Volume) -> str:
    """The one pool, in Cinder's form host@backend#pool."""
    return f"{host_name(volume)}@{BACKEND}#{BACKEND}"


def listed(volume: Volume) -> list[Service]:
    """Both services; they are up, for they answer."""
    hosts = {SCHEDULER: host_name(volume), VOLUME: f"{host_name(volume)}@{BACKEND}"}
    known = {one.name: one for one in volume.store.read(SERVICE_STATES.where)}
    found = []
    for binary, host in hosts.items():
        state = known.get(binary)
        found.append(
            Service(binary, host, state is not None and state.disabled, state.reason if state else None, volume.now())
        )
    return found


async def set_disabled(volume: Volume, binary: str, host: str, *, disabled: bool, reason: str | None) -> Service:
    """Let a service take no new work, or take it again; `NotFound` if there is no such service."""
    if not any(one.binary == binary and one.host == host for one in listed(volume)):
        raise NotFound(f"Service {binary} could not be found on host {host}.")

    def change(db: Db) -> None:
        SERVICE_STATES.delete(db, binary)
        SERVICE_STATES.insert(db, ServiceState(binary, disabled, reason, volume.now()))

    await volume.store.write(change)
    return next(one for one in listed(volume) if one.binary == binary)


def require_enabled(volume: Volume) -> None:
    """Raise `NoCapacity` while an administrator has disabled the service that makes volumes."""
    if any(one.disabled for one in listed(volume)):
        raise NoCapacity(
            "No valid backend was found. The volume service of this host is disabled; enable it to make volumes."
        )
