"""What the cloud asks of a hypervisor, and the description of one machine.

Pure: descriptions and the protocol. `host/real/libvirt.py` and `host/fake/hypervisor.py` do it; `compute/domain.py`
makes a `DomainSpec` of rows. Servers are known here by their id (the domain's UUID).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol


class Power(StrEnum):
    """What a domain is doing, as far as the hypervisor knows."""

    RUNNING = "running"
    PAUSED = "paused"
    SHUTOFF = "shutoff"
    CRASHED = "crashed"
    SAVED = "saved"


@dataclass(frozen=True, slots=True)
class DiskSpec:
    """One disk of a machine.

    Attributes:
        id: our id of it (volume id, or `<server id>-root`); becomes the alias `ua-disk-<id>`.
        path, format: the file and what it holds ("raw" or "qcow2"); never probed.
        device: "disk" or "cdrom".
        bus: "virtio", "scsi" or "ide".
        target: name in the machine, "vda"; cdroms count on their own ("sda").
        serial: what the guest reads as serial (volume id), 20 bytes of it reach a virtio guest.
        boot_order: 1 boots first; None does not boot.
        shareable: more than one machine may write (raw only).
    """

    id: str
    path: str
    format: str
    target: str
    device: str = "disk"
    bus: str = "virtio"
    serial: str = ""
    boot_order: int | None = None
    read_only: bool = False
    shareable: bool = False


@dataclass(frozen=True, slots=True)
class NicSpec:
    """One network card: joined to a tap that exists already. The alias is `ua-port-<port id>`."""

    port_id: str
    tap: str
    mac: str
    mtu: int
    model: str = "virtio"


@dataclass(frozen=True, slots=True)
class DomainSpec:
    """One machine, whole. Memory in MiB; `metadata` is shown in the domain's XML beside our mark.

    `console_log` and `serial_socket` are files that the hypervisor makes; `vnc_socket` too (None: no screen).
    """

    id: str
    name: str
    vcpus: int
    memory_mb: int
    disks: tuple[DiskSpec, ...]
    nics: tuple[NicSpec, ...]
    console_log: str
    serial_socket: str
    vnc_socket: str | None = None
    agent_socket: str | None = None
    machine: str = "q35"
    firmware: str = "bios"
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DomainSeen:
    """One machine as it is on the host: power state, and the ids of disks and ports that its live definition holds."""

    id: str
    power: Power
    disks: frozenset[str] = frozenset()
    ports: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class DomainEvent:
    """A machine changed by itself: `power` is what it is now; `reason` in the hypervisor's words ("shutdown")."""

    id: str
    power: Power
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What this host can run, measured once at start.

    `domain_type` is "kvm" only when a probe guest really ran under it, else "qemu" (TCG); `accelerator_note` says in
    one sentence what the probe found. Memory in MiB. `boot_id` changes with each start of the host (random(4),
    /proc/sys/kernel/random/boot_id); guests that ran before it did are started again.
    """

    hypervisor_type: str
    hypervisor_version: int
    domain_type: str
    accelerator_note: str
    hostname: str
    architecture: str
    cpu_model: str
    vcpus: int
    memory_mb: int
    cpu_topology: Mapping[str, int] = field(default_factory=dict)
    cpu_features: tuple[str, ...] = ()
    boot_id: str = ""


class Hypervisor(Protocol):
    """Drives machines. Calls that change are idempotent in what they promise: `define` replaces a definition, `start`
    of a running machine, `destroy` and `undefine` of none are no errors. All raise `HostFailure` with the step in plain
    words, or `Unavailable` while the hypervisor can't be reached. A call that has begun is not cancelled.
    """

    async def open(self) -> None:
        """Connect (and go on reconnecting in the background); probe the accelerator. Called once, in the loop."""

    async def close(self) -> None:
        """Let go of the connection; machines go on running."""

    def host_name(self) -> str:
        """The name of this machine; known also while the hypervisor can't be reached."""

    def capabilities(self) -> Capabilities:
        """What `open` found; raises `Unavailable` before the first connection."""

    async def ready(self) -> None:
        """Returns if machines can be made at this moment; raises `Unavailable` if the hypervisor can't be reached."""

    def on_event(self, callback: Callable[[DomainEvent], None]) -> None:
        """Have `callback` called on the loop for each change of power; after a reconnect everything is told anew."""

    async def define(self, spec: DomainSpec) -> None:
        """Make or replace the persistent definition; does not touch a running machine's live state."""

    async def start(self, server_id: str, *, paused: bool = False) -> None:
        """Run the defined machine."""

    async def shutdown(self, server_id: str) -> None:
        """Press the power button (ACPI); returns at once, the end comes as an event."""

    async def destroy(self, server_id: str) -> None:
        """Stop the machine now; returns when it is off."""

    async def reset(self, server_id: str) -> None:
        """Press reset: restart without the guest's help."""

    async def pause(self, server_id: str) -> None:
        """Stop the virtual processors."""

    async def resume(self, server_id: str) -> None:
        """Let the virtual processors go on."""

    async def undefine(self, server_id: str) -> None:
        """Forget the definition of a machine that is off, saved state included."""

    async def attach_disk(self, server_id: str, disk: DiskSpec) -> None:
        """Add a disk to the live machine (if it runs) and to its definition."""

    async def detach_disk(self, server_id: str, disk_id: str) -> None:
        """Take a disk from definition and live machine; returns when the guest let go of it, HostFailure if it never does."""

    async def attach_nic(self, server_id: str, nic: NicSpec) -> None:
        """Add a network card, as `attach_disk`."""

    async def detach_nic(self, server_id: str, port_id: str) -> None:
        """Take a network card, as `detach_disk`."""

    async def resize_disk(self, server_id: str, disk_id: str, size: int) -> None:
        """Tell a running machine that a disk has grown to `size` bytes (grows the image, too)."""

    async def copy_disk(self, server_id: str, disk_id: str, target: Path, *, format: str) -> None:
        """An independent, flat copy of a running (or paused) machine's disk as it is at this moment, while the machine
        goes on. Of a machine that is off, `Disks.convert` makes it."""

    async def actual(self) -> dict[str, DomainSeen]:
        """Every machine that bears our mark, by server id."""

    async def console_log(self, server_id: str, path: str, *, tail_bytes: int = 1024 * 1024) -> bytes:
        """The end of what the machine wrote to its serial console; empty if there is nothing yet."""
