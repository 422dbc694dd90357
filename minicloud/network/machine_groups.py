"""Security groups as the compute API speaks of them: of a whole machine, by name, and only what comes in.

Called by compute through `Network`, for `addSecurityGroup`, `os-security-groups` and their kin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minicloud.core.context import Context
from minicloud.core.errors import Conflict, Invalid, NotFound
from minicloud.core.store import Db
from minicloud.network import ports, security_groups
from minicloud.network.tables import PORTS, SECURITY_GROUPS, SecurityGroup, SecurityGroupRule

if TYPE_CHECKING:
    from minicloud.network import Network


def of_machine(service: Network, device_id: str) -> list[SecurityGroup]:
    """The groups of all ports of a machine, each once."""
    held = "device_id = ? AND host_id != ''"  # a port that only says so is none of the machine's

    def read(db: Db) -> list[SecurityGroup]:
        ids = {group for port in PORTS.where(db, held, (device_id,)) for group in port.security_groups}
        marks = ", ".join("?" * len(ids))
        return SECURITY_GROUPS.where(db, f"id IN ({marks})", sorted(ids), order="name, id")

    return service.store.read(read)


def listed(service: Network, ctx: Context, *, everyone: bool) -> list[SecurityGroup]:
    """A project's groups, or everybody's."""
    condition, params = ("", ()) if everyone else ("project_id = ?", (ctx.project_id,))
    return service.store.read(SECURITY_GROUPS.where, condition, params, order="name, id")


def incoming(service: Network, groups: list[SecurityGroup]) -> dict[str, list[SecurityGroupRule]]:
    """Rules for what comes in, by group."""
    rules = security_groups.rules_of(service, [one.id for one in groups]) if groups else {}
    return {group_id: [one for one in some if one.direction == "ingress"] for group_id, some in rules.items()}


async def change_machine(service: Network, ctx: Context, device_id: str, wanted: str, *, add: bool) -> None:
    """Add a group (name or id) to every port of a machine, or take it away.

    Raises:
        NotFound: no such group, or the machine doesn't have the one that should go.
        Conflict: several groups of that name. Invalid: the machine has no port.
    """
    group = service.store.read(_named_in, ctx, wanted)
    rows = service.store.read(PORTS.where, "device_id = ? AND host_id != ''", (device_id,))
    if not rows:
        raise Invalid(f"Cannot change the security groups of instance {device_id}: it has no port.")
    if not add and all(group.id not in row.security_groups for row in rows):
        raise NotFound(f"Security group {wanted} is not associated with the instance {device_id}.")
    for row in rows:
        kept = [one for one in row.security_groups if one != group.id]
        values: Mapping[str, Any] = {"security_groups": [*kept, group.id] if add else kept}
        await ports.update(service, ctx, row.id, values)


def _named_in(db: Db, ctx: Context, wanted: str) -> SecurityGroup:
    found = SECURITY_GROUPS.where(db, "(id = ? OR name = ?) AND project_id = ?", (wanted, wanted, ctx.project_id))
    exact = [one for one in found if one.id == wanted] or found
    if not exact:
        raise NotFound(f"Security group {wanted} is not found for project {ctx.project_id}.")
    if len(exact) > 1:
        raise Conflict(f"Multiple security groups found matching '{wanted}'. Use an ID to be more specific.")
    return exact[0]
