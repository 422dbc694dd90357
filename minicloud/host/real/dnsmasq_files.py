"""What dnsmasq reads, as text: pure functions from `DhcpServer` and `Advertiser` to files.

Kept apart from the process so that golden files can pin every line. A value with a line break or a control character
can't get into a file: it is refused here, whatever was checked before. Called by `dnsmasq.DnsmasqDhcp` only.
Source: dnsmasq(8).

Two things look odd and are not: a host line never carries `set:`, as dnsmasq 2.90 dies when it reloads such a line of a
client with a lease; so ports with options of their own are tagged by `dhcp-mac` in the configuration, and a change of
these is a restart.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from minicloud.core.errors import Invalid
from minicloud.host.dhcp import Advertised, Advertiser, DhcpHost, DhcpServer, DhcpSubnet, Ipv6Mode

LEASES_AT_MOST = 65536
ADVERTISE_EVERY = 60
ROUTER_LIFETIME = 1800
PREFIX_LIFETIME = 86400

LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)
OPTION = re.compile(r"[a-z0-9][a-z0-9-]{0,63}", re.IGNORECASE)
VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


@dataclass(frozen=True)
class Account:
    """Whom dnsmasq becomes once its sockets are open."""

    user: str
    group: str


@dataclass(frozen=True)
class Files:
    """Contents by file. A change of `conf` needs a new process, a change of the others only a reload."""

    conf: str
    hosts: str = ""
    options: str = ""
    names: str = ""


def server_files(server: DhcpServer, *, folder: Path, account: Account) -> Files:
    """Everything one network's dnsmasq reads. Raises `Invalid` for a value that no file can carry."""
    domain = _domain(server.domain)
    return Files(
        conf=_lines(_server_conf(server, domain=domain, folder=folder, account=account)),
        hosts=_lines([line for host in server.hosts for line in _host_line(host, server.subnets)]),
        options=_lines(_options(server, domain)),
        names=_lines([line for host in server.hosts for line in _name_lines(host, domain)]),
    )


def advertiser_files(advertiser: Advertiser, *, folder: Path, account: Account) -> Files:
    """What one router's advertising dnsmasq reads: it speaks for the router and answers nobody's DHCP."""
    links = sorted({prefix.link for prefix in advertiser.prefixes})
    mtus = {prefix.link: prefix.mtu for prefix in advertiser.prefixes}
    return Files(
        conf=_lines(
            [
                *_common(links, folder=folder, account=account),
                "port=0",
                "enable-ra",
                # The answers to DHCPv6 come from the network's own server; nobody ever has this tag.
                "dhcp-ignore=tag:!nobody",
                *(f"ra-param={link},mtu:{mtus[link]},{ADVERTISE_EVERY},{ROUTER_LIFETIME}" for link in links),
                *(_advertised(prefix) for prefix in advertiser.prefixes),
            ]
        )
    )


def without_leases(text: str, gone: set[str]) -> str:
    """A lease file's text without the leases of some addresses."""
    kept = [line for line in text.splitlines() if len(line.split()) < 3 or line.split()[2] not in gone]
    return "".join(line + "\n" for line in kept)


def _common(links: list[str], *, folder: Path, account: Account) -> list[str]:
    return [
        "no-hosts",
        "no-resolv",
        "bind-interfaces",
        *(f"interface={link}" for link in links),
        "except-interface=lo",
        f"user={account.user}",
        f"group={account.group}",
        f"pid-file={folder / 'pid'}",
        f"log-facility={folder / 'log'}",
        "quiet-dhcp",
        "quiet-dhcp6",
        "quiet-ra",
        f"dhcp-leasefile={folder / 'leases'}",
    ]


def _server_conf(server: DhcpServer, *, domain: str, folder: Path, account: Account) -> list[str]:
    lines = [
        *_common([server.link], folder=folder, account=account),
        "dhcp-authoritative",
        f"dhcp-lease-max={LEASES_AT_MOST}",
        f"dhcp-hostsfile={folder / 'hosts'}",
        f"dhcp-optsfile={folder / 'options'}",
        f"addn-hosts={folder / 'names'}",
    ]
    if domain:
        lines += [f"domain={domain}", f"local=/{domain}/"]
    lines += [_range(subnet, tag=f"s{number}") for number, subnet in enumerate(server.subnets) if _served(subnet)]
    lines += [f"dhcp-mac=set:{_tag(host)},{_mac(host.mac)}" for host in server.hosts if host.options]
    return lines


def _served(subnet: DhcpSubnet) -> bool:
    """IPv4, and IPv6 where machines ask by DHCP; with SLAAC all that is needed is the router's advertisement."""
    return _version(subnet.cidr) == 4 or subnet.mode in (Ipv6Mode.STATEFUL, Ipv6Mode.STATELESS)


def _range(subnet: DhcpSubnet, *, tag: str) -> str:
    network = ipaddress.ip_network(subnet.cidr)
    lease = f"{subnet.lease_seconds}s" if subnet.lease_seconds > 0 else "infinite"
    size = str(network.netmask) if network.version == 4 else str(network.prefixlen)
    return f"dhcp-range=set:{tag},{network.network_address},static,{size},{lease}"


def _host_line(host: DhcpHost, subnets: tuple[DhcpSubnet, ...]) -> list[str]:
    """One line, or none for a port whose addresses come otherwise. A MAC gets one IPv4 address: DHCP knows no more."""
    addresses = [address for address in map(ipaddress.ip_address, host.addresses) if _leased(str(address), subnets)]
    four = [str(address) for address in addresses if address.version == 4][:1]
    six = [f"[{address}]" for address in addresses if address.version == 6]
    # A machine with stateless DHCPv6 is known by its line too, though it has no address in it.
    informed = any(subnet.mode == Ipv6Mode.STATELESS for subnet in subnets)
    if not four and not six and not informed:
        return []
    return [",".join([_mac(host.mac), *four, *six, *([_label(host.hostname)] if host.hostname else [])])]


def _leased(address: str, subnets: tuple[DhcpSubnet, ...]) -> bool:
    parsed = ipaddress.ip_address(address)
    return any(
        parsed in ipaddress.ip_network(subnet.cidr)
        for subnet in subnets
        if parsed.version == 4 or subnet.mode == Ipv6Mode.STATEFUL
    )


def _options(server: DhcpServer, domain: str) -> list[str]:
    lines: list[str] = []
    for number, subnet in enumerate(server.subnets):
        if not _served(subnet):
            continue
        family = _options_4 if _version(subnet.cidr) == 4 else _options_6
        lines += [f"tag:s{number},{option}" for option in family(subnet, mtu=server.mtu, domain=domain)]
    for host in server.hosts:
        lines += [f"tag:{_tag(host)},{_extra(*option)}" for option in host.options]
    return lines


def _options_4(subnet: DhcpSubnet, *, mtu: int, domain: str) -> list[str]:
    # Without a value the option is not sent; without the line dnsmasq would name itself.
    router = "option:router" if subnet.gateway is None else f"option:router,{_address(subnet.gateway)}"
    lines = [router, f"option:mtu,{mtu}"]
    if subnet.nameservers:
        lines.append("option:dns-server," + ",".join(map(_address, subnet.nameservers)))
    if subnet.routes:
        routes = ",".join(f"{ipaddress.ip_network(to)},{_address(via)}" for to, via in subnet.routes)
        # 249 is what Windows asked for before 121 existed.
        lines += [f"option:classless-static-route,{routes}", f"249,{routes}"]
    return lines


def _options_6(subnet: DhcpSubnet, *, mtu: int, domain: str) -> list[str]:
    lines = []
    if subnet.nameservers:
        lines.append("option6:dns-server," + ",".join(f"[{_address(server)}]" for server in subnet.nameservers))
    if domain:
        lines.append(f"option6:domain-search,{domain}")
    return lines


def _extra(option: str, value: str, version: int) -> str:
    if not OPTION.fullmatch(option):
        raise Invalid(f"Cannot serve DHCP option {option!r}: a name or number is made of letters, digits and dashes.")
    kind = "option6" if version == 6 else "option"
    name = option if option.isdigit() and version == 4 else f"{kind}:{option}"
    return f"{name},{_value(value)}" if value else name


def _name_lines(host: DhcpHost, domain: str) -> list[str]:
    if not host.hostname:
        return []
    label = _label(host.hostname)
    names = f"{label}.{domain} {label}" if domain else label
    return [f"{_address(address)} {names}" for address in host.addresses]


def _advertised(prefix: Advertised) -> str:
    network = ipaddress.ip_network(prefix.cidr)
    how = {Ipv6Mode.SLAAC: "ra-only", Ipv6Mode.STATELESS: "ra-stateless", Ipv6Mode.STATEFUL: "static"}[prefix.mode]
    return f"dhcp-range={network.network_address},{how},{network.prefixlen},{PREFIX_LIFETIME}s"


def _tag(host: DhcpHost) -> str:
    return "p" + _matching(host.port_id, OPTION, "port id")


def _mac(text: str) -> str:
    return _matching(text.lower(), MAC, "MAC address")


def _label(text: str) -> str:
    return _matching(text, LABEL, "host name")


def _domain(text: str) -> str:
    domain = text.strip(".")
    for label in domain.split(".") if domain else []:
        _label(label)
    return domain


def _value(text: str) -> str:
    value = _matching(text, VALUE, "value of a DHCP option")
    if any(mark in value for mark in ('"', "\\", " #")) or value.startswith("#"):
        raise Invalid(
            f"Cannot serve the DHCP option value {value!r}: quotes, backslashes and comments have no place in it."
        )
    return value


def _matching(text: str, pattern: re.Pattern[str], what: str) -> str:
    if not pattern.fullmatch(text):
        raise Invalid(f"Cannot serve DHCP with {text!r}: it is not a {what}.")
    return text


def _address(text: str) -> str:
    return str(ipaddress.ip_address(text))


def _version(cidr: str) -> int:
    return ipaddress.ip_network(cidr).version


def _lines(lines: list[str]) -> str:
    odd = next((line for line in lines if not line.isprintable()), None)
    if odd is not None:
        raise Invalid(f"Cannot serve DHCP with {odd!r}: it is not one line of text.")
    return "".join(line + "\n" for line in lines)
