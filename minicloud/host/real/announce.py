"""Telling neighbours where an address lives now: gratuitous ARP and unsolicited neighbour advertisements.

A floating IP or a router that moves to another MAC would be unreachable until its neighbours' caches run out. Frames
are built here and sent by a packet socket, as no kernel interface sends them on demand. Called by
`netlink.NetlinkLinks` only, in a thread inside the namespace. Sources: RFC 5227 section 3, RFC 4861 sections 4.4 and
7.2.6, packet(7).
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from pathlib import Path

ETH_ARP = 0x0806
ETH_IPV6 = 0x86DD
ICMPV6 = 58
NEIGHBOUR_ADVERT = 136
BROADCAST = b"\xff" * 6
ALL_NODES_MAC = bytes.fromhex("333300000001")
ALL_NODES = ipaddress.IPv6Address("ff02::1").packed
ROUTER_FLAG = 0x80000000
OVERRIDE_FLAG = 0x20000000


def announce(link: str, address: str) -> None:
    """Send one round of announcements on `link`, in the namespace that the calling thread is in. Raises OSError."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as handle:
        handle.bind((link, 0))
        mac: bytes = handle.getsockname()[4]
        for frame in frames(mac=mac, address=address, router=_forwards_ipv6()):
            handle.send(frame)


def frames(*, mac: bytes, address: str, router: bool) -> tuple[bytes, ...]:
    """The Ethernet frames of one round. `router` keeps hosts from taking us off their list of default routers."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        return (_advertisement(mac, parsed.packed, router),)
    return tuple(_arp(mac, parsed.packed, operation) for operation in (1, 2))


def _arp(mac: bytes, address: bytes, operation: int) -> bytes:
    head = BROADCAST + mac + struct.pack("!H", ETH_ARP)
    return head + struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + mac + address + BROADCAST + address


def _advertisement(mac: bytes, address: bytes, router: bool) -> bytes:
    flags = OVERRIDE_FLAG | (ROUTER_FLAG if router else 0)
    option = struct.pack("!BB", 2, 1) + mac  # target link-layer address
    body = struct.pack("!I", flags) + address + option
    length = 4 + len(body)
    pseudo = address + ALL_NODES + struct.pack("!I3xB", length, ICMPV6)
    checksum = _checksum(pseudo + struct.pack("!BBH", NEIGHBOUR_ADVERT, 0, 0) + body)
    packet = struct.pack("!IHBB", 6 << 28, length, ICMPV6, 255) + address + ALL_NODES
    packet += struct.pack("!BBH", NEIGHBOUR_ADVERT, 0, checksum) + body
    return ALL_NODES_MAC + mac + struct.pack("!H", ETH_IPV6) + packet


def _checksum(data: bytes) -> int:
    """RFC 1071 over data of even length."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _forwards_ipv6() -> bool:
    setting = Path("/proc/sys/net/ipv6/conf/all/forwarding")
    return setting.exists() and setting.read_text().strip() == "1"
