"""What callers send to break into files, filters or other projects' things, and what it does: nothing."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minicloud.core.errors import Invalid
from minicloud.host.dhcp import DhcpHost, DhcpServer, DhcpSubnet
from minicloud.host.links import bridge_name
from minicloud.host.real.dnsmasq_files import Account, server_files
from minicloud.network.plan import hostname_of
from tests.network.conftest import Net

ZONE = "fd00::7%a\nconf-script=/tmp/x"


async def _plugged(net: Net, server_id: str = "server-1") -> str:
    """A machine's port on demo's only network."""
    (nic,) = net.network.choose_nics(net.context("demo"), None)
    await net.network.plug(net.context("demo"), nic, server_id, hostname="web", availability_zone="nova")
    return nic.port_id


async def test_an_address_with_a_zone_is_refused_wherever_addresses_stand(net: Net) -> None:
    network, subnet = await net.demo.network_with_subnet("fd00::/64")
    group = await net.demo.make("security_group")
    rule = {"security_group_id": group["id"], "direction": "ingress", "ethertype": "IPv6"}
    on_it = {"network_id": network["id"]}
    before = net.world.contents()
    for method, path, body in (
        ("PUT", f"/subnets/{subnet['id']}", {"subnet": {"dns_nameservers": [ZONE]}}),
        ("PUT", f"/subnets/{subnet['id']}", {"subnet": {"gateway_ip": ZONE}}),
        ("PUT", f"/subnets/{subnet['id']}", {"subnet": {"allocation_pools": [{"start": ZONE, "end": "fd00::9"}]}}),
        ("PUT", f"/subnets/{subnet['id']}", {"subnet": {"host_routes": [{"destination": f"{ZONE}/64", "nexthop": "fd00::2"}]}}),
        ("POST", "/ports", {"port": {**on_it, "fixed_ips": [{"ip_address": ZONE}]}}),
        ("POST", "/ports", {"port": {**on_it, "allowed_address_pairs": [{"ip_address": ZONE}]}}),
        ("POST", "/ports", {"port": {**on_it, "allowed_address_pairs": [{"ip_address": f"{ZONE}/64"}]}}),
        ("POST", "/subnets", {"subnet": {**on_it, "ip_version": 6, "cidr": "fd05::%a\nb/64"}}),
        ("POST", "/subnetpools", {"subnetpool": {"name": "p", "prefixes": ["fd05::%a\nb/48"]}}),
        ("POST", "/security-group-rules", {"security_group_rule": {**rule, "remote_ip_prefix": ZONE}}),
        ("POST", "/security-group-rules", {"security_group_rule": {**rule, "remote_ip_prefix": "fd00::%a\nb/64"}}),
    ):  # fmt: skip
        answer = await net.demo.request(method, path, body)
        assert answer.status == 400, (path, body, answer.body)
    assert net.world.contents() == before


@pytest.mark.parametrize("name", ["a\nb", "a b", "a\r", "-a", "a..b", ".a", "a_b", "é", "x" * 64, "a/b", "a,b"])
async def test_a_name_that_is_none_is_refused(net: Net, name: str) -> None:
    network = await net.demo.make("network")
    await net.demo.make("network", 400, dns_domain=name)
    await net.demo.put(f"/networks/{network['id']}", {"network": {"dns_domain": name}}, expect=400)
    await net.demo.make("port", 400, network_id=network["id"], dns_name=name)


async def test_names_and_options_that_are_accepted_can_be_served(net: Net) -> None:
    network, _ = await net.demo.network_with_subnet()
    port_id = await _plugged(net)
    await net.demo.put(f"/networks/{network['id']}", {"network": {"dns_domain": "lab.example.org."}}, expect=200)
    rolled, offered = random.Random(7), "abz019-_.,;:# \"\\'=/\n\t\0é\u2028"
    kept = 0
    for number in range(60):
        value = "".join(rolled.choice(offered) for _ in range(rolled.randrange(1, 12)))
        name = "".join(rolled.choice("abz09-._") for _ in range(rolled.randrange(1, 8)))
        options = [{"opt_name": "bootfile-name", "opt_value": value}, {"opt_name": "own_word", "opt_value": "x"}]
        body = {"dns_name": name} if number % 2 else {"extra_dhcp_opts": options}
        answer = await net.demo.put(f"/ports/{port_id}", {"port": body})
        assert answer.status in (200, 400), (body, answer.body)
        kept += answer.status == 200
        files = server_files(_served(net, network["id"]), folder=Path("/f"), account=Account("dnsmasq", "nogroup"))
        assert len(files.hosts.splitlines()) == 1 and len(files.names.splitlines()) == 1
        assert len([line for line in files.options.splitlines() if "bootfile-name" in line]) <= 1
    assert kept > 5
    assert (await net.demo.get(f"/networks/{network['id']}"))["network"]["status"] == "ACTIVE"


def _served(net: Net, network_id: str) -> DhcpServer:
    told = net.section("dhcp")[network_id]
    subnets = tuple(
        DhcpSubnet(**{**one, "routes": tuple(map(tuple, one["routes"])), "mode": None}) for one in told["subnets"]
    )
    hosts = tuple(
        DhcpHost(**{**one, "options": tuple(tuple(option) for option in one["options"])}) for one in told["hosts"]
    )
    return replace(DhcpServer(**told), subnets=subnets, hosts=hosts)


async def test_a_name_with_a_domain_is_served_without_it(net: Net) -> None:
    network, _ = await net.demo.network_with_subnet()
    port_id = await _plugged(net)
    port = (await net.demo.put(f"/ports/{port_id}", {"port": {"dns_name": "www.example.org."}}, expect=200))["port"]
    assert port["dns_name"] == "www.example.org."
    assert [one["hostname"] for one in net.section("dhcp")[network["id"]]["hosts"]] == ["www"]
    assert hostname_of("10.0.0.5") == "host-10-0-0-5"


@pytest.mark.parametrize("owner", ["network:router_interface", "network:router_gateway", "compute:nova", ""])
async def test_nobody_gives_a_port_to_anothers_router(net: Net, owner: str) -> None:
    router = await net.demo.make("router")
    network, _ = await net.other.network_with_subnet("10.9.0.0/24")
    before = json.dumps(net.section("insides"), sort_keys=True)
    device = {"device_id": router["id"], "device_owner": owner}
    answer = await net.other.make("port", 409, network_id=network["id"], **device)
    assert answer["NeutronError"]["type"] == "DeviceIDNotOwnedByTenant"
    port = await net.other.make("port", network_id=network["id"])
    await net.other.put(f"/ports/{port['id']}", {"port": device}, expect=409)
    await net.other.put(f"/ports/{port['id']}", {"port": {"device_id": router["id"]}}, expect=409)
    await net.network.converge.router(router["id"])
    assert json.dumps(net.section("insides"), sort_keys=True) == before
    assert (await net.other.get(f"/ports/{port['id']}"))["port"]["device_id"] == ""


async def test_nobody_gives_a_port_to_anothers_machine(net: Net) -> None:
    await net.demo.network_with_subnet()
    await _plugged(net, "server-1")
    network, _ = await net.other.network_with_subnet("10.9.0.0/24")
    group = await net.other.make("security_group", name="theirs")
    values = {"network_id": network["id"], "device_owner": "compute:nova", "security_groups": [group["id"]]}
    await net.other.make("port", 409, device_id="server-1", **values)
    await net.other.make("port", device_id="server-9", **values)
    assert [one.name for one in net.network.groups_of("server-1")] == ["default"]
    assert net.network.groups_of("server-9") == [] and net.network.ports_of("server-9") == []


@pytest.mark.parametrize(
    "change", [{"device_id": ""}, {"device_id": "server-2"}, {"device_owner": ""}, {"device_owner": "network:dhcp"}]
)
async def test_a_port_stays_with_the_machine_that_it_is_connected_to(net: Net, change: dict[str, str]) -> None:
    await net.demo.network_with_subnet()
    port_id = await _plugged(net)
    await net.demo.put(f"/ports/{port_id}", {"port": change}, expect=409)
    await net.demo.put(f"/ports/{port_id}", {"port": {"device_id": "server-1", "name": "same"}}, expect=200)
    await net.network.unplug(port_id, "server-1")
    assert net.section("taps") == {} and net.section("port_filters") == {}


async def test_on_a_shared_network_what_members_may_not_set_they_may_not_reset(net: Net) -> None:
    network = await net.admin.make("network", shared=True)
    await net.admin.make("subnet", network_id=network["id"], ip_version=4, cidr="10.5.0.0/24")
    port = await net.demo.make("port", network_id=network["id"])
    pairs = {"allowed_address_pairs": [{"ip_address": "10.5.0.77"}]}
    await net.admin.put(f"/ports/{port['id']}", {"port": pairs}, expect=200)
    for change in (
        {"allowed_address_pairs": []}, {"allowed_address_pairs": None}, pairs, {"port_security_enabled": True},
        {"mac_address": port["mac_address"]}, {"mac_address": None},
    ):  # fmt: skip
        await net.demo.put(f"/ports/{port['id']}", {"port": change}, expect=403)
    seen = (await net.admin.get(f"/ports/{port['id']}"))["port"]
    assert [one["ip_address"] for one in seen["allowed_address_pairs"]] == ["10.5.0.77"]


@pytest.mark.parametrize("change", [
    {"shared": False}, {"shared": None}, {"router:external": False}, {"provider:network_type": "local"},
    {"provider:network_type": None}, {"provider:physical_network": None}, {"provider:segmentation_id": None},
    {"is_default": False},
], ids=str)  # fmt: skip
async def test_members_may_not_reset_what_only_administrators_set(net: Net, change: dict[str, Any]) -> None:
    network = await net.demo.make("network")
    before = (await net.admin.get(f"/networks/{network['id']}"))["network"]
    answer = await net.demo.put(f"/networks/{network['id']}", {"network": change})
    assert answer.status in (400, 403), answer.body  # 400: null is no value of it at all
    assert (await net.admin.get(f"/networks/{network['id']}"))["network"] == before


@pytest.mark.parametrize("protocol", ["²", "٣", "٤٤", "tcp\n", "1e1", "-1", "256", "9" * 39, 1.5, True])
async def test_a_protocol_that_is_none_is_refused(net: Net, protocol: Any) -> None:
    group = await net.demo.make("security_group")
    rule = {"security_group_id": group["id"], "direction": "ingress", "protocol": protocol}
    await net.demo.make("security_group_rule", 400, **rule)


@pytest.mark.parametrize("query", ["security-group-rules?port_range_min=--5", "networks?mtu=²", "subnets?ip_version=٤"])
async def test_a_filter_by_what_is_no_number_is_refused(net: Net, query: str) -> None:
    await net.demo.network_with_subnet()
    await net.demo.get(f"/{query}", expect=400)


async def test_lists_within_things_have_an_end(net: Net) -> None:
    network, subnet = await net.demo.network_with_subnet()
    router = await net.demo.make("router")
    await net.demo.put(f"/routers/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]}, expect=200)
    pairs = [{"ip_address": f"10.0.1.{number}"} for number in range(11)]
    routes = [{"destination": f"10.{number}.0.0/16", "nexthop": "10.0.0.9"} for number in range(10, 41)]
    servers = {"dns_nameservers": [f"9.9.9.{number}" for number in range(6)]}
    too_many = {"port": {"allowed_address_pairs": pairs}, "router": {"routes": routes}}
    port = await net.demo.make("port", network_id=network["id"], allowed_address_pairs=pairs[:10])
    answer = await net.demo.put(f"/ports/{port['id']}", {"port": too_many["port"]}, expect=400)
    assert "10 items" in answer["NeutronError"]["message"]
    for values in (servers, {"host_routes": routes[:21]}):
        plain = {"network_id": network["id"], "ip_version": 4, "cidr": "10.77.0.0/24", **values}
        await net.demo.put(f"/subnets/{subnet['id']}", {"subnet": values}, expect=400)
        await net.demo.post("/subnets", {"subnets": [plain]}, expect=400)
    await net.demo.post("/ports", {"ports": [{"network_id": network["id"], **too_many["port"]}]}, expect=400)
    path = f"/routers/{router['id']}"
    await net.demo.put(path, {"router": too_many["router"]}, expect=400)
    await net.demo.put(path, {"router": {"routes": routes[:30]}}, expect=200)
    await net.demo.put(f"{path}/add_extraroutes", {"router": {"routes": routes[30:]}}, expect=400)


async def test_a_group_has_so_many_rules_and_no_more(net: Net) -> None:
    group = await net.demo.make("security_group")
    rule = {"security_group_id": group["id"], "direction": "ingress", "protocol": "tcp"}
    many = [{**rule, "port_range_min": number, "port_range_max": number} for number in range(1, 95)]
    answer = await net.demo.post("/security-group-rules", {"security_group_rules": [*many, rule]}, expect=409)
    assert answer["NeutronError"]["type"] == "OverQuota"
    await net.demo.post(
        "/security-group-rules", {"security_group_rules": many}, expect=201
    )  # and 6 that came by themselves
    await net.demo.make("security_group_rule", 409, **rule)


async def test_a_new_slaac_subnet_lets_machines_speak_with_their_new_address(net: Net) -> None:
    network, _ = await net.demo.network_with_subnet()
    port_id = await _plugged(net)
    modes = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}
    subnet = await net.demo.make("subnet", network_id=network["id"], ip_version=6, cidr="fd00:77::/64", **modes)
    port = (await net.demo.get(f"/ports/{port_id}"))["port"]
    made = port["fixed_ips"][1]["ip_address"]
    group_id = port["security_groups"][0]
    assert [address for _, address in net.section("port_filters")[port_id]["addresses"]] == ["10.0.0.3", made]
    assert made in net.section("group_filters")[group_id]["members"]
    await net.demo.delete(f"/subnets/{subnet['id']}", expect=204)
    assert [address for _, address in net.section("port_filters")[port_id]["addresses"]] == ["10.0.0.3"]


async def test_a_network_that_no_plan_can_be_made_for_stops_no_other(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [(await net.demo.network_with_subnet(f"10.{number}.0.0/24"))[0]["id"] for number in range(3)]
    plain = net.host.dhcp.converge

    async def refusing(server: DhcpServer) -> None:
        if server.network_id == made[0]:
            raise Invalid("Cannot serve DHCP with this.")
        await plain(server)

    monkeypatch.setattr(net.host.dhcp, "converge", refusing)
    net.section("dhcp").clear()
    net.section("bridges").clear()
    await net.network.reconciler.once()
    statuses = [(await net.demo.get(f"/networks/{one}"))["network"]["status"] for one in made]
    assert statuses == ["DOWN", "ACTIVE", "ACTIVE"]
    assert set(net.section("dhcp")) == set(made[1:])
    assert {bridge_name(one) for one in made} <= set(net.section("bridges"))
    await net.demo.delete(f"/networks/{made[0]}", expect=204)
    assert bridge_name(made[0]) not in net.section("bridges")


async def test_a_host_that_goes_on_failing_is_not_asked_without_pause(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    net.world.fail("links.converge_bridge", times=10_000)
    plain = net.host.links.converge_bridge

    async def counted(bridge: Any) -> None:
        asked.append(bridge.name)
        await plain(bridge)

    monkeypatch.setattr(net.host.links, "converge_bridge", counted)
    net.network.reconciler.start()
    try:
        await net.demo.make("network")
        for _ in range(300):
            await asyncio.sleep(0)
        networks = len((await net.admin.get("/networks"))["networks"])
    finally:
        await net.network.reconciler.stop()
    assert len(asked) <= 1 + 3 * networks, len(asked)


async def test_a_rule_whose_filter_failed_is_set_by_the_next_look(net: Net) -> None:
    await net.demo.network_with_subnet()
    port_id = await _plugged(net)
    group_id = net.section("port_filters")[port_id]["groups"][0]
    rule = {"security_group_id": group_id, "direction": "ingress", "protocol": "tcp"}
    net.world.fail("firewall.set_group")
    await net.demo.make("security_group_rule", **rule)
    assert not any(one["protocol"] == 6 for one in net.section("group_filters")[group_id]["rules"])
    for one in net.network.reconcilers():
        await one.once()
    assert any(one["protocol"] == 6 for one in net.section("group_filters")[group_id]["rules"])
