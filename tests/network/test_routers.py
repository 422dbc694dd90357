"""Routers and floating IPs over HTTP, and the namespace that follows."""

from __future__ import annotations

from typing import Any

from minicloud.host.links import veth_name
from minicloud.host.namespaces import router_space
from tests.network.conftest import Net

NIL = "00000000-0000-0000-0000-000000000000"


async def _public(net: Net) -> str:
    return (await net.demo.get("/networks?name=public"))["networks"][0]["id"]


async def _connected(net: Net) -> tuple[Any, Any, Any]:
    """A router between a subnet of demo's and the outside, and a port on the subnet."""
    network, subnet = await net.demo.network_with_subnet()
    router = await net.demo.make("router", name="r", external_gateway_info={"network_id": await _public(net)})
    path = f"/routers/{router['id']}"
    await net.demo.put(f"{path}/add_router_interface", {"subnet_id": subnet["id"]}, expect=200)
    port = await net.demo.make("port", network_id=network["id"])
    return router, subnet, port


async def test_a_router_is_a_namespace_with_a_leg_on_each_network(net: Net) -> None:
    router, subnet, _ = await _connected(net)
    space = router_space(router["id"])
    gateway = router["external_gateway_info"]
    assert gateway["enable_snat"] is True and gateway["external_fixed_ips"][0]["ip_address"] == "172.24.4.2"
    inside = (await net.demo.get(f"/ports?device_id={router['id']}"))["ports"]
    (interface,) = [one for one in inside if one["device_owner"] == "network:router_interface"]
    assert interface["fixed_ips"] == [{"subnet_id": subnet["id"], "ip_address": "10.0.0.1"}]
    assert interface["status"] == "ACTIVE"
    leg = net.section("legs")[veth_name(interface["id"])]
    assert leg["space"] == space and list(leg["addresses"]) == ["10.0.0.1/24"]
    assert net.section("insides")[space]["forwarding"] is True
    assert net.section("insides")[space]["routes"][0]["via"] == "172.24.4.1"
    nat = net.section("nat")[router["id"]]
    assert nat["gateway_address"] == "172.24.4.2" and list(nat["inside"][0])[1] == "10.0.0.0/24"
    doors = {door.owner_id: (door.address, door.port) for door in net.network.metadata_doors()}
    assert doors[router["id"]] == ("0.0.0.0", 8775)


async def test_a_router_goes_when_nothing_is_attached(net: Net) -> None:
    router, subnet, _ = await _connected(net)
    path = f"/routers/{router['id']}"
    assert (await net.demo.delete(path, expect=409))["NeutronError"]["type"] == "RouterInUse"
    answer = await net.demo.delete(f"/subnets/{subnet['id']}", expect=409)
    assert answer["NeutronError"]["type"] == "SubnetInUse"
    removed = await net.demo.put(f"{path}/remove_router_interface", {"subnet_id": subnet["id"]}, expect=200)
    assert removed["subnet_ids"] == [subnet["id"]] and removed["id"] == router["id"]
    again = await net.demo.put(f"{path}/remove_router_interface", {"subnet_id": subnet["id"]}, expect=404)
    assert again["NeutronError"]["type"] == "RouterInterfaceNotFoundForSubnet"
    await net.demo.delete(path, expect=204)
    assert router_space(router["id"]) not in net.section("namespaces") and net.section("nat") == {}
    await net.demo.get(path, expect=404)


async def test_a_router_leaves_its_gateway(net: Net) -> None:
    router, _, _ = await _connected(net)
    path = f"/routers/{router['id']}"
    cleared = (await net.demo.put(path, {"router": {"external_gateway_info": {}}}, expect=200))["router"]
    assert cleared["external_gateway_info"] is None
    assert net.section("nat")[router["id"]]["gateway_link"] is None
    answer = await net.demo.put(path, {"router": {"external_gateway_info": {"network_id": "nope"}}}, expect=404)
    assert answer["NeutronError"]["type"] == "NetworkNotFound"
    own = await net.demo.make("network")
    await net.demo.put(path, {"router": {"external_gateway_info": {"network_id": own["id"]}}}, expect=400)
    snat = {"network_id": await _public(net), "enable_snat": False}
    await net.demo.put(path, {"router": {"external_gateway_info": snat}}, expect=403)
    told = (await net.admin.put(path, {"router": {"external_gateway_info": snat}}, expect=200))["router"]
    assert told["external_gateway_info"]["enable_snat"] is False
    assert net.section("nat")[router["id"]]["gateway_address"] is None


async def test_interfaces_are_refused_that_make_no_sense(net: Net) -> None:
    router, subnet, port = await _connected(net)
    path = f"/routers/{router['id']}/add_router_interface"
    other = await net.demo.make("network")
    same = await net.demo.make("subnet", network_id=other["id"], ip_version=4, cidr="10.0.0.0/16")
    bare = await net.demo.make("subnet", network_id=other["id"], ip_version=4, cidr="10.9.0.0/24", gateway_ip=None)
    for body, status in (
        ({}, 400), ({"subnet_id": subnet["id"], "port_id": port["id"]}, 400), ({"subnet_id": subnet["id"]}, 400),
        ({"subnet_id": same["id"]}, 400), ({"subnet_id": bare["id"]}, 400), ({"subnet_id": NIL}, 404),
        ({"port_id": NIL}, 404), ({"port_id": "nope"}, 400), ({"zz": 1}, 400),
    ):  # fmt: skip
        await net.demo.put(path, body, expect=status)
    held = (await net.demo.get(f"/ports?device_owner=network:router_interface&device_id={router['id']}"))["ports"][0]
    answer = await net.demo.put(path, {"port_id": held["id"]}, expect=409)
    assert answer["NeutronError"]["type"] == "PortInUse"
    answer = await net.demo.delete(f"/ports/{held['id']}", expect=409)
    assert answer["NeutronError"]["type"] == "ServicePortInUse"
    mine = await net.demo.make("port", network_id=other["id"], fixed_ips=[{"subnet_id": bare["id"]}])
    added = await net.demo.put(path, {"port_id": mine["id"]}, expect=200)
    assert added["port_id"] == mine["id"] and added["subnet_id"] == bare["id"]


async def test_routes_lead_by_way_of_neighbours(net: Net) -> None:
    router, subnet, _ = await _connected(net)
    path = f"/routers/{router['id']}"
    route = {"destination": "10.5.0.0/16", "nexthop": "10.0.0.30"}
    told = (await net.demo.put(path, {"router": {"routes": [route]}}, expect=200))["router"]
    assert told["routes"] == [route]
    assert {"destination": "10.5.0.0/16", "via": "10.0.0.30", "link": None} in net.section("insides")[
        router_space(router["id"])
    ]["routes"]
    more = {"router": {"routes": [{"destination": "10.6.0.0/16", "nexthop": "10.0.0.31"}]}}
    assert len((await net.demo.put(f"{path}/add_extraroutes", more, expect=200))["router"]["routes"]) == 2
    assert (await net.demo.put(f"{path}/remove_extraroutes", more, expect=200))["router"]["routes"] == [route]
    for hop in ("192.168.9.9", "10.0.0.1"):
        wrong = {"router": {"routes": [{"destination": "10.7.0.0/16", "nexthop": hop}]}}
        assert (await net.demo.put(path, wrong, expect=400))["NeutronError"]["type"] == "InvalidRoutes"
    answer = await net.demo.put(f"{path}/remove_router_interface", {"subnet_id": subnet["id"]}, expect=409)
    assert answer["NeutronError"]["type"] == "RouterInterfaceInUseByRoute"


async def test_a_floating_ip_leads_to_a_port_and_is_announced(net: Net) -> None:
    router, subnet, port = await _connected(net)
    made = await net.demo.make("floatingip", floating_network_id=await _public(net))
    assert made["status"] == "DOWN" and made["port_id"] is None and made["floating_ip_address"] == "172.24.4.3"
    path = f"/floatingips/{made['id']}"
    told = (await net.demo.put(path, {"floatingip": {"port_id": port["id"]}}, expect=200))["floatingip"]
    assert told["status"] == "ACTIVE" and told["fixed_ip_address"] == "10.0.0.3" and told["router_id"] == router["id"]
    assert told["port_details"]["mac_address"] == port["mac_address"]
    assert [list(one) for one in net.section("nat")[router["id"]]["floating"]] == [["172.24.4.3", "10.0.0.3"]]
    assert (router_space(router["id"]), "172.24.4.3") in [
        (space, address) for space, _, address in net.host.links.announced
    ]
    gateway = {"router": {"external_gateway_info": {}}}
    answer = await net.demo.put(f"/routers/{router['id']}", gateway, expect=409)
    assert answer["NeutronError"]["type"] == "RouterExternalGatewayInUseByFloatingIp"
    interface = {"subnet_id": subnet["id"]}
    answer = await net.demo.put(f"/routers/{router['id']}/remove_router_interface", interface, expect=409)
    assert answer["NeutronError"]["type"] == "RouterInterfaceInUseByFloatingIP"
    loose = (await net.demo.put(path, {"floatingip": {"port_id": None}}, expect=200))["floatingip"]
    assert loose["status"] == "DOWN" and loose["router_id"] is None and loose["fixed_ip_address"] is None
    assert net.section("nat")[router["id"]]["floating"] in ([], ())
    await net.demo.delete(path, expect=204)
    again = await net.demo.make("floatingip", floating_network_id=await _public(net))
    assert again["floating_ip_address"] == "172.24.4.3"


async def test_floating_ips_are_refused_that_lead_nowhere(net: Net) -> None:
    _, _, port = await _connected(net)
    public = await _public(net)
    first = await net.demo.make("floatingip", floating_network_id=public, port_id=port["id"])
    assert first["port_id"] == port["id"]
    answer = await net.demo.make("floatingip", 409, floating_network_id=public, port_id=port["id"])
    assert answer["NeutronError"]["type"] == "FloatingIPPortAlreadyAssociated"
    lonely, _ = await net.demo.network_with_subnet("10.44.0.0/24")
    far = await net.demo.make("port", network_id=lonely["id"])
    answer = await net.demo.make("floatingip", 404, floating_network_id=public, port_id=far["id"])
    assert answer["NeutronError"]["type"] == "ExternalGatewayForFloatingIPNotFound"
    await net.demo.make("floatingip", 400, floating_network_id=lonely["id"])
    await net.demo.make("floatingip", 404, floating_network_id=public, port_id="nope")
    await net.demo.make("floatingip", 403, floating_network_id=public, floating_ip_address="172.24.4.99")
    await net.admin.make("floatingip", floating_network_id=public, floating_ip_address="172.24.4.99")
    await net.other.get(f"/floatingips/{first['id']}", expect=404)
    found = (await net.demo.get("/floatingips?floating_ip_address=" + first["floating_ip_address"]))["floatingips"]
    assert [one["id"] for one in found] == [first["id"]]
    await net.demo.delete(f"/ports/{port['id']}", expect=204)
    loose = (await net.demo.get(f"/floatingips/{first['id']}"))["floatingip"]
    assert loose["port_id"] is None and loose["status"] == "DOWN"


async def test_an_ipv6_router_advertises(net: Net) -> None:
    network = await net.demo.make("network")
    modes = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}
    subnet = await net.demo.make("subnet", network_id=network["id"], ip_version=6, cidr="fd00:9::/64", **modes)
    router = await net.demo.make("router")
    path = f"/routers/{router['id']}"
    await net.demo.put(f"{path}/add_router_interface", {"subnet_id": subnet["id"]}, expect=200)
    (prefix,) = net.section("advertisers")[router["id"]]["prefixes"]
    assert prefix["cidr"] == "fd00:9::/64" and prefix["mode"] == "slaac"
    await net.demo.put(path, {"router": {"admin_state_up": False}}, expect=200)
    assert (
        net.section("advertisers") == {} and net.section("insides")[router_space(router["id"])]["forwarding"] is False
    )


async def test_a_failing_host_shows_in_the_router_and_is_mended(net: Net) -> None:
    net.world.fail("links.converge_space")
    router = await net.demo.make("router")
    assert router["status"] == "ERROR"
    await net.network.reconciler.once()
    assert (await net.demo.get(f"/routers/{router['id']}"))["router"]["status"] == "ACTIVE"
