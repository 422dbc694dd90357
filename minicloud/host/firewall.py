"""What the cloud asks of the packet filter: anti-spoofing and security groups per port, and address translation.

Pure: what should be and the protocol. `network/plan.py` computes it; `host/real/nft.py` renders and loads nftables
text (tables `bridge minicloud` and `inet minicloud` in the host's namespace, `ip minicloud` in routers'),
`host/fake/firewall.py` remembers it. Nothing outside our own tables is ever touched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class PortFilter:
    """What one machine port may send and receive.

    Attributes:
        number: our number of the port, unique on the host, used as packet mark (1 to 2^31 - 1).
        addresses: (MAC, IP or CIDR) pairs it may use as source: its own fixed IPs and its allowed address pairs.
        guarded: False when port security is off: everything passes, nothing is checked.
        groups: ids of its security groups; with none, all but DHCP and neighbour discovery is dropped.
        zone: conntrack zone of its network, so that overlapping subnets stay apart.
    """

    port_id: str
    tap: str
    bridge: str
    number: int
    zone: int
    mac: str
    addresses: tuple[tuple[str, str], ...]
    groups: tuple[str, ...]
    guarded: bool = True


@dataclass(frozen=True, slots=True)
class GroupRule:
    """One security group rule. `direction` "ingress" or "egress", `ethertype` 4 or 6; `protocol` a number or None for
    any; ports (or ICMP type and code) None for any; at most one of `remote_cidr` and `remote_group`."""

    direction: str
    ethertype: int
    protocol: int | None = None
    port_min: int | None = None
    port_max: int | None = None
    remote_cidr: str | None = None
    remote_group: str | None = None


@dataclass(frozen=True, slots=True)
class GroupFilter:
    """One security group: its rules, and the addresses of its members (what `remote_group` of others refers to)."""

    id: str
    number: int
    rules: tuple[GroupRule, ...]
    members: tuple[str, ...] = ()
    stateful: bool = True


@dataclass(frozen=True, slots=True)
class NatPlan:
    """Address translation inside one router's namespace.

    Attributes:
        gateway_link: the link to the external network, None without a gateway.
        gateway_address: what machines without a floating IP appear as; None when source NAT is off.
        inside: (link, CIDR) of every internal IPv4 interface.
        floating: (floating IP, fixed IP) pairs.
        metadata_port: port of our metadata listener, to which 169.254.169.254:80 from inside is redirected; closed to
        the outside.
    """

    router_id: str
    space: str
    gateway_link: str | None
    gateway_address: str | None
    inside: tuple[tuple[str, str], ...]
    floating: tuple[tuple[str, str], ...]
    metadata_port: int


@dataclass(frozen=True, slots=True)
class Uplink:
    """The way of an external network out of this host: packets from `cidr` on `bridge` are forwarded, and leave
    through any other interface with the host's own address."""

    bridge: str
    cidr: str
    masquerade: bool = True


class Firewall(Protocol):
    """Loads filters, each call atomic: all of it holds or nothing of it. Costs what changed, not what exists. When a
    rule, a group member or a floating IP goes, established flows that it alone allowed are cut too."""

    async def open(self) -> None:
        """Check what the kernel can (bridge filtering!), make the empty tables closed. Raises `Unavailable` with the
        reason if ports could not be filtered."""

    async def close(self) -> None:
        """Let go; the tables stay and go on filtering."""

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Have `callback` called on the loop as soon as somebody else took the filters' tables or rules away: until
        `load`, ports are open."""

    async def load(
        self, *, ports: tuple[PortFilter, ...], groups: tuple[GroupFilter, ...], uplinks: tuple[Uplink, ...]
    ) -> None:
        """Replace all port filtering on this host in one transaction."""

    async def set_group(self, group: GroupFilter) -> None:
        """Add or replace a group's rules and members."""

    async def remove_group(self, group_id: str) -> None:
        """Forget a group that no port uses."""

    async def set_port(self, port: PortFilter) -> None:
        """Add or replace a port's filter; done before its tap goes up."""

    async def remove_port(self, port_id: str) -> None:
        """Forget a port and its flows."""

    async def set_uplinks(self, uplinks: tuple[Uplink, ...]) -> None:
        """Replace the ways out."""

    async def set_nat(self, nat: NatPlan) -> None:
        """Replace one router's translation (its namespace exists)."""

    async def actual(self) -> frozenset[str] | None:
        """Names of the taps that the loaded port filters know; None if somebody took the filters' tables or rules away
        and `load` is needed."""
