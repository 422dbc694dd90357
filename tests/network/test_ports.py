"""Ports and addresses over HTTP, and the machines' interfaces through the public interface."""

from __future__ import annotations

import asyncio

import pytest

from minicloud.core.errors import Conflict, Forbidden, HostFailure, Invalid, NotFound
from minicloud.host.links import tap_name
from minicloud.network import NicRequest, PortGone
from tests.network.conftest import Net


async def test_a_port_gets_the_lowest_free_address_and_the_default_group(net: Net) -> None:
    network, subnet = await net.demo.network_with_subnet()
    port = await net.demo.make("port", network_id=network["id"])
    assert port["fixed_ips"] == [{"subnet_id": subnet["id"], "ip_address": "10.0.0.3"}]  # .1 gateway, .2 DHCP
    groups = (await net.demo.get("/security-groups?name=default"))["security_groups"]
    assert port["security_groups"] == [groups[0]["id"]]
    assert port["status"] == "DOWN" and port["mac_address"].startswith("fa:16:3e:")
    assert "binding:host_id" not in port
    seen = (await net.admin.get(f"/ports/{port['id']}"))["port"]
    assert seen["binding:vif_type"] == "unbound"


async def test_no_address_is_given_twice_however_many_ask(net: Net) -> None:
    network, _ = await net.demo.network_with_subnet("10.0.0.0/27")
    answers = await asyncio.gather(
        *(net.demo.post("/ports", {"port": {"network_id": network["id"]}}) for _ in range(40))
    )
    given = [one["port"]["fixed_ips"][0]["ip_address"] for one in answers if one.status == 201]
    assert len(given) == len(set(given)) == 28  # 32 less network, broadcast, gateway, DHCP
    refused = {one["NeutronError"]["type"] for one in answers if one.status == 409}
    assert refused == {"IpAddressGenerationFailure"}


async def test_addresses_are_asked_for_and_refused(net: Net) -> None:
    network, subnet = await net.demo.network_with_subnet()
    asked = [{"ip_address": "10.0.0.77"}]
    port = await net.demo.make("port", network_id=network["id"], fixed_ips=asked)
    assert port["fixed_ips"][0]["ip_address"] == "10.0.0.77"
    answer = await net.demo.make("port", 409, network_id=network["id"], fixed_ips=asked)
    assert answer["NeutronError"]["type"] == "IpAddressAlreadyAllocated"
    for wrong, kind in (
        ([{"ip_address": "10.9.0.5"}], "InvalidIpForNetwork"),
        ([{"ip_address": "10.0.0.255"}], "InvalidIpForNetwork"),
        ([{"ip_address": "10.9.0.5", "subnet_id": subnet["id"]}], "InvalidIpForSubnet"),
        ([{"subnet_id": network["id"]}], "InvalidInput"),
        ([{}], "InvalidInput"),
    ):
        answer = await net.demo.make("port", 400, network_id=network["id"], fixed_ips=wrong)
        assert answer["NeutronError"]["type"] == kind
    bare = await net.demo.make("port", network_id=network["id"], fixed_ips=[])
    assert bare["fixed_ips"] == []


async def test_a_mac_is_used_once_on_a_network(net: Net) -> None:
    network, _ = await net.demo.network_with_subnet()
    mac = "fa:16:3e:00:00:99"
    await net.demo.make("port", network_id=network["id"], mac_address=mac)
    answer = await net.demo.make("port", 409, network_id=network["id"], mac_address=mac)
    assert answer["NeutronError"]["type"] == "MacAddressInUse"
    for wrong in ("zz", "ff:ff:ff:ff:ff:ff", "01:00:00:00:00:01"):
        await net.demo.make("port", 400, network_id=network["id"], mac_address=wrong)


async def test_ports_are_changed_and_found(net: Net) -> None:
    network, subnet = await net.demo.network_with_subnet()
    port = await net.demo.make("port", network_id=network["id"], name="p")
    path = f"/ports/{port['id']}"
    options = [{"opt_name": "mtu", "opt_value": "1400"}, {"opt_name": "tftp-server", "opt_value": "10.0.0.9"}]
    body = {"name": "q", "admin_state_up": False, "extra_dhcp_opts": options}
    changed = (await net.demo.put(path, {"port": body}, expect=200))["port"]
    assert changed["name"] == "q" and changed["extra_dhcp_opts"][0]["ip_version"] == 4
    less = {"extra_dhcp_opts": [{"opt_name": "mtu", "opt_value": None}]}
    changed = (await net.demo.put(path, {"port": less}, expect=200))["port"]
    assert [one["opt_name"] for one in changed["extra_dhcp_opts"]] == ["tftp-server"]
    moved = {"fixed_ips": [{"subnet_id": subnet["id"], "ip_address": "10.0.0.50"}]}
    await net.demo.put(path, {"port": moved}, expect=200)
    for query in (
        "fixed_ips=ip_address%3D10.0.0.50", "fixed_ips=ip_address_substr%3D0.0.5", f"network_id={network['id']}&name=q",
        f"security_groups={port['security_groups'][0]}", "admin_state_up=false",
    ):  # fmt: skip
        assert [one["id"] for one in (await net.demo.get(f"/ports?{query}"))["ports"]] == [port["id"]], query
    await net.demo.get("/ports?fixed_ips=zz", expect=400)
    dangerous = {"extra_dhcp_opts": [{"opt_name": "mtu", "opt_value": "1\nconf-file=x"}]}
    await net.demo.put(path, {"port": dangerous}, expect=400)


async def test_port_security_off_takes_no_groups_and_no_pairs(net: Net) -> None:
    network, _ = await net.demo.network_with_subnet()
    port = await net.demo.make("port", network_id=network["id"])
    path = f"/ports/{port['id']}"
    answer = await net.demo.put(path, {"port": {"port_security_enabled": False}}, expect=409)
    assert answer["NeutronError"]["type"] == "PortSecurityPortHasSecurityGroup"
    await net.demo.put(path, {"port": {"port_security_enabled": False, "security_groups": []}}, expect=200)
    pairs = {"allowed_address_pairs": [{"ip_address": "10.0.0.200"}]}
    await net.demo.put(path, {"port": pairs}, expect=409)


async def test_on_a_shared_network_members_may_not_choose_addresses(net: Net) -> None:
    network = await net.admin.make("network", shared=True)
    await net.admin.make("subnet", network_id=network["id"], ip_version=4, cidr="10.5.0.0/24")
    port = await net.demo.make("port", network_id=network["id"])
    assert port["project_id"] == net.demo.project_id
    for values in (
        {"fixed_ips": [{"ip_address": "10.5.0.99"}]}, {"mac_address": "fa:16:3e:00:00:01"},
        {"port_security_enabled": False}, {"device_owner": "network:dhcp"},
    ):  # fmt: skip
        await net.demo.make("port", 403, network_id=network["id"], **values)
    await net.admin.get(f"/ports/{port['id']}")
    await net.other.get(f"/ports/{port['id']}", expect=404)


async def test_slaac_addresses_follow_the_mac(net: Net) -> None:
    network, _ = await net.demo.network_with_subnet()
    modes = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}
    await net.demo.make("subnet", network_id=network["id"], ip_version=6, cidr="fd00:77::/64", **modes)
    port = await net.demo.make("port", network_id=network["id"], mac_address="fa:16:3e:49:a0:b3")
    assert [one["ip_address"] for one in port["fixed_ips"]] == ["10.0.0.3", "fd00:77::f816:3eff:fe49:a0b3"]


async def test_a_machine_is_plugged_filtered_served_and_let_go(net: Net) -> None:
    network, _ = await net.demo.network_with_subnet(dns_nameservers=["9.9.9.9"])
    ctx = net.context("demo")
    (nic,) = net.network.choose_nics(ctx, None)
    assert nic.created and nic.network_id == network["id"]
    info = await net.network.plug(ctx, nic, "server-1", hostname="web", availability_zone="nova")
    assert info.tap == tap_name(nic.port_id) and info.security_groups == ("default",) and info.status == "DOWN"
    assert net.section("taps")[info.tap]["mac"] == info.mac
    filtered = net.section("port_filters")[nic.port_id]
    assert filtered["guarded"] and list(filtered["addresses"][0]) == [info.mac, "10.0.0.3"]
    (lease,) = await net.network.leases(network["id"])
    assert (lease.mac, lease.address) == (info.mac, "10.0.0.3")
    await net.network.activate("server-1")
    port = (await net.admin.get(f"/ports/{nic.port_id}"))["port"]
    assert port["status"] == "ACTIVE" and port["device_owner"] == "compute:nova" and port["device_id"] == "server-1"
    assert port["binding:vif_type"] == "bridge" and port["dns_name"] == "web"
    assert net.network.port_at(network["id"], "10.0.0.3") == net.network.ports_of("server-1")[0]
    assert [(door.address, door.port) for door in net.network.metadata_doors()] == [("169.254.169.254", 80)]
    told = net.network.network_data("server-1")
    assert told["links"][0]["ethernet_mac_address"] == info.mac and told["networks"][0]["type"] == "ipv4_dhcp"
    assert told["services"] == [{"type": "dns", "address": "9.9.9.9"}]
    answer = await net.demo.delete(f"/networks/{network['id']}", expect=409)
    assert answer["NeutronError"]["type"] == "NetworkInUse"
    await net.network.unplug(nic.port_id, "another-server")
    assert net.network.ports_of("server-1")
    for _ in range(2):
        await net.network.unplug(nic.port_id, "server-1")
    assert info.tap not in net.section("taps") and nic.port_id not in net.section("port_filters")
    await net.demo.get(f"/ports/{nic.port_id}", expect=404)
    assert await net.network.leases(network["id"]) == ()
    await net.demo.delete(f"/networks/{network['id']}", expect=204)
    assert net.section("dhcp") == {} and net.network.metadata_doors() == []


async def test_a_port_of_the_user_outlives_its_machine(net: Net) -> None:
    network, _ = await net.demo.network_with_subnet()
    port = await net.demo.make("port", network_id=network["id"])
    ctx = net.context("demo")
    (nic,) = net.network.choose_nics(ctx, [NicRequest(port_id=port["id"])])
    assert not nic.created
    await net.network.plug(ctx, nic, "server-1", hostname="web", availability_zone="nova")
    with pytest.raises(Conflict):
        net.network.choose_nics(ctx, [NicRequest(port_id=port["id"])])
    with pytest.raises(Conflict):
        await net.network.plug(ctx, nic, "server-2", hostname="web", availability_zone="nova")
    await net.network.unplug(port["id"], "server-1")
    seen = (await net.demo.get(f"/ports/{port['id']}"))["port"]
    assert seen["device_id"] == "" and seen["status"] == "DOWN" and seen["device_owner"] == ""
    assert net.section("taps") == {}


async def test_a_host_that_fails_fails_the_plug_and_undo_leaves_nothing(net: Net) -> None:
    await net.demo.network_with_subnet()
    ctx = net.context("demo")
    (nic,) = net.network.choose_nics(ctx, None)
    net.world.fail("links.converge_tap")
    with pytest.raises(HostFailure):
        await net.network.plug(ctx, nic, "server-1", hostname="web", availability_zone="nova")
    await net.network.unplug(nic.port_id, "server-1")
    assert net.section("port_filters") == {} and net.section("taps") == {}
    assert (
        net.store.read(
            lambda db: db.execute("SELECT count(*) FROM port_addresses WHERE port_id = ?", (nic.port_id,)).fetchone()[0]
        )
        == 0
    )


async def test_what_a_machine_may_be_connected_to(net: Net) -> None:
    ctx = net.context("demo")
    assert net.network.choose_nics(ctx, None) == () and net.network.choose_nics(ctx, "none") == ()
    with pytest.raises(Conflict):
        net.network.choose_nics(ctx, "auto")
    bare = await net.demo.make("network")
    with pytest.raises(Invalid):
        net.network.choose_nics(ctx, None)
    network, _ = await net.demo.network_with_subnet()
    with pytest.raises(Conflict):
        net.network.choose_nics(ctx, None)
    with pytest.raises(Invalid):
        net.network.choose_nics(ctx, [NicRequest(network_id=bare["id"])])
    with pytest.raises(NotFound):
        net.network.choose_nics(net.context("other"), [NicRequest(network_id=network["id"])])
    with pytest.raises(Invalid):
        net.network.choose_nics(ctx, [NicRequest(network_id=network["id"], fixed_ip="10.8.0.1")])
    with pytest.raises(Invalid):
        net.network.choose_nics(ctx, [NicRequest(network_id=network["id"])], security_groups=["nope"])
    public = (await net.demo.get("/networks?name=public"))["networks"][0]["id"]
    with pytest.raises(Forbidden):
        net.network.choose_nics(ctx, [NicRequest(network_id=public)])
    (nic,) = net.network.choose_nics(ctx, [NicRequest(network_id=network["id"], fixed_ip="10.0.0.88", tag="t")])
    assert (nic.fixed_ip, nic.tag) == ("10.0.0.88", "t")


async def test_deleting_a_machines_port_tells_compute(net: Net) -> None:
    await net.demo.network_with_subnet()
    ctx, told = net.context("demo"), []
    net.events.subscribe(PortGone, told.append)
    (nic,) = net.network.choose_nics(ctx, None)
    await net.network.plug(ctx, nic, "server-1", hostname="web", availability_zone="nova")
    await net.demo.delete(f"/ports/{nic.port_id}", expect=204)
    assert told == [PortGone(nic.port_id, "server-1")] and net.section("taps") == {}


async def test_everything_is_there_again_after_the_host_forgot_it(net: Net) -> None:
    await net.demo.network_with_subnet()
    ctx = net.context("demo")
    (nic,) = net.network.choose_nics(ctx, None)
    await net.network.plug(ctx, nic, "server-1", hostname="web", availability_zone="nova")
    before = net.world.contents()
    await net.stop()
    for name in list(before):
        net.section(name).clear()
    await net.start()
    assert net.world.contents() == before
