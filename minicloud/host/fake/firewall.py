"""The packet filter in memory: what was loaded, and nothing is filtered.

For tests and for people without root. Called through `minicloud.host.Host.firewall`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from minicloud.core.errors import HostFailure
from minicloud.host.fake.world import World
from minicloud.host.firewall import GroupFilter, NatPlan, PortFilter, Uplink


class FakeFirewall:
    """`Firewall` over a `World`: sections "port_filters", "group_filters", "uplinks" (by bridge and CIDR), "nat" (by
    router)."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lost = False
        self._callbacks: list[Callable[[], None]] = []

    async def open(self) -> None:
        """See `Firewall.open`."""
        async with self._world.step("firewall.open"):
            pass

    async def close(self) -> None:
        """See `Firewall.close`."""

    def on_lost(self, callback: Callable[[], None]) -> None:
        """See `Firewall.on_lost`."""
        self._callbacks.append(callback)

    def flush(self) -> None:
        """What an administrator's `nft flush ruleset` does."""
        self._lost = True
        for name in ("port_filters", "group_filters", "uplinks"):
            self._world.section(name).clear()
        for callback in self._callbacks:
            callback()

    async def load(
        self, *, ports: tuple[PortFilter, ...], groups: tuple[GroupFilter, ...], uplinks: tuple[Uplink, ...]
    ) -> None:
        """See `Firewall.load`."""
        async with self._world.step("firewall.load"):
            _replace(self._world.section("port_filters"), {port.port_id: asdict(port) for port in ports})
            _replace(self._world.section("group_filters"), {group.id: asdict(group) for group in groups})
            _replace(self._world.section("uplinks"), _by_key(uplinks))
            self._lost = False

    async def set_group(self, group: GroupFilter) -> None:
        """See `Firewall.set_group`."""
        async with self._world.step("firewall.set_group", group.id):
            self._world.section("group_filters")[group.id] = asdict(group)

    async def remove_group(self, group_id: str) -> None:
        """See `Firewall.remove_group`."""
        async with self._world.step("firewall.remove_group", group_id):
            if any(group_id in port["groups"] for port in self._world.section("port_filters").values()):
                raise HostFailure(f"Cannot forget security group {group_id}: a port's filter still uses it.")
            self._world.section("group_filters").pop(group_id, None)

    async def set_port(self, port: PortFilter) -> None:
        """See `Firewall.set_port`."""
        async with self._world.step("firewall.set_port", port.port_id):
            self._world.section("port_filters")[port.port_id] = asdict(port)

    async def remove_port(self, port_id: str) -> None:
        """See `Firewall.remove_port`."""
        async with self._world.step("firewall.remove_port", port_id):
            self._world.section("port_filters").pop(port_id, None)

    async def set_uplinks(self, uplinks: tuple[Uplink, ...]) -> None:
        """See `Firewall.set_uplinks`."""
        async with self._world.step("firewall.set_uplinks"):
            _replace(self._world.section("uplinks"), _by_key(uplinks))

    async def set_nat(self, nat: NatPlan) -> None:
        """See `Firewall.set_nat`; a plan that translates nothing is forgotten."""
        async with self._world.step("firewall.set_nat", nat.router_id):
            if nat.space not in self._world.section("namespaces"):
                raise HostFailure(f"Cannot translate for router {nat.router_id}: namespace {nat.space} does not exist.")
            if nat.gateway_link is None and not nat.inside and not nat.floating:
                self._world.section("nat").pop(nat.router_id, None)
                return
            self._world.section("nat")[nat.router_id] = asdict(nat)

    async def actual(self) -> frozenset[str] | None:
        """See `Firewall.actual`."""
        if self._lost:
            return None
        return frozenset(port["tap"] for port in self._world.section("port_filters").values())


def _replace(section: dict[str, object], content: dict[str, object]) -> None:
    section.clear()
    section.update(content)


def _by_key(uplinks: tuple[Uplink, ...]) -> dict[str, object]:
    return {f"{uplink.bridge} {uplink.cidr}": asdict(uplink) for uplink in uplinks}
