"""libvirt's XML of a machine: rendering what should be, reading what is. Pure.

The format is that of https://libvirt.org/formatdomain.html. Called by `real/libvirt.py`. Every device of ours bears an
alias made of our id (`ua-disk-<id>`, `ua-port-<id>`): it is how a detach names its device and how we know our own
devices again. The machine itself bears our element in <metadata>; domains without it are none of our business.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from minicloud.core.errors import HostFailure
from minicloud.host.hypervisor import Capabilities, DiskSpec, DomainSpec, NicSpec

MARK = "urn:minicloud:1"
DISK_ALIAS = "ua-disk-"
PORT_ALIAS = "ua-port-"
EMULATOR = "/usr/bin/qemu-system-x86_64"
FREE_PORTS = 8
"""Root ports left free on q35: so many devices can be added to a running machine."""
SOCKET_PATH_LIMIT = 107
"""Bytes that the kernel takes as a unix socket's path (unix(7))."""

_ALIAS_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

ElementTree.register_namespace("minicloud", MARK)


@dataclass(frozen=True, slots=True)
class Held:
    """What a domain's XML holds of ours: disk ids with their targets, port ids. `ours` is False without our mark."""

    id: str
    ours: bool
    disks: dict[str, str]
    ports: frozenset[str]


def domain_xml(spec: DomainSpec, capabilities: Capabilities) -> str:
    """The whole definition of a machine. Raises `HostFailure` for ids or paths that libvirt could not take."""
    tcg = capabilities.domain_type != "kvm"
    domain = Element("domain", type=capabilities.domain_type)
    _text(domain, "name", spec.name)
    _text(domain, "uuid", spec.id)
    _mark(domain, spec)
    _text(domain, "memory", str(spec.memory_mb), unit="MiB")
    _text(domain, "vcpu", str(spec.vcpus))
    _sysinfo(domain, spec)
    _firmware(domain, spec)
    _features(domain, tcg=tcg, memory_mb=spec.memory_mb)
    _processor(domain, tcg=tcg)
    clock = SubElement(domain, "clock", offset="utc")
    SubElement(clock, "timer", name="hpet", present="no")
    for event, reaction in (("poweroff", "destroy"), ("reboot", "restart"), ("crash", "destroy")):
        _text(domain, f"on_{event}", reaction)
    _devices(domain, spec)
    return _written(domain)


def disk_xml(disk: DiskSpec, machine: str) -> str:
    """One disk, for attaching."""
    return _written(_disk(disk, machine))


def nic_xml(nic: NicSpec) -> str:
    """One network card, for attaching."""
    return _written(_nic(nic))


def held(xml: str) -> Held:
    """Read a domain's XML, live or stored."""
    domain = ElementTree.fromstring(xml)
    disks = {}
    for disk in domain.iterfind("devices/disk"):
        alias = _attribute(disk, "alias", "name")
        if alias.startswith(DISK_ALIAS):
            disks[alias.removeprefix(DISK_ALIAS)] = _attribute(disk, "target", "dev")
    aliases = (_attribute(nic, "alias", "name") for nic in domain.iterfind("devices/interface"))
    return Held(
        id=domain.findtext("uuid", ""),
        ours=domain.find(f"metadata/{{{MARK}}}server") is not None,
        disks=disks,
        ports=frozenset(alias.removeprefix(PORT_ALIAS) for alias in aliases if alias.startswith(PORT_ALIAS)),
    )


def machine_of(xml: str) -> str:
    """ "q35" or "pc": the kind of board in a domain's XML, whatever version libvirt made of it."""
    kind = ElementTree.fromstring(xml).find("os/type")
    return "q35" if kind is not None and "q35" in kind.get("machine", "") else "pc"


def device_xml(xml: str, alias: str) -> str | None:
    """The device that bears `alias`, as it stands in a domain's XML."""
    for device in ElementTree.fromstring(xml).iterfind("devices/*"):
        if _attribute(device, "alias", "name") == alias:
            return _written(device)
    return None


def backup_xml(xml: str, target: str, path: str, format: str) -> str:
    """A backup job that pushes the disk `target` of a domain whole into a new file, and leaves its other disks alone
    (https://libvirt.org/formatbackup.html)."""
    backup = Element("domainbackup", mode="push")
    disks = SubElement(backup, "disks")
    for device in ElementTree.fromstring(xml).iterfind("devices/disk"):
        name = _attribute(device, "target", "dev")
        if name != target:
            SubElement(disks, "disk", name=name, backup="no")
            continue
        disk = SubElement(disks, "disk", name=name, backup="yes", type="file")
        SubElement(disk, "target", file=path)
        SubElement(disk, "driver", type=format)
    return _written(backup)


def _mark(domain: Element, spec: DomainSpec) -> None:
    server = SubElement(SubElement(domain, "metadata"), f"{{{MARK}}}server")
    for key, value in sorted(spec.metadata.items()):
        entry = SubElement(server, f"{{{MARK}}}entry", key=_clean(key))
        entry.text = _clean(value)


def _sysinfo(domain: Element, spec: DomainSpec) -> None:
    """What guests read as board identity: cloud-init knows OpenStack by the product's name."""
    system = SubElement(SubElement(domain, "sysinfo", type="smbios"), "system")
    entries = {
        "manufacturer": "OpenStack Foundation",
        "product": "OpenStack Nova",
        "serial": spec.id,
        "uuid": spec.id,
        "family": "Virtual Machine",
    }
    for name, value in entries.items():
        _text(system, "entry", value, name=name)


def _firmware(domain: Element, spec: DomainSpec) -> None:
    uefi = spec.firmware == "uefi"
    system = SubElement(domain, "os", {"firmware": "efi"} if uefi else {})
    _text(system, "type", "hvm", arch="x86_64", machine=spec.machine)
    if uefi:
        SubElement(SubElement(system, "firmware"), "feature", enabled="no", name="secure-boot")
    SubElement(system, "smbios", mode="sysinfo")


def _features(domain: Element, *, tcg: bool, memory_mb: int) -> None:
    features = SubElement(domain, "features")
    SubElement(features, "acpi")
    SubElement(features, "apic")
    if tcg:  # translated code would grow to a GiB; this much holds a small guest's kernel and shell
        size = "64" if memory_mb <= 512 else "128"
        _text(SubElement(features, "tcg"), "tb-cache", size, unit="MiB")


def _processor(domain: Element, *, tcg: bool) -> None:
    if not tcg:
        SubElement(domain, "cpu", mode="host-passthrough", check="none")
        return
    processor = SubElement(domain, "cpu", mode="maximum")
    SubElement(processor, "feature", policy="disable", name="la57")  # a fifth page table level only costs time


def _devices(domain: Element, spec: DomainSpec) -> None:
    devices = SubElement(domain, "devices")
    _text(devices, "emulator", EMULATOR)
    _controllers(devices, spec)
    devices.extend(_disk(disk, spec.machine) for disk in spec.disks)
    devices.extend(_nic(nic) for nic in spec.nics)
    serial = SubElement(devices, "serial", type="unix")
    SubElement(serial, "source", mode="bind", path=_socket(spec.serial_socket))
    SubElement(serial, "log", file=spec.console_log, append="on")
    SubElement(serial, "target", port="0")
    if spec.agent_socket is not None:
        agent = SubElement(devices, "channel", type="unix")
        SubElement(agent, "source", mode="bind", path=_socket(spec.agent_socket))
        SubElement(agent, "target", type="virtio", name="org.qemu.guest_agent.0")
    if spec.vnc_socket is not None:
        SubElement(
            SubElement(devices, "graphics", type="vnc"), "listen", type="socket", socket=_socket(spec.vnc_socket)
        )
        SubElement(SubElement(devices, "video"), "model", type="vga")
    _text(SubElement(devices, "rng", model="virtio"), "backend", "/dev/urandom", model="random")
    SubElement(SubElement(devices, "memballoon", model="virtio"), "stats", period="10")


def _controllers(devices: Element, spec: DomainSpec) -> None:
    SubElement(devices, "controller", type="usb", model="none")
    SubElement(devices, "controller", type="scsi", index="0", model="virtio-scsi")
    if spec.machine != "q35":
        return
    SubElement(devices, "controller", type="pci", index="0", model="pcie-root")
    virtio = sum(disk.bus == "virtio" for disk in spec.disks)
    fixed = 3 + (spec.agent_socket is not None)  # scsi, rng, memballoon; the agent's serial bus
    for index in range(1, virtio + len(spec.nics) + fixed + FREE_PORTS + 1):
        SubElement(devices, "controller", type="pci", index=str(index), model="pcie-root-port")


def _disk(disk: DiskSpec, machine: str) -> Element:
    """A disk. Writes go through the host's page cache, which guests of one base share; a guest's flush is a flush of
    the file. Direct access would need every file system of every installation to offer it."""
    element = Element("disk", type="file", device=disk.device)
    driver = {"name": "qemu", "type": disk.format, "cache": "writeback", "io": "threads"}
    if not disk.read_only and disk.device == "disk":
        driver |= {"error_policy": "enospace", "rerror_policy": "report", "discard": "unmap"}
    SubElement(element, "driver", driver)
    SubElement(element, "source", file=disk.path)
    bus = "sata" if disk.bus == "ide" and machine == "q35" else disk.bus  # q35 has no IDE
    SubElement(element, "target", dev=disk.target, bus=bus)
    if bus == "scsi":  # left alone, libvirt counts seven a controller, and adds old ones that guests have no driver for
        place = {"controller": "0", "bus": "0", "target": str(_place(disk.target)), "unit": "0"}
        SubElement(element, "address", {"type": "drive", **place})
    if disk.read_only or disk.device == "cdrom":
        SubElement(element, "readonly")
    if disk.shareable:
        SubElement(element, "shareable")
    if disk.serial:
        _text(element, "serial", disk.serial)
    if disk.boot_order is not None:
        SubElement(element, "boot", order=str(disk.boot_order))
    SubElement(element, "alias", name=alias(DISK_ALIAS, disk.id))
    return element


def _place(target: str) -> int:
    """Which disk of its kind a name means: 0 for sda, 25 for sdz, 26 for sdaa."""
    number = 0
    for letter in target[2:]:
        number = number * 26 + ord(letter) - ord("a") + 1
    return number - 1


def _nic(nic: NicSpec) -> Element:
    element = Element("interface", type="ethernet")
    SubElement(element, "mac", address=nic.mac)
    SubElement(element, "target", dev=nic.tap, managed="no")
    SubElement(element, "model", type=nic.model)
    SubElement(element, "mtu", size=str(nic.mtu))
    SubElement(element, "rom", enabled="no")  # no network boot: its firmware costs seconds under TCG
    SubElement(element, "alias", name=alias(PORT_ALIAS, nic.port_id))
    return element


def alias(prefix: str, id: str) -> str:
    """The alias of a device of ours; libvirt takes few characters, so ids with others are refused."""
    if not _ALIAS_ID.match(id):
        raise HostFailure(f"Cannot describe the device {id}: its id has characters beyond letters, digits, - and _.")
    return prefix + id


def _socket(path: str) -> str:
    if len(path.encode()) > SOCKET_PATH_LIMIT:
        raise HostFailure(
            "Cannot describe the machine: the path of its console socket is too long; choose a shorter run folder.",
            detail=path,
        )
    return path


def _text(parent: Element, tag: str, text: str, **attributes: str) -> None:
    SubElement(parent, tag, attributes).text = _clean(text)


def _clean(text: str) -> str:
    """Users name things with characters that XML 1.0 has no way to write."""
    return _NOT_XML.sub("\ufffd", text)


def _attribute(parent: Element, tag: str, name: str) -> str:
    child = parent.find(tag)
    return "" if child is None else child.get(name, "")


def _written(element: Element) -> str:
    ElementTree.indent(element)
    return ElementTree.tostring(element, encoding="unicode")
