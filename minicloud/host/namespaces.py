"""What the cloud asks of network namespaces.

Pure: the protocol. A namespace holds a network's DHCP server or a router. `host/real/namespaces.py` makes them below
a folder of bind mounts (so `ip netns` sees them when the folder is /run/netns); `host/fake/namespaces.py` remembers
them.
"""

from __future__ import annotations

import socket
from typing import Protocol

DHCP_PREFIX = "mc-dhcp-"
ROUTER_PREFIX = "mc-router-"


def dhcp_space(network_id: str) -> str:
    """Name of the namespace in which a network's DHCP server lives."""
    return DHCP_PREFIX + network_id


def router_space(router_id: str) -> str:
    """Name of a router's namespace."""
    return ROUTER_PREFIX + router_id


class Namespaces(Protocol):
    """Makes and removes network namespaces bearing our prefix; both idempotent."""

    async def ensure(self, name: str) -> int:
        """The namespace exists, its loopback is up. Returns a number that only this incarnation of it has: one that was
        removed and made again has another, and what listened in the former one hears nothing any more."""

    async def remove(self, name: str) -> None:
        """Gone, with every link in it; what still holds a descriptor keeps an anonymous remainder alive."""

    async def actual(self) -> frozenset[str]:
        """Names of all namespaces with our prefix."""

    async def listen(self, name: str, address: str, port: int) -> socket.socket:
        """A listening, non-blocking TCP socket inside the namespace (IPv4 or IPv6 by the address's form, a
        link-local one with its link: "fe80::1%eth0").

        On the fake host it listens on 127.0.0.1 with a port of the kernel's choice.
        """

    async def set_sysctl(self, name: str, key: str, value: str) -> None:
        """Write one setting below /proc/sys, `net.ipv4.ip_forward` form, as seen inside the namespace."""
