"""One link by netlink: look it up, and set what differs in one request.

Called by `netlink` and `netlink_space` in threads. Source: rtnetlink(7), pyroute2's `IPRoute.link`.
"""

from __future__ import annotations

import errno
from typing import Any

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from minicloud.core.errors import HostFailure

IFF_UP = 1


def find(netlink: IPRoute, name: str) -> Any:
    """The link's netlink message, or None."""
    try:
        return netlink.link("get", ifname=name)[0]
    except NetlinkError as error:
        if error.code != errno.ENODEV:
            raise
    return None


def require(netlink: IPRoute, name: str, *, member: str | None = None) -> Any:
    """The link's netlink message; raises `HostFailure` that says what (`member`) could not be connected to it."""
    seen = find(netlink, name)
    if seen is None:
        raise HostFailure(f"Cannot connect {member or name}: {name} does not exist.")
    return seen


def change(netlink: IPRoute, seen: Any, **wanted: Any) -> None:
    """Set those of `master`, `address`, `mtu`, `state` that differ from what was seen, in one request."""
    state = "up" if seen["flags"] & IFF_UP else "down"
    present = {
        "master": seen.get_attr("IFLA_MASTER"),
        "address": seen.get_attr("IFLA_ADDRESS"),
        "mtu": seen.get_attr("IFLA_MTU"),
        "state": state,
    }
    differing = {name: value for name, value in wanted.items() if present[name] != value}
    if differing:
        netlink.link("set", index=seen["index"], **differing)
