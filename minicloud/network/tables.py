"""What the network service remembers: rows, and the steps by which their tables came to be.

A port's addresses and groups stand in its row as clients see them; `port_addresses` and `port_groups` hold the same once
more as an index, written in the same transaction by `ports.py` alone: the one keeps an address from being given twice, the
other finds a group's members. Called by the noun files of this folder only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minicloud.core.migrations import Migrations
from minicloud.core.store import Db, Table

if TYPE_CHECKING:
    from sqlite_utils import Database

migrations = Migrations("network")

STANDARD = {
    "id": str, "project_id": str, "name": str, "description": str, "tags": str, "created_at": str, "updated_at": str,
    "revision_number": int,
}  # fmt: skip


@migrations()
def m001_networks(db: Database) -> None:
    db["networks"].create(
        {
            **STANDARD, "number": int, "admin_state_up": int, "status": str, "mtu": int, "external": int, "is_default": int,
            "port_security_enabled": int, "network_type": str, "physical_network": str, "dns_domain": str,
            "availability_zone_hints": str,
        },
        pk="id",
    )  # fmt: skip
    db["networks"].create_index(["number"], unique=True)
    db["networks"].create_index(["project_id"])
    db.execute("CREATE UNIQUE INDEX one_flat_network ON networks(physical_network) WHERE physical_network IS NOT NULL")
    db["subnets"].create(
        {
            **STANDARD, "network_id": str, "ip_version": int, "cidr": str, "gateway_ip": str, "enable_dhcp": int,
            "ipv6_ra_mode": str, "ipv6_address_mode": str, "allocation_pools": str, "dns_nameservers": str,
            "host_routes": str, "subnetpool_id": str, "service_types": str,
        },
        pk="id",
    )  # fmt: skip
    for column in ("network_id", "project_id", "subnetpool_id"):
        db["subnets"].create_index([column])
    db["ports"].create(
        {
            **STANDARD, "number": int, "network_id": str, "admin_state_up": int, "status": str, "mac_address": str,
            "device_id": str, "device_owner": str, "fixed_ips": str, "security_groups": str, "allowed_address_pairs": str,
            "extra_dhcp_opts": str, "port_security_enabled": int, "dns_name": str, "dns_domain": str, "vnic_type": str,
            "profile": str, "host_id": str, "made_for_device": int,
        },
        pk="id",
    )  # fmt: skip
    db["ports"].create_index(["number"], unique=True)
    db["ports"].create_index(["network_id", "mac_address"], unique=True)
    for column in ("project_id", "device_id"):
        db["ports"].create_index([column])
    db["port_addresses"].create(
        {"network_id": str, "address": str, "subnet_id": str, "port_id": str}, pk=("network_id", "address")
    )
    for column in ("subnet_id", "port_id"):
        db["port_addresses"].create_index([column])
    db["port_groups"].create({"group_id": str, "port_id": str}, pk=("group_id", "port_id"))
    db["port_groups"].create_index(["port_id"])


@migrations()
def m002_security_groups(db: Database) -> None:
    db["security_groups"].create({**STANDARD, "number": int, "stateful": int, "is_default": int}, pk="id")
    db["security_groups"].create_index(["number"], unique=True)
    db["security_groups"].create_index(["project_id"])
    db.execute("CREATE UNIQUE INDEX one_default_group ON security_groups(project_id) WHERE is_default = 1")
    db["security_group_rules"].create(
        {
            **STANDARD, "security_group_id": str, "direction": str, "ethertype": str, "protocol": str,
            "port_range_min": int, "port_range_max": int, "remote_ip_prefix": str, "remote_group_id": str,
        },
        pk="id",
    )  # fmt: skip
    for column in ("security_group_id", "project_id", "remote_group_id"):
        db["security_group_rules"].create_index([column])


@migrations()
def m003_routers(db: Database) -> None:
    db["routers"].create(
        {
            **STANDARD, "admin_state_up": int, "status": str, "gateway_network_id": str, "gateway_port_id": str,
            "enable_snat": int, "routes": str, "availability_zone_hints": str,
        },
        pk="id",
    )  # fmt: skip
    db["routers"].create_index(["project_id"])
    db["floatingips"].create(
        {
            **STANDARD, "status": str, "floating_network_id": str, "floating_port_id": str, "floating_ip_address": str,
            "port_id": str, "fixed_ip_address": str, "router_id": str, "dns_name": str, "dns_domain": str,
        },
        pk="id",
    )  # fmt: skip
    for column in ("project_id", "port_id", "router_id"):
        db["floatingips"].create_index([column])
    db.execute(
        "CREATE UNIQUE INDEX one_floating_ip ON floatingips(port_id, fixed_ip_address) WHERE port_id IS NOT NULL"
    )


@migrations()
def m004_pools_and_sharing(db: Database) -> None:
    db["subnetpools"].create(
        {
            **STANDARD, "ip_version": int, "prefixes": str, "default_prefixlen": int, "min_prefixlen": int,
            "max_prefixlen": int, "is_default": int, "default_quota": int, "address_scope_id": str,
        },
        pk="id",
    )  # fmt: skip
    db["address_scopes"].create({"id": str, "project_id": str, "name": str, "ip_version": int}, pk="id")
    db["rbac_policies"].create(
        {"id": str, "project_id": str, "object_type": str, "object_id": str, "action": str, "target": str}, pk="id"
    )
    db["rbac_policies"].create_index(["object_id", "target", "action"], unique=True)
    db["rbac_policies"].create_index(["project_id"])


@migrations()
def m005_done_once(db: Database) -> None:
    db["network_done_once"].create({"what": str}, pk="what")


@dataclass(frozen=True, slots=True)
class NetworkRow:
    """A layer 2. `number` is its conntrack zone; `physical_network` names the host's interface of a flat one."""

    id: str
    project_id: str
    name: str
    description: str
    tags: list[str]
    created_at: str
    updated_at: str
    revision_number: int
    number: int
    admin_state_up: bool
    status: str
    mtu: int
    external: bool
    is_default: bool
    port_security_enabled: bool
    network_type: str
    physical_network: str | None
    dns_domain: str
    availability_zone_hints: list[str]


@dataclass(frozen=True, slots=True)
class Subnet:
    """A range of addresses on a network. `allocation_pools` are (`start`, `end`), `host_routes` (`destination`, `nexthop`)."""

    id: str
    project_id: str
    name: str
    description: str
    tags: list[str]
    created_at: str
    updated_at: str
    revision_number: int
    network_id: str
    ip_version: int
    cidr: str
    gateway_ip: str | None
    enable_dhcp: bool
    ipv6_ra_mode: str | None
    ipv6_address_mode: str | None
    allocation_pools: list[dict[str, str]]
    dns_nameservers: list[str]
    host_routes: list[dict[str, str]]
    subnetpool_id: str | None
    service_types: list[str]

    @property
    def takes_addresses_from_macs(self) -> bool:
        """Machines make their own addresses here (SLAAC): every port gets the one that follows from its MAC."""
        return self.ipv6_address_mode in ("slaac", "dhcpv6-stateless")


@dataclass(frozen=True, slots=True)
class Port:
    """An end on a network. `number` is its packet mark; `made_for_device`: we made it for a machine and delete it with it."""

    id: str
    project_id: str
    name: str
    description: str
    tags: list[str]
    created_at: str
    updated_at: str
    revision_number: int
    number: int
    network_id: str
    admin_state_up: bool
    status: str
    mac_address: str
    device_id: str
    device_owner: str
    fixed_ips: list[dict[str, str]]
    security_groups: list[str]
    allowed_address_pairs: list[dict[str, str]]
    extra_dhcp_opts: list[dict[str, Any]]
    port_security_enabled: bool
    dns_name: str
    dns_domain: str
    vnic_type: str
    profile: dict[str, Any]
    host_id: str
    made_for_device: bool

    @property
    def addresses(self) -> list[str]:
        """Its fixed addresses."""
        return [fixed["ip_address"] for fixed in self.fixed_ips]

    @property
    def is_plugged(self) -> bool:
        """A machine of this host has it: there is a tap."""
        return bool(self.host_id) and not self.device_owner.startswith("network:")


@dataclass(frozen=True, slots=True)
class SecurityGroup:
    """A set of rules that ports name. `number` names its sets in the packet filter."""

    id: str
    project_id: str
    name: str
    description: str
    tags: list[str]
    created_at: str
    updated_at: str
    revision_number: int
    number: int
    stateful: bool
    is_default: bool


@dataclass(frozen=True, slots=True)
class SecurityGroupRule:
    """What one rule lets through; None is any. `protocol` is a name or a number as text."""

    id: str
    project_id: str
    name: str
    description: str | None
    tags: list[str]
    created_at: str
    updated_at: str
    revision_number: int
    security_group_id: str
    direction: str
    ethertype: str
    protocol: str | None
    port_range_min: int | None
    port_range_max: int | None
    remote_ip_prefix: str | None
    remote_group_id: str | None


@dataclass(frozen=True, slots=True)
class Router:
    """Forwards between the subnets whose ports name it as device, and out through its gateway port."""

    id: str
    project_id: str
    name: str
    description: str
    tags: list[str]
    created_at: str
    updated_at: str
    revision_number: int
    admin_state_up: bool
    status: str
    gateway_network_id: str | None
    gateway_port_id: str | None
    enable_snat: bool
    routes: list[dict[str, str]]
    availability_zone_hints: list[str]


@dataclass(frozen=True, slots=True)
class FloatingIp:
    """An address of an external network that a router translates to one of a port."""

    id: str
    project_id: str
    name: str
    description: str
    tags: list[str]
    created_at: str
    updated_at: str
    revision_number: int
    status: str
    floating_network_id: str
    floating_port_id: str
    floating_ip_address: str
    port_id: str | None
    fixed_ip_address: str | None
    router_id: str | None
    dns_name: str
    dns_domain: str


@dataclass(frozen=True, slots=True)
class SubnetPool:
    """Prefixes out of which subnets are cut."""

    id: str
    project_id: str
    name: str
    description: str
    tags: list[str]
    created_at: str
    updated_at: str
    revision_number: int
    ip_version: int
    prefixes: list[str]
    default_prefixlen: int
    min_prefixlen: int
    max_prefixlen: int
    is_default: bool
    default_quota: int | None
    address_scope_id: str | None


@dataclass(frozen=True, slots=True)
class AddressScope:
    """Pools within which addresses are unique."""

    id: str
    project_id: str
    name: str
    ip_version: int


@dataclass(frozen=True, slots=True)
class RbacPolicy:
    """Lets another project (`target`, "*" for all) use an object."""

    id: str
    project_id: str
    object_type: str
    object_id: str
    action: str
    target: str


NETWORKS = Table("networks", NetworkRow, noun="Network")
SUBNETS = Table("subnets", Subnet, noun="Subnet")
PORTS = Table("ports", Port, noun="Port")
SECURITY_GROUPS = Table("security_groups", SecurityGroup, noun="Security group")
SECURITY_GROUP_RULES = Table("security_group_rules", SecurityGroupRule, noun="Security group rule")
ROUTERS = Table("routers", Router, noun="Router")
FLOATINGIPS = Table("floatingips", FloatingIp, noun="Floating IP")
SUBNETPOOLS = Table("subnetpools", SubnetPool, noun="Subnet pool")
ADDRESS_SCOPES = Table("address_scopes", AddressScope, noun="Address scope")
RBAC_POLICIES = Table("rbac_policies", RbacPolicy, noun="RBAC policy")


def lowest_free_number(db: Db, table: str) -> int:
    """The smallest number from 1 on that no row of `table` has (numbers are narrow: marks, conntrack zones)."""
    sql = (
        f"SELECT min(candidate) FROM (SELECT 1 AS candidate UNION ALL SELECT number + 1 FROM {table})"
        f" WHERE candidate NOT IN (SELECT number FROM {table})"
    )
    return int(db.execute(sql).fetchone()[0])
