"""What only real clients can show of DHCP: leases, options, names, advertisements, and servers that survive."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from minicloud.host.dhcp import Advertised, Advertiser, Dhcp, DhcpHost, DhcpSubnet, Ipv6Mode
from minicloud.host.links import Links, Space, tap_name
from minicloud.host.namespaces import Namespaces, router_space
from minicloud.host.real.dnsmasq import DnsmasqDhcp
from tests.drivers.guests import Guest, guest
from tests.drivers.test_dhcp import BRIDGE, NETWORK, ONE, ROUTER, SERVER, TWO, leg, network

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("real_only", "network")]
ASK_DHCPV6 = """
import socket
duid = bytes([0, 3, 0, 1]) + bytes.fromhex("{mac}".replace(":", ""))
ask = bytes([{kind}, 1, 2, 3, 0, 1, 0, len(duid)]) + duid + bytes([0, 6, 0, 2, 0, 23])
ask += bytes([0, 3, 0, 12, 0, 0, 0, 1]) + bytes(8) if {kind} == 1 else b""
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.bind(("::", 546))
s.settimeout(1)
try:
    for _ in range(2):
        s.sendto(ask, ("ff02::1:2", 547, 0, socket.if_nametoindex("eth0")))
        try:
            print(s.recv(2048).hex())
            break
        except TimeoutError:
            pass
    else:
        print("nobody")
finally:
    s.close()
"""
__all__ = ["network"]


@pytest.fixture
async def machine(network: None) -> AsyncIterator[Guest]:
    async with guest("guest-one", tap=tap_name("one"), mac=ONE.mac, bridge=BRIDGE.name) as made:
        yield made


def pid(folder: Path) -> int:
    return int((folder / "dnsmasq" / NETWORK / "pid").read_text())


async def gone(number: int) -> None:
    """Wait until a process has ended, reaped or not."""
    descriptor = os.pidfd_open(number)
    event = asyncio.Event()
    asyncio.get_running_loop().add_reader(descriptor, event.set)
    await event.wait()
    asyncio.get_running_loop().remove_reader(descriptor)
    os.close(descriptor)


async def test_a_machine_is_told_address_routes_mtu_and_names(dhcp: Dhcp, machine: Guest, folder: Path) -> None:
    await dhcp.converge(SERVER)
    told = await machine.lease(folder)
    assert told["ip"] == "10.10.0.11" and told["mask"] == "24" and told["mtu"] == "1450"
    assert told["dns"] == "192.0.2.53" and told["domain"] == "cloud.local" and told["lease"] == "86400"
    assert told["staticroutes"] == "169.254.169.254/32 10.10.0.2 0.0.0.0/0 10.10.0.1"
    (lease,) = await dhcp.leases(NETWORK)
    assert (lease.mac, lease.address) == (ONE.mac, "10.10.0.11") and lease.expires > 0


async def test_without_a_gateway_no_router_is_told(dhcp: Dhcp, machine: Guest, folder: Path) -> None:
    await dhcp.converge(replace(SERVER, subnets=(replace(SERVER.subnets[0], gateway=None, routes=()),)))
    assert "router" not in await machine.lease(folder)


async def test_a_stranger_gets_nothing_until_it_is_known(dhcp: Dhcp, machine: Guest, folder: Path) -> None:
    await dhcp.converge(replace(SERVER, hosts=(TWO,)))
    before = pid(folder)
    assert await machine.lease(folder) == {}
    await dhcp.converge(SERVER)
    assert (await machine.lease(folder))["ip"] == "10.10.0.11"
    assert pid(folder) == before


async def test_an_address_can_go_to_another_machine_at_once(dhcp: Dhcp, machine: Guest, folder: Path) -> None:
    await dhcp.converge(replace(SERVER, hosts=(replace(ONE, addresses=("10.10.0.12",)),)))
    assert (await machine.lease(folder))["ip"] == "10.10.0.12"
    await dhcp.release(NETWORK, mac=ONE.mac, address="10.10.0.12")
    assert await dhcp.leases(NETWORK) == ()
    assert (await machine.lease(folder))["ip"] == "10.10.0.12"
    await dhcp.converge(replace(SERVER, hosts=(TWO,)))
    assert await dhcp.leases(NETWORK) == ()
    async with guest("guest-two", tap=tap_name("two"), mac=TWO.mac, bridge=BRIDGE.name) as other:
        assert (await other.lease(folder))["ip"] == "10.10.0.12"


async def test_options_of_a_port_reach_it_and_survive_reloads(dhcp: Dhcp, machine: Guest, folder: Path) -> None:
    options = (("bootfile-name", "pxe.0", 4), ("66", "192.0.2.1", 4), ("mtu", "1300", 4))
    await dhcp.converge(replace(SERVER, hosts=(replace(ONE, options=options),)))
    before = pid(folder)
    for number in range(5):
        told = await machine.lease(folder)
        assert (told["bootfile"], told["tftp"], told["mtu"]) == ("pxe.0", "192.0.2.1", "1300")
        other = DhcpHost(f"x{number}", f"fa:16:3e:00:01:{number:02x}", (f"10.10.0.{100 + number}",), f"x{number}")
        await dhcp.converge(replace(SERVER, hosts=(replace(ONE, options=options), other)))
    assert pid(folder) == before


async def test_names_are_answered(dhcp: Dhcp, machine: Guest) -> None:
    await dhcp.converge(SERVER)
    await machine.address("10.10.0.11/24")
    assert "10.10.0.12" in await machine.run("busybox", "nslookup", "host-two.cloud.local", "10.10.0.2", check=False)
    text = await machine.run("busybox", "nslookup", "nobody.cloud.local", "10.10.0.2", check=False)
    assert "NXDOMAIN" in text or "can't" in text


async def test_a_killed_server_comes_back_with_its_leases(dhcp: Dhcp, machine: Guest, folder: Path) -> None:
    await dhcp.converge(SERVER)
    await machine.lease(folder)
    before = pid(folder)
    os.kill(before, signal.SIGKILL)
    async with asyncio.timeout(5):
        while pid(folder) == before:
            await asyncio.sleep(0.05)
    assert (await machine.lease(folder))["ip"] == "10.10.0.11"
    assert len(await dhcp.leases(NETWORK)) == 1


async def test_the_next_daemon_takes_a_running_server_over(
    dhcp: DnsmasqDhcp, machine: Guest, folder: Path, namespaces: Namespaces
) -> None:
    await dhcp.converge(SERVER)
    before = pid(folder)
    await dhcp.close()
    successor = DnsmasqDhcp(folder / "dnsmasq", namespaces)  # type: ignore[arg-type]
    await successor.open()
    await successor.converge(SERVER)
    assert pid(folder) == before and (await machine.lease(folder))["ip"] == "10.10.0.11"
    await successor.close()
    os.kill(before, signal.SIGKILL)
    await gone(before)
    await dhcp.open()
    assert pid(folder) != before and (await machine.lease(folder))["ip"] == "10.10.0.11"


async def test_a_removed_server_leaves_no_process(dhcp: Dhcp, folder: Path) -> None:
    await dhcp.converge(SERVER)
    number = pid(folder)
    async with asyncio.timeout(5):
        await asyncio.gather(gone(number), dhcp.remove(NETWORK))


@pytest.mark.parametrize(("mode", "autonomous"), [(Ipv6Mode.SLAAC, True), (Ipv6Mode.STATEFUL, False)])
async def test_a_router_advertises_prefix_mtu_and_itself(
    dhcp: Dhcp, links: Links, namespaces: Namespaces, mode: Ipv6Mode, autonomous: bool
) -> None:
    space = router_space(ROUTER)
    await namespaces.ensure(space)
    inside = replace(leg("fd11::1/64"), outer="mcvrouter", inner="mcirouter", mac="fa:16:3e:00:00:03")
    await links.converge_space(Space(space, (inside,), forwarding=True))
    async with guest("guest-one", tap=tap_name("one"), mac=ONE.mac, bridge=BRIDGE.name) as machine:
        prefix = Advertised("mcirouter", "fd11::/64", mode, 1400)
        await dhcp.converge_advertiser(Advertiser(ROUTER, space, (prefix,)))
        async with asyncio.timeout(15):
            while "default via fe80::" not in await machine.run("ip", "-6", "route"):
                await asyncio.sleep(0.1)
        text = await machine.run("ip", "-6", "addr", "show", "eth0")
        assert ("fd11::f816:3eff:fe00:11" in text) is autonomous
        assert "mtu 1400" in await machine.run("ip", "-6", "route")
        # DHCPv6 is the network's own server's business.
        assert await machine.run("python3", "-c", ASK_DHCPV6.format(kind=1, mac=ONE.mac)) == "nobody\n"


async def test_a_machine_is_told_its_ipv6_address(dhcp: Dhcp, machine: Guest) -> None:
    subnet = DhcpSubnet("six", "fd10::/64", "fd10::1", ("2001:db8::53",), (), mode=Ipv6Mode.STATEFUL)
    await dhcp.converge(replace(SERVER, subnets=(subnet,), hosts=(replace(ONE, addresses=("fd10::11",)),)))
    answer = await machine.run("python3", "-c", ASK_DHCPV6.format(kind=1, mac=ONE.mac))
    assert IPv6Address("fd10::11").packed.hex() in answer and IPv6Address("2001:db8::53").packed.hex() in answer
    await dhcp.converge(replace(SERVER, subnets=(replace(subnet, mode=Ipv6Mode.STATELESS),)))
    answer = await machine.run("python3", "-c", ASK_DHCPV6.format(kind=11, mac=ONE.mac))
    assert IPv6Address("2001:db8::53").packed.hex() in answer
