"""Nova's services as clients ask for them. One process does all their work; the records say so truthfully.

What can be changed is whether this host takes new servers (`nova-compute` disabled) and the forced-down mark.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from minicloud.compute.tables import COMPUTE_SERVICES, ComputeService
from minicloud.core.errors import Invalid, NoCapacity, NotFound
from minicloud.core.store import Db

if TYPE_CHECKING:
    from minicloud.compute import Compute

COMPUTE = "nova-compute"
BINARIES = ("nova-scheduler", "nova-conductor", COMPUTE)


async def begin(compute: Compute) -> None:
    """The records exist; idempotent."""

    def make(db: Db) -> None:
        for number, binary in enumerate(BINARIES, start=1):
            if COMPUTE_SERVICES.first(db, "binary = ?", (binary,)) is None:
                COMPUTE_SERVICES.insert(db, ComputeService(str(uuid.uuid4()), number, binary, False, None, False))

    await compute.store.write(make)


def host_name(compute: Compute) -> str:
    """This host, as Nova's API names it."""
    return compute.hypervisor.host_name()


def listed(compute: Compute, *, binary: str | None = None, host: str | None = None) -> list[ComputeService]:
    """The records, filtered."""
    if host is not None and host != host_name(compute):
        return []
    rows = compute.store.read(COMPUTE_SERVICES.where, order="number")
    return [row for row in rows if binary in (None, row.binary)]


def of_host(compute: Compute) -> ComputeService:
    """The record of nova-compute."""
    found = compute.store.read(COMPUTE_SERVICES.first, "binary = ?", (COMPUTE,))
    assert found is not None, "begin() makes it"
    return found


def find(compute: Compute, service_id: str) -> ComputeService:
    """One record by its id."""
    return compute.store.read(COMPUTE_SERVICES.need, service_id)


def find_binary(compute: Compute, *, host: str, binary: str) -> ComputeService:
    """One record by host and binary, as before 2.53."""
    found = listed(compute, binary=binary, host=host)
    if not found:
        raise NotFound(f"Host '{host}' with binary '{binary}' could not be found.")
    return found[0]


async def change(
    compute: Compute,
    service_id: str,
    *,
    disabled: bool | None = None,
    reason: str | None = None,
    forced_down: bool | None = None,
) -> ComputeService:
    """Enable, disable (with a reason) or mark a service.

    Raises:
        Invalid: a reason for a service that is not being disabled; a service other than nova-compute.
    """
    if reason is not None and disabled is not True:
        raise Invalid("Cannot give a disabled_reason: it goes with the status disabled.")

    def apply(db: Db) -> ComputeService:
        row = COMPUTE_SERVICES.need(db, service_id)
        if row.binary != COMPUTE:
            raise Invalid(
                f"Updating a {row.binary} service is not supported. Only nova-compute services can be updated."
            )
        values: dict[str, Any] = {}
        if disabled is not None:
            values |= {"disabled": disabled, "disabled_reason": reason}
        if forced_down is not None:
            values["forced_down"] = forced_down
        return COMPUTE_SERVICES.change(db, service_id, **values)

    return await compute.store.write(apply)


def require_enabled(compute: Compute) -> None:
    """Raise `NoCapacity` while an administrator has closed this host for new servers."""
    row = of_host(compute)
    if row.disabled or row.forced_down:
        reason = f": {row.disabled_reason}" if row.disabled_reason else ""
        raise NoCapacity(f"The compute service of this host is disabled{reason}.")
