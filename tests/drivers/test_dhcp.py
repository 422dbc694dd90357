"""What DHCP promises, on the fake host and on this machine."""

from __future__ import annotations

import pytest

from minicloud.core.errors import HostFailure
from minicloud.host.dhcp import Advertised, Advertiser, Dhcp, DhcpHost, DhcpServer, DhcpSubnet, Ipv6Mode
from minicloud.host.links import Bridge, Leg, Links, Space, bridge_name, inner_name, veth_name
from minicloud.host.namespaces import Namespaces, dhcp_space, router_space

NETWORK = "3b1e52a0-0001-4c1c-9d7e-000000000001"
ROUTER = "0b5f7a6e-0002-4c1c-9d7e-000000000002"
PORT = "9c0d5ee1-0003-4c1c-9d7e-000000000003"
BRIDGE = Bridge(bridge_name(NETWORK), mtu=1450)
SUBNET = DhcpSubnet(
    id="5ab",
    cidr="10.10.0.0/24",
    gateway="10.10.0.1",
    nameservers=("192.0.2.53",),
    routes=(("169.254.169.254/32", "10.10.0.2"), ("0.0.0.0/0", "10.10.0.1")),
)
ONE = DhcpHost("p1", "fa:16:3e:00:00:11", ("10.10.0.11",), "host-one")
TWO = DhcpHost("p2", "fa:16:3e:00:00:12", ("10.10.0.12",), "host-two")
SERVER = DhcpServer(
    NETWORK, dhcp_space(NETWORK), inner_name(PORT), 1450, "cloud.local", subnets=(SUBNET,), hosts=(ONE, TWO)
)


def leg(*addresses: str) -> Leg:
    return Leg(veth_name(PORT), inner_name(PORT), BRIDGE.name, "fa:16:3e:00:00:02", 1450, addresses)


@pytest.fixture
async def network(links: Links, namespaces: Namespaces) -> None:
    """A bridge with a namespace for its DHCP server."""
    await links.converge_bridge(BRIDGE)
    await namespaces.ensure(SERVER.space)
    await links.converge_space(Space(SERVER.space, (leg("10.10.0.2/24", "fd10::2/64"),)))


@pytest.mark.usefixtures("network")
async def test_a_server_is_there_once_and_goes_once(dhcp: Dhcp) -> None:
    await dhcp.converge(SERVER)
    await dhcp.converge(SERVER)
    assert await dhcp.actual() == {NETWORK}
    await dhcp.remove(NETWORK)
    await dhcp.remove(NETWORK)
    assert await dhcp.actual() == frozenset()
    assert await dhcp.leases(NETWORK) == ()


async def test_an_absent_namespace_is_refused_by_name(dhcp: Dhcp) -> None:
    with pytest.raises(HostFailure, match=SERVER.space):
        await dhcp.converge(SERVER)
    await dhcp.remove(NETWORK)


@pytest.mark.usefixtures("network")
async def test_a_lease_that_nobody_holds_is_released_without_complaint(dhcp: Dhcp) -> None:
    await dhcp.converge(SERVER)
    await dhcp.release(NETWORK, mac=ONE.mac, address="10.10.0.77")


async def test_a_router_advertises_until_it_has_no_prefix(dhcp: Dhcp, links: Links, namespaces: Namespaces) -> None:
    space = router_space(ROUTER)
    await links.converge_bridge(BRIDGE)
    await namespaces.ensure(space)
    await links.converge_space(Space(space, (leg("fd10::1/64"),), forwarding=True))
    prefix = Advertised(inner_name(PORT), "fd10::/64", Ipv6Mode.SLAAC, 1450)
    await dhcp.converge_advertiser(Advertiser(ROUTER, space, (prefix,)))
    assert await dhcp.actual() == {ROUTER}
    await dhcp.converge_advertiser(Advertiser(ROUTER, space, ()))
    assert await dhcp.actual() == frozenset()
