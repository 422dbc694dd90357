"""Ports: ends on a network, of machines and of the cloud's own routers, DHCP servers and floating IPs.

The one place that writes a port's row, its addresses and its groups. Called by `api/ports.py`, `nics.py` (machines) and the
noun files whose objects hold ports.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minicloud.core.context import Context
from minicloud.core.errors import Conflict, Invalid, NotFound
from minicloud.core.store import Db
from minicloud.network import addresses, security_groups, standing
from minicloud.network.tables import (
    FLOATINGIPS,
    NETWORKS,
    PORTS,
    ROUTERS,
    SECURITY_GROUPS,
    SUBNETS,
    NetworkRow,
    Port,
    lowest_free_number,
)

if TYPE_CHECKING:
    from minicloud.network import Network

NOT_FOUND = "PortNotFound"
DHCP = "network:dhcp"
INTERFACE = "network:router_interface"
GATEWAY = "network:router_gateway"
FLOATING = "network:floatingip"
HELD_BY_US = (INTERFACE, GATEWAY, FLOATING)
"""Owners whose ports go with their router or floating IP, never by themselves."""


@dataclass(frozen=True, slots=True)
class PortGone:
    """Fact: a port that a device had was deleted through the network API."""

    port_id: str
    device_id: str


async def create(service: Network, ctx: Context, many: Sequence[Mapping[str, Any]]) -> list[Port]:
    """Make ports, all or none.

    Raises:
        NotFound: the network or a group. Invalid: addresses or attributes that make no sense.
        Conflict: a MAC or an address in use; no free address; groups without port security. OverQuota.
    """

    def write(db: Db) -> list[Port]:
        return [create_in(db, service, ctx, values) for values in many]

    rows = await service.store.write(write)
    for row in rows:
        await service.converge.port(row.id)
    return [service.store.read(PORTS.need, row.id) for row in rows]


def create_in(db: Db, service: Network, ctx: Context, values: Mapping[str, Any]) -> Port:
    """Write the row of one port that somebody asks for."""
    network = standing.visible_in(db, ctx, NETWORKS, values["network_id"], "NetworkNotFound")
    owner = values.get("device_owner") or ""
    if owner.startswith("network:") and not ctx.sees(network.project_id):
        raise Invalid(f"Cannot give a port the owner {owner} on another project's network.", code="InvalidInput")
    _require_own_device_in(db, ctx, values.get("device_id"))
    project_id = standing.project_of(ctx, values)
    service.quotas.check_in(db, project_id, port=1)
    return write_in(db, service, ctx, network, {**values, "project_id": project_id})


def write_in(db: Db, service: Network, ctx: Context, network: NetworkRow, values: Mapping[str, Any]) -> Port:
    """Write the row of one port, its addresses and groups. Quotas and rights are the caller's business."""
    owner = values.get("device_owner") or ""
    given = {key: value for key, value in values.items() if key in PORTS.columns and value is not None}
    mac = _mac_in(db, network.id, given.get("mac_address"))
    guarded = given.get("port_security_enabled", network.port_security_enabled) and not owner.startswith("network:")
    asked = given.pop("security_groups", None)
    groups = _groups_in(db, service, ctx, given["project_id"], asked, guarded)
    wanted = given.pop("fixed_ips", None)
    fixed = addresses.chosen_in(db, network.id, wanted=wanted, mac=mac, device_owner=owner)
    row = Port(
        **standing.fresh(
            service.clock,
            {
                "admin_state_up": True, "device_id": "", "device_owner": "", "allowed_address_pairs": [],
                "extra_dhcp_opts": [], "dns_name": "", "dns_domain": "", "vnic_type": "normal", "profile": {},
                "host_id": "", "made_for_device": False, "status": "DOWN", **given, "network_id": network.id, "mac_address": mac,
                "number": lowest_free_number(db, "ports"), "fixed_ips": [], "security_groups": [],
                "port_security_enabled": guarded,
            },
        )
    )  # fmt: skip
    _check_security(row, groups)
    PORTS.insert(db, row)
    set_groups_in(db, row, groups)
    return set_addresses_in(db, row, fixed, groups=groups)


async def update(
    service: Network, ctx: Context, port_id: str, values: Mapping[str, Any], revision: int | None = None
) -> Port:
    """Change a port.

    Raises:
        NotFound: no such port, or not the caller's. Invalid, Conflict: as in `create`; an address that a floating IP
        leads to can't go, nor the MAC of a port that a machine has change.
    """

    def write(db: Db) -> tuple[Port, Port]:
        before = owned_in(db, ctx, port_id)
        standing.require_revision(before, revision)
        return before, _update_in(db, service, ctx, before, values)

    before, row = await service.store.write(write)
    await service.converge.port(row.id, groups=set(before.security_groups) ^ set(row.security_groups))
    if row.device_owner == DHCP:
        await service.converge.network(row.network_id)
    if row.device_owner in (INTERFACE, GATEWAY):
        await service.converge.router(row.device_id)
    return service.store.read(PORTS.need, row.id)


def _require_own_device_in(db: Db, ctx: Context, device_id: str | None) -> None:
    """Raise `Conflict` for a device of another project: its router would get a leg, its machine a card in all lists."""
    if not device_id or ctx.is_admin or "service" in ctx.roles:
        return
    router = ROUTERS.get(db, device_id)
    foreign = "device_id = ? AND host_id != '' AND project_id NOT IN ('', ?)"
    if (router is not None and not ctx.sees(router.project_id)) or PORTS.count(
        db, foreign, (device_id, ctx.project_id)
    ):
        raise Conflict(
            f"Cannot give a port to device {device_id}: it is another project's.", code="DeviceIDNotOwnedByTenant"
        )


def _require_device_stays(service: Network, row: Port, given: Mapping[str, Any]) -> None:
    """Raise `Conflict` if a port would leave a device that it is really connected to: only the device lets go of it."""
    if not row.device_id or row.host_id != service.host_name:
        return
    for name in ("device_id", "device_owner"):
        if name in given and (given[name] or "") != getattr(row, name):
            raise Conflict(
                f"Cannot change {name} of port {row.id}: it is in use by {row.device_owner} {row.device_id}; detach it there.",
                code="PortInUse",
            )


def _update_in(db: Db, service: Network, ctx: Context, row: Port, values: Mapping[str, Any]) -> Port:
    given = {key: value for key, value in values.items() if key in PORTS.columns}
    _require_device_stays(service, row, given)
    if given.get("device_id") != row.device_id:
        _require_own_device_in(db, ctx, given.get("device_id"))
    if "mac_address" in given and given["mac_address"] != row.mac_address:
        if row.host_id:
            raise Conflict(f"Cannot change the MAC of port {row.id}: {row.device_owner} has it.", code="PortBound")
        given["mac_address"] = _mac_in(db, row.network_id, given["mac_address"])
    if "extra_dhcp_opts" in given:
        given["extra_dhcp_opts"] = _merged_options(row.extra_dhcp_opts, given["extra_dhcp_opts"] or [])
    guarded = given.get("port_security_enabled", row.port_security_enabled)
    groups = row.security_groups
    if "security_groups" in given:
        groups = _groups_in(db, service, ctx, row.project_id, given.pop("security_groups") or [], guarded)
    wanted = given.pop("fixed_ips", None)
    nullable = {
        "device_id": "",
        "device_owner": "",
        "allowed_address_pairs": [],
        "dns_name": "",
        "profile": {},
        "host_id": "",
    }
    given = {key: nullable.get(key) if value is None else value for key, value in given.items()}
    given = {key: value for key, value in given.items() if value is not None}
    if given.get("admin_state_up") is False:
        given["status"] = "DOWN"
    elif given.get("admin_state_up") and row.host_id and not row.admin_state_up:
        given["status"] = "ACTIVE"
    row = standing.changed_in(db, service.clock, PORTS, row, given)
    _check_security(row, groups)
    set_groups_in(db, row, groups)
    fixed = row.fixed_ips
    if wanted is not None:
        _free_in(db, row.id)
        fixed = addresses.chosen_in(
            db, row.network_id, wanted=wanted, mac=row.mac_address, device_owner=row.device_owner, kept=row.addresses
        )
        _require_no_floating_ip_lost(db, row, {one["ip_address"] for one in fixed})
    elif "mac_address" in given:
        fixed = _following_mac(db, row)
    return set_addresses_in(db, row, fixed, groups=groups)


async def delete(service: Network, ctx: Context, port_id: str, revision: int | None = None) -> None:
    """Remove a port; floating IPs that lead to it lead nowhere then.

    Raises:
        NotFound: no such port. Conflict: a router or floating IP holds it (`ServicePortInUse`).
    """

    def write(db: Db) -> tuple[Port, list[str]]:
        row = owned_in(db, ctx, port_id)
        standing.require_revision(row, revision)
        if row.device_owner in HELD_BY_US and row.device_id:
            raise Conflict(
                f"Cannot delete port {row.id}: {row.device_owner} of {row.device_id} needs it.", code="ServicePortInUse"
            )
        routers = forget_floating_ips_in(db, service, row, set())
        remove_in(db, row.id)
        if row.host_id:
            service.events.publish_in(db, PortGone(row.id, row.device_id))
        return row, routers

    row, routers = await service.store.write(write)
    await service.converge.gone(row)
    for router_id in routers:
        await service.converge.router(router_id)


def remove_in(db: Db, port_id: str) -> None:
    """Take a port's row away, with its addresses and groups."""
    _free_in(db, port_id)
    db.execute("DELETE FROM port_groups WHERE port_id = ?", (port_id,))
    PORTS.delete(db, port_id)


def show(service: Network, ctx: Context, port_id: str) -> Port:
    """One port that the caller may know of."""
    return service.store.read(visible_in, ctx, port_id)


def visible_in(db: Db, ctx: Context, port_id: str) -> Port:
    """A port of the caller's project, or on a network of it."""
    row = PORTS.get(db, port_id)
    if row is None or not (ctx.sees(row.project_id) or ctx.sees(NETWORKS.need(db, row.network_id).project_id)):
        raise NotFound(f"Port {port_id} could not be found.", code=NOT_FOUND)
    return row


owned_in = visible_in
"""Whoever may know of a port may change it, some attributes aside (the API's business)."""


def visible_sql(ctx: Context) -> tuple[str, list[Any]]:
    """An SQL condition on `ports`, with its parameters: what the caller may know of."""
    if ctx.is_admin:
        return "", []
    owned = "network_id IN (SELECT id FROM networks WHERE project_id = ?)"
    return f"(ports.project_id = ? OR {owned})", [ctx.project_id, ctx.project_id]


def set_addresses_in(
    db: Db, row: Port, fixed: Sequence[dict[str, str]], *, groups: Sequence[str] | None = None
) -> Port:
    """Give a port just these addresses. Raises `Conflict` for one that another port has."""
    _free_in(db, row.id)
    for one in fixed:
        holder = db.execute(
            "SELECT port_id FROM port_addresses WHERE network_id = ? AND address = ?",
            (row.network_id, one["ip_address"]),
        ).fetchone()
        if holder is not None:
            raise Conflict(
                f"Cannot use IP address {one['ip_address']}: it is allocated already in subnet {one['subnet_id']}.",
                code="IpAddressAlreadyAllocated",
            )
        db.execute(
            "INSERT INTO port_addresses (network_id, address, subnet_id, port_id) VALUES (?, ?, ?, ?)",
            (row.network_id, one["ip_address"], one["subnet_id"], row.id),
        )
    extra = {} if groups is None else {"security_groups": list(groups)}
    return PORTS.change(db, row.id, fixed_ips=list(fixed), **extra)


def set_groups_in(db: Db, row: Port, groups: Sequence[str]) -> None:
    """Keep the index of groups' members."""
    db.execute("DELETE FROM port_groups WHERE port_id = ?", (row.id,))
    db.executemany("INSERT INTO port_groups (group_id, port_id) VALUES (?, ?)", [(group, row.id) for group in groups])


def keep_dhcp_port_in(db: Db, service: Network, network_id: str) -> None:
    """Have the DHCP server's port exist, with an address in each subnet that it serves, or not exist where there is none.

    A subnet without a free address is left out: its machines get no answers until there is one."""
    network = NETWORKS.need(db, network_id)
    served = SUBNETS.where(db, "network_id = ? AND enable_dhcp = 1", (network_id,), order="created_at, id")
    row = PORTS.first(db, "network_id = ? AND device_owner = ?", (network_id, DHCP))
    if not served:
        if row is not None:
            remove_in(db, row.id)
        return
    if row is None:
        values = {
            "project_id": network.project_id, "device_owner": DHCP, "device_id": f"dhcp-{network_id}", "fixed_ips": [],
            "host_id": service.host_name, "status": "ACTIVE",
        }  # fmt: skip
        row = write_in(db, service, Context.internal("dhcp port"), network, values)
    fixed: list[dict[str, str]] = []
    for subnet in served:
        had = next((one for one in row.fixed_ips if one["subnet_id"] == subnet.id), None)
        if had is None:
            automatic = subnet.takes_addresses_from_macs
            address = addresses.eui64(subnet.cidr, row.mac_address) if automatic else addresses.free_in(db, subnet)
            had = None if address is None else {"subnet_id": subnet.id, "ip_address": address}
        if had is not None:
            fixed.append(had)
    if fixed != row.fixed_ips:
        set_addresses_in(db, row, fixed)


def _free_in(db: Db, port_id: str) -> None:
    db.execute("DELETE FROM port_addresses WHERE port_id = ?", (port_id,))


def _mac_in(db: Db, network_id: str, asked: str | None) -> str:
    """The MAC that a port asks for, or a free one of OpenStack's usual range."""

    def is_taken(mac: str) -> bool:
        return PORTS.count(db, "network_id = ? AND mac_address = ?", (network_id, mac)) > 0

    if asked is not None:
        mac = asked.lower()
        if int(mac[:2], 16) & 1 or mac == "00:00:00:00:00:00":
            raise Invalid(f"Cannot use the MAC {mac}: it is none of one machine.", code="HTTPBadRequest")
        if is_taken(mac):
            raise Conflict(
                f"Unable to complete operation for network {network_id}. The mac address {mac} is in use.",
                code="MacAddressInUse",
            )
        return mac
    while True:
        mac = "fa:16:3e:" + ":".join(f"{octet:02x}" for octet in secrets.token_bytes(3))
        if not is_taken(mac):
            return mac


def _groups_in(
    db: Db, service: Network, ctx: Context, project_id: str, asked: Sequence[str] | None, guarded: bool
) -> list[str]:
    """Ids of the groups that a port gets: those asked for, or its project's default one."""
    if asked is None:
        return [security_groups.default_in(db, service, project_id).id] if guarded and project_id else []
    groups: list[str] = []
    kinds: set[bool] = set()
    for group_id in dict.fromkeys(asked):
        group = SECURITY_GROUPS.get(db, group_id)
        if group is None or not (
            group.project_id == project_id or ctx.is_admin or standing.is_shared_in(db, group_id, project_id)
        ):
            raise NotFound(f"Security group {group_id} does not exist.", code="SecurityGroupNotFound")
        groups.append(group_id)
        kinds.add(group.stateful)
    if len(kinds) > 1:
        raise Conflict(
            "Cannot use stateful and stateless security groups on the same port.", code="SecurityGroupConflict"
        )
    return groups


def _check_security(row: Port, groups: Sequence[str]) -> None:
    if row.port_security_enabled:
        return
    if groups:
        raise Conflict(
            "Cannot use security groups on a port without port security.", code="PortSecurityPortHasSecurityGroup"
        )
    if row.allowed_address_pairs:
        raise Conflict(
            "Cannot use allowed address pairs on a port without port security.",
            code="AddressPairAndPortSecurityRequired",
        )


def _merged_options(present: Sequence[dict[str, Any]], asked: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """DHCP options after an update: those named replace their like, a null value takes one away."""
    merged = {(one["opt_name"], one["ip_version"]): dict(one) for one in present}
    for one in asked:
        key = (one["opt_name"], one["ip_version"])
        if one.get("opt_value") is None:
            merged.pop(key, None)
        else:
            merged[key] = dict(one)
    return list(merged.values())


def _following_mac(db: Db, row: Port) -> list[dict[str, str]]:
    fixed = []
    for one in row.fixed_ips:
        subnet = SUBNETS.need(db, one["subnet_id"])
        made = addresses.eui64(subnet.cidr, row.mac_address) if subnet.takes_addresses_from_macs else one["ip_address"]
        fixed.append({**one, "ip_address": made})
    return fixed


def forget_floating_ips_in(db: Db, service: Network, row: Port, kept: set[str]) -> list[str]:
    """Floating IPs to addresses that the port loses lead nowhere; ids of the routers that must hear of it."""
    routers = []
    for floating in FLOATINGIPS.where(db, "port_id = ?", (row.id,)):
        if floating.fixed_ip_address not in kept:
            if floating.router_id is not None:
                routers.append(floating.router_id)
            nowhere = {"port_id": None, "fixed_ip_address": None, "router_id": None, "status": "DOWN"}
            standing.changed_in(db, service.clock, FLOATINGIPS, floating, nowhere)
    return routers


def _require_no_floating_ip_lost(db: Db, row: Port, kept: set[str]) -> None:
    for floating in FLOATINGIPS.where(db, "port_id = ?", (row.id,)):
        if floating.fixed_ip_address not in kept:
            raise Invalid(
                f"Cannot take {floating.fixed_ip_address} from port {row.id}: floating IP {floating.floating_ip_address}"
                " leads to it; disassociate that first.",
                code="BadRequest",
            )
