"""The Debian image does on a cloud what a cloud image promises. Minutes without KVM, so only `make debian` runs it.

Two guests boot at the same time: one knows no more than the metadata service tells, one has a config drive.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from minicloud.core.errors import HostFailure
from minicloud.demo.client import Guest, until
from minicloud.guest import debian
from tests.real.town import CACHE, COMPUTE, IMAGE, Town, running_town

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(1500), pytest.mark.asyncio(loop_scope="module")]

BOOT_SECONDS = 1200
USER_DATA = {
    "by-metadata": "#!/bin/sh\necho user-data ran as $(id -un) on $(hostname) > /root/told\n",
    "by-drive": "#cloud-config\nruncmd:\n  - echo user-data ran as $(id -un) on $(hostname) > /root/told\n",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town() -> AsyncIterator[Town]:
    """A cloud with the Debian image and a flavor that is larger than it."""
    path = await debian(CACHE, progress=print)
    async with running_town() as (_, made):
        body = {"name": "debian", "disk_format": "qcow2", "container_format": "bare", "visibility": "public"}
        made.image_id = (await made.admin.post(f"{IMAGE}/images", body, expect=201))["id"]
        headers = {"Content-Type": "application/octet-stream"}
        with path.open("rb") as data:
            await made.admin.put(f"{IMAGE}/images/{made.image_id}/file", data=data, headers=headers, expect=204)
        flavor = {"flavor": {"name": "debian", "id": "2", "ram": 512, "vcpus": 1, "disk": 4}}
        await made.admin.post(f"{COMPUTE}/flavors", flavor, expect=200)
        yield made


async def ended(guest: Guest) -> bool:
    """Whether cloud-init has done its work."""
    try:
        return await guest.ssh("ls /run/cloud-init/result.json", check=False) != ""
    except HostFailure:  # a guest that works hard may let a login wait for too long
        return False


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guests(town: Town) -> dict[str, Guest]:
    """Both guests, once cloud-init has done its work in them."""
    began = time.monotonic()

    async def booted(name: str) -> Guest:
        data = base64.b64encode(USER_DATA[name].encode()).decode()
        server_id = await town.server(name, flavorRef="2", user_data=data, config_drive=name == "by-drive")
        guest = replace(await town.floating(server_id), user="debian")
        await until(f"ssh to {name}", guest.answers, seconds=BOOT_SECONDS, pause=3)
        print(f"{name}: login after {time.monotonic() - began:.0f} s")
        await until(f"cloud-init in {name}", lambda: ended(guest), seconds=BOOT_SECONDS, pause=5)
        print(f"{name}: cloud-init done after {time.monotonic() - began:.0f} s")
        return guest

    made = await asyncio.gather(*(booted(name) for name in USER_DATA))
    return dict(zip(USER_DATA, made, strict=True))


@pytest.mark.parametrize(
    ("name", "source"), [("by-metadata", "DataSourceOpenStack"), ("by-drive", "DataSourceConfigDrive")]
)
async def test_cloud_init_takes_name_key_user_data_and_disk(guests: dict[str, Guest], name: str, source: str) -> None:
    guest = guests[name]
    told = json.loads(await guest.ssh("cat /run/cloud-init/result.json"))["v1"]
    assert told["errors"] == []
    assert source in told["datasource"]
    assert await guest.ssh("hostname") == name
    assert await guest.ssh("sudo cat /root/told") == f"user-data ran as root on {name}"
    assert int(await guest.ssh("df --output=size -B1 / | tail -1")) > 3.7 * 1024**3
    assert await guest.ssh("systemctl --failed --no-legend") == ""


async def test_the_guest_reaches_its_network_and_calls_itself_debian(guests: dict[str, Guest]) -> None:
    guest = guests["by-metadata"]
    assert 'VERSION_ID="12"' in await guest.ssh("cat /etc/os-release")
    assert "10.10.0.1" in await guest.ssh("ip route show default")
    assert "Debian" in await guest.ssh("apt-cache policy base-files && cat /etc/apt/sources.list && uname -v")
    await guest.ssh("sudo update-grub 2>&1 && grep -q 'root=UUID=' /boot/grub/grub.cfg", timeout=300)
