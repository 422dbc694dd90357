"""Which addresses a port gets: pure arithmetic over subnets, and the one place that looks for a free one.

Allocation runs inside the caller's transaction, and `port_addresses` has (network, address) as its key: an address can't be
given twice. The lowest free address of the pools is taken. Called by `ports.py`, `subnets.py` and `floatingips.py`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Any

from minicloud.core.errors import Conflict, Invalid
from minicloud.core.store import Db
from minicloud.network.tables import SUBNETS, Subnet

MOST_FIXED_IPS = 5
"""Addresses a port may ask for (Neutron's default of max_fixed_ips_per_port)."""


def canonical(address: str) -> str:
    """An address as rows have it."""
    return str(ipaddress.ip_address(address))


def range_of(text: str, *, strict: bool = False) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """A range from its text; `ValueError` for what is none, or names a zone: that may be any text, line feeds too."""
    if "%" in text:
        raise ValueError(f"{text!r} names a zone")
    return ipaddress.ip_network(text, strict=strict)


def eui64(cidr: str, mac: str) -> str:
    """The address that a machine with this MAC makes for itself in a /64 (RFC 4291, appendix A)."""
    octets = [int(part, 16) for part in mac.split(":")]
    suffix = bytes([octets[0] ^ 2, *octets[1:3], 0xFF, 0xFE, *octets[3:]])
    return str(ipaddress.ip_network(cidr)[int.from_bytes(suffix, "big")])


def mac_of(address: str) -> str | None:
    """The MAC of which a machine made this address; None if it is not so made."""
    suffix = ipaddress.IPv6Address(address).packed[8:]
    if suffix[3:5] != b"\xff\xfe":
        return None
    return bytes([suffix[0] ^ 2, *suffix[1:3], *suffix[5:]]).hex(":")


def contains(subnet: Subnet, address: str) -> bool:
    """Whether a subnet's range holds an address."""
    parsed = ipaddress.ip_address(address)
    return parsed.version == subnet.ip_version and parsed in ipaddress.ip_network(subnet.cidr)


def is_usable(subnet: Subnet, address: str) -> bool:
    """Whether a port may have it: inside, and neither the network's nor the broadcast address."""
    network = ipaddress.ip_network(subnet.cidr)
    parsed = ipaddress.ip_address(address)
    if parsed.version != network.version or parsed not in network:
        return False
    if network.version == 4 and network.prefixlen >= 31:
        return True
    if network.version == 4 and parsed == network.broadcast_address:
        return False
    return parsed != network.network_address or network.prefixlen == network.max_prefixlen


def _taken_in(db: Db, subnet: Subnet) -> set[str]:
    rows = db.execute("SELECT address FROM port_addresses WHERE network_id = ?", (subnet.network_id,))
    return {address for (address,) in rows}


def _candidates(subnet: Subnet) -> Iterator[str]:
    for pool in subnet.allocation_pools:
        first, last = ipaddress.ip_address(pool["start"]), ipaddress.ip_address(pool["end"])
        kind = type(first)
        for number in range(int(first), int(last) + 1):
            yield str(kind(number))


def free_in(db: Db, subnet: Subnet, beside: Sequence[str] = ()) -> str | None:
    """The lowest free address of a subnet's pools, none of `beside`; None if all are taken."""
    taken = _taken_in(db, subnet).union(beside)
    return next((address for address in _candidates(subnet) if address not in taken), None)


def _serves(subnet: Subnet, device_owner: str) -> bool:
    return not subnet.service_types or any(device_owner.startswith(kind) for kind in subnet.service_types)


def chosen_in(
    db: Db,
    network_id: str,
    *,
    wanted: Sequence[dict[str, Any]] | None,
    mac: str,
    device_owner: str,
    kept: Sequence[str] = (),
) -> list[dict[str, str]]:
    """The fixed addresses of a port: (`subnet_id`, `ip_address`) each.

    Args:
        wanted: what the caller asks for, each with a subnet, an address or both; None leaves the choice to us.
        kept: addresses that the port has already and may keep.

    Raises:
        Invalid: an address or subnet that isn't the network's.
        Conflict: an address that another port has; no free one left.
    """
    subnets = SUBNETS.where(db, "network_id = ?", (network_id,), order="created_at, id")
    if wanted is None:
        return _by_default(db, network_id, [one for one in subnets if _serves(one, device_owner)], mac, device_owner)
    if len(wanted) > MOST_FIXED_IPS:
        raise Invalid(f"Cannot give a port {len(wanted)} addresses: at most {MOST_FIXED_IPS}.", code="InvalidInput")
    chosen: list[dict[str, str]] = []
    explicit = [(one, canonical(one["ip_address"])) for one in wanted if one.get("ip_address")]
    spoken_for = [address for _, address in explicit]
    for one in wanted:
        address = canonical(one["ip_address"]) if one.get("ip_address") else None
        subnet = _subnet_of(subnets, one.get("subnet_id"), address, network_id)
        if address is None and subnet.takes_addresses_from_macs and not device_owner.startswith("network:router"):
            address = eui64(subnet.cidr, mac)
        elif address is None:
            given = [fixed["ip_address"] for fixed in chosen]
            still = [old for old in kept if contains(subnet, old) and old not in given and old not in spoken_for]
            address = still[0] if still else free_in(db, subnet, [*given, *spoken_for])
        if address is None:
            raise Conflict(f"Cannot find a free address in subnet {subnet.id}.", code="IpAddressGenerationFailure")
        if any(fixed["ip_address"] == address for fixed in chosen):
            raise Invalid(f"Cannot give a port the address {address} twice.", code="InvalidInput")
        chosen.append({"subnet_id": subnet.id, "ip_address": address})
    if chosen and not device_owner.startswith("network:"):
        present = {fixed["subnet_id"] for fixed in chosen}
        automatic = [one for one in subnets if one.takes_addresses_from_macs and one.id not in present]
        chosen += [{"subnet_id": one.id, "ip_address": eui64(one.cidr, mac)} for one in automatic]
    return chosen


def _by_default(
    db: Db, network_id: str, subnets: Sequence[Subnet], mac: str, device_owner: str
) -> list[dict[str, str]]:
    chosen: list[dict[str, str]] = []
    for version in (4, 6):
        pools = [one for one in subnets if one.ip_version == version and not one.takes_addresses_from_macs]
        for subnet in pools:
            address = free_in(db, subnet)
            if address is not None:
                chosen.append({"subnet_id": subnet.id, "ip_address": address})
                break
        else:
            if pools:
                raise Conflict(
                    f"Cannot find a free address on network {network_id}.", code="IpAddressGenerationFailure"
                )
    automatic = [one for one in subnets if one.takes_addresses_from_macs]
    return chosen + [{"subnet_id": one.id, "ip_address": eui64(one.cidr, mac)} for one in automatic]


def _subnet_of(subnets: Sequence[Subnet], subnet_id: str | None, address: str | None, network_id: str) -> Subnet:
    if subnet_id is not None:
        subnet = next((one for one in subnets if one.id == subnet_id), None)
        if subnet is None:
            raise Invalid(f"Cannot use subnet {subnet_id}: it is not on network {network_id}.", code="InvalidInput")
        if address is not None and not is_usable(subnet, address):
            raise Invalid(
                f"IP address {address} is not a valid IP for the specified subnet.", code="InvalidIpForSubnet"
            )
        return subnet
    if address is None:
        raise Invalid("Cannot choose an address: fixed_ips wants a subnet_id or an ip_address.", code="InvalidInput")
    for subnet in subnets:
        if is_usable(subnet, address):
            return subnet
    raise Invalid(
        f"IP address {address} is not a valid IP for any of the subnets on the specified network.",
        code="InvalidIpForNetwork",
    )
