"""What nftables is told inside a router's namespace, as text: floating IPs, source NAT, the way to the metadata
service.

Called by `nft.NftFirewall` only. Sources: nft(8), nf_nat's order of hooks.
"""

from __future__ import annotations

import ipaddress
import re

from minicloud.core.errors import Invalid
from minicloud.host.firewall import NatPlan

TABLE = "ip minicloud"
METADATA = "169.254.169.254"


def nat_text(nat: NatPlan) -> str:
    """A transaction that replaces the router's table; without anything to translate only the empty table is left."""
    inside = [(_name(link), ipaddress.IPv4Network(cidr)) for link, cidr in nat.inside]
    pairs = [(ipaddress.IPv4Address(floating), ipaddress.IPv4Address(fixed)) for floating, fixed in nat.floating]
    links = ", ".join(dict.fromkeys(link for link, _ in inside))
    lines = [f"table {TABLE} {{", "}", f"delete table {TABLE}", f"table {TABLE} {{"]
    lines += _map("inward", [f"{floating} : {fixed}" for floating, fixed in pairs])
    lines += _map("outward", [f"{fixed} : {floating}" for floating, fixed in pairs])
    lines += ["chain before {", "type nat hook prerouting priority dstnat; policy accept;"]
    if links:
        lines.append(f"iifname {{ {links} }} ip daddr {METADATA} tcp dport 80 redirect to :{nat.metadata_port}")
    lines += ["dnat to ip daddr map @inward", "}"]
    lines += ["chain own {", "type nat hook output priority -100; policy accept;", "dnat to ip daddr map @inward", "}"]
    lines += ["chain after {", "type nat hook postrouting priority srcnat; policy accept;"]
    # A neighbour that came by the floating IP must get its answer by way of the router, too.
    lines += [f"ct status dnat oifname {link} ip saddr {network} masquerade" for link, network in inside]
    if nat.gateway_link is not None:
        gateway = _name(nat.gateway_link)
        lines.append(f"oifname {gateway} snat to ip saddr map @outward")
        if nat.gateway_address is not None:
            address = ipaddress.IPv4Address(nat.gateway_address)
            lines += [f"oifname {gateway} ip saddr {network} snat to {address}" for _, network in inside]
    lines += ["}", "chain to_router {", "type filter hook input priority filter; policy accept;"]
    # Only what the redirection brought: from outside, and to our addresses, the listener does not exist.
    lines += [f"tcp dport {nat.metadata_port} ct status & dnat == 0 drop", "}", "}"]
    return "".join(line + "\n" for line in lines)


def floating_in(maps: str) -> tuple[tuple[str, str], ...]:
    """(floating, fixed) address of each floating IP in what nft tells of a router's maps; none without our table."""
    inward = maps.partition("map inward {")[2].partition("map ")[0]
    return tuple(re.findall(r"([\d.]+) : ([\d.]+)", inward))


def _map(name: str, elements: list[str]) -> list[str]:
    content = [f"elements = {{ {', '.join(elements)} }}"] if elements else []
    return [f"map {name} {{", "type ipv4_addr : ipv4_addr", *content, "}"]


def _name(link: str) -> str:
    if not link or len(link) > 15 or any(letter in '"\\/* \n\t' for letter in link):
        raise Invalid(f"Cannot translate on {link!r}: that is no interface's name.")
    return f'"{link}"'
