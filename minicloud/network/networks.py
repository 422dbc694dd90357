"""Networks: layer 2, isolated from each other; their rows and rules.

Called by `api/networks.py` and `Network`; the host follows through `converge.py`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from minicloud.core.context import Context
from minicloud.core.errors import Conflict, Invalid
from minicloud.core.store import Db
from minicloud.network import ports, standing
from minicloud.network.tables import (
    NETWORKS,
    PORTS,
    RBAC_POLICIES,
    ROUTERS,
    SUBNETS,
    NetworkRow,
    RbacPolicy,
    lowest_free_number,
)

if TYPE_CHECKING:
    from minicloud.network import Network

NOT_FOUND = "NetworkNotFound"
ZONES = 65_535
"""Conntrack zones, and so networks, that a host can have."""


async def create(service: Network, ctx: Context, many: Sequence[Mapping[str, Any]]) -> list[NetworkRow]:
    """Make networks, all or none. Values are columns, and `shared`.

    Raises:
        Conflict: the physical network is in use already.
        Invalid: a type that this cloud hasn't, an MTU out of bounds.
        OverQuota: no more networks for the project.
    """

    def write(db: Db) -> list[NetworkRow]:
        return [create_in(db, service, ctx, values) for values in many]

    rows = await service.store.write(write)
    for row in rows:
        await service.converge.network(row.id)
    return [service.store.read(NETWORKS.need, row.id) for row in rows]


def create_in(db: Db, service: Network, ctx: Context, values: Mapping[str, Any]) -> NetworkRow:
    """Write the row of one network."""
    config, project_id = service.config.network, standing.project_of(ctx, values)
    service.quotas.check_in(db, project_id, network=1)
    kind, physical = values.get("network_type") or "local", values.get("physical_network")
    _check_provider(db, service, kind, physical, values.get("segmentation_id"))
    number = lowest_free_number(db, "networks")
    if number > ZONES:
        raise Conflict("Cannot create a network: this host has as many as it can filter.")
    given = {key: value for key, value in values.items() if key in NETWORKS.columns and value is not None}
    row = NetworkRow(
        **standing.fresh(
            service.clock,
            {
                "admin_state_up": True, "external": False, "is_default": False, "port_security_enabled": True,
                "dns_domain": "", "availability_zone_hints": [], **given, "project_id": project_id, "number": number,
                "status": "ACTIVE", "mtu": given.get("mtu") or config.mtu, "network_type": kind, "physical_network": physical,
            },
        )
    )  # fmt: skip
    _check_mtu(row.mtu, config.mtu)
    NETWORKS.insert(db, row)
    if values.get("shared"):
        _share_in(db, row, standing.SHARED)
    if row.external:
        _share_in(db, row, standing.EXTERNAL)
    return row


async def update(
    service: Network, ctx: Context, network_id: str, values: Mapping[str, Any], revision: int | None = None
) -> NetworkRow:
    """Change a network. Values are columns, and `shared`.

    Raises:
        NotFound: no such network, or not the caller's.
        Conflict: no longer shared or external although others use it so.
    """

    def write(db: Db) -> NetworkRow:
        row = standing.owned_in(db, ctx, NETWORKS, network_id, NOT_FOUND)
        standing.require_revision(row, revision)
        for name in ("network_type", "physical_network", "segmentation_id"):
            if name in values and values[name] != getattr(row, name, None):
                raise Invalid(f"Cannot change {name} of network {row.id}: this cloud can't move a network.")
        if values.get("mtu") is not None:
            _check_mtu(values["mtu"], service.config.network.mtu)
        if "external" in values and values["external"] != row.external:
            _set_external_in(db, row, values["external"])
        if "shared" in values:
            _set_shared_in(db, row, values["shared"])
        given = {key: value for key, value in values.items() if key in NETWORKS.columns and value is not None}
        return standing.changed_in(db, service.clock, NETWORKS, row, given)

    row = await service.store.write(write)
    await service.converge.network(row.id)
    return service.store.read(NETWORKS.need, row.id)


async def delete(service: Network, ctx: Context, network_id: str, revision: int | None = None) -> None:
    """Remove a network with its subnets and our own DHCP port.

    Raises:
        NotFound: no such network, or not the caller's.
        Conflict: ports are on it (`NetworkInUse`).
    """

    def write(db: Db) -> None:
        row = standing.owned_in(db, ctx, NETWORKS, network_id, NOT_FOUND)
        standing.require_revision(row, revision)
        on_it = PORTS.where(db, "network_id = ?", (row.id,))
        used = [port.id for port in on_it if port.device_owner != ports.DHCP]
        if used:
            raise Conflict(
                f"Cannot delete network {row.id}: ports are still in use on it: {', '.join(used[:20])}.",
                code="NetworkInUse",
            )
        for port in on_it:
            ports.remove_in(db, port.id)
        SUBNETS.delete_where(db, "network_id = ?", (row.id,))
        RBAC_POLICIES.delete_where(db, "object_id = ?", (row.id,))
        NETWORKS.delete(db, row.id)

    await service.store.write(write)
    await service.converge.network(network_id)


def show(service: Network, ctx: Context, network_id: str) -> NetworkRow:
    """One network that the caller may know of."""
    return service.store.read(standing.visible_in, ctx, NETWORKS, network_id, NOT_FOUND)


def visible_sql(ctx: Context) -> tuple[str, list[Any]]:
    """An SQL condition on `networks`, with its parameters: what the caller may know of."""
    if ctx.is_admin:
        return "", []
    return f"(networks.project_id = ? OR {standing.shared_sql('networks')})", [ctx.project_id, ctx.project_id]


def _check_provider(db: Db, service: Network, kind: str, physical: str | None, segment: int | None) -> None:
    if kind not in ("local", "flat"):
        raise Invalid(f"Cannot make a network of type {kind}: this cloud has local and flat ones.", code="InvalidInput")
    if segment is not None:
        raise Invalid(f"Cannot give a {kind} network a segmentation id: it has none.", code="InvalidInput")
    if kind == "local" and physical is not None:
        raise Invalid("Cannot give a local network a physical network: it has none.", code="InvalidInput")
    if kind == "flat" and physical is None:
        raise Invalid("Cannot make a flat network: provider:physical_network is missing.", code="InvalidInput")
    known = {*service.config.network.physical_networks, service.config.network.external_physical}
    if physical is not None and physical not in known:
        raise Invalid(f"Cannot use physical network {physical}: it is not configured.", code="InvalidInput")
    if physical is not None and NETWORKS.count(db, "physical_network = ?", (physical,)):
        raise Conflict(
            f"Unable to create the flat network. Physical network {physical} is in use.", code="FlatNetworkInUse"
        )


def _check_mtu(mtu: int, most: int) -> None:
    if not 68 <= mtu <= most:
        raise Invalid(f"Cannot use an MTU of {mtu}: it must be from 68 to {most}.", code="InvalidInput")


def _share_in(db: Db, row: NetworkRow, action: str) -> None:
    RBAC_POLICIES.insert(db, RbacPolicy(str(uuid.uuid4()), row.project_id, "network", row.id, action, "*"))


def _set_shared_in(db: Db, row: NetworkRow, shared: bool) -> None:
    present = RBAC_POLICIES.first(db, "object_id = ? AND action = ? AND target = '*'", (row.id, standing.SHARED))
    if shared and present is None:
        _share_in(db, row, standing.SHARED)
    if not shared and present is not None:
        require_unused_by_others_in(db, row)
        RBAC_POLICIES.delete(db, present.id)


def require_unused_by_others_in(db: Db, row: NetworkRow, target: str = "*") -> None:
    """Raise `Conflict` if projects other than the owner (that one, or any for "*") have ports on a network."""
    sql = "network_id = ? AND project_id NOT IN (?, '') AND device_owner NOT LIKE 'network:%'"
    params: list[Any] = [row.id, row.project_id]
    if target != "*":
        sql, params = sql + " AND project_id = ?", [*params, target]
    if PORTS.count(db, sql, params):
        raise Conflict(
            f"Cannot stop sharing network {row.id}: other projects have ports on it.", code="InvalidSharedSetting"
        )


def _set_external_in(db: Db, row: NetworkRow, external: bool) -> None:
    if external:
        _share_in(db, row, standing.EXTERNAL)
        return
    if ROUTERS.count(db, "gateway_network_id = ?", (row.id,)) or PORTS.count(
        db, "network_id = ? AND device_owner = ?", (row.id, ports.FLOATING)
    ):
        raise Conflict(
            f"Cannot make network {row.id} internal: router gateways or floating IPs use it.",
            code="ExternalNetworkInUse",
        )
    RBAC_POLICIES.delete_where(db, "object_id = ? AND action = ?", (row.id, standing.EXTERNAL))


def beside_in(
    db: Db, ids: Sequence[str], project_id: str | None
) -> tuple[dict[str, list[str]], dict[tuple[str, int], str], set[str]]:
    """What a list of networks shows from other tables: subnets by network, address scopes by network and IP version, and
    which of the networks are shared with the project."""
    marks = ", ".join("?" * len(ids))
    subnets: dict[str, list[str]] = {}
    sql = f"SELECT network_id, id FROM subnets WHERE network_id IN ({marks}) ORDER BY created_at, id"
    for network_id, subnet_id in db.execute(sql, list(ids)):
        subnets.setdefault(network_id, []).append(subnet_id)
    scoped = db.execute(
        "SELECT s.network_id, s.ip_version, p.address_scope_id FROM subnets s JOIN subnetpools p ON p.id = s.subnetpool_id"
        f" WHERE s.network_id IN ({marks}) AND p.address_scope_id IS NOT NULL",
        list(ids),
    )
    scopes = {(network_id, version): scope for network_id, version, scope in scoped}
    return subnets, scopes, standing.shared_in(db, ids, project_id)
