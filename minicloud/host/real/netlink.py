"""This machine's links, over netlink: bridges, taps, and veth pairs into namespaces.

Every converge reads what is there, changes only what differs and runs as a whole in a thread of its own: the kernel
does a netlink request's work while it is sent, and deleting a bridge takes it tens of milliseconds that the event
loop must not lose. Reads members from /sys/class/net, so the daemon's mount namespace must show its own network
namespace there (it does on a normal machine). Called through `minicloud.host.Host.links`. Sources: rtnetlink(7),
veth(4), the kernel's Documentation/networking/tuntap.rst and ip-sysctl.rst.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from minicloud.core.errors import HostFailure, MinicloudError
from minicloud.host.links import BRIDGE_MARK, LEG_MARK, TAP_MARK, Bridge, Leg, LinksSeen, Space, Tap
from minicloud.host.real import netlink_space
from minicloud.host.real.addresses import converge_addresses
from minicloud.host.real.announce import announce
from minicloud.host.real.link_messages import change, find, require
from minicloud.host.real.namespaces import MountedNamespaces, write_sysctl

SYSFS = Path("/sys/class/net")
ANNOUNCEMENTS = 3
ANNOUNCEMENT_PAUSE = 1.0
TUNSETIFF, TUNSETPERSIST = 0x400454CA, 0x400454CB
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
ANSWER_NO_ARP = "8"

logger = structlog.get_logger(__name__)


class NetlinkLinks:
    """`Links` of this machine.

    Args:
        namespaces: where legs lead to.
    """

    def __init__(self, namespaces: MountedNamespaces) -> None:
        self._namespaces = namespaces
        self._announcing: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """See `Links.close`."""
        for task in self._announcing:
            task.cancel()
        await asyncio.gather(*self._announcing, return_exceptions=True)

    async def converge_bridge(self, bridge: Bridge) -> None:
        """See `Links.converge_bridge`."""
        await self._work(bridge.name, _converge_bridge, bridge)

    async def remove_bridge(self, name: str) -> None:
        """See `Links.remove_bridge`."""
        await self._work(name, _remove_bridge, name)

    async def converge_tap(self, bridge: str, tap: Tap) -> None:
        """See `Links.converge_tap`."""
        await self._work(tap.name, _converge_one_tap, bridge, tap)

    async def remove_link(self, name: str) -> None:
        """See `Links.remove_link`."""
        await self._work(name, _remove_link, name)

    async def converge_space(self, space: Space) -> None:
        """See `Links.converge_space`."""
        present = await self._namespaces.run_in(space.name, netlink_space.prepare, space)
        path = self._namespaces.path(space.name)
        await self._work(space.name, _converge_legs, space, present, path)
        try:
            await self._namespaces.run_in(space.name, netlink_space.converge, space)
        except (NetlinkError, KeyError) as error:
            raise _failure(space.name, error) from error

    async def announce(self, space: str, link: str, address: str) -> None:
        """See `Links.announce`. The first round is out when this returns."""
        await self._namespaces.run_in(space, announce, link, address)
        task = asyncio.create_task(self._repeat(space, link, address), name=f"announce {address}")
        self._announcing.add(task)
        task.add_done_callback(self._announcing.discard)

    async def actual(self) -> LinksSeen:
        """See `Links.actual`."""
        return await asyncio.to_thread(_actual)

    async def interfaces(self) -> frozenset[str]:
        """See `Links.interfaces`."""
        return frozenset(name for _, name in socket.if_nameindex())

    async def _repeat(self, space: str, link: str, address: str) -> None:
        try:
            for _ in range(ANNOUNCEMENTS - 1):
                await asyncio.sleep(ANNOUNCEMENT_PAUSE)
                await self._namespaces.run_in(space, announce, link, address)
        except MinicloudError as error:
            # The router or its link went away in the meantime, and nobody has to be told about it any more.
            logger.info("announcement ended early", address=address, link=link, reason=error.message)

    async def _work(self, subject: str, work: Callable[..., None], *arguments: Any) -> None:
        try:
            await asyncio.shield(asyncio.to_thread(work, *arguments))
        except (NetlinkError, OSError) as error:
            raise _failure(subject, error) from error


def _failure(subject: str, error: Exception) -> HostFailure:
    if isinstance(error, KeyError):
        return HostFailure(f"Cannot connect {subject}: a route names the link {error.args[0]}, which is not there.")
    code = error.code if isinstance(error, NetlinkError) else getattr(error, "errno", None)
    reason = os.strerror(code) if isinstance(code, int) else str(error)
    return HostFailure(f"Cannot connect {subject}: {reason}.", detail=repr(error))


def _converge_bridge(bridge: Bridge) -> None:
    with IPRoute() as netlink:
        seen = find(netlink, bridge.name) or _make_bridge(netlink, bridge.name)
        index = seen["index"]
        _settle_ip(bridge)
        change(netlink, seen, mtu=bridge.mtu, state="up")
        converge_addresses(netlink, index, bridge.addresses)
        if bridge.physical is not None:
            _take_physical(netlink, bridge.name, index=index, physical=bridge.physical)
        for name in _members(bridge.name) - {tap.name for tap in bridge.taps}:
            if name.startswith(TAP_MARK):
                _delete(netlink, name)
        for tap in bridge.taps:
            _converge_tap(netlink, index, tap)


def _make_bridge(netlink: IPRoute, name: str) -> Any:
    """A bridge that learns and floods, and does nothing of its own: no spanning tree, no forward delay, no snooping
    that would make neighbour discovery depend on a querier. Its MAC is fixed, or it would follow its members'."""
    mac = "02:" + hashlib.sha256(name.encode()).digest()[:5].hex(":")
    with contextlib.suppress(NetlinkError):  # another converge may have been faster; the look-up below decides
        netlink.link(
            "add", ifname=name, kind="bridge", address=mac, br_stp_state=0, br_forward_delay=0, br_mcast_snooping=0
        )
    return require(netlink, name)


def _settle_ip(bridge: Bridge) -> None:
    """The host takes part in IP on this bridge only by the addresses that it was given there."""
    with_ipv6 = any(":" in address for address in bridge.addresses)
    _sysctl(f"net/ipv6/conf/{bridge.name}/disable_ipv6", "0" if with_ipv6 else "1")
    if with_ipv6:
        _sysctl(f"net/ipv6/conf/{bridge.name}/accept_ra", "0")
    # By default the kernel answers ARP for any of its addresses on any link, which would let guests of a private
    # network find the host.
    _sysctl(f"net/ipv4/conf/{bridge.name}/arp_ignore", "1" if bridge.addresses else ANSWER_NO_ARP)


def _take_physical(netlink: IPRoute, bridge: str, *, index: int, physical: str) -> None:
    seen = find(netlink, physical)
    if seen is None:
        raise HostFailure(f"Cannot connect network bridge {bridge}: this machine has no interface {physical}.")
    master = seen.get_attr("IFLA_MASTER")
    if master not in (None, 0, index):
        raise HostFailure(f"Cannot connect network bridge {bridge}: {physical} belongs to another bridge or bond.")
    change(netlink, seen, master=index, state="up")


def _remove_bridge(name: str) -> None:
    with IPRoute() as netlink:
        for member in _members(name):
            if member.startswith(TAP_MARK):
                _delete(netlink, member)
        _delete(netlink, name)


def _converge_one_tap(bridge: str, tap: Tap) -> None:
    with IPRoute() as netlink:
        _converge_tap(netlink, require(netlink, bridge, member=tap.name)["index"], tap)


def _converge_tap(netlink: IPRoute, bridge: int, tap: Tap) -> None:
    seen = find(netlink, tap.name)
    if seen is None:
        _make_tap(tap.name)
        _silence(tap.name)
        seen = require(netlink, tap.name)
    # A bridge forwards no frame to a member that has the frame's own address as its, hence `fe`; as libvirt does.
    address = "fe" + tap.mac[2:].lower()
    change(netlink, seen, master=bridge, address=address, mtu=tap.mtu, state="up" if tap.up else "down")


def _make_tap(name: str) -> None:
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        request = struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)
        fcntl.ioctl(descriptor, TUNSETIFF, request)
        fcntl.ioctl(descriptor, TUNSETPERSIST, 1)
    finally:
        os.close(descriptor)


def _remove_link(name: str) -> None:
    with IPRoute() as netlink:
        _delete(netlink, name)


def _converge_legs(space: Space, present: frozenset[str], path: Path) -> None:
    with IPRoute() as netlink:
        for leg in space.legs:
            bridge = require(netlink, leg.bridge, member=leg.outer)["index"]
            seen = find(netlink, leg.outer)
            if seen is not None and leg.inner not in present:
                _delete(netlink, leg.outer)  # it leads elsewhere
                seen = None
            if seen is None:
                _make_leg(netlink, leg, path)
                seen = require(netlink, leg.outer)
            change(netlink, seen, master=bridge, mtu=leg.mtu, state="up" if leg.up else "down")


def _make_leg(netlink: IPRoute, leg: Leg, path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        peer = {"ifname": leg.inner, "address": leg.mac, "net_ns_fd": descriptor}
        netlink.link("add", ifname=leg.outer, kind="veth", peer=peer)
    finally:
        os.close(descriptor)
    _silence(leg.outer)


def _actual() -> LinksSeen:
    names = os.listdir(SYSFS)
    bridges = {name: frozenset(_members(name)) for name in names if name.startswith(BRIDGE_MARK)}
    housed = frozenset().union(*bridges.values())
    loose = {name for name in names if name.startswith((TAP_MARK, LEG_MARK)) and name not in housed}
    return LinksSeen(bridges=bridges, loose=frozenset(loose))


def _members(bridge: str) -> set[str]:
    try:
        return set(os.listdir(SYSFS / bridge / "brif"))
    except FileNotFoundError:
        return set()


def _silence(link: str) -> None:
    """A bridge member speaks no IP of its own: no link-local address, no multicast reports towards guests."""
    _sysctl(f"net/ipv6/conf/{link}/disable_ipv6", "1")


def _sysctl(key: str, value: str) -> None:
    with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6 has nothing to switch off
        write_sysctl(key, value)


def _delete(netlink: IPRoute, name: str) -> None:
    seen = find(netlink, name)
    if seen is None:
        return
    try:
        netlink.link("del", index=seen["index"])
    except NetlinkError as error:
        if error.code != errno.ENODEV:
            raise
