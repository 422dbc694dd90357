"""Many who want one address, one port or one range at once: one wins, the others are told, and nothing is held twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from tests.network.conftest import Net


async def _told(*asked: Any) -> list[Any]:
    return list(await asyncio.gather(*asked))


def _statuses(told: list[Any]) -> Counter[int]:
    return Counter(answer.status for answer in told)


async def test_one_address_goes_to_one_port_and_a_pool_to_as_many_as_it_has(net: Net) -> None:
    pools = [{"start": "10.0.0.4", "end": "10.0.0.13"}]
    network, _ = await net.demo.network_with_subnet("10.0.0.0/27", allocation_pools=pools)
    plain = {"network_id": network["id"]}
    fixed = {"port": {**plain, "fixed_ips": [{"ip_address": "10.0.0.20"}]}}
    assert _statuses(await _told(*(net.demo.post("/ports", fixed) for _ in range(30)))) == {201: 1, 409: 29}
    told = await _told(*(net.demo.post("/ports", {"port": plain}) for _ in range(30)))
    assert _statuses(told) == {201: 9, 409: 21}  # and the DHCP server's
    assert {one["NeutronError"]["type"] for one in told if one.status == 409} == {"IpAddressGenerationFailure"}
    rows = net.store.read(lambda db: db.execute("SELECT address FROM port_addresses").fetchall())
    assert len(rows) == len(set(rows)) == 11


async def test_a_port_gets_one_of_many_floating_ips(net: Net) -> None:
    network, subnet = await net.demo.network_with_subnet()
    external = (await net.demo.get("/networks?name=public"))["networks"][0]["id"]
    router = await net.demo.make("router", external_gateway_info={"network_id": external})
    await net.demo.put(f"/routers/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]}, expect=200)
    ports = [(await net.demo.make("port", network_id=network["id"]))["id"] for _ in range(2)]
    body = {"floatingip": {"floating_network_id": external, "port_id": ports[0]}}
    assert _statuses(await _told(*(net.demo.post("/floatingips", body) for _ in range(5)))) == {201: 1, 409: 4}
    (floating,) = (await net.demo.get("/floatingips"))["floatingips"]
    path = f"/floatingips/{floating['id']}"
    assert _statuses(await _told(*(net.demo.put(path, {"floatingip": {"port_id": one}}) for one in ports))) == {200: 2}
    seen = (await net.demo.get(path))["floatingip"]
    (nat,) = [one["floating"] for one in net.section("nat").values() if one["floating"]]
    assert len(nat) == 1 and tuple(nat[0]) == (seen["floating_ip_address"], seen["fixed_ip_address"])


async def test_a_port_becomes_the_leg_of_one_router(net: Net) -> None:
    network, _ = await net.demo.network_with_subnet()
    port = await net.demo.make("port", network_id=network["id"])
    routers = [(await net.demo.make("router"))["id"] for _ in range(4)]
    asked = (net.demo.put(f"/routers/{one}/add_router_interface", {"port_id": port["id"]}) for one in routers)
    assert _statuses(await _told(*asked)) == {200: 1, 409: 3}


async def test_a_pool_gives_no_project_more_than_its_share(net: Net) -> None:
    pool = await net.demo.make(
        "subnetpool", name="p", prefixes=["10.64.0.0/20"], default_prefixlen=24, default_quota=512
    )
    networks = [(await net.demo.make("network"))["id"] for _ in range(6)]
    bodies = [{"network_id": one, "ip_version": 4, "subnetpool_id": pool["id"]} for one in networks]
    told = await _told(*(net.demo.post("/subnets", {"subnet": one}) for one in bodies))
    assert _statuses(told) == {201: 2, 409: 4}
    assert len({one["subnet"]["cidr"] for one in told if one.status == 201}) == 2
