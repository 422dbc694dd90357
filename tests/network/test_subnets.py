"""Subnets, pools and scopes over HTTP, and what the DHCP server tells."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicloud.network import subnetpools, subnets
from tests.network.conftest import Net


async def test_a_subnet_has_the_usual_gateway_and_pool(net: Net) -> None:
    network, subnet = await net.demo.network_with_subnet("10.77.0.0/24")
    assert subnet["gateway_ip"] == "10.77.0.1" and subnet["enable_dhcp"] is True
    assert subnet["allocation_pools"] == [{"start": "10.77.0.2", "end": "10.77.0.254"}]
    assert (await net.demo.get(f"/networks/{network['id']}"))["network"]["subnets"] == [subnet["id"]]
    server = net.section("dhcp")[network["id"]]
    routes = [list(one) for one in server["subnets"][0]["routes"]]
    assert routes == [["169.254.169.254/32", "10.77.0.2"], ["0.0.0.0/0", "10.77.0.1"]]


@pytest.mark.parametrize(
    ("values", "status", "kind"),
    [
        ({"cidr": "nope"}, 400, "InvalidInput"),
        ({"cidr": "10.9.0.5"}, 400, "InvalidInput"),
        ({}, 400, "BadRequest"),
        ({"cidr": "10.9.0.0/24", "ip_version": 6}, 400, "InvalidInput"),
        ({"cidr": "10.9.0.0/24", "ip_version": 5}, 400, "HTTPBadRequest"),
        ({"cidr": "10.0.0.0/25"}, 400, "InvalidInput"),
        ({"cidr": "10.9.0.0/31"}, 400, "InvalidInput"),
        ({"cidr": "224.0.0.0/24"}, 400, "InvalidInput"),
        ({"cidr": "10.9.0.0/24", "gateway_ip": "10.9.0.0"}, 400, "InvalidInput"),
        ({"cidr": "10.9.0.0/24", "gateway_ip": "fd00::1"}, 400, "InvalidInput"),
        ({"cidr": "10.9.0.0/24", "allocation_pools": [{"start": "10.9.0.9", "end": "10.9.0.2"}]}, 400, "InvalidAllocationPool"),
        ({"cidr": "10.9.0.0/24", "allocation_pools": [{"start": "10.9.0.9", "end": "10.9.1.2"}]}, 400, "OutOfBoundsAllocationPool"),
        ({"cidr": "10.9.0.0/24", "allocation_pools": [{"start": "10.9.0.1", "end": "10.9.0.2"}]}, 409,
         "GatewayConflictWithAllocationPools"),
        ({"cidr": "10.9.0.0/24", "allocation_pools": [{"start": "10.9.0.2", "end": "10.9.0.9"},
                                                      {"start": "10.9.0.8", "end": "10.9.0.20"}]}, 409, "OverlappingAllocationPools"),
        ({"cidr": "10.9.0.0/24", "ipv6_ra_mode": "slaac"}, 400, "InvalidInput"),
        ({"cidr": "fd00::/80", "ip_version": 6, "ipv6_address_mode": "slaac"}, 400, "InvalidInput"),
        ({"cidr": "10.9.0.0/24", "dns_nameservers": ["fd00::1"]}, 400, "InvalidInput"),
        ({"cidr": "10.9.0.0/24", "host_routes": [{"destination": "10.1.0.0/16"}]}, 400, "BadRequest"),
        ({"cidr": "10.9.0.0/24", "network_id": "nope"}, 404, "NetworkNotFound"),
        ({"cidr": "10.9.0.0/24", "subnetpool_id": "nope"}, 404, "SubnetPoolNotFound"),
    ],
)  # fmt: skip
async def test_subnets_are_refused_that_make_no_sense(net: Net, values: dict, status: int, kind: str) -> None:
    network, _ = await net.demo.network_with_subnet()
    answer = await net.demo.make("subnet", status, **{"network_id": network["id"], "ip_version": 4, **values})
    assert answer["NeutronError"]["type"] == kind


async def test_a_subnet_named_by_one_of_its_addresses_is_the_whole_subnet(net: Net) -> None:
    _, subnet = await net.demo.network_with_subnet("10.99.99.5/16")
    assert (subnet["cidr"], subnet["gateway_ip"]) == ("10.99.0.0/16", "10.99.0.1")


async def test_a_subnet_changes_and_goes(net: Net) -> None:
    network, subnet = await net.demo.network_with_subnet()
    path = f"/subnets/{subnet['id']}"
    body = {"subnet": {"name": "s", "dns_nameservers": ["9.9.9.9"], "gateway_ip": None}}
    told = (await net.demo.put(path, body, expect=200))["subnet"]
    assert told["name"] == "s" and told["gateway_ip"] is None and told["revision_number"] > subnet["revision_number"]
    assert list(net.section("dhcp")[network["id"]]["subnets"][0]["nameservers"]) == ["9.9.9.9"]
    await net.demo.put(path, {"subnet": {"cidr": "10.1.0.0/24"}}, expect=400)
    await net.demo.put(path, {"subnet": {"enable_dhcp": False}}, expect=200)
    assert net.section("dhcp") == {} and (await net.demo.get(f"/ports?network_id={network['id']}"))["ports"] == []
    port = await net.demo.make("port", network_id=network["id"])
    answer = await net.demo.delete(path, expect=409)
    assert answer["NeutronError"]["type"] == "SubnetInUse"
    await net.demo.delete(f"/ports/{port['id']}", expect=204)
    await net.other.get(path, expect=404)
    await net.demo.delete(path, expect=204)
    await net.demo.get(path, expect=404)


async def test_subnets_are_cut_out_of_a_pool(net: Net) -> None:
    pool = await net.demo.make("subnetpool", name="p", prefixes=["10.90.0.0/16"], default_prefixlen=26)
    assert pool["default_prefixlen"] == "26" and pool["min_prefixlen"] == "8" and pool["ip_version"] == 4
    first, second = [(await net.demo.make("network"))["id"] for _ in range(2)]
    plain = {"ip_version": 4, "subnetpool_id": pool["id"]}
    one = await net.demo.make("subnet", network_id=first, **plain)
    two = await net.demo.make("subnet", network_id=second, prefixlen=24, **plain)
    assert (one["cidr"], two["cidr"]) == ("10.90.0.0/26", "10.90.1.0/24") and one["subnetpool_id"] == pool["id"]
    answer = await net.demo.make(
        "subnet", 400, network_id=first, ip_version=4, cidr="10.90.0.0/25", subnetpool_id=pool["id"]
    )
    assert answer["NeutronError"]["type"] == "SubnetAllocationError"
    await net.demo.make("subnet", 400, network_id=first, prefixlen=4, **plain)
    path = f"/subnetpools/{pool['id']}"
    assert (await net.demo.delete(path, expect=409))["NeutronError"]["type"] == "SubnetPoolDeleteError"
    await net.demo.put(path, {"subnetpool": {"prefixes": ["10.91.0.0/16"]}}, expect=400)
    grown = (await net.demo.put(path, {"subnetpool": {"prefixes": ["10.90.0.0/16", "10.91.0.0/16"]}}, expect=200))[
        "subnetpool"
    ]
    assert grown["prefixes"] == ["10.90.0.0/15"]
    for wrong in (
        {"prefixes": []},
        {"prefixes": ["10.0.0.0/8", "fd00::/48"]},
        {"prefixes": ["10.0.0.0/8"], "min_prefixlen": 30, "default_prefixlen": 20},
    ):
        await net.demo.make("subnetpool", 400, **wrong)


async def test_an_address_scope_holds_pools_apart(net: Net) -> None:
    scope = await net.demo.make("address_scope", name="s", ip_version=4)
    path = f"/address-scopes/{scope['id']}"
    await net.demo.make("subnetpool", prefixes=["10.0.0.0/8"], address_scope_id=scope["id"])
    answer = await net.demo.make("subnetpool", 409, prefixes=["10.1.0.0/16"], address_scope_id=scope["id"])
    assert answer["NeutronError"]["type"] == "AddressScopePrefixConflict"
    assert (await net.demo.delete(path, expect=409))["NeutronError"]["type"] == "AddressScopeInUse"
    assert (await net.demo.put(path, {"address_scope": {"name": "t"}}, expect=200))["address_scope"]["name"] == "t"


@given(st.integers(min_value=16, max_value=30), st.integers(min_value=0, max_value=2**16 - 1))
def test_default_pools_hold_every_usable_address_but_the_gateway(length: int, offset: int) -> None:
    ranged = ipaddress.ip_network((int(ipaddress.ip_address("10.0.0.0")), length))
    gateway = ranged[offset % ranged.num_addresses]
    pools = subnets._default_pools(ranged, str(gateway))
    spans = [range(int(ipaddress.ip_address(one["start"])), int(ipaddress.ip_address(one["end"])) + 1) for one in pools]
    usable = {int(ranged[0]) + 1, int(ranged[-1]) - 1} - {int(gateway)}
    assert all(any(one in span for span in spans) for one in usable)
    assert sum(len(span) for span in spans) == ranged.num_addresses - 2 - (gateway not in (ranged[0], ranged[-1]))
    assert not any(int(gateway) in span for span in spans)


@given(st.lists(st.tuples(st.integers(20, 28), st.integers(0, 2**12 - 1)), max_size=12), st.integers(20, 28))
def test_a_range_from_a_pool_never_overlaps_another(taken: list[tuple[int, int]], length: int) -> None:
    prefix = ipaddress.ip_network("10.0.0.0/20")
    used = [ipaddress.ip_network((int(prefix[0]) + offset, size), strict=False) for size, offset in taken]
    found = subnetpools._next_free([prefix], used, length)
    if found is not None:
        assert found.prefixlen == length and found.subnet_of(prefix) and not any(found.overlaps(one) for one in used)
    else:
        assert not any(not any(one.overlaps(other) for other in used) for one in prefix.subnets(new_prefix=length))
