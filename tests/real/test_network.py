"""Packets of real guests: in by floating IPs, out by translation, and nothing where nothing was allowed."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.conftest import Cloud
from tests.real.town import GATEWAY, NETWORK, Guest, Town, second_town, until

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ids(city: tuple[Cloud, Town]) -> dict[str, str]:
    """Two servers in the same network: one that lets ping and ssh in, one in the default group."""
    town = city[1]
    made = {
        "web": await town.server("web"),
        "shy": await town.server("shy", security_groups=[{"name": "default"}]),
    }
    for server_id in made.values():
        await town.booted(server_id)
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def web(city: tuple[Cloud, Town], ids: dict[str, str]) -> Guest:
    """The first, reachable from outside."""
    return await city[1].reachable(ids["web"])


async def reaches(guest: Guest, command: str) -> bool:
    """Whether a command succeeds in a guest."""
    return (await guest.ssh(f"{command} >/dev/null 2>&1 && echo passed", check=False)) == "passed"


@contextlib.asynccontextmanager
async def callers(address: str = GATEWAY, port: int = 8099) -> AsyncIterator[list[str]]:
    """A server on the host that notes from where it is called."""
    noted: list[str] = []

    def note(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        noted.append(writer.get_extra_info("peername")[0])
        writer.close()

    async with await asyncio.start_server(note, address, port):
        yield noted


async def test_a_floating_ip_lets_ping_and_ssh_in(web: Guest) -> None:
    assert await web.pings()
    assert await web.ssh("hostname") == "web"


async def test_a_guest_goes_out_under_its_floating_ip(web: Guest) -> None:
    async with callers() as noted:
        await web.ssh(f"echo x | nc -w 2 {GATEWAY} 8099", check=False)
    assert noted == [web.address]


async def test_a_guest_without_a_floating_ip_goes_out_under_its_routers_address(
    town: Town, web: Guest, ids: dict[str, str]
) -> None:
    router = (await town.client.get(f"{NETWORK}/routers/{town.router_id}"))["router"]
    outside = router["external_gateway_info"]["external_fixed_ips"][0]["ip_address"]
    script = f"#!/bin/sh\nfor i in 1 2 3 4 5; do echo x | nc -w 2 {GATEWAY} 8099 && break; sleep 1; done\n"
    async with callers() as noted:
        server_id = await town.server("caller", user_data=base64.b64encode(script.encode()).decode())
        await town.said(server_id, "user-data: done")
    await town.delete(server_id)
    assert set(noted) == {outside}


async def test_the_default_group_lets_nobody_in_and_a_rule_opens_it(
    town: Town, web: Guest, ids: dict[str, str]
) -> None:
    inside = await town.address_of(ids["shy"])
    shy = await town.floating(ids["shy"])
    assert not await shy.pings()
    assert not await reaches(web, f"ping -c 1 -W 2 {inside}")
    assert not await reaches(web, f"nc -z -w 2 {inside} 22")
    group_id = (await town.port_of(ids["shy"]))["security_groups"][0]
    rules = [await town.rule("icmp", group_id=group_id), await town.rule("tcp", port=22, group_id=group_id)]
    assert await reaches(web, f"ping -c 1 -W 2 {inside}")
    assert await reaches(web, f"nc -z -w 2 {inside} 22")
    assert await shy.pings()
    for rule_id in rules:
        await town.client.delete(f"{NETWORK}/security-group-rules/{rule_id}", expect=204)
    assert not await reaches(web, f"ping -c 1 -W 2 {inside}")
    assert not await reaches(web, f"nc -z -w 2 {inside} 22")
    assert not await shy.pings()


async def test_spoofed_addresses_do_not_get_out(town: Town, web: Guest) -> None:
    address = "10.10.0.222"
    assert await reaches(web, "ping -c 1 -W 2 10.10.0.1")
    await web.ssh(f"sudo ip addr add {address}/24 dev eth0")
    assert not await reaches(web, f"ping -c 1 -W 2 -I {address} 10.10.0.1")
    await web.ssh(f"sudo ip addr del {address}/24 dev eth0")
    mac = await web.ssh("cat /sys/class/net/eth0/address")
    tried = "ip link set eth0 address fa:16:3e:00:00:99; ping -c 1 -W 2 10.10.0.1 && echo passed"
    script = f"({tried}; ip link set eth0 address {mac}; echo ended) >/tmp/spoof 2>&1 &"
    await web.ssh(f"sudo sh -c '{script}' </dev/null >/dev/null 2>&1", check=False)

    async def ended() -> bool:
        return await web.ssh("tail -n 1 /tmp/spoof", check=False) == "ended"

    await until("the guest to be itself again", ended, seconds=60)
    assert "passed" not in await web.ssh("cat /tmp/spoof")
    assert await reaches(web, "ping -c 1 -W 2 10.10.0.1")


async def test_a_port_that_is_switched_off_passes_nothing(town: Town, web: Guest, ids: dict[str, str]) -> None:
    path = f"{NETWORK}/ports/{(await town.port_of(ids['web']))['id']}"
    told = (await town.client.put(path, {"port": {"admin_state_up": False}}, expect=200))["port"]
    assert told["status"] == "DOWN"
    assert not await web.pings()
    told = (await town.client.put(path, {"port": {"admin_state_up": True}}, expect=200))["port"]
    assert told["status"] == "ACTIVE"
    await until("a ping of the port that is on again", web.pings)


async def test_tenants_with_the_same_addresses_do_not_meet(
    cloud: Cloud, town: Town, web: Guest, ids: dict[str, str]
) -> None:
    other = await second_town(cloud, town, cidr="10.10.0.0/24")
    inside = await town.address_of(ids["web"])
    fixed = [{"uuid": other.network_id, "fixed_ip": inside}]
    twin_id = await other.server("twin", networks=fixed)
    twin = await other.reachable(twin_id)
    asked = "wget -q -O - http://169.254.169.254/openstack/latest/meta_data.json"
    for guest, server_id in ((web, ids["web"]), (twin, twin_id)):
        assert server_id in await guest.ssh(asked)
        assert f"inet {inside}/" in await guest.ssh("ip addr")
    assert await twin.ssh("hostname") == "twin"
    neighbour = await town.address_of(ids["shy"])
    group_id = (await town.port_of(ids["shy"]))["security_groups"][0]
    rule_id = await town.rule("icmp", group_id=group_id)
    assert await reaches(web, f"ping -c 1 -W 2 {neighbour}")
    assert not await reaches(twin, f"ping -c 1 -W 2 {neighbour}")
    await town.client.delete(f"{NETWORK}/security-group-rules/{rule_id}", expect=204)
    await other.delete(twin_id)


async def test_a_guest_with_ipv6_alone_takes_its_address_from_the_router_and_finds_its_metadata(town: Town) -> None:
    network_id, subnet = await town.network("fd00:77::/64", ipv6_ra_mode="slaac", ipv6_address_mode="slaac")
    await town.client.put(f"{NETWORK}/routers/{town.router_id}/add_router_interface", {"subnet_id": subnet}, expect=200)
    server_id = await town.server("six", networks=[{"uuid": network_id}])
    log = await town.booted(server_id)
    assert "datasource: metadata service at http://[fe80::a9fe:a9fe" in log
    address = await town.address_of(server_id)
    assert address.startswith("fd00:77::")
    assert f"inet6 {address}/64" in log
    assert "tiny: hostname: six" in log
    await town.delete(server_id)
    await town.client.put(
        f"{NETWORK}/routers/{town.router_id}/remove_router_interface", {"subnet_id": subnet}, expect=200
    )
