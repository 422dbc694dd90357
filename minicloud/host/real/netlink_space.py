"""The inside of a namespace: addresses, routes and switches, set by a thread that has entered it.

Called by `netlink.NetlinkLinks` only. Sources: rtnetlink(7), the kernel's Documentation/networking/ip-sysctl.rst.
"""

from __future__ import annotations

import contextlib
import socket

from pyroute2 import IPRoute

from minicloud.host.links import INNER_MARK, Space
from minicloud.host.real.addresses import converge_addresses, converge_connected, converge_routes
from minicloud.host.real.link_messages import change, require
from minicloud.host.real.namespaces import write_sysctl

SWITCHES = {
    # Addresses and routes come from the plan, never from what a guest might advertise.
    "net/ipv6/conf/all/accept_ra": "0",
    "net/ipv6/conf/default/accept_ra": "0",
    # We own the addresses; a tentative one could not be bound for seconds.
    "net/ipv6/conf/default/accept_dad": "0",
    # Taking one address of a subnet away must not take the others.
    "net/ipv4/conf/all/promote_secondaries": "1",
    "net/ipv4/conf/default/promote_secondaries": "1",
    # A link answers for its own addresses, and asks with one of them.
    "net/ipv4/conf/all/arp_ignore": "1",
    "net/ipv4/conf/all/arp_announce": "2",
}


def prepare(space: Space) -> frozenset[str]:
    """Set the namespace's switches and tell the names of the links that are there; runs before legs are made, as new
    links take over the defaults."""
    forwarding = "1" if space.forwarding else "0"
    wanted = {**SWITCHES, "net/ipv4/ip_forward": forwarding, "net/ipv6/conf/all/forwarding": forwarding}
    for key, value in wanted.items():
        with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
            write_sysctl(key, value)
    return frozenset(name for _, name in socket.if_nameindex())


def converge(space: Space) -> None:
    """The legs (which exist) have their MAC, MTU, state, addresses; the namespace has its routes and no other leg."""
    with IPRoute() as netlink:
        wanted = {leg.inner for leg in space.legs}
        for index, name in socket.if_nameindex():
            if name.startswith(INNER_MARK) and name not in wanted:
                netlink.link("del", index=index)
        for leg in space.legs:
            seen = require(netlink, leg.inner)
            change(netlink, seen, address=leg.mac.lower(), mtu=leg.mtu, state="up" if leg.up else "down")
            converge_addresses(netlink, seen["index"], leg.addresses)
            if leg.up:
                converge_connected(netlink, seen["index"])
        indexes = {name: index for index, name in socket.if_nameindex()}
        # A route over a leg that is switched off cannot exist; it comes back with the leg.
        routes = tuple(route for route in space.routes if _can_exist(route.link, space))
        converge_routes(netlink, indexes, routes)


def _can_exist(link: str | None, space: Space) -> bool:
    return link is None or all(leg.up for leg in space.legs if leg.inner == link)
