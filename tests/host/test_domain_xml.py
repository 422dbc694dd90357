"""The XML of machines against golden files; `MINICLOUD_GOLDEN=write` writes them anew for a look at the difference."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from minicloud.core.errors import HostFailure
from minicloud.host.hypervisor import Capabilities, DiskSpec, DomainSpec, NicSpec
from minicloud.host.real import domain_xml

GOLDEN = Path(__file__).parent / "golden"
SERVER = "5f3c2a10-0c56-4a43-9c0c-4d0a6a3f1c01"
PORT = "9a1d6f1e-42a5-4a9c-8f83-2f6c1b0f7d02"
VOLUME = "1b7e4c55-9d6a-4a1e-bb0e-7c1d5e2f3a03"

HOST = Capabilities(
    hypervisor_type="QEMU", hypervisor_version=7002000, domain_type="qemu", accelerator_note="", hostname="host",
    architecture="x86_64", cpu_model="", vcpus=2, memory_mb=4096,
)  # fmt: skip
SMALL = DomainSpec(
    id=SERVER,
    name="instance-00000001",
    vcpus=1,
    memory_mb=128,
    disks=(
        DiskSpec(
            id=f"{SERVER}-root", path="/data/servers/1/disk", format="qcow2", target="vda", serial=SERVER, boot_order=1
        ),
    ),
    nics=(NicSpec(port_id=PORT, tap="tap9a1d6f1e-42", mac="fa:16:3e:00:00:01", mtu=1450),),
    console_log="/data/servers/1/console.log",
    serial_socket="/run/minicloud/1/serial",
    metadata={"name": "web <1>", "project": "demo"},
)
WHOLE = replace(
    SMALL,
    vcpus=4,
    memory_mb=2048,
    disks=(
        *SMALL.disks,
        DiskSpec(id=VOLUME, path="/data/volumes/v", format="raw", target="vdb", serial=VOLUME, shareable=True),
        DiskSpec(
            id=f"{SERVER}-config",
            path="/data/servers/1/config",
            format="raw",
            target="sda",
            device="cdrom",
            bus="scsi",
            read_only=True,
        ),
    ),
    vnc_socket="/run/minicloud/1/vnc",
    agent_socket="/run/minicloud/1/agent",
)
CASES = {
    "small-tcg": (SMALL, HOST),
    "whole-kvm": (WHOLE, replace(HOST, domain_type="kvm")),
    "pc-uefi": (replace(WHOLE, machine="pc", firmware="uefi"), HOST),
}


@pytest.mark.parametrize("name", CASES)
def test_the_xml_is_the_golden_one(name: str) -> None:
    written = domain_xml.domain_xml(*CASES[name]) + "\n"
    file = GOLDEN / f"{name}.xml"
    if os.environ.get("MINICLOUD_GOLDEN") == "write":
        file.parent.mkdir(exist_ok=True)
        file.write_text(written)
    assert written == file.read_text()


def test_what_was_rendered_is_read_back() -> None:
    seen = domain_xml.held(domain_xml.domain_xml(WHOLE, HOST))
    assert seen.id == SERVER
    assert seen.ours
    assert seen.disks == {f"{SERVER}-root": "vda", VOLUME: "vdb", f"{SERVER}-config": "sda"}
    assert seen.ports == {PORT}


def test_a_domain_without_our_mark_is_not_ours() -> None:
    assert not domain_xml.held("<domain><uuid>x</uuid><metadata/><devices/></domain>").ours


def test_q35_leaves_ports_free_for_devices_to_come() -> None:
    tree = ElementTree.fromstring(domain_xml.domain_xml(WHOLE, HOST))
    ports = tree.findall("devices/controller[@model='pcie-root-port']")
    on_pci = 2 + 1 + 4  # virtio disks, card, scsi + rng + balloon + agent
    assert len(ports) == on_pci + domain_xml.FREE_PORTS


def test_every_disk_tells_its_format() -> None:
    tree = ElementTree.fromstring(domain_xml.domain_xml(WHOLE, HOST))
    assert [driver.get("type") for driver in tree.iterfind("devices/disk/driver")] == ["qcow2", "raw", "raw"]


def test_names_that_xml_cannot_hold_do_not_break_the_definition() -> None:
    odd = domain_xml.domain_xml(replace(SMALL, metadata={"name": "a\x00b\ud800</x>"}), HOST)
    assert domain_xml.held(odd).ours


def test_a_socket_path_beyond_the_kernels_limit_is_refused_in_words() -> None:
    with pytest.raises(HostFailure, match="too long"):
        domain_xml.domain_xml(replace(SMALL, serial_socket="/x" * 60), HOST)


def test_a_device_id_that_would_not_survive_as_alias_is_refused() -> None:
    with pytest.raises(HostFailure, match="characters"):
        domain_xml.nic_xml(replace(SMALL.nics[0], port_id="a'/><evil"))


def test_a_device_is_found_by_its_alias() -> None:
    xml = domain_xml.domain_xml(WHOLE, HOST)
    assert "tap9a1d6f1e-42" in (domain_xml.device_xml(xml, f"ua-port-{PORT}") or "")
    assert domain_xml.device_xml(xml, "ua-port-other") is None
