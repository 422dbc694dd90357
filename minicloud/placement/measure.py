"""How the provider of this machine comes to know what the machine has: at boot and every minute, without input."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minicloud.core.clock import stamp
from minicloud.core.store import Db
from minicloud.placement import inventories, providers, traits
from minicloud.placement.tables import PROVIDERS, Inventory, Provider

if TYPE_CHECKING:
    from minicloud.placement import Placement

GIB = 1024**3
ALWAYS = ("COMPUTE_IMAGE_TYPE_QCOW2", "COMPUTE_IMAGE_TYPE_RAW", "COMPUTE_NODE")
"""Traits of every host of ours."""


@dataclass(frozen=True, slots=True)
class Amount:
    """One class of the host's resources."""

    resource_class: str
    total: int
    reserved: int
    ratio: float


async def run(placement: Placement) -> None:
    """Look at the machine and bring its provider's name, inventories and CPU traits up to date.

    The disk's size is that of the file system that holds the state folder. What was promised already stays promised,
    even when the machine shrank.
    """
    compute = placement.config.compute
    machine = placement.host.hypervisor.capabilities()
    space = await placement.host.disks.space(placement.config.state)
    disk = max(1, space.total // GIB)
    amounts = (
        Amount("VCPU", machine.vcpus, 0, compute.cpu_ratio),
        Amount("MEMORY_MB", machine.memory_mb, min(compute.reserved_ram_mb, machine.memory_mb - 1), compute.ram_ratio),
        Amount("DISK_GB", disk, min(compute.reserved_disk_gb, disk - 1), compute.disk_ratio),
    )
    found = cpu_traits(machine.cpu_features)
    await placement.store.write(record_in, machine.hostname, amounts, found, now=stamp(placement.clock.now()))


def cpu_traits(features: tuple[str, ...]) -> set[str]:
    """OpenStack's names for libvirt's names of CPU features, those that have one."""
    named = {f"HW_CPU_X86_{one.upper().replace('.', '').replace('-', '_')}" for one in features}
    aliases = {"HW_CPU_X86_AES": "HW_CPU_X86_AESNI", "HW_CPU_X86_PNI": "HW_CPU_X86_SSE3"}
    return {aliases.get(one, one) for one in named} & traits.standard()


def record_in(db: Db, hostname: str, amounts: tuple[Amount, ...], found: set[str], *, now: str) -> Provider:
    """Write down what was measured; nothing changes when nothing changed."""
    ours = PROVIDERS.first(db, "host = 1")
    if ours is None:
        ours = providers.make_in(db, str(uuid.uuid4()), hostname, now=now, host=True)
    elif ours.name != hostname:
        ours = PROVIDERS.change(db, ours.id, name=hostname, updated_at=now)
    known = {one.resource_class: one for one in inventories.of_provider(db, ours.id)}
    for amount in amounts:
        wanted = Inventory(
            ours.id, amount.resource_class, amount.total, amount.reserved, 1, amount.total, 1, amount.ratio, now
        )
        if inventories.changed(wanted, known):
            inventories.set_in(db, wanted, now=now)
    kept = {one for one in traits.of_provider(db, ours.id) if not one.startswith("HW_CPU_X86_")}
    traits.assign_in(db, ours.id, kept | found | set(ALWAYS), now=now)
    return providers.need(db, ours.id)
