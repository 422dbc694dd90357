"""A machine's life on the real host, from the request to nothing left."""

from __future__ import annotations

import base64

import pytest
import pytest_asyncio

from tests.conftest import Cloud
from tests.real.town import COMPUTE, Town, difference, traces, until

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

USER_DATA = base64.b64encode(b"#!/bin/sh\necho user-data ran on $(hostname)\n").decode()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def web(city: tuple[Cloud, Town]) -> str:
    """A server that has booted."""
    server_id = await city[1].server("Web_1", user_data=USER_DATA)
    await city[1].said(server_id, "user-data: done")
    return server_id


async def test_a_guest_boots_with_its_address_name_key_and_user_data(town: Town, web: str) -> None:
    log = await town.console(web)
    address = await town.address_of(web)
    assert "tiny: hostname: web-1" in log
    assert f"tiny: ip eth0 inet {address}/24" in log
    assert "tiny: datasource: metadata service" in log
    assert "tiny: ssh public keys: 1" in log
    assert "user-data ran on web-1" in log
    assert f"instance-id: {web}" in log
    assert "tiny: route default via 10.10.0.1" in log


async def test_the_console_log_can_be_cut_to_its_last_lines(town: Town, web: str) -> None:
    whole = await town.console(web)
    last = await town.console(web, length=3)
    assert last.splitlines() == whole.splitlines()[-3:]


async def test_a_config_drive_tells_the_same_without_a_network(town: Town) -> None:
    server_id = await town.server(
        "drive", config_drive=True, networks="none", security_groups=None, user_data=USER_DATA
    )
    log = await town.said(server_id, "user-data: done")
    assert "tiny: datasource: config drive" in log
    assert "tiny: hostname: drive" in log
    assert "tiny: ssh public keys: 1" in log
    assert "user-data ran on drive" in log
    assert "tiny: nic" not in log
    await town.delete(server_id)


async def test_a_guest_is_stopped_started_and_rebooted(town: Town, web: str) -> None:
    await town.act(web, **{"os-stop": None})
    shown = await town.settled(web, "SHUTOFF")
    assert shown["OS-EXT-STS:power_state"] == 4
    log = await town.console(web)
    assert "The system is going down" in log or "reboot: Power down" in log or "Requesting system poweroff" in log, log[
        -400:
    ]
    await town.act(web, **{"os-start": None})
    await town.settled(web, "ACTIVE")
    log = await town.said(web, "tiny: boot done", times=2)
    assert "user-data: ran at an earlier boot" in log
    for kind, boots in (("SOFT", 3), ("HARD", 4)):
        await town.act(web, reboot={"type": kind})
        assert (await town.settled(web, "ACTIVE"))["OS-EXT-STS:power_state"] == 1
        await town.said(web, "tiny: boot done", times=boots)


async def test_a_guest_that_powers_itself_off_is_told_to_be_off(town: Town, web: str) -> None:
    guest = await town.reachable(web)
    await guest.ssh("sudo poweroff", check=False)
    await town.settled(web, "SHUTOFF")
    await town.act(web, **{"os-start": None})
    await town.settled(web, "ACTIVE")


async def test_a_deleted_server_leaves_nothing(cloud: Cloud, town: Town) -> None:
    before = await traces(cloud.folder)
    server_id = await town.server("brief", config_drive=True)
    during = await traces(cloud.folder)
    assert all(during[kind] - before[kind] for kind in ("links", "rules", "domains", "processes", "files"))
    await town.delete(server_id)
    await cloud.daemon.operations.all_settled()
    assert difference(before, await traces(cloud.folder)) == {}
    assert (await town.client.get(f"{COMPUTE}/servers/{server_id}", expect=404)).status == 404


async def test_an_emptied_cloud_leaves_no_bridge_namespace_or_dhcp_server(cloud: Cloud, town: Town) -> None:
    before = await traces(cloud.folder)
    network_id, _ = await town.network("10.77.0.0/24")
    during = await traces(cloud.folder)
    assert all(during[kind] - before[kind] for kind in ("links", "namespaces", "processes"))
    await town.client.delete(f"/network/v2.0/networks/{network_id}", expect=204)

    async def same() -> bool:
        return await traces(cloud.folder) == before

    await until("the machine to be as before", same)
