"""Making one link's addresses and a namespace's routes be just what is asked, by the difference.

Called by `netlink` and `netlink_space` in threads, with the netlink socket of the namespace they are in. Sources:
rtnetlink(7), pyroute2's `IPRoute`.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
from collections.abc import Iterator
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from minicloud.host.links import Route

MAIN_TABLE = 254
UNICAST = 1
PROTOCOL_KERNEL = 2
PROTOCOL_STATIC = 4
SCOPE_UNIVERSE = 0
NO_DUPLICATE_DETECTION = 0x02
ON_LINK = 4

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
Key = tuple[str, str | None, int | None]
"""(destination CIDR, next hop, link's index), the index being None where the kernel finds it by the next hop."""


def converge_addresses(netlink: IPRoute, index: int, wanted: tuple[str, ...]) -> None:
    """The link has just these addresses (with prefix length) beside the link-local one that it makes for itself.

    Without duplicate address detection: we own the numbers, and a tentative address cannot be bound for seconds.
    """
    desired = {_interface(text) for text in wanted}
    present = {one for one in _addresses(netlink, index) if one in desired or not _is_own(one)}
    for extra in sorted(present - desired, key=str):
        with _fine(errno.EADDRNOTAVAIL):
            netlink.addr("del", index=index, address=str(extra.ip), prefixlen=extra.network.prefixlen)
    for missing in (interface for interface in map(_interface, wanted) if interface not in present):
        address = {"index": index, "address": str(missing.ip), "prefixlen": missing.network.prefixlen}
        with _fine(errno.EEXIST):
            netlink.addr("add", **address, **_flags(missing))


def converge_connected(netlink: IPRoute, index: int) -> None:
    """The kernel's own route to each subnet that the link (which is up) has an address in is there.

    The kernel makes them with the address; where somebody flushed them, the address is taken and given anew.
    """
    known = {
        f"{message.get_attr('RTA_DST')}/{message['dst_len']}"
        for message in netlink.get_routes(oif=index)
        if message["proto"] == PROTOCOL_KERNEL
    }
    for interface in _addresses(netlink, index):
        if interface.network.num_addresses > 1 and str(interface.network) not in known:
            address = {"index": index, "address": str(interface.ip), "prefixlen": interface.network.prefixlen}
            netlink.addr("del", **address)
            netlink.addr("add", **address, **_flags(interface))


def converge_routes(netlink: IPRoute, indexes: dict[str, int], wanted: tuple[Route, ...]) -> None:
    """The main tables hold just these routes beside the kernel's connected ones. `indexes`: link name -> index.

    Raises `KeyError` for a link that isn't there, and `NetlinkError` for a next hop that no address reaches.
    """
    desired = [_key(route, indexes) for route in wanted]
    present = list(_routes(netlink))
    kept: set[Key] = set()
    for route in present:
        same = next((key for key in desired if key not in kept and _matches(key, route)), None)
        if same is not None:
            kept.add(same)
            continue
        with _fine(errno.ESRCH):
            netlink.route("del", family=_family(route[0]), dst=route[0], table=MAIN_TABLE, **_way(route))
    for key in desired:
        if key in kept:
            continue
        with _fine(errno.EEXIST):
            netlink.route("add", family=_family(key[0]), dst=key[0], proto=PROTOCOL_STATIC, **_way(key))


def _is_own(one: Interface) -> bool:
    return one.version == 6 and one.ip.is_link_local


def _addresses(netlink: IPRoute, index: int) -> list[Interface]:
    return [
        ipaddress.ip_interface(
            f"{message.get_attr('IFA_LOCAL') or message.get_attr('IFA_ADDRESS')}/{message['prefixlen']}"
        )
        for message in netlink.get_addr(index=index)
    ]


def _routes(netlink: IPRoute) -> Iterator[Key]:
    for message in netlink.get_routes():
        if message["type"] != UNICAST or message["proto"] == PROTOCOL_KERNEL:
            continue
        if message.get_attr("RTA_TABLE") != MAIN_TABLE:
            continue
        anywhere = "0.0.0.0" if message["family"] == socket.AF_INET else "::"
        destination = f"{message.get_attr('RTA_DST') or anywhere}/{message['dst_len']}"
        yield destination, message.get_attr("RTA_GATEWAY"), message.get_attr("RTA_OIF")


def _key(route: Route, indexes: dict[str, int]) -> Key:
    via = None if route.via is None else str(ipaddress.ip_address(route.via))
    index = None if route.link is None else indexes[route.link]
    return str(ipaddress.ip_network(route.destination)), via, index


def _matches(desired: Key, present: Key) -> bool:
    return desired[:2] == present[:2] and desired[2] in (None, present[2])


def _way(key: Key) -> dict[str, Any]:
    _, via, index = key
    way: dict[str, Any] = {}
    if via is not None:
        way["gateway"] = via
    if index is not None:
        way["oif"] = index
    if via is not None and index is not None:
        way["flags"] = ON_LINK
    return way


def _family(destination: str) -> int:
    return socket.AF_INET6 if ":" in destination else socket.AF_INET


def _flags(interface: Interface) -> dict[str, int]:
    return {"flags": NO_DUPLICATE_DETECTION} if interface.version == 6 else {}


def _interface(text: str) -> Interface:
    return ipaddress.ip_interface(text)


@contextlib.contextmanager
def _fine(*codes: int) -> Iterator[None]:
    """What one of these errors says is already as we want it."""
    try:
        yield
    except NetlinkError as error:
        if error.code not in codes:
            raise
