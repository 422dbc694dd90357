"""The host changes behind the daemon's back: what broke is told truthfully and comes back, guests go on."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
import pytest_asyncio

from minicloud.core.errors import Failure
from minicloud.host import run
from minicloud.host.links import bridge_name, inner_name, tap_name
from minicloud.host.namespaces import dhcp_space, router_space
from minicloud.sandbox import libvirtd
from tests.conftest import Cloud
from tests.real.town import COMPUTE, NETWORK, Guest, Town, difference, processes, traces, until

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ids(city: tuple[Cloud, Town]) -> dict[str, str]:
    """A server that lets ping and ssh in, and one in the default group."""
    town = city[1]
    made = {"web": await town.server("web"), "shy": await town.server("shy", security_groups=[{"name": "default"}])}
    await town.booted(made["shy"])
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def web(city: tuple[Cloud, Town], ids: dict[str, str]) -> Guest:
    """The first, logged in to."""
    return await city[1].reachable(ids["web"])


async def reconcile(cloud: Cloud) -> None:
    """What the timer does every half minute."""
    for one in cloud.daemon.reconcilers:
        await one.once()
    await cloud.daemon.operations.all_settled()


async def virsh(*words: str) -> str:
    """As an administrator would."""
    return (await run.run(["virsh", "-c", "qemu:///system", *words])).text


async def name_of(town: Town, server_id: str) -> str:
    """The machine's name in libvirt."""
    shown = (await town.admin.get(f"{COMPUTE}/servers/{server_id}"))["server"]
    return str(shown["OS-EXT-SRV-ATTR:instance_name"])


async def test_a_libvirtd_that_is_killed_takes_no_guest_along_and_is_used_again(
    cloud: Cloud, town: Town, web: Guest, ids: dict[str, str]
) -> None:
    hypervisor = cloud.daemon.host.hypervisor
    before = processes("qemu-system", str(cloud.folder))
    os.kill(int(Path(libvirtd.PID_FILE).read_text()), signal.SIGKILL)

    async def answers() -> bool:
        try:
            await hypervisor.actual()
        except Failure:
            return False
        return True

    async def silent() -> bool:
        return not await answers()

    await until("the loss to be noticed", silent, seconds=10, pause=0.05)
    try:
        assert (await town.show(ids["web"]))["status"] == "ACTIVE"
        shown = await town.settled(await town.request("early"))
        assert shown["status"] == "ERROR"
        assert "hypervisor" in shown["fault"]["message"]
        assert await web.pings()
    finally:
        process = await run.spawn(libvirtd.command())
    await until("libvirtd to be used again", answers, seconds=10, pause=0.05)
    await reconcile(cloud)
    assert (await town.show(ids["web"]))["status"] == "ACTIVE"
    assert processes("qemu-system", str(cloud.folder)) == before
    await town.delete(shown["id"])
    await town.delete(await town.server("late"))
    assert process.returncode is None


async def test_a_dhcp_server_that_is_killed_comes_back(cloud: Cloud, town: Town, web: Guest) -> None:
    word = str(cloud.folder / "s" / "dhcp" / town.network_id)
    (number,) = processes("dnsmasq", word)
    os.kill(number, signal.SIGKILL)

    async def another() -> bool:
        return bool(set(processes("dnsmasq", word)) - {number})

    await until("another DHCP server", another, seconds=20)
    await renew(web)


async def renew(guest: Guest) -> None:
    """Its DHCP server answers."""
    told = await guest.ssh("sudo timeout 20 busybox udhcpc -i eth0 -n -q -f -t 8 -T 1 -s /bin/true 2>&1", check=False)
    assert re.search("lease of .* obtained", told), told


async def test_filters_that_somebody_flushed_come_back(
    cloud: Cloud, town: Town, web: Guest, ids: dict[str, str]
) -> None:
    shy = await town.floating(ids["shy"])
    before = await traces(cloud.folder)
    for command in (
        ["flush", "ruleset"],
        ["flush", "table", "bridge", "minicloud"],
        ["flush", "table", "inet", "minicloud"],
    ):
        await run.run(["nft", *command])

        async def whole() -> bool:
            return not difference(before, await traces(cloud.folder))

        await until(f"the filters after {' '.join(command)}", whole, seconds=5, pause=0.05)
        assert not await shy.pings()
        assert await web.pings()


async def test_a_machine_that_was_destroyed_behind_our_back_is_told_off(
    cloud: Cloud, town: Town, ids: dict[str, str]
) -> None:
    name = await name_of(town, ids["shy"])
    await virsh("destroy", name)
    await town.settled(ids["shy"], "SHUTOFF")
    await virsh("undefine", name)
    await reconcile(cloud)
    assert (await town.show(ids["shy"]))["status"] == "SHUTOFF"
    await town.act(ids["shy"], **{"os-start": None})
    await town.settled(ids["shy"], "ACTIVE")
    await virsh("destroy", name)
    await virsh("undefine", name)
    await reconcile(cloud)
    await town.settled(ids["shy"], "SHUTOFF")
    await town.act(ids["shy"], reboot={"type": "HARD"})
    await town.settled(ids["shy"], "ACTIVE")


async def test_links_and_namespaces_that_were_removed_come_back(
    cloud: Cloud, town: Town, web: Guest, ids: dict[str, str]
) -> None:
    before = await traces(cloud.folder)
    port = await town.port_of(ids["web"])
    tap = tap_name(port["id"])
    query = f"{NETWORK}/ports?device_id={town.router_id}"
    inner = [inner_name(one["id"]) for one in (await town.admin.get(query))["ports"]]
    in_router = ["ip", "-n", router_space(town.router_id)]
    for command in (
        ["ip", "link", "set", tap, "nomaster"],
        ["ip", "link", "set", tap, "down"],
        ["ip", "link", "del", bridge_name(town.network_id)],
        [*in_router, "link", "del", inner[0]],
        [*in_router, "addr", "flush", "dev", inner[1]],
        [*in_router, "route", "del", "default"],
        [*in_router, "route", "flush", "table", "main"],
        [*in_router, "-6", "route", "flush", "table", "main"],
        ["ip", "netns", "del", router_space(town.router_id)],
        ["ip", "netns", "del", dhcp_space(town.network_id)],
    ):
        await run.run(command)
        await reconcile(cloud)
        await until(f"a ping after {' '.join(command)}", web.pings, seconds=20)
        changed = difference(before, await traces(cloud.folder))
        changed.pop("processes", None)  # a DHCP server in a new namespace is a new one
        assert changed == {}, command
    await renew(web)
    asked = "wget -q -O - http://169.254.169.254/openstack/latest/meta_data.json"
    assert ids["web"] in await web.ssh(asked)


async def test_a_tap_that_was_deleted_is_there_again_for_the_next_boot(
    cloud: Cloud, town: Town, web: Guest, ids: dict[str, str]
) -> None:
    await run.run(["ip", "link", "del", tap_name((await town.port_of(ids["web"]))["id"])])
    await reconcile(cloud)
    await town.act(ids["web"], reboot={"type": "HARD"})
    await town.settled(ids["web"], "ACTIVE")
    await until("ssh after the reboot", web.answers)
