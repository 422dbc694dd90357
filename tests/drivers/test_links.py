"""What links promise, on the fake host and on this machine."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from minicloud.core.errors import HostFailure
from minicloud.host.links import Bridge, Leg, Links, Route, Space, Tap, bridge_name, inner_name, tap_name, veth_name
from minicloud.host.namespaces import Namespaces, router_space

NETWORK, PORT, OTHER = "3b1e52a0-0001", "77aa10c4-0002", "9c0d5ee1-0003"
BRIDGE = Bridge(bridge_name(NETWORK), mtu=1450)
TAP = Tap(tap_name(PORT), mac="fa:16:3e:00:00:01", mtu=1450)
LEG = Leg(
    outer=veth_name(OTHER),
    inner=inner_name(OTHER),
    bridge=BRIDGE.name,
    mac="fa:16:3e:00:00:02",
    mtu=1450,
    addresses=("10.10.0.1/24", "fd10::1/64"),
)
SPACE = Space(router_space("0b5f7a6e"), (LEG,), (Route("0.0.0.0/0", via="10.10.0.254"),), forwarding=True)


async def members(links: Links) -> frozenset[str]:
    return (await links.actual()).bridges[BRIDGE.name]


async def test_a_bridge_holds_just_the_taps_that_it_should(links: Links) -> None:
    other = replace(TAP, name=tap_name(OTHER))
    await links.converge_bridge(replace(BRIDGE, taps=(TAP, other)))
    assert await members(links) == {TAP.name, other.name}
    await links.converge_bridge(replace(BRIDGE, taps=(other,)))
    assert await members(links) == {other.name}
    assert TAP.name not in await links.interfaces()
    await links.remove_bridge(BRIDGE.name)
    await links.remove_bridge(BRIDGE.name)
    assert {BRIDGE.name, other.name}.isdisjoint(await links.interfaces())


async def test_a_tap_joins_without_a_look_at_the_others(links: Links) -> None:
    other = replace(TAP, name=tap_name(OTHER))
    await links.converge_bridge(replace(BRIDGE, taps=(TAP,)))
    await links.converge_tap(BRIDGE.name, other)
    await links.converge_tap(BRIDGE.name, other)
    assert await members(links) == {TAP.name, other.name}
    await links.remove_link(other.name)
    await links.remove_link(other.name)
    assert await members(links) == {TAP.name}


async def test_a_tap_without_its_bridge_is_refused_by_name(links: Links) -> None:
    with pytest.raises(HostFailure, match=BRIDGE.name):
        await links.converge_tap(BRIDGE.name, TAP)


async def test_an_absent_physical_interface_is_refused_by_name(links: Links) -> None:
    with pytest.raises(HostFailure, match="eth77"):
        await links.converge_bridge(replace(BRIDGE, physical="eth77"))


async def test_a_namespace_is_connected_and_let_go(links: Links, namespaces: Namespaces) -> None:
    await links.converge_bridge(BRIDGE)
    await namespaces.ensure(SPACE.name)
    await links.converge_space(SPACE)
    await links.converge_space(SPACE)
    assert await members(links) == {LEG.outer}
    await links.converge_space(Space(SPACE.name))
    assert await members(links) == frozenset()


async def test_a_bridge_does_not_remove_the_legs_that_others_put_there(links: Links, namespaces: Namespaces) -> None:
    await links.converge_bridge(replace(BRIDGE, taps=(TAP,)))
    await namespaces.ensure(SPACE.name)
    await links.converge_space(SPACE)
    await links.converge_bridge(BRIDGE)
    assert await members(links) == {LEG.outer}


async def test_a_leg_whose_bridge_went_is_loose(links: Links, namespaces: Namespaces) -> None:
    await links.converge_bridge(BRIDGE)
    await namespaces.ensure(SPACE.name)
    await links.converge_space(SPACE)
    await links.remove_bridge(BRIDGE.name)
    assert (await links.actual()).loose == {LEG.outer}
    with pytest.raises(HostFailure, match=BRIDGE.name):
        await links.converge_space(SPACE)


async def test_an_absent_namespace_is_refused_by_name(links: Links) -> None:
    await links.converge_bridge(BRIDGE)
    with pytest.raises(HostFailure, match=SPACE.name):
        await links.converge_space(SPACE)
    with pytest.raises(HostFailure, match=SPACE.name):
        await links.announce(SPACE.name, LEG.inner, "10.10.0.1")


async def test_addresses_are_announced_without_waiting(links: Links, namespaces: Namespaces) -> None:
    await links.converge_bridge(BRIDGE)
    await namespaces.ensure(SPACE.name)
    await links.converge_space(SPACE)
    await links.announce(SPACE.name, LEG.inner, "10.10.0.1")
    await links.announce(SPACE.name, LEG.inner, "fd10::1")


async def test_many_taps_at_once_all_arrive(links: Links) -> None:
    await links.converge_bridge(BRIDGE)
    taps = [replace(TAP, name=tap_name(f"{number:08x}")) for number in range(20)]
    await asyncio.gather(*(links.converge_tap(BRIDGE.name, tap) for tap in taps))
    assert await members(links) == {tap.name for tap in taps}
