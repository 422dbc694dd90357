"""What the cloud asks of DHCP, router advertisement and DNS for one network.

Pure: what should be and the protocol. `network/plan.py` computes it, `host/real/dnsmasq.py` renders dnsmasq's files
and keeps one dnsmasq a network, `host/fake/dhcp.py` remembers it and can lease.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Ipv6Mode(StrEnum):
    """How machines get an IPv6 address, in Neutron's words."""

    SLAAC = "slaac"
    STATEFUL = "dhcpv6-stateful"
    STATELESS = "dhcpv6-stateless"


@dataclass(frozen=True, slots=True)
class DhcpSubnet:
    """One subnet that is served. `routes` are (destination CIDR, next hop), the default route included when there is a
    gateway: a client that takes option 121 ignores the router option. `mode` only for IPv6; None there means that no
    addresses are handed out."""

    id: str
    cidr: str
    gateway: str | None
    nameservers: tuple[str, ...]
    routes: tuple[tuple[str, str], ...]
    lease_seconds: int = 86400
    mode: Ipv6Mode | None = None


@dataclass(frozen=True, slots=True)
class DhcpHost:
    """One port: its MAC, its addresses in served subnets, the name that DNS answers, extra options as (option, value,
    IP version)."""

    port_id: str
    mac: str
    addresses: tuple[str, ...]
    hostname: str
    options: tuple[tuple[str, str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class DhcpServer:
    """Everything one network's server needs. `link` is the interface inside `space` on which it listens."""

    network_id: str
    space: str
    link: str
    mtu: int
    domain: str
    subnets: tuple[DhcpSubnet, ...]
    hosts: tuple[DhcpHost, ...]


@dataclass(frozen=True, slots=True)
class Advertised:
    """One prefix that a router advertises on `link`."""

    link: str
    cidr: str
    mode: Ipv6Mode
    mtu: int


@dataclass(frozen=True, slots=True)
class Advertiser:
    """Router advertisements of one router."""

    router_id: str
    space: str
    prefixes: tuple[Advertised, ...]


@dataclass(frozen=True, slots=True)
class Lease:
    """A lease as the server wrote it; `expires` in seconds since the epoch (0: never)."""

    mac: str
    address: str
    expires: int


class Dhcp(Protocol):
    """Runs servers. A server that dies is started again (with growing pauses); it outlives this daemon, and `open` of
    the next one takes it over."""

    async def open(self) -> None:
        """Look for servers that an earlier daemon left, and watch them."""

    async def close(self) -> None:
        """Stop watching; the servers go on."""

    async def converge(self, server: DhcpServer) -> None:
        """The network's server runs with just this content; a change of hosts alone is a reload, not a restart."""

    async def converge_advertiser(self, advertiser: Advertiser) -> None:
        """The router advertises just these prefixes; none: it stops."""

    async def release(self, network_id: str, *, mac: str, address: str) -> None:
        """Forget a lease now, so that the address can go to another port."""

    async def remove(self, owner_id: str) -> None:
        """The server of a network, or the advertiser of a router, and its files are gone."""

    async def leases(self, network_id: str) -> tuple[Lease, ...]:
        """The leases given so far."""

    async def actual(self) -> frozenset[str]:
        """Ids of networks and routers for which something runs or lies about."""
