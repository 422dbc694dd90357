"""What is asked of libvirt about one domain or all of them: blocking, for the threads of `real/connection.py`.

Called by `real/libvirt.py` only, which decides what to do with the answers.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import libvirt
import structlog

from minicloud.core.errors import HostFailure
from minicloud.host.hypervisor import Capabilities, DomainSeen, Power
from minicloud.host.real import domain_xml, probe

_POWER = {
    libvirt.VIR_DOMAIN_RUNNING: Power.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: Power.RUNNING,
    libvirt.VIR_DOMAIN_SHUTDOWN: Power.RUNNING,  # on its way; the end is told when it is there
    libvirt.VIR_DOMAIN_PAUSED: Power.PAUSED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: Power.PAUSED,
    libvirt.VIR_DOMAIN_CRASHED: Power.CRASHED,
}
_OFF = {
    libvirt.VIR_DOMAIN_SHUTOFF_CRASHED: Power.CRASHED,
    libvirt.VIR_DOMAIN_SHUTOFF_SAVED: Power.SAVED,
}

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""random(4): another text after each start of the host."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the first connection told: capabilities, and the user and group that QEMU runs as (None: ours)."""

    capabilities: Capabilities
    owner: tuple[int, int] | None


def ask_to_let_go(connection: libvirt.virConnect, server_id: str, alias: str) -> bool:
    """Ask a running guest to release a device; False when the live machine does not have it (any more)."""
    domain = find(connection, server_id)
    if domain is None or not domain.isActive() or domain_xml.device_xml(domain.XMLDesc(0), alias) is None:
        return False
    try:
        domain.detachDeviceAlias(alias, libvirt.VIR_DOMAIN_AFFECT_LIVE)
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_DEVICE_MISSING or not domain.isActive():
            return False
        if "in the process of unplug" not in str(error):
            raise
    return True


def find(connection: libvirt.virConnect, server_id: str) -> libvirt.virDomain | None:
    """The domain of a server, None if libvirt does not know it."""
    with unless(libvirt.VIR_ERR_NO_DOMAIN):
        return connection.lookupByUUIDString(server_id)
    return None


@contextlib.contextmanager
def unless(*codes: int) -> Iterator[None]:
    """Let errors with these codes pass as done."""
    try:
        yield
    except libvirt.libvirtError as error:
        if error.get_error_code() not in codes:
            raise


def target(domain: libvirt.virDomain, disk_id: str, what: str) -> str:
    """The name of a disk inside the live machine ("vdb"); raises `HostFailure` if the machine does not hold it."""
    name = domain_xml.held(domain.XMLDesc(0)).disks.get(disk_id)
    if name is None:
        raise HostFailure(f"Cannot {what}: the machine does not have it.")
    return name


def power(domain: libvirt.virDomain) -> Power:
    """What a domain is doing, in our words."""
    state, reason = domain.state(0)
    if state == libvirt.VIR_DOMAIN_PAUSED and reason == libvirt.VIR_DOMAIN_PAUSED_STARTING_UP:
        return Power.RUNNING
    if state == libvirt.VIR_DOMAIN_SHUTOFF:
        return _OFF.get(reason, Power.SHUTOFF)
    return _POWER.get(state, Power.SHUTOFF)


def power_of(server_id: str, connection: libvirt.virConnect) -> Power:
    """What a server is doing now."""
    with unless(libvirt.VIR_ERR_NO_DOMAIN):  # gone already: what is no more is off
        return power(connection.lookupByUUIDString(server_id))
    return Power.SHUTOFF


def look(connection: libvirt.virConnect) -> dict[str, DomainSeen]:
    """Every domain that bears our mark."""
    found = {}
    for domain in connection.listAllDomains(0):
        with unless(libvirt.VIR_ERR_NO_DOMAIN):  # undefined while we look
            held = domain_xml.held(domain.XMLDesc(0))
            if held.ours:
                found[held.id] = DomainSeen(held.id, power(domain), frozenset(held.disks), held.ports)
    return found


def learn(connection: libvirt.virConnect, accelerator: probe.Accelerator) -> Facts:
    """What this host can run, and as which user."""
    if accelerator.domain_type == "kvm":  # it runs for us, but does it for the user that libvirt gives to QEMU?
        try:
            connection.getDomainCapabilities(None, "x86_64", None, "kvm")
        except libvirt.libvirtError as error:
            _log.warning("KVM works, but libvirt can't use it: guests run by TCG", detail=str(error))
            accelerator = probe.Accelerator("qemu", "KVM works, but libvirt's QEMU user may not open it: TCG is used.")
    told = ElementTree.fromstring(connection.getCapabilities())
    model, memory_mb, vcpus, _, _, sockets, cores, threads = connection.getInfo()
    capabilities = Capabilities(
        hypervisor_type="QEMU",
        hypervisor_version=connection.getVersion(),
        domain_type=accelerator.domain_type,
        accelerator_note=accelerator.note,
        hostname=socket.gethostname(),
        architecture=model,
        cpu_model=told.findtext("host/cpu/model", ""),
        vcpus=vcpus,
        memory_mb=memory_mb,
        cpu_topology={"sockets": sockets, "cores": cores, "threads": threads},
        cpu_features=tuple(sorted(feature.get("name", "") for feature in told.iterfind("host/cpu/feature"))),
        boot_id=BOOT_ID.read_text().strip(),
    )
    owner = None
    for security in told.iterfind("host/secmodel"):
        if security.findtext("model") == "dac":
            label = security.findtext("baselabel", "").replace("+", "").split(":")
            owner = (int(label[0]), int(label[1])) if len(label) == 2 else None
    return Facts(capabilities, owner)
