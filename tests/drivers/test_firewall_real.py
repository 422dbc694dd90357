"""What only packets can show of the filter: who gets through, who is stopped, and whose flows end."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest

from minicloud.host.firewall import Firewall, GroupFilter, GroupRule, NatPlan, PortFilter, Uplink
from minicloud.host.links import Bridge, Leg, Links, Route, Space
from minicloud.host.namespaces import Namespaces, router_space
from minicloud.host.real.namespaces import MountedNamespaces
from minicloud.host.real.nft import NftFirewall
from tests.drivers.guests import DEADLINE, Guest, execute, finish, guest

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("real_only")]

BRIDGE = Bridge("mcbnet", mtu=1450)
MAC_A, MAC_B = "fa:16:3e:00:00:0a", "fa:16:3e:00:00:0b"
OUT = (GroupRule("egress", 4), GroupRule("egress", 6))
CLIENTS = GroupFilter("clients", 1, OUT, ("10.10.0.10", "fd10::a"))
SSH = GroupFilter("ssh", 2, (*OUT, GroupRule("ingress", 4, 6, 22, 22)))
WEB = GroupFilter(
    "web", 3, (*OUT, GroupRule("ingress", 4, 6, 80, 89, remote_group="clients"), GroupRule("ingress", 6, 58, 128))
)
PORT_A = PortFilter(
    "a", "mcta", BRIDGE.name, 10, 101, MAC_A, ((MAC_A, "10.10.0.10"), (MAC_A, "fd10::a")), (CLIENTS.id,)
)
PORT_B = PortFilter(
    "b", "mctb", BRIDGE.name, 11, 101, MAC_B, ((MAC_B, "10.10.0.11"), (MAC_B, "fd10::b")), (SSH.id, WEB.id)
)
SNIFFER = """
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
print("up", flush=True)
while True:
    frame = s.recv(2048)
    offer = frame[12:14] == b"\\x08\\x00" and frame[23] == 17 and frame[34:36] == b"\\0C"
    advert = frame[12:14] == b"\\x86\\xdd" and frame[20] == 58 and frame[54] == 134
    print("server" if offer or advert else "other", flush=True)
"""
FALSE_SERVER = """
import socket
offer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
offer.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
offer.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
offer.bind(("", 67))
offer.sendto(bytes(300), ("255.255.255.255", 68))
advert = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
advert.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
advert.sendto(bytes([134]) + bytes(15), ("ff02::1", 0, 0, socket.if_nametoindex("eth0")))
"""
Pair = tuple[Guest, Guest]


@pytest.fixture
async def pair(links: Links, firewall: Firewall) -> AsyncIterator[Pair]:
    """Machine A (a client), and machine B (SSH for all, 80-89 for clients, ping over IPv6)."""
    await links.converge_bridge(BRIDGE)
    await firewall.load(ports=(PORT_A, PORT_B), groups=(CLIENTS, SSH, WEB), uplinks=())
    async with (
        guest("guest-a", tap="mcta", mac=MAC_A, bridge=BRIDGE.name) as one,
        guest("guest-b", tap="mctb", mac=MAC_B, bridge=BRIDGE.name) as two,
    ):
        await one.address("10.10.0.10/24", "fd10::a/64")
        await two.address("10.10.0.11/24", "fd10::b/64")
        yield one, two


async def test_what_a_rule_allows_passes_and_nothing_else(pair: Pair) -> None:
    one, two = pair
    async with two.serving(22), two.serving(85), two.serving(90):
        assert await one.reaches("10.10.0.11", port=22)
        assert await one.reaches("10.10.0.11", port=85)
        assert not await one.reaches("10.10.0.11", port=90)
        assert not await one.reaches("10.10.0.11")
        assert await one.reaches("fd10::b")
        assert not await one.reaches("fd10::b", port=22)
    async with one.serving(22):
        assert not await two.reaches("10.10.0.10", port=22)


async def test_a_group_follows_its_members(pair: Pair, firewall: Firewall) -> None:
    one, two = pair
    async with two.serving(80):
        assert await one.reaches("10.10.0.11", port=80)
        await firewall.set_group(replace(CLIENTS, members=()))
        assert not await one.reaches("10.10.0.11", port=80)
        await firewall.set_group(replace(CLIENTS, members=("10.10.0.0/28",)))
        assert await one.reaches("10.10.0.11", port=80)


async def test_without_groups_nothing_passes_and_without_guard_all_does(pair: Pair, firewall: Firewall) -> None:
    one, two = pair
    await firewall.set_port(replace(PORT_B, groups=()))
    assert not await two.reaches("fd10::a")
    await firewall.set_port(replace(PORT_A, guarded=False))
    await firewall.set_port(replace(PORT_B, guarded=False))
    assert await one.reaches("10.10.0.11") and await two.reaches("10.10.0.10") and await two.reaches("fd10::a")


@pytest.mark.parametrize("what", ["ruleset", "table bridge minicloud", "table inet minicloud"])
async def test_a_loss_is_told_at_once_and_our_own_changes_are_none(firewall: Firewall, what: str) -> None:
    told = asyncio.Event()
    firewall.on_lost(told.set)
    await firewall.set_group(SSH)
    await firewall.set_port(replace(PORT_B, groups=(SSH.id,)))
    await firewall.remove_port(PORT_B.port_id)
    await firewall.load(ports=(), groups=(), uplinks=())
    assert await firewall.actual() == frozenset()
    assert not told.is_set()
    await execute("nft", "flush", *what.split())
    await asyncio.wait_for(told.wait(), DEADLINE)


async def test_an_unknown_tap_is_closed(pair: Pair, firewall: Firewall) -> None:
    one, two = pair
    assert await one.reaches("fd10::b")
    await firewall.remove_port(PORT_A.port_id)
    assert not await one.reaches("fd10::b") and not await two.reaches("fd10::a")


async def test_nobody_speaks_with_anothers_address(pair: Pair, firewall: Firewall) -> None:
    one, _ = pair
    await firewall.set_port(replace(PORT_B, guarded=False))
    await one.address("10.10.0.66/24", "fd10::66/64")
    for source, target in (("10.10.0.66", "10.10.0.11"), ("fd10::66", "fd10::b")):
        ping = ["ping", "-c", "1", "-W", "1", "-I", source, target]
        assert "100% packet loss" in await one.run(*ping, check=False)
    pairs = (*PORT_A.addresses, (MAC_A, "10.10.0.64/26"), (MAC_A, "fd10::60/124"))
    await firewall.set_port(replace(PORT_A, addresses=pairs))
    for source, target in (("10.10.0.66", "10.10.0.11"), ("fd10::66", "fd10::b")):
        ping = ["ping", "-c", "1", "-W", "2", "-I", source, target]
        assert " 0% packet loss" in await one.run(*ping, check=False), source


async def test_nobody_answers_for_anothers_address(pair: Pair, firewall: Firewall) -> None:
    one, two = pair
    await one.address("10.10.0.1/32", "fd10::1/128")
    for target in ("10.10.0.1", "fd10::1"):
        await two.reaches(target)
        assert MAC_A not in await two.run("ip", "neigh", "show", target)


async def test_a_foreign_mac_is_stopped(pair: Pair, firewall: Firewall) -> None:
    one, _ = pair
    await firewall.set_port(replace(PORT_B, guarded=False))
    assert await one.reaches("10.10.0.11")
    await one.run("ip", "link", "set", "eth0", "address", "fa:16:3e:00:00:66")
    assert not await one.reaches("10.10.0.11")


async def test_no_guest_is_a_dhcp_server_or_a_router(pair: Pair, firewall: Firewall) -> None:
    one, two = pair
    await firewall.set_port(replace(PORT_B, guarded=False))
    assert "server" not in await seen_of_a_false_server(one, two)
    await firewall.set_port(replace(PORT_A, guarded=False))
    assert "server" in await seen_of_a_false_server(one, two)


async def seen_of_a_false_server(one: Guest, two: Guest) -> set[str]:
    """What `two` sees while `one` sends a DHCP answer, a router advertisement and an ordinary packet."""
    watch = await start(two, "timeout", "3", "python3", "-c", SNIFFER)
    assert watch.stdout is not None
    await watch.stdout.readline()
    await one.run("python3", "-c", FALSE_SERVER)
    await one.reaches("10.10.0.11")
    out, _ = await watch.communicate()
    assert b"other" in out
    return set(out.decode().split())


@pytest.mark.parametrize("how", ["rule", "member", "port"])
async def test_flows_end_with_what_allowed_them(pair: Pair, firewall: Firewall, how: str) -> None:
    one, two = pair
    listener = await start(two, "busybox", "nc", "-l", "-p", "80", "-e", "cat")
    async with asyncio.timeout(DEADLINE):
        while ":80 " not in await two.run("ss", "-tln"):
            await asyncio.sleep(0.02)
    client = await start(one, "busybox", "nc", "10.10.0.11", "80")
    try:
        assert await echoes(client)
        changes: dict[str, Callable[[], Awaitable[None]]] = {
            "rule": lambda: firewall.set_group(replace(WEB, rules=OUT)),
            "member": lambda: firewall.set_group(replace(CLIENTS, members=())),
            "port": lambda: firewall.set_port(replace(PORT_B, groups=(SSH.id,))),
        }
        await changes[how]()
        assert not await echoes(client)
    finally:
        for process in (client, listener):
            await finish(process)


async def start(machine: Guest, *argv: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        "ip", "netns", "exec", machine.name, *argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


async def echoes(client: asyncio.subprocess.Process) -> bool:
    assert client.stdin is not None and client.stdout is not None
    try:
        client.stdin.write(b"hello\n")
        await client.stdin.drain()
        return await asyncio.wait_for(client.stdout.readline(), 2) == b"hello\n"
    except (TimeoutError, ConnectionError):
        return False


async def test_same_addresses_on_two_networks_do_not_meet(pair: Pair, firewall: Firewall, links: Links) -> None:
    one, _ = pair
    await links.converge_bridge(replace(BRIDGE, name="mcbtwin"))
    twins = [
        replace(PORT_A, port_id="c", tap="mctc", bridge="mcbtwin", number=20, zone=102),
        replace(PORT_B, port_id="d", tap="mctd", bridge="mcbtwin", number=21, zone=102, groups=()),
    ]
    for twin in twins:
        await firewall.set_port(twin)
    async with (
        guest("guest-c", tap="mctc", mac=MAC_A, bridge="mcbtwin") as three,
        guest("guest-d", tap="mctd", mac=MAC_B, bridge="mcbtwin") as four,
    ):
        await three.address("10.10.0.10/24", "fd10::a/64")
        await four.address("10.10.0.11/24", "fd10::b/64")
        assert await one.reaches("fd10::b")
        assert not await three.reaches("fd10::b")


async def test_a_guest_of_a_private_network_does_not_reach_the_host(pair: Pair) -> None:
    one, _ = pair
    await execute("ip", "addr", "add", "192.0.2.77/32", "dev", "lo")
    try:
        mac = (await execute("cat", f"/sys/class/net/{BRIDGE.name}/address")).strip()
        await one.run("ip", "neigh", "replace", "10.10.0.254", "lladdr", mac, "dev", "eth0")
        await one.address(gateway="10.10.0.254")
        before = await execute("nft", "list", "table", "inet", "minicloud")
        assert "iifname @closed drop" in before
        capture = "import socket; s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind(('192.0.2.77',9)); "
        server = await asyncio.create_subprocess_exec(
            "timeout", "3", "python3", "-c", capture + "print('up',flush=True); s.recv(9); print('got')", stdout=-1
        )
        assert server.stdout is not None
        await server.stdout.readline()
        send = "import socket; socket.socket(socket.AF_INET,socket.SOCK_DGRAM).sendto(b'x',('192.0.2.77',9))"
        await one.run("python3", "-c", send)
        out, _ = await server.communicate()
        assert out == b""
    finally:
        await execute("ip", "addr", "del", "192.0.2.77/32", "dev", "lo")


async def test_the_next_daemon_inherits_a_filter_that_holds(pair: Pair, namespaces: MountedNamespaces) -> None:
    one, two = pair
    successor = NftFirewall(namespaces)
    await successor.open()
    await successor.set_port(PORT_A)
    assert await successor.actual() == {"mcta", "mctb"}
    assert await one.reaches("fd10::b") and not await two.reaches("fd10::a")
    await successor.load(ports=(PORT_A, PORT_B), groups=(CLIENTS, SSH, WEB), uplinks=())
    assert await one.reaches("fd10::b") and not await two.reaches("fd10::a")


ROUTER = router_space("r")
INSIDE, GATEWAY = "mciinside", "mcigw"
NAT = NatPlan("r", ROUTER, GATEWAY, "203.0.113.2", ((INSIDE, "10.10.0.0/24"),), (("203.0.113.50", "10.10.0.11"),), 8775)
EXTERNAL = Bridge("mcbext", mtu=1500, addresses=("203.0.113.1/24",))
SPACE = Space(
    ROUTER,
    (
        Leg("mcvinside", INSIDE, BRIDGE.name, "fa:16:3e:00:01:01", 1450, ("10.10.0.1/24",)),
        Leg("mcvgw", GATEWAY, EXTERNAL.name, "fa:16:3e:00:01:02", 1500, ("203.0.113.2/24", "203.0.113.50/32")),
    ),
    (Route("0.0.0.0/0", via="203.0.113.1"),),
    forwarding=True,
)


@pytest.fixture
async def routed(pair: Pair, links: Links, namespaces: Namespaces, firewall: Firewall) -> AsyncIterator[Guest]:
    """The pair behind a router whose gateway leads through this host; the world outside is a namespace beyond a
    link."""
    await links.converge_bridge(EXTERNAL)
    await namespaces.ensure(ROUTER)
    await links.converge_space(SPACE)
    await firewall.set_nat(NAT)
    await firewall.set_uplinks((Uplink(EXTERNAL.name, "203.0.113.0/24"),))
    await execute("ip", "link", "add", "mcbworld", "type", "bridge")
    await execute("ip", "addr", "add", "198.51.100.1/24", "dev", "mcbworld")
    await execute("ip", "link", "set", "mcbworld", "up")
    for machine in pair:
        await machine.address(gateway="10.10.0.1")
    try:
        async with guest("world", tap="vworld", mac="fa:16:3e:00:02:01", bridge="mcbworld") as world:
            await world.address("198.51.100.2/24")
            yield world
    finally:
        await execute("ip", "link", "del", "mcbworld")


async def test_machines_reach_the_world_with_the_hosts_address(routed: Guest, pair: Pair) -> None:
    one, two = pair
    assert await one.reaches("198.51.100.2") and await two.reaches("198.51.100.2")
    assert "203.0.113" not in await routed.run("ip", "neigh")


async def test_a_floating_ip_leads_in_from_host_world_and_neighbours(
    routed: Guest, pair: Pair, firewall: Firewall, links: Links
) -> None:
    one, two = pair
    await routed.run("ip", "route", "add", "203.0.113.0/24", "via", "198.51.100.1")
    await execute("sysctl", "-qw", "net.ipv4.ip_forward=1")
    async with two.serving(22), two.serving(90):
        assert await routed.reaches("203.0.113.50", port=22)
        assert not await routed.reaches("203.0.113.50", port=90)
        assert await one.reaches("203.0.113.50", port=22)
        host = ["busybox", "timeout", "2", "busybox", "nc", "-w", "1", "203.0.113.50", "22"]
        assert "said" in await execute(*host, check=False)
        await firewall.set_nat(replace(NAT, floating=()))
        assert not await one.reaches("203.0.113.50", port=22)


@pytest.mark.parametrize("restarted", [False, True], ids=["", "while the daemon was away"])
async def test_a_flow_over_a_floating_ip_ends_with_it(
    routed: Guest, pair: Pair, firewall: Firewall, namespaces: Namespaces, restarted: bool
) -> None:
    _, two = pair
    listener = await start(two, "busybox", "nc", "-l", "-p", "22", "-e", "cat")
    await routed.run("ip", "route", "add", "203.0.113.0/24", "via", "198.51.100.1")
    async with asyncio.timeout(DEADLINE):
        while ":22 " not in await two.run("ss", "-tln"):
            await asyncio.sleep(0.02)
    client = await start(routed, "busybox", "nc", "203.0.113.50", "22")
    try:
        assert await echoes(client)
        await (NftFirewall(namespaces) if restarted else firewall).set_nat(replace(NAT, floating=()))
        assert not await echoes(client)
    finally:
        for process in (client, listener):
            await finish(process)


async def test_the_metadata_address_leads_to_the_listener_from_inside_only(
    routed: Guest, pair: Pair, namespaces: Namespaces
) -> None:
    one, _ = pair
    listener = await namespaces.listen(ROUTER, "0.0.0.0", NAT.metadata_port)
    loop = asyncio.get_running_loop()
    peers: list[str] = []

    async def answer() -> None:
        while True:
            connection, address = await loop.sock_accept(listener)
            peers.append(address[0])
            await loop.sock_sendall(connection, b"said\n")
            connection.close()

    task = asyncio.create_task(answer())
    try:
        assert await one.reaches("169.254.169.254", port=80)
        assert peers == ["10.10.0.10"]
        assert not await one.reaches("10.10.0.1", port=NAT.metadata_port)
        host = ["busybox", "timeout", "2", "busybox", "nc", "-w", "1", "203.0.113.2", str(NAT.metadata_port)]
        assert "said" not in await execute(*host, check=False)
    finally:
        task.cancel()
        listener.close()


async def test_a_machine_on_the_external_network_is_filtered_towards_the_host_too(
    routed: Guest, firewall: Firewall
) -> None:
    mac = "fa:16:3e:00:00:0e"
    port = PortFilter("e", "mcte", EXTERNAL.name, 30, 103, mac, ((mac, "203.0.113.60"),), (SSH.id,))
    await firewall.set_port(port)
    async with guest("guest-e", tap="mcte", mac=mac, bridge=EXTERNAL.name) as machine:
        await machine.address("203.0.113.60/24", gateway="203.0.113.1")
        assert await machine.reaches("198.51.100.2") and await machine.reaches("203.0.113.1")
        assert "100% packet loss" in await execute("ping", "-c", "1", "-W", "1", "203.0.113.60", check=False)
        async with machine.serving(22):
            host = ["busybox", "timeout", "2", "busybox", "nc", "-w", "1", "203.0.113.60", "22"]
            assert "said" in await execute(*host, check=False)
