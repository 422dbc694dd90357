"""From rows to what the host should look like: pure functions, one for each kind of thing on the host.

Nothing here reads or writes anything, so each rule of how a network becomes bridges, leases and filters can be tested by
itself. Called by `converge.py` and `reconcile.py`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from minicloud.config import Network as Options
from minicloud.host.dhcp import Advertised, Advertiser, DhcpHost, DhcpServer, DhcpSubnet, Ipv6Mode
from minicloud.host.firewall import GroupFilter, GroupRule, NatPlan, PortFilter, Uplink
from minicloud.host.links import Bridge, Leg, Route, Space, Tap, bridge_name, inner_name, tap_name, veth_name
from minicloud.host.namespaces import dhcp_space, router_space
from minicloud.network.addresses import contains
from minicloud.network.security_groups import protocol_number
from minicloud.network.tables import (
    FloatingIp,
    NetworkRow,
    Port,
    Router,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
)

METADATA, METADATA6 = "169.254.169.254", "fe80::a9fe:a9fe"
METADATA_ON_LINK = {4: f"{METADATA}/32", 6: f"{METADATA6}/64"}
"""The metadata service's address on a network itself, as OpenStack's guests know it, by IP version."""
ANYWHERE = {4: "0.0.0.0/0", 6: "::/0"}


@dataclass(frozen=True, slots=True)
class MetadataDoor:
    """Where machines' metadata requests arrive: inside `space` (in that incarnation, see `Namespaces.ensure`), for the
    network or router `owner_id`."""

    owner_id: str
    space: str
    incarnation: int
    address: str
    port: int


# --- layer 2 ---------------------------------------------------------------------------------------------------------


def tap_of(port: Port, network: NetworkRow) -> Tap:
    """A machine's end; down while the port or its network is administratively down."""
    up = port.admin_state_up and network.admin_state_up
    return Tap(name=tap_name(port.id), mac=port.mac_address, mtu=network.mtu, up=up)


def interface_of(network: NetworkRow, options: Options) -> str | None:
    """The host's interface that a flat network is the other side of, if one is configured."""
    return options.physical_networks.get(network.physical_network or "")


def bridge_of(network: NetworkRow, subnets: Sequence[Subnet], plugged: Sequence[Port], options: Options) -> Bridge:
    """A network's bridge. An external network that no interface of the host leads to is routed by the host itself, which
    therefore has its gateways' addresses."""
    interface = interface_of(network, options)
    addresses: tuple[str, ...] = ()
    if network.external and interface is None:
        addresses = tuple(_with_length(one.gateway_ip, one) for one in subnets if _routed(one))
    return Bridge(
        name=bridge_name(network.id),
        mtu=network.mtu,
        taps=tuple(tap_of(port, network) for port in plugged),
        addresses=addresses,
        physical=interface,
    )


def uplinks_of(networks: Iterable[tuple[NetworkRow, Sequence[Subnet]]], options: Options) -> tuple[Uplink, ...]:
    """The ways out of this host: one for each IPv4 range of an external network that the host routes."""
    return tuple(
        Uplink(bridge=bridge_name(network.id), cidr=subnet.cidr, masquerade=options.masquerade)
        for network, subnets in networks
        if network.external and interface_of(network, options) is None
        for subnet in subnets
        if subnet.ip_version == 4 and _routed(subnet)
    )


# --- DHCP ------------------------------------------------------------------------------------------------------------


def dhcp_space_of(network: NetworkRow, subnets: Sequence[Subnet], port: Port) -> Space:
    """The namespace of a network's DHCP server; the metadata address is on the same link."""
    versions = {one.ip_version for one in subnets}
    leg = Leg(
        outer=veth_name(port.id),
        inner=inner_name(port.id),
        bridge=bridge_name(network.id),
        mac=port.mac_address,
        mtu=network.mtu,
        addresses=(*_addresses_of(port, subnets), *(METADATA_ON_LINK[version] for version in sorted(versions))),
        up=network.admin_state_up and port.admin_state_up,
    )
    default = next((one for one in subnets if one.ip_version == 4 and one.enable_dhcp and _routed(one)), None)
    routes = () if default is None else (Route(ANYWHERE[4], via=default.gateway_ip),)
    return Space(name=dhcp_space(network.id), legs=(leg,), routes=routes)


def dhcp_server_of(
    network: NetworkRow, subnets: Sequence[Subnet], port: Port, machines: Sequence[Port], options: Options, domain: str
) -> DhcpServer:
    """What a network's DHCP server tells to whom."""
    served = [one for one in subnets if one.enable_dhcp]
    return DhcpServer(
        network_id=network.id,
        space=dhcp_space(network.id),
        link=inner_name(port.id),
        mtu=network.mtu,
        domain=network.dns_domain.rstrip(".") or domain,
        subnets=tuple(_dhcp_subnet(one, port, options) for one in served),
        hosts=tuple(_dhcp_host(one, served) for one in machines if one.fixed_ips),
    )


def _dhcp_subnet(subnet: Subnet, port: Port, options: Options) -> DhcpSubnet:
    routes = [(one["destination"], one["nexthop"]) for one in subnet.host_routes]
    own = next((one["ip_address"] for one in port.fixed_ips if one["subnet_id"] == subnet.id), None)
    if subnet.ip_version == 4:
        # Always by this link, also where a router could do it: what a machine has learnt stays true when routers come and go.
        if own is not None and not any(to.startswith(METADATA) for to, _ in routes):
            routes.append((f"{METADATA}/32", own))
        if subnet.gateway_ip is not None and ANYWHERE[4] not in dict(routes):
            routes.append((ANYWHERE[4], subnet.gateway_ip))
    fallback = [one for one in options.dns_servers if ipaddress.ip_address(one).version == subnet.ip_version]
    return DhcpSubnet(
        id=subnet.id,
        cidr=subnet.cidr,
        gateway=subnet.gateway_ip,
        nameservers=tuple(subnet.dns_nameservers or fallback),
        routes=tuple(routes) if subnet.ip_version == 4 else (),
        mode=Ipv6Mode(subnet.ipv6_address_mode) if subnet.ipv6_address_mode else None,
    )


def _dhcp_host(port: Port, served: Sequence[Subnet]) -> DhcpHost:
    ids = {one.id for one in served}
    addresses = tuple(one["ip_address"] for one in port.fixed_ips if one["subnet_id"] in ids)
    # Names of the caller's own fancy are kept in the row, as in Neutron; no DHCP server knows them.
    told = [one for one in port.extra_dhcp_opts if "_" not in one["opt_name"]]
    options = tuple((one["opt_name"], one["opt_value"], one["ip_version"]) for one in told)
    return DhcpHost(
        port_id=port.id,
        mac=port.mac_address,
        addresses=addresses,
        hostname=port.dns_name.partition(".")[0] or hostname_of(port.addresses[0]),  # the domain is the network's
        options=options,
    )


def hostname_of(address: str) -> str:
    """The name of a machine that has none: host-10-0-0-5."""
    return "host-" + address.replace(".", "-").replace(":", "-").strip("-")


# --- filters ---------------------------------------------------------------------------------------------------------


def port_filter_of(port: Port, network: NetworkRow) -> PortFilter:
    """What a machine's port may send and receive."""
    own = [(port.mac_address, address) for address in port.addresses]
    pairs = [
        ((pair.get("mac_address") or port.mac_address).lower(), pair["ip_address"])
        for pair in port.allowed_address_pairs
    ]
    return PortFilter(
        port_id=port.id,
        tap=tap_name(port.id),
        bridge=bridge_name(network.id),
        number=port.number,
        zone=network.number,
        mac=port.mac_address,
        addresses=tuple(dict.fromkeys([*own, *pairs])),
        groups=tuple(port.security_groups),
        guarded=port.port_security_enabled,
    )


def group_filter_of(group: SecurityGroup, rules: Sequence[SecurityGroupRule], members: Sequence[Port]) -> GroupFilter:
    """A group's rules, and the addresses that other groups' rules mean when they name it."""
    pairs = [pair["ip_address"] for port in members for pair in port.allowed_address_pairs]
    addresses = [*(address for port in members for address in port.addresses), *pairs]
    return GroupFilter(
        id=group.id,
        number=group.number,
        rules=tuple(_rule_of(rule) for rule in rules),
        members=tuple(dict.fromkeys(addresses)),
        stateful=group.stateful,
    )


def _rule_of(rule: SecurityGroupRule) -> GroupRule:
    return GroupRule(
        direction=rule.direction,
        ethertype=4 if rule.ethertype == "IPv4" else 6,
        protocol=protocol_number(rule.protocol),
        port_min=rule.port_range_min,
        port_max=rule.port_range_max,
        remote_cidr=None
        if rule.remote_ip_prefix is None
        else str(ipaddress.ip_network(rule.remote_ip_prefix, strict=False)),
        remote_group=rule.remote_group_id,
    )


# --- routers ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RouterScene:
    """All rows about one router: its ports (the gateway's among them) and what is on their networks."""

    router: Router
    ports: Sequence[Port]
    networks: Mapping[str, NetworkRow]
    subnets: Mapping[str, Sequence[Subnet]]
    floating: Sequence[FloatingIp] = ()

    @property
    def gateway(self) -> Port | None:
        """The port on the external network."""
        return next((port for port in self.ports if port.id == self.router.gateway_port_id), None)

    @property
    def inside(self) -> list[Port]:
        """The ports on internal networks."""
        return [port for port in self.ports if port.id != self.router.gateway_port_id]

    @property
    def live_floating(self) -> list[FloatingIp]:
        """Floating IPs that lead to a port."""
        return [one for one in self.floating if one.fixed_ip_address is not None]


def router_space_of(scene: RouterScene) -> Space:
    """A router's namespace; one that is administratively down has no legs and forwards nothing."""
    name = router_space(scene.router.id)
    if not scene.router.admin_state_up:
        return Space(name=name)
    legs = [_leg(scene, port, ()) for port in scene.inside if port.admin_state_up]
    routes = [Route(one["destination"], via=one["nexthop"]) for one in scene.router.routes]
    gateway = scene.gateway
    if gateway is not None:
        legs.append(_leg(scene, gateway, [f"{one.floating_ip_address}/32" for one in scene.live_floating]))
        routes = [*_default_routes(scene, gateway, {route.destination for route in routes}), *routes]
    return Space(name=name, legs=tuple(legs), routes=tuple(routes), forwarding=True)


def _leg(scene: RouterScene, port: Port, more: Sequence[str]) -> Leg:
    network = scene.networks[port.network_id]
    return Leg(
        outer=veth_name(port.id),
        inner=inner_name(port.id),
        bridge=bridge_name(port.network_id),
        mac=port.mac_address,
        mtu=network.mtu,
        addresses=(*_addresses_of(port, scene.subnets[port.network_id]), *more),
    )


def _default_routes(scene: RouterScene, gateway: Port, taken: set[str]) -> list[Route]:
    """By the gateways of the external subnets that the router has an address in; one for each IP version."""
    routes: dict[int, Route] = {}
    used = {one["subnet_id"] for one in gateway.fixed_ips}
    for subnet in scene.subnets[gateway.network_id]:
        destination = ANYWHERE[subnet.ip_version]
        if subnet.id in used and _routed(subnet) and destination not in taken:
            routes.setdefault(subnet.ip_version, Route(destination, via=subnet.gateway_ip))
    return list(routes.values())


def nat_of(scene: RouterScene, metadata_port: int) -> NatPlan:
    """A router's address translation."""
    gateway = scene.gateway if scene.router.admin_state_up else None
    up = [port for port in scene.inside if port.admin_state_up] if scene.router.admin_state_up else []
    inside = [
        (inner_name(port.id), subnet.cidr)
        for port in up
        for subnet in scene.subnets[port.network_id]
        if subnet.ip_version == 4 and any(one["subnet_id"] == subnet.id for one in port.fixed_ips)
    ]
    four = [] if gateway is None else [address for address in gateway.addresses if ":" not in address]
    floating = [(one.floating_ip_address, one.fixed_ip_address or "") for one in scene.live_floating]
    return NatPlan(
        router_id=scene.router.id,
        space=router_space(scene.router.id),
        gateway_link=None if gateway is None else inner_name(gateway.id),
        gateway_address=four[0] if four and scene.router.enable_snat else None,
        inside=tuple(inside),
        floating=tuple(floating) if gateway is not None else (),
        metadata_port=metadata_port,
    )


def advertiser_of(scene: RouterScene) -> Advertiser:
    """The IPv6 prefixes that a router tells machines of."""
    ports = scene.inside if scene.router.admin_state_up else []
    prefixes = [
        Advertised(
            link=inner_name(port.id),
            cidr=subnet.cidr,
            mode=Ipv6Mode(subnet.ipv6_ra_mode),
            mtu=scene.networks[port.network_id].mtu,
        )
        for port in ports
        for subnet in scene.subnets[port.network_id]
        if subnet.ipv6_ra_mode and any(one["subnet_id"] == subnet.id for one in port.fixed_ips)
    ]
    return Advertiser(router_id=scene.router.id, space=router_space(scene.router.id), prefixes=tuple(prefixes))


def router_doors(scene: RouterScene, metadata_port: int, incarnation: int) -> tuple[MetadataDoor, ...]:
    """Where metadata requests that come by a router arrive: it redirects them to a port of its own."""
    if not scene.router.admin_state_up or not nat_of(scene, metadata_port).inside:
        return ()
    return (MetadataDoor(scene.router.id, router_space(scene.router.id), incarnation, "0.0.0.0", metadata_port),)


def network_doors(network: NetworkRow, space: Space, incarnation: int) -> tuple[MetadataDoor, ...]:
    """Where metadata requests on a network itself arrive."""
    return tuple(
        MetadataDoor(network.id, space.name, incarnation, address, 80)
        for leg in space.legs
        for version, address in ((4, METADATA), (6, f"{METADATA6}%{leg.inner}"))
        if METADATA_ON_LINK[version] in leg.addresses
    )


# --- small change ----------------------------------------------------------------------------------------------------


def _routed(subnet: Subnet) -> bool:
    """Whether its gateway is one that a packet can be sent to."""
    return subnet.gateway_ip is not None and contains(subnet, subnet.gateway_ip)


def _with_length(address: str | None, subnet: Subnet) -> str:
    return f"{address}/{ipaddress.ip_network(subnet.cidr).prefixlen}"


def _addresses_of(port: Port, subnets: Sequence[Subnet]) -> tuple[str, ...]:
    by_id = {one.id: one for one in subnets}
    return tuple(_with_length(one["ip_address"], by_id[one["subnet_id"]]) for one in port.fixed_ips)
