"""What the cloud asks of the machine's links: bridges, taps, veth pairs, addresses and routes.

Pure: what should be (frozen descriptions) and the protocol. `network/plan.py` computes the descriptions from rows;
`host/real/netlink.py` makes them true over netlink, `host/fake/links.py` remembers them.

Names carry our mark and fit the kernel's 15 bytes: three letters that name the kind, eleven characters of the id.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

BRIDGE_MARK = "mcb"
TAP_MARK = "mct"
LEG_MARK = "mcv"
INNER_MARK = "mci"


def bridge_name(network_id: str) -> str:
    """The bridge of a network."""
    return BRIDGE_MARK + network_id[:11]


def tap_name(port_id: str) -> str:
    """The tap of a machine's port."""
    return TAP_MARK + port_id[:11]


def veth_name(port_id: str) -> str:
    """The bridge's end of the pair that leads into a namespace (DHCP, router interface or gateway port)."""
    return LEG_MARK + port_id[:11]


def inner_name(port_id: str) -> str:
    """The namespace's end of that pair."""
    return INNER_MARK + port_id[:11]


@dataclass(frozen=True, slots=True)
class Tap:
    """A machine's end on a bridge. `mac` is the machine's: the tap itself gets `fe` as first byte. `up` follows the
    port's admin state."""

    name: str
    mac: str
    mtu: int
    up: bool = True


@dataclass(frozen=True, slots=True)
class Bridge:
    """A network's layer 2.

    Attributes:
        taps: every machine port on it. Bridge members that aren't ours to name are left alone; members that bear our
            tap mark and are not listed are removed.
        addresses: the host's own addresses on the bridge, with prefix length (only the external network has one).
        physical: an existing interface of the host that becomes a member (a provider network), or None.
    """

    name: str
    mtu: int
    taps: tuple[Tap, ...] = ()
    addresses: tuple[str, ...] = ()
    physical: str | None = None


@dataclass(frozen=True, slots=True)
class Leg:
    """A veth pair from a bridge into a namespace. `addresses` with prefix length; the address that a floating IP has is
    listed as /32. `inner` is the name inside."""

    outer: str
    inner: str
    bridge: str
    mac: str
    mtu: int
    addresses: tuple[str, ...] = ()
    up: bool = True


@dataclass(frozen=True, slots=True)
class Route:
    """A route of a namespace: destination as CIDR ("0.0.0.0/0" for the default one), next hop, or a link when
    on-link."""

    destination: str
    via: str | None = None
    link: str | None = None


@dataclass(frozen=True, slots=True)
class Space:
    """A namespace's inside: its legs, routes, and whether it forwards packets. Addresses and routes that it has beyond
    these (link-local and connected ones aside) are removed."""

    name: str
    legs: tuple[Leg, ...] = ()
    routes: tuple[Route, ...] = ()
    forwarding: bool = False


@dataclass(frozen=True, slots=True)
class LinksSeen:
    """Our marked links on the host: bridge name -> names of its members; taps without a bridge; namespaces' legs by
    outer name."""

    bridges: dict[str, frozenset[str]]
    loose: frozenset[str]


class Links(Protocol):
    """Makes links true. Every converge is idempotent, touches only what its argument names and costs what differs."""

    async def converge_bridge(self, bridge: Bridge) -> None:
        """The bridge exists and has just these taps (see `Bridge.taps`), MTU and addresses."""

    async def remove_bridge(self, name: str) -> None:
        """The bridge and our taps on it are gone."""

    async def converge_tap(self, bridge: str, tap: Tap) -> None:
        """One tap exists on its bridge; the others are not looked at."""

    async def remove_link(self, name: str) -> None:
        """One tap or veth of ours is gone."""

    async def converge_space(self, space: Space) -> None:
        """The namespace (which exists) holds just these legs, addresses and routes."""

    async def announce(self, space: str, link: str, address: str) -> None:
        """Tell the neighbours of `link` inside `space` where `address` is now: gratuitous ARP or unsolicited neighbour
        advertisement, a few times over the next seconds, without waiting for the end of it."""

    async def actual(self) -> LinksSeen:
        """What bears our mark on this host."""

    async def close(self) -> None:
        """End announcements that are still going out; links stay as they are."""

    async def interfaces(self) -> frozenset[str]:
        """Names of all interfaces of the host's own namespace (to check a provider network's)."""
