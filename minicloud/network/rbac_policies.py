"""RBAC policies: a project lets others use what it owns.

Called by `api/rbac_policies.py`; `standing.py` looks at them for every object that is not the caller's own.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from minicloud.core.context import Context
from minicloud.core.errors import Conflict, Forbidden, Invalid
from minicloud.core.store import Db, Table
from minicloud.network import networks, standing
from minicloud.network.tables import (
    ADDRESS_SCOPES,
    NETWORKS,
    PORTS,
    RBAC_POLICIES,
    ROUTERS,
    SECURITY_GROUPS,
    SUBNETPOOLS,
    SUBNETS,
    RbacPolicy,
)

if TYPE_CHECKING:
    from minicloud.network import Network

NOT_FOUND = "RbacPolicyNotFound"
SHAREABLE: dict[str, tuple[Table[Any], str, tuple[str, ...]]] = {
    "network": (NETWORKS, "NetworkNotFound", (standing.SHARED, standing.EXTERNAL)),
    "security_group": (SECURITY_GROUPS, "SecurityGroupNotFound", (standing.SHARED,)),
    "subnetpool": (SUBNETPOOLS, "SubnetPoolNotFound", (standing.SHARED,)),
    "address_scope": (ADDRESS_SCOPES, "AddressScopeNotFound", (standing.SHARED,)),
}


async def create(service: Network, ctx: Context, many: Sequence[Mapping[str, Any]]) -> list[RbacPolicy]:
    """Let projects use objects, all or none.

    Raises:
        NotFound: the object. Invalid: a kind or action that there isn't. Conflict: the same policy is there already.
        Forbidden: "*" and external networks are the administrators'. OverQuota.
    """

    def write(db: Db) -> list[RbacPolicy]:
        return [_create_in(db, service, ctx, values) for values in many]

    rows = await service.store.write(write)
    for row in rows:
        await _follow(service, row)
    return rows


def _create_in(db: Db, service: Network, ctx: Context, values: Mapping[str, Any]) -> RbacPolicy:
    kind, action, target = values["object_type"], values["action"], values["target"]
    if kind not in SHAREABLE:
        raise Invalid(f"Cannot share a {kind}: it is none of {', '.join(SHAREABLE)}.", code="RbacPolicyTypeNotFound")
    table, code, actions = SHAREABLE[kind]
    if action not in actions:
        raise Invalid(f"Cannot share a {kind} by {action}: it is none of {', '.join(actions)}.", code="InvalidInput")
    _require_right(ctx, action, target, "create_rbac_policy")
    shared = standing.visible_in(db, ctx, table, values["object_id"], code)
    if not ctx.sees(shared.project_id):
        raise Invalid(f"Cannot share {kind} {shared.id}: it belongs to another project.", code="InvalidInput")
    project_id = standing.project_of(ctx, values)
    service.quotas.check_in(db, project_id, rbac_policy=1)
    if RBAC_POLICIES.count(db, "object_id = ? AND action = ? AND target = ?", (shared.id, action, target)):
        raise Conflict(f"Cannot share {shared.id} with {target} again: it is.", code="DuplicateRbacPolicy")
    row = RbacPolicy(str(uuid.uuid4()), project_id, kind, shared.id, action, target)
    if action == standing.EXTERNAL:
        NETWORKS.change(db, shared.id, external=True)
    if kind != "address_scope":  # which counts no revisions
        standing.touch_in(db, service.clock, table, shared.id)
    return RBAC_POLICIES.insert(db, row)


async def update(service: Network, ctx: Context, policy_id: str, target: str) -> RbacPolicy:
    """Have a policy name another project. Raises `Conflict` while the old one uses the object."""

    def write(db: Db) -> RbacPolicy:
        row = standing.owned_in(db, ctx, RBAC_POLICIES, policy_id, NOT_FOUND)
        _require_right(ctx, row.action, target, "update_rbac_policy")
        _require_unused_in(db, row)
        return RBAC_POLICIES.change(db, row.id, target=target)

    return await service.store.write(write)


async def delete(service: Network, ctx: Context, policy_id: str) -> None:
    """Stop sharing. Raises `Conflict` while others use the object by this policy (`RbacPolicyInUse`)."""

    def write(db: Db) -> RbacPolicy:
        row = standing.owned_in(db, ctx, RBAC_POLICIES, policy_id, NOT_FOUND)
        _require_unused_in(db, row)
        RBAC_POLICIES.delete(db, row.id)
        still = RBAC_POLICIES.count(db, "object_id = ? AND action = ?", (row.object_id, standing.EXTERNAL))
        if row.action == standing.EXTERNAL and not still:
            NETWORKS.change(db, row.object_id, external=False)
        return row

    await _follow(service, await service.store.write(write))


def show(service: Network, ctx: Context, policy_id: str) -> RbacPolicy:
    """One policy of the caller's project."""
    return service.store.read(standing.owned_in, ctx, RBAC_POLICIES, policy_id, NOT_FOUND)


async def _follow(service: Network, row: RbacPolicy) -> None:
    if row.action == standing.EXTERNAL:
        await service.converge.network(row.object_id)


def _require_right(ctx: Context, action: str, target: str, rule: str) -> None:
    if (target == "*" or action == standing.EXTERNAL) and not ctx.is_admin:
        raise Forbidden(f"Policy doesn't allow {rule}:target_tenant to be performed.", code=f"{rule}:target_tenant")


def _require_unused_in(db: Db, row: RbacPolicy) -> None:
    by = "project_id = ?" if row.target != "*" else "project_id NOT IN (?, '')"
    who = row.target if row.target != "*" else row.project_id
    used = False
    if row.object_type == "network" and row.action == standing.SHARED:
        try:
            networks.require_unused_by_others_in(db, NETWORKS.need(db, row.object_id), row.target)
        except Conflict:
            used = True
    elif row.object_type == "network":
        used = ROUTERS.count(db, f"gateway_network_id = ? AND {by}", (row.object_id, who)) > 0
    elif row.object_type == "security_group":
        held = "id IN (SELECT port_id FROM port_groups WHERE group_id = ?)"
        used = PORTS.count(db, f"{held} AND {by}", (row.object_id, who)) > 0
    elif row.object_type == "subnetpool":
        used = SUBNETS.count(db, f"subnetpool_id = ? AND {by}", (row.object_id, who)) > 0
    elif row.object_type == "address_scope":
        used = SUBNETPOOLS.count(db, f"address_scope_id = ? AND {by}", (row.object_id, who)) > 0
    if used:
        raise Conflict(
            f"Cannot stop sharing {row.object_id} with {row.target}: it is in use there.", code="RbacPolicyInUse"
        )
