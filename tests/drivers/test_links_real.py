"""What only a real kernel can show of links: MACs, MTUs, addresses, routes, frames. Runs inside a sandbox."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import Callable
from dataclasses import replace

import pytest

from minicloud.host.links import Links, Route, Space
from minicloud.host.namespaces import Namespaces
from tests.drivers.test_links import BRIDGE, LEG, SPACE, TAP

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("real_only")]


def ip(*arguments: str) -> str:
    """ip(8), as an observer that shares no code with the driver."""
    return subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=10, check=True).stdout


async def connect(links: Links, namespaces: Namespaces) -> Callable[..., str]:
    await links.converge_bridge(replace(BRIDGE, taps=(TAP,)))
    await namespaces.ensure(SPACE.name)
    await links.converge_space(SPACE)
    return lambda *arguments: ip("-n", SPACE.name, *arguments)


async def test_a_tap_has_its_mtu_state_and_the_fe_address(links: Links) -> None:
    await links.converge_bridge(replace(BRIDGE, taps=(TAP,)))
    text = ip("link", "show", TAP.name)
    assert "mtu 1450" in text and f"master {BRIDGE.name}" in text and "fe:16:3e:00:00:01" in text and ",UP" in text
    await links.converge_tap(BRIDGE.name, replace(TAP, mtu=1400, up=False))
    text = ip("link", "show", TAP.name)
    assert "mtu 1400" in text and ",UP" not in text


async def test_a_bridge_keeps_its_mac_and_speaks_no_ipv6_unasked(links: Links) -> None:
    await links.converge_bridge(BRIDGE)
    before = ip("-br", "link", "show", BRIDGE.name)
    await links.converge_tap(BRIDGE.name, TAP)
    assert ip("-br", "link", "show", BRIDGE.name).split()[2] == before.split()[2]
    assert "inet6" not in ip("addr", "show", BRIDGE.name)
    await links.converge_bridge(replace(BRIDGE, addresses=("203.0.113.1/24", "2001:db8::1/64")))
    text = ip("addr", "show", BRIDGE.name)
    assert "203.0.113.1/24" in text and "2001:db8::1/64" in text
    await links.converge_bridge(BRIDGE)
    assert "inet " not in ip("addr", "show", BRIDGE.name)


async def test_the_inside_of_a_namespace_is_just_what_was_asked(links: Links, namespaces: Namespaces) -> None:
    inside = await connect(links, namespaces)
    text = inside("addr", "show", LEG.inner)
    assert "10.10.0.1/24" in text and "fd10::1/64" in text and LEG.mac in text and "tentative" not in text
    assert "default via 10.10.0.254" in inside("route")
    moved = replace(LEG, addresses=("10.10.0.1/24", "10.10.0.9/24", "203.0.113.50/32"))
    routes = (
        Route("0.0.0.0/0", via="10.10.0.253"),
        Route("192.0.2.0/24", link=LEG.inner),
        Route("198.51.100.0/24", via="172.16.0.1", link=LEG.inner),
    )
    await links.converge_space(Space(SPACE.name, (moved,), routes))
    await links.converge_space(Space(SPACE.name, (moved,), routes))
    text = inside("addr", "show", LEG.inner)
    assert "10.10.0.9/24" in text and "203.0.113.50/32" in text and "fd10" not in text
    text = inside("route")
    assert "default via 10.10.0.253" in text and "10.10.0.254" not in text
    assert "192.0.2.0/24" in text and "198.51.100.0/24 via 172.16.0.1" in text and "onlink" in text


async def test_ipv6_routes_come_and_go(links: Links, namespaces: Namespaces) -> None:
    inside = await connect(links, namespaces)
    await links.converge_space(replace(SPACE, routes=(Route("::/0", via="fd10::fe"),)))
    await links.converge_space(replace(SPACE, routes=(Route("::/0", via="fd10::fe"),)))
    assert "default via fd10::fe" in inside("-6", "route")
    await links.converge_space(replace(SPACE, routes=()))
    assert "default" not in inside("-6", "route") + inside("route")


async def test_routes_that_somebody_flushed_come_back(links: Links, namespaces: Namespaces) -> None:
    inside = await connect(links, namespaces)
    before = inside("route"), sorted(inside("-6", "route").splitlines())
    for family in ("-4", "-6"):
        inside(family, "route", "flush", "table", "main")
        await links.converge_space(SPACE)
    assert (inside("route"), sorted(inside("-6", "route").splitlines())) == before


async def test_a_switched_off_leg_is_down_and_its_routes_wait(links: Links, namespaces: Namespaces) -> None:
    inside = await connect(links, namespaces)
    routes = (Route("192.0.2.0/24", link=LEG.inner),)
    await links.converge_space(Space(SPACE.name, (replace(LEG, up=False),), routes))
    assert ",UP" not in inside("link", "show", LEG.inner)
    await links.converge_space(Space(SPACE.name, (LEG,), routes))
    assert "192.0.2.0/24" in inside("route")


async def test_neighbours_learn_of_a_moved_address_at_once(links: Links, namespaces: Namespaces) -> None:
    await connect(links, namespaces)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003)) as listener:
        listener.bind((BRIDGE.name, 0))
        listener.setblocking(False)
        await links.announce(SPACE.name, LEG.inner, "10.10.0.1")
        await links.announce(SPACE.name, LEG.inner, "fd10::1")
        loop = asyncio.get_running_loop()
        mac = bytes.fromhex(LEG.mac.replace(":", ""))
        wanted = {b"\x08\x06", b"\x86\xdd"}
        async with asyncio.timeout(5):
            while wanted:
                frame = await loop.sock_recv(listener, 2048)
                if frame[6:12] == mac and (frame[12:14] != b"\x86\xdd" or frame[54] == 136):
                    wanted.discard(frame[12:14])
