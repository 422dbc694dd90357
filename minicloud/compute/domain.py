"""From rows to the description of a machine. Pure: the same rows always make the same machine.

Called by `launch.py` and `power.py` before every start, so that a definition which got lost is no loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minicloud.compute.tables import BlockDevice, Server
from minicloud.host.hypervisor import DiskSpec, DomainSpec, NicSpec

if TYPE_CHECKING:
    from minicloud.network import PortInfo

MODELS = ("virtio", "e1000", "e1000e", "rtl8139")


def disk_id(device: BlockDevice) -> str:
    """How the hypervisor's side calls a disk: the volume's id, or one made of the server's for a file of its own."""
    if device.volume_id is not None:
        return device.volume_id
    return f"{device.server_id}-{device.device.removeprefix('/dev/')}"


def local_path(folder: Path, device: BlockDevice) -> Path:
    """The file of a local disk: `root.qcow2`, or named after its device."""
    name = "root" if device.boot_index == 0 else device.device.removeprefix("/dev/")
    return folder / f"{name}.qcow2"


def config_drive_path(folder: Path) -> Path:
    """The config drive's image."""
    return folder / "config.iso"


def console_path(folder: Path) -> Path:
    """Where the serial console is written to."""
    return folder / "console.log"


def disk_of(device: BlockDevice, folder: Path) -> DiskSpec:
    """One disk. A volume must have been connected (its file is known)."""
    target, order = device.device.removeprefix("/dev/"), None if device.boot_index is None else device.boot_index + 1
    if device.volume_id is None:
        return DiskSpec(
            id=disk_id(device), path=str(local_path(folder, device)), format="qcow2", target=target, bus=device.bus,
            boot_order=order,
        )  # fmt: skip
    file: dict[str, Any] = device.volume_file or {}
    return DiskSpec(
        id=device.volume_id, path=file["path"], format=file["format"], target=target, bus=device.bus,
        serial=file["serial"], boot_order=order, shareable=file["shareable"],
    )  # fmt: skip


def nic_of(port: PortInfo, server: Server) -> NicSpec:
    """One network card, of the model that the image wishes."""
    model = str(server.image.get("properties", {}).get("hw_vif_model", "virtio"))
    return NicSpec(
        port_id=port.id, tap=port.tap, mac=port.mac, mtu=port.mtu, model=model if model in MODELS else "virtio"
    )


def domain_of(
    server: Server,
    devices: Sequence[BlockDevice],
    ports: Sequence[PortInfo],
    *,
    folder: Path,
    run: Path,
    machine: str,
    vnc: bool,
) -> DomainSpec:
    """The whole machine.

    Args:
        ports: in the order of the server's cards.
        folder: the server's own files. `run`: where its sockets go.
        machine: the default machine type; the image may wish another one. `vnc`: whether it has a screen.
    """
    properties = server.image.get("properties", {})
    disks = [disk_of(device, folder) for device in devices]
    if server.config_drive:
        drive = config_drive_path(folder)
        disks.append(
            DiskSpec(
                id=f"{server.id}-config",
                path=str(drive),
                format="raw",
                target="sdz",
                device="cdrom",
                bus="scsi",
                read_only=True,
            )
        )
    if any(disk.bus == "ide" for disk in disks):
        machine = "pc"  # q35 has no IDE
    return DomainSpec(
        id=server.id,
        name=server.instance_name,
        vcpus=server.flavor["vcpus"],
        memory_mb=server.flavor["ram_mb"],
        disks=tuple(disks),
        nics=tuple(nic_of(port, server) for port in ports),
        console_log=str(console_path(folder)),
        serial_socket=str(run / "serial.sock"),
        vnc_socket=str(run / "vnc.sock") if vnc else None,
        agent_socket=str(run / "agent.sock") if properties.get("hw_qemu_guest_agent") == "yes" else None,
        machine=str(properties.get("hw_machine_type", machine)),
        firmware="uefi" if properties.get("hw_firmware_type") == "uefi" else "bios",
        metadata={"name": server.name, "project": server.project_id, "flavor": server.flavor["name"]},
    )
