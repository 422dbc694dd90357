"""Network namespaces in memory.

For tests and for people without root. A listener "inside" a fake namespace is a real socket on 127.0.0.1, so that the
metadata service can be spoken to. Called through `minicloud.host.Host.namespaces`.
"""

from __future__ import annotations

import itertools
import socket

from minicloud.core.errors import HostFailure
from minicloud.host.fake.world import World
from minicloud.host.namespaces import DHCP_PREFIX, ROUTER_PREFIX


class FakeNamespaces:
    """`Namespaces` over a `World`: section "namespaces", each with the sysctls that were set."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._numbers = itertools.count(1)

    async def ensure(self, name: str) -> int:
        """See `Namespaces.ensure`."""
        async with self._world.step("namespaces.ensure", name):
            spaces = self._world.section("namespaces")
            if name not in spaces:
                spaces[name] = {"sysctls": {}, "number": next(self._numbers)}
            return int(spaces[name]["number"])

    async def remove(self, name: str) -> None:
        """See `Namespaces.remove`. As in the kernel, the links inside, their outer ends and the filters go with it."""
        async with self._world.step("namespaces.remove", name):
            self._world.section("namespaces").pop(name, None)
            self._world.section("insides").pop(name, None)
            for section in ("legs", "nat"):
                things = self._world.section(section)
                for key in [key for key, value in things.items() if value["space"] == name]:
                    del things[key]

    async def actual(self) -> frozenset[str]:
        """See `Namespaces.actual`."""
        names = self._world.section("namespaces")
        return frozenset(name for name in names if name.startswith((DHCP_PREFIX, ROUTER_PREFIX)))

    async def listen(self, name: str, address: str, port: int) -> socket.socket:
        """See `Namespaces.listen`; the socket is on 127.0.0.1 with a port of the kernel's choice."""
        async with self._world.step("namespaces.listen", name):
            self._require(name)
            listener = socket.create_server(("127.0.0.1", 0))
            listener.setblocking(False)
        return listener

    async def set_sysctl(self, name: str, key: str, value: str) -> None:
        """See `Namespaces.set_sysctl`."""
        async with self._world.step("namespaces.set_sysctl", name):
            self._require(name)
            self._world.section("namespaces")[name]["sysctls"][key] = value

    def _require(self, name: str) -> None:
        if name not in self._world.section("namespaces"):
            raise HostFailure(f"Cannot enter namespace {name}: it does not exist.")
