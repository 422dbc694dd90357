"""What nftables is told, as text: pure functions from port filters, groups and uplinks to rulesets.

A frame's way: the bridge table looks at the tap, drops what the port may not send as (spoofed addresses, foreign
advertisements) and marks the packet with the port's number; br_netfilter then shows it to the inet table, whose
prerouting hook knows the source port by that mark and its forward hook the destination port, as the bridge table marks
anew in between. Chains and elements of one port, group or bridge form a `Part`; a change is the `difference` of two
Parts, so its cost does not grow with what else exists. Called by `nft.NftFirewall` only. Sources: nft(8), RFC 4861,
RFC 5227, and nft 1.0.6's limits: one mark for both directions, no lookup of a raw payload in a typed address set.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from minicloud.core.errors import Invalid
from minicloud.host.firewall import GroupFilter, GroupRule, PortFilter, Uplink
from minicloud.host.links import TAP_MARK

BRIDGE = "bridge minicloud"
INET = "inet minicloud"
ICMP, ICMPV6 = 1, 58
WITH_PORTS = frozenset({6, 17, 33, 132, 136})
"""TCP, UDP, DCCP, SCTP, UDP-Lite."""
DISCOVERY = "nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit"
LISTENER = "mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report"

SKELETON = f"""\
table {BRIDGE} {{
  set guarded {{ type ifname; }}
  set open {{ type ifname; }}
  map port_mark {{ type ifname : mark; }}
  set port_mac {{ type ifname . ether_addr; }}
  set port_ip4 {{ type ifname . ether_addr . ipv4_addr; }}
  set port_net4 {{ type ifname . ether_addr . ipv4_addr; flags interval; }}
  set port_ip6 {{ type ifname . ether_addr . ipv6_addr; }}
  set port_net6 {{ type ifname . ether_addr . ipv6_addr; flags interval; }}
  set nd_ip {{ typeof iifname . @th,64,128; }}
  set nd_net {{ typeof iifname . @th,64,128; flags interval; }}
  chain from_bridge {{
    type filter hook prerouting priority -200; policy accept;
    iifname @guarded goto guard
    iifname "{TAP_MARK}*" iifname != @open drop
  }}
  chain guard {{
    iifname . ether saddr != @port_mac drop
    meta mark set iifname map @port_mark
    ether type arp goto guard_arp
    ether type ip goto guard_ip4
    ether type ip6 goto guard_ip6
    drop
  }}
  chain guard_arp {{
    iifname . arp saddr ether . arp saddr ip @port_ip4 accept
    iifname . arp saddr ether . arp saddr ip @port_net4 accept
    arp operation request iifname . arp saddr ether @port_mac arp saddr ip 0.0.0.0 accept
    drop
  }}
  chain guard_ip4 {{
    ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept
    udp sport 67 udp dport 68 drop
    iifname . ether saddr . ip saddr @port_ip4 accept
    iifname . ether saddr . ip saddr @port_net4 accept
    drop
  }}
  chain guard_ip6 {{
    icmpv6 type {{ nd-router-advert, nd-redirect }} drop
    udp sport 547 udp dport 546 drop
    ip6 saddr :: icmpv6 type {{ nd-neighbor-solicit, {LISTENER} }} accept
    icmpv6 type nd-neighbor-advert jump guard_advertisement
    iifname . ether saddr . ip6 saddr @port_ip6 accept
    iifname . ether saddr . ip6 saddr @port_net6 accept
    drop
  }}
  chain guard_advertisement {{
    iifname . @th,64,128 @nd_ip return
    iifname . @th,64,128 @nd_net return
    drop
  }}
  chain to_member {{
    type filter hook forward priority -200; policy accept;
    iifname @guarded meta mark set 0
    meta mark set oifname map @port_mark
    oifname "{TAP_MARK}*" oifname != @guarded oifname != @open drop
  }}
  chain from_host {{
    type filter hook output priority -200; policy accept;
    oifname "{TAP_MARK}*" oifname != @guarded oifname != @open drop
  }}
}}
table {INET} {{
  map zones {{ typeof iifname : ct zone; }}
  set bridged {{ type ifname . ifname; }}
  set closed {{ type ifname; }}
  set bridges {{ type ifname; }}
  map from_port {{ type mark : verdict; }}
  map to_port {{ type mark : verdict; }}
  map to_address4 {{ type ifname . ipv4_addr : verdict; }}
  map to_address6 {{ type ifname . ipv6_addr : verdict; }}
  chain basic_in {{
    udp sport 67 udp dport 68 accept
    udp sport 547 udp dport 546 accept
    icmpv6 type {{ {DISCOVERY}, nd-router-advert, {LISTENER} }} accept
  }}
  chain basic_out {{
    udp sport 68 udp dport 67 accept
    udp sport 546 udp dport 547 accept
    icmpv6 type {{ {DISCOVERY}, {LISTENER} }} accept
  }}
  chain uplink_forward {{
  }}
  chain uplink_nat {{
  }}
  chain before_tracking {{
    type filter hook prerouting priority raw; policy accept;
    ct zone set iifname map @zones
  }}
  chain leaving_port {{
    type filter hook prerouting priority filter; policy accept;
    iifname @bridges meta mark != 0 meta mark vmap @from_port
  }}
  chain forwarded {{
    type filter hook forward priority filter; policy accept;
    iifname . oifname @bridged meta mark != 0 meta mark vmap @to_port
    iifname . oifname @bridged accept
    iifname @closed drop
    oifname . ip daddr vmap @to_address4
    oifname . ip6 daddr vmap @to_address6
    jump uplink_forward
  }}
  chain to_host {{
    type filter hook input priority filter; policy accept;
    iifname @closed drop
  }}
  chain from_host {{
    type filter hook output priority filter; policy accept;
    oifname . ip daddr vmap @to_address4
    oifname . ip6 daddr vmap @to_address6
  }}
  chain address_translation {{
    type nat hook postrouting priority srcnat; policy accept;
    jump uplink_nat
  }}
}}
"""

Key = tuple[str, str, str]
"""(table, set or map, element's key)."""


@dataclass(frozen=True)
class Part:
    """What one thing contributes to the ruleset beyond the skeleton.

    Attributes:
        sets: name -> declaration, in the inet table.
        chains: name -> rules, in the inet table.
        elements: of the skeleton's and own sets and maps; the value is a map's, or empty.
    """

    sets: dict[str, str] = field(default_factory=dict)
    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    elements: dict[Key, str] = field(default_factory=dict)


NOTHING = Part()


def everything(parts: Iterable[Part]) -> str:
    """A transaction that replaces both tables by the skeleton and these parts."""
    fresh = "".join(f"table {table} {{\n}}\ndelete table {table}\n" for table in (BRIDGE, INET))
    return fresh + SKELETON + difference(NOTHING, merged(parts))


def merged(parts: Iterable[Part]) -> Part:
    """One Part of many; where two claim the same element the later one has it."""
    whole = Part()
    for part in parts:
        whole.sets.update(part.sets)
        whole.chains.update(part.chains)
        whole.elements.update(part.elements)
    return whole


def difference(old: Part, new: Part) -> str:
    """The commands that lead from one to the other, empty if there is nothing to do. Names are made before they are
    used and removed after they were."""
    lines = [f"add set {INET} {name} {{ {new.sets[name]} }}" for name in new.sets if name not in old.sets]
    lines += [f"add chain {INET} {name}" for name in new.chains if name not in old.chains]
    stale = [key for key, value in old.elements.items() if new.elements.get(key) != value]
    lines += [f"delete element {where} {{ {keys} }}" for where, keys in _by_set((key, "") for key in stale)]
    for name, rules in new.chains.items():
        if old.chains.get(name) != rules:
            lines += [f"flush chain {INET} {name}", *(f"add rule {INET} {name} {rule}" for rule in rules)]
    fresh = [(key, value) for key, value in new.elements.items() if old.elements.get(key) != value]
    lines += [f"add element {where} {{ {items} }}" for where, items in _by_set(fresh)]
    gone = [name for name in old.chains if name not in new.chains]
    lines += [f"flush chain {INET} {name}" for name in gone]
    lines += [f"delete chain {INET} {name}" for name in gone]
    lines += [f"delete set {INET} {name}" for name in old.sets if name not in new.sets]
    return "".join(line + "\n" for line in lines)


def port_part(port: PortFilter, groups: Mapping[str, GroupFilter]) -> Part:
    """A machine port: its place in the bridge table, and its chains. Groups that aren't known (yet) allow nothing."""
    if not port.guarded:
        return Part(elements={(BRIDGE, "open", _name(port.tap)): ""})
    known = [groups[group] for group in port.groups if group in groups]
    stateful = not known or any(group.stateful for group in known)
    tracked = ("ct state established,related accept",) if stateful else ()
    invalid = ("ct state invalid drop",) if stateful else ()
    chains = {
        f"p{port.number}_{way}": (
            *tracked,
            f"jump basic_{way}",
            *invalid,
            *(f"jump sg{group.number}_{way}" for group in known),
            "drop",
        )
        for way in ("in", "out")
    }
    elements = {
        (BRIDGE, "guarded", _name(port.tap)): "",
        (BRIDGE, "port_mark", _name(port.tap)): str(port.number),
        (INET, "from_port", str(port.number)): f"jump p{port.number}_out",
        (INET, "to_port", str(port.number)): f"jump p{port.number}_in",
    }
    elements.update({(BRIDGE, where, key): "" for where, key in _identity(port)})
    return Part(chains=chains, elements=elements)


def group_part(group: GroupFilter, groups: Mapping[str, GroupFilter]) -> Part:
    """A security group: the sets of its members and one chain for each direction."""
    stem = f"sg{group.number}"
    sets = {
        f"{stem}_ip4": "type ipv4_addr;",
        f"{stem}_ip6": "type ipv6_addr;",
        f"{stem}_net4": "type ipv4_addr; flags interval;",
        f"{stem}_net6": "type ipv6_addr; flags interval;",
    }
    exact, nets = _addresses(group.members)
    elements = {(INET, f"{stem}_ip{address.version}", str(address)): "" for address in exact}
    elements |= {(INET, f"{stem}_net{network.version}", str(network)): "" for network in nets}
    ways = {"in": "ingress", "out": "egress"}
    chains = {
        f"{stem}_{way}": tuple(
            text for rule in group.rules if rule.direction == direction for text in _rule(rule, groups)
        )
        for way, direction in ways.items()
    }
    return Part(sets=sets, chains=chains, elements=elements)


def bridge_part(bridge: str, *, zone: int, uplinked: bool) -> Part:
    """A bridge with guests. One that leads out through this host takes part in the host's own connection tracking, as
    an answer from outside comes in by another interface; all others keep apart, and can't reach the host."""
    name = _name(bridge)
    elements = {(INET, "bridges", name): "", (INET, "bridged", f"{name} . {name}"): ""}
    if not uplinked:
        elements |= {(INET, "closed", name): "", (INET, "zones", name): str(zone)}
    return Part(elements=elements)


def reachable_part(bridge: str, ports: Iterable[PortFilter]) -> Part:
    """Ports on a bridge that the host itself routes to: such packets don't pass the bridge's forward hook, so the
    port is found by its address. An address that two ports may use belongs to the one with the lower number. Ranges
    (allowed address pairs) are not found this way."""
    elements: dict[Key, str] = {}
    for port in sorted((port for port in ports if port.guarded), key=lambda port: -port.number):
        for address in _addresses(text for _, text in port.addresses)[0]:
            key = (INET, f"to_address{address.version}", f"{_name(bridge)} . {address}")
            elements[key] = f"jump p{port.number}_in"
    return Part(elements=elements)


def uplinks_part(uplinks: Iterable[Uplink]) -> Part:
    """The ways out: what may be forwarded, and what leaves with the host's address."""
    forward: list[str] = []
    translate: list[str] = []
    bridges = []
    for uplink in uplinks:
        network = ipaddress.ip_network(uplink.cidr)
        source = f"{_family(network.version)} saddr {network}"
        forward.append(f"iifname {_name(uplink.bridge)} {source} accept")
        bridges.append(uplink.bridge)
        if uplink.masquerade:
            # Bridged packets pass here too; only what is routed has two different interfaces.
            way = f"iifname {_name(uplink.bridge)} oifname != {_name(uplink.bridge)}"
            translate.append(f"{way} {source} masquerade")
    forward += [f"iifname {_name(bridge)} drop" for bridge in sorted(set(bridges))]
    return Part(chains={"uplink_forward": tuple(forward), "uplink_nat": tuple(translate)})


def has_ranges(members: Iterable[str]) -> bool:
    """Whether a group's members are more than single addresses."""
    return any(_network(member).num_addresses > 1 for member in members)


def _identity(port: PortFilter) -> Iterator[tuple[str, str]]:
    """(set, key) of everything that the port may send as."""
    tap = _name(port.tap)
    macs = sorted({port.mac.lower()} | {mac.lower() for mac, _ in port.addresses})
    for mac in macs:
        yield "port_mac", f"{tap} . {mac}"
        exact, nets = _addresses(text for pair_mac, text in port.addresses if pair_mac.lower() == mac)
        for address in dict.fromkeys([*exact, _link_local(mac)]):
            yield f"port_ip{address.version}", f"{tap} . {mac} . {address}"
            if address.version == 6:
                yield "nd_ip", f"{tap} . {int(address):#034x}"
        for network in nets:
            yield f"port_net{network.version}", f"{tap} . {mac} . {network}"
    everyone = _addresses(text for _, text in port.addresses)[1]
    for network in everyone:
        if network.version == 6:
            yield "nd_net", f"{tap} . {int(network[0]):#034x}-{int(network[-1]):#034x}"


def _rule(rule: GroupRule, groups: Mapping[str, GroupFilter]) -> list[str]:
    """A rule's lines: none if nobody can match it, two if its remote group has ranges among its members."""
    side = "saddr" if rule.direction == "ingress" else "daddr"
    family = _family(rule.ethertype)
    match = _protocol(rule)
    if rule.remote_group is not None:
        remote = groups.get(rule.remote_group)
        if remote is None:
            return []
        stem = f"sg{remote.number}"
        kinds = ["ip", "net"] if _addresses(remote.members)[1] else ["ip"]
        return [f"{family} {side} @{stem}_{kind}{rule.ethertype}{match} accept" for kind in kinds]
    if rule.remote_cidr is not None:
        network = _network(rule.remote_cidr)
        if network.version != rule.ethertype:
            raise Invalid(f"Cannot filter by {rule.remote_cidr}: the rule is for IPv{rule.ethertype}.")
        if network.prefixlen > 0:
            return [f"{family} {side} {network}{match} accept"]
    return [f"meta nfproto ipv{rule.ethertype}{match} accept"]


def _protocol(rule: GroupRule) -> str:
    if rule.protocol is None:
        return ""
    if rule.protocol in (ICMP, ICMPV6):
        kind, number = ("icmp", ICMP) if rule.ethertype == 4 else ("icmpv6", ICMPV6)
        text = f" meta l4proto {number}"
        text += "" if rule.port_min is None else f" {kind} type {rule.port_min}"
        return text + ("" if rule.port_min is None or rule.port_max is None else f" {kind} code {rule.port_max}")
    text = f" meta l4proto {rule.protocol}"
    if rule.port_min is None and rule.port_max is None:
        return text
    if rule.protocol not in WITH_PORTS:
        raise Invalid(f"Cannot filter by port: protocol {rule.protocol} has no ports.")
    low = rule.port_min if rule.port_min is not None else 0
    high = rule.port_max if rule.port_max is not None else 65535
    if (low, high) == (0, 65535):
        return text
    return f"{text} th dport {low if low == high else f'{low}-{high}'}"


Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _addresses(texts: Iterable[str]) -> tuple[list[Address], list[Network]]:
    """Single addresses, and ranges of which none lies in another (an interval set refuses those)."""
    networks = [_network(text) for text in dict.fromkeys(texts)]
    exact = [network.network_address for network in networks if network.num_addresses == 1]
    four = [net for net in networks if isinstance(net, ipaddress.IPv4Network) and net.num_addresses > 1]
    six = [net for net in networks if isinstance(net, ipaddress.IPv6Network) and net.num_addresses > 1]
    return exact, [*ipaddress.collapse_addresses(four), *ipaddress.collapse_addresses(six)]


@lru_cache(maxsize=65536)
def _network(text: str) -> Network:
    """The members of a large group are looked at with each change of it. A zone, which may be any text, is refused."""
    if "%" in text:
        raise Invalid(f"Cannot filter by {text!r}: that is neither address nor range.")
    return ipaddress.ip_network(text, strict=False)


def _link_local(mac: str) -> ipaddress.IPv6Address:
    """The address that a machine makes of its MAC (RFC 4291, appendix A)."""
    data = bytes.fromhex(mac.replace(":", ""))
    tail = bytes([data[0] ^ 2]) + data[1:3] + b"\xff\xfe" + data[3:]
    return ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + tail)


def _by_set(items: Iterable[tuple[Key, str]]) -> Iterator[tuple[str, str]]:
    grouped: dict[str, list[str]] = defaultdict(list)
    for (table, where, key), value in items:
        grouped[f"{table} {where}"].append(f"{key} : {value}" if value else key)
    return ((where, ", ".join(texts)) for where, texts in grouped.items())


def _family(version: int) -> str:
    return "ip" if version == 4 else "ip6"


def _name(link: str) -> str:
    if not link or len(link) > 15 or any(letter in '"\\/* \n\t' for letter in link):
        raise Invalid(f"Cannot filter on {link!r}: that is no interface's name.")
    return f'"{link}"'
