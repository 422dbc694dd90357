"""Links in memory: bridges, taps and veth legs as the fake machine knows them.

For tests and for people without root. Keeps the promises of `minicloud.host.links.Links` that others can observe;
the suite in tests/drivers runs on this and on netlink alike. Called through `minicloud.host.Host.links`.
"""

from __future__ import annotations

from dataclasses import asdict

from minicloud.core.errors import HostFailure
from minicloud.host.fake.world import World
from minicloud.host.links import BRIDGE_MARK, LEG_MARK, TAP_MARK, Bridge, LinksSeen, Space, Tap

PHYSICAL = ("lo", "eth0", "eth1")
"""The interfaces that the fake machine was born with."""


class FakeLinks:
    """`Links` over a `World`: sections "bridges", "taps", "legs" (by outer name), "insides" (by namespace)."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.announced: list[tuple[str, str, str]] = []
        """(space, link, address) of every announcement, for assertions."""

    async def converge_bridge(self, bridge: Bridge) -> None:
        """See `Links.converge_bridge`."""
        async with self._world.step("links.converge_bridge", bridge.name):
            if bridge.physical is not None and bridge.physical not in PHYSICAL:
                raise HostFailure(
                    f"Cannot connect network bridge {bridge.name}: this machine has no interface {bridge.physical}."
                )
            self._world.section("bridges")[bridge.name] = {
                "mtu": bridge.mtu,
                "addresses": list(bridge.addresses),
                "physical": bridge.physical,
            }
            wanted = {tap.name for tap in bridge.taps}
            taps = self._world.section("taps")
            for name in [name for name, tap in taps.items() if tap["bridge"] == bridge.name and name not in wanted]:
                del taps[name]
            for tap in bridge.taps:
                taps[tap.name] = {**asdict(tap), "bridge": bridge.name}

    async def remove_bridge(self, name: str) -> None:
        """See `Links.remove_bridge`."""
        async with self._world.step("links.remove_bridge", name):
            self._world.section("bridges").pop(name, None)
            taps = self._world.section("taps")
            for tap in [tap for tap, value in taps.items() if value["bridge"] == name]:
                del taps[tap]

    async def converge_tap(self, bridge: str, tap: Tap) -> None:
        """See `Links.converge_tap`."""
        async with self._world.step("links.converge_tap", tap.name):
            self._require_bridge(bridge, tap.name)
            self._world.section("taps")[tap.name] = {**asdict(tap), "bridge": bridge}

    async def remove_link(self, name: str) -> None:
        """See `Links.remove_link`."""
        async with self._world.step("links.remove_link", name):
            self._world.section("taps").pop(name, None)
            self._world.section("legs").pop(name, None)

    async def converge_space(self, space: Space) -> None:
        """See `Links.converge_space`."""
        async with self._world.step("links.converge_space", space.name):
            if space.name not in self._world.section("namespaces"):
                raise HostFailure(f"Cannot connect namespace {space.name}: it does not exist.")
            for leg in space.legs:
                self._require_bridge(leg.bridge, leg.outer)
            legs = self._world.section("legs")
            for outer in [outer for outer, leg in legs.items() if leg["space"] == space.name]:
                del legs[outer]
            for leg in space.legs:
                legs[leg.outer] = {**asdict(leg), "space": space.name}
            self._world.section("insides")[space.name] = {
                "routes": [asdict(route) for route in space.routes],
                "forwarding": space.forwarding,
            }

    async def announce(self, space: str, link: str, address: str) -> None:
        """See `Links.announce`; the fake one only remembers it in `announced`."""
        async with self._world.step("links.announce", link):
            if space not in self._world.section("namespaces"):
                raise HostFailure(f"Cannot announce {address}: namespace {space} does not exist.")
            self.announced.append((space, link, address))

    async def close(self) -> None:
        """See `Links.close`."""

    async def actual(self) -> LinksSeen:
        """See `Links.actual`."""
        members: dict[str, set[str]] = {name: set() for name in self._world.section("bridges")}
        loose: set[str] = set()
        for name, value in {**self._world.section("taps"), **self._world.section("legs")}.items():
            if value["bridge"] in members:
                members[value["bridge"]].add(name)
            else:
                loose.add(name)
        for name, value in self._world.section("bridges").items():
            if value["physical"] is not None:
                members[name].add(value["physical"])
        ours = (BRIDGE_MARK,)
        return LinksSeen(
            bridges={name: frozenset(inside) for name, inside in members.items() if name.startswith(ours)},
            loose=frozenset(name for name in loose if name.startswith((TAP_MARK, LEG_MARK))),
        )

    async def interfaces(self) -> frozenset[str]:
        """See `Links.interfaces`."""
        sections = ("bridges", "taps", "legs")
        return frozenset(PHYSICAL).union(*(self._world.section(section) for section in sections))

    def _require_bridge(self, bridge: str, member: str) -> None:
        if bridge not in self._world.section("bridges"):
            raise HostFailure(f"Cannot connect {member}: bridge {bridge} does not exist.")
