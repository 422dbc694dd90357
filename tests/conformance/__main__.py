"""Tempest, OpenStack's own test suite, against this cloud: `make conformance`, or with SELECT='tempest.api.network'.

Runs inside a sandbox. Prepares what Tempest wants to find (two images, two flavors), writes its configuration with
everything switched on that one host can do, so that what is missing fails and is not skipped, runs the selection, and
ends with `N passed, N failed, N skipped`.
"""

from __future__ import annotations

import argparse
import configparser
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import openstack

FLAVORS = (("conformance", 128, 1), ("conformance-larger", 192, 1))
"""Name, MB of memory, GB of disk: what the tiny guest needs, and one to resize to."""

BUILD_SECONDS = 300
FEATURES = {
    "compute": (
        "disk_config console_output resize pause suspend shelve rescue stable_rescue snapshot config_drive metadata_service "
        "interface_attach vnc_console serial_console enable_instance_password ide_bus volume_multiattach "
        "hostname_fqdn_sanitization"
    ),
    "identity": "api_v3 trust access_rules",
    "image": "import_image os_glance_reserved do_secure_hash image_format_enforcement",
    "network": "ipv6 ipv6_subnet_attributes port_admin_state_change port_security floating_ips",
    "volume": (
        "snapshot clone backup extend_attached_volume extend_volume_with_snapshot manage_volume manage_snapshot volume_revert"
    ),
}
"""What one host can do; Tempest's own defaults leave some of it out."""

ABSENT = {
    "compute": "swap_volume attach_encrypted_volume change_password personality cold_migration live_migration spice_console",
    "identity": "api_v2 api_v2_admin security_compliance federation domain_specific_drivers",
    "volume": "multi_backend",
}


def main() -> int:
    """Prepare, run, one verdict."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("select", nargs="*", help="regular expressions of test names; none means the smoke tests")
    asked.add_argument("--tempest", type=Path, default=Path(".venv-tempest"), help="the venv that has Tempest")
    asked.add_argument("--concurrency", type=int, default=os.cpu_count() or 1)
    told = asked.parse_args()
    folder = Path(os.environ["MINICLOUD_SANDBOX_FOLDER"]) / "tempest"
    folder.mkdir()
    configuration = folder / "tempest.conf"
    with configuration.open("w") as file:
        settings(openstack.connect(cloud="admin"), folder).write(file)
    return run(told.tempest.absolute() / "bin", folder, told.select, told.concurrency)


def settings(cloud: Any, folder: Path) -> configparser.ConfigParser:
    """Tempest's configuration for this cloud."""
    written = configparser.ConfigParser(interpolation=None)
    written["DEFAULT"] = {"log_file": str(folder / "tempest.log"), "use_stderr": "false", "record_resources": "false"}
    written["oslo_concurrency"] = {"lock_path": str(folder / "locks")}
    written["auth"] = {
        "use_dynamic_credentials": "true",
        "admin_username": "admin",
        "admin_password": os.environ["MINICLOUD_ADMIN_PASSWORD"],
        "admin_project_name": "admin",
        "admin_domain_name": "Default",
        "tempest_roles": "member",
    }
    written["identity"] = {
        "uri_v3": f"{os.environ['MINICLOUD_URL']}/identity/v3",
        "auth_version": "v3",
        "region": cloud.config.region_name,
        "v3_endpoint_type": "public",
    }
    written["service_available"] = {name: "true" for name in ("cinder", "glance", "neutron", "nova")} | {
        "swift": "false"
    }
    written["validation"] = {
        "run_validation": "true",
        "connect_method": "floating",
        "auth_method": "keypair",
        "image_ssh_user": "cirros",
        "ssh_timeout": str(BUILD_SECONDS),
        "ping_timeout": str(BUILD_SECONDS),
    }
    written["compute"] = computing(cloud)
    written["network"] = networking(cloud)
    written["volume"] = {"build_timeout": str(BUILD_SECONDS), "max_microversion": "latest", "volume_size": "1"}
    written["image"] = {"disk_formats": "qcow2,raw,iso", "container_formats": "bare"}
    for service in FEATURES:
        on, off = FEATURES[service].split(), ABSENT.get(service, "").split()
        written[f"{service}-feature-enabled"] = {name: "true" for name in on} | {name: "false" for name in off}
    return written


def computing(cloud: Any) -> dict[str, str]:
    """Images and flavors, made here."""
    built = subprocess.run(
        [sys.executable, "-m", "minicloud", "image", "build", "tiny", "--print-path"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    images = [
        cloud.create_image(
            name, filename=built, disk_format="qcow2", container_format="bare", visibility="public", wait=True
        ).id
        for name in ("conformance", "conformance-other")
    ]
    flavors = [cloud.create_flavor(name, ram=ram, vcpus=1, disk=disk).id for name, ram, disk in FLAVORS]
    return {
        "image_ref": images[0],
        "image_ref_alt": images[1],
        "flavor_ref": flavors[0],
        "flavor_ref_alt": flavors[1],
        "min_compute_nodes": "1",
        "max_microversion": "latest",
        "build_timeout": str(BUILD_SECONDS),
        "build_interval": "1",
        "volume_device_name": "vdb",
        "shelved_offload_time": "0",
    }


def networking(cloud: Any) -> dict[str, str]:
    """The external network, and what extensions the cloud tells of."""
    external = next(iter(cloud.network.networks(is_router_external=True)))
    return {
        "public_network_id": external.id,
        "floating_network_name": external.name,
        "project_networks_reachable": "false",
        "build_timeout": str(BUILD_SECONDS),
        "build_interval": "1",
    }


def run(programs: Path, folder: Path, select: list[str], concurrency: int) -> int:
    """Run the selection in Tempest's own workspace; 0 if nothing failed and something passed."""
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "OS_TEST_TIMEOUT": "1200"}
    environment.pop("PYTHON", None)  # stestr would run that instead of Tempest's
    which = ["--regex", "|".join(select)] if select else ["--smoke"]
    command = [str(programs / "tempest"), "run", "--config-file", str(folder / "tempest.conf"), *which]
    command += ["--concurrency", str(concurrency)]
    process = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    failed = []
    counted = {"Passed": 0, "Failed": 0, "Skipped": 0}
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
        if found := re.match(r" - (\w+): (\d+)", line):
            counted[found.group(1)] = int(found.group(2))
        elif found := re.match(r"\{\d+\} (.+) \[.*FAILED$", line):
            failed.append(found.group(1))
    process.wait()
    print("\n".join(f"FAILED {name}" for name in failed))
    print(f"{counted['Passed']} passed, {counted['Failed']} failed, {counted['Skipped']} skipped")
    return process.returncode if counted["Passed"] else process.returncode or 1


if __name__ == "__main__":
    sys.exit(main())
