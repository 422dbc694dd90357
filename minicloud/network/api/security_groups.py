"""Security groups and their rules on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ANYONE, MEMBER, READER
from minicloud.api.route import Call, Listed, Route
from minicloud.api.schema import BOOLEAN, OPTIONAL, REQUIRED, TEXT, Field, Schema, Type, integer, nullable, string
from minicloud.core.errors import Invalid
from minicloud.network import security_groups, standing
from minicloud.network.api.listing import Collection, shared_filter
from minicloud.network.api.standard import columns, revision_of, shown, standard
from minicloud.network.tables import SECURITY_GROUP_RULES, SECURITY_GROUPS, SecurityGroup, SecurityGroupRule

if TYPE_CHECKING:
    from minicloud.network import Network

RULE = Schema(
    "security_group_rule",
    *standard(
        Field("security_group_id", string(low=1), out=True, create=REQUIRED),
        Field("direction", string(enum=("ingress", "egress")), out=True, create=REQUIRED),
        Field("ethertype", nullable(string(high=20)), out=True, create=OPTIONAL),
        Field("protocol", Type({"anyOf": [{"type": "null"}, {"type": "string", "maxLength": 40}, {"type": "integer"}]}),
              out=True, create=OPTIONAL),
        Field("port_range_min", nullable(integer()), out=True, create=OPTIONAL),
        Field("port_range_max", nullable(integer()), out=True, create=OPTIONAL),
        Field("remote_ip_prefix", nullable(string(high=64)), out=True, create=OPTIONAL),
        Field("normalized_cidr", nullable(TEXT), out=True),
        Field("remote_group_id", nullable(string(low=1)), out=True, create=OPTIONAL),
        Field("remote_address_group_id", nullable(TEXT), attr=lambda row, call: None, out=True),
        name=False,
        tags=False,
    ),
)  # fmt: skip
GROUP = Schema(
    "security_group",
    *standard(
        Field("stateful", BOOLEAN, out=True, create=OPTIONAL, update=OPTIONAL),
        Field("shared", BOOLEAN, out=True),
        Field("security_group_rules", Type({"type": "array"}), out=True),
    ),
)
COLLECTION = Collection(
    SECURITY_GROUPS,
    special={"shared": shared_filter("security_groups", standing.SHARED)},
    hidden=frozenset({"number", "tags", "is_default"}),
)
RULES = Collection(SECURITY_GROUP_RULES, hidden=frozenset({"name", "tags"}))


async def list_groups(service: Network, call: Call) -> Listed:
    """List security groups; a project's first look makes its default group."""
    await security_groups.ensure_default(service, call.ctx.project_id)
    page = COLLECTION.list(service.store.read, call, security_groups.visible_sql(call.ctx))
    return Listed(_shown(service, call, page.rows), page.page, page.more)


async def create_groups(service: Network, call: Call) -> list[dict[str, Any]]:
    """Create one or many security groups."""
    rows = await security_groups.create(service, call.ctx, [columns(one) for one in call.body])
    return _shown(service, call, rows)


async def show_group(service: Network, call: Call) -> dict[str, Any]:
    """Show a security group with its rules."""
    return _shown(service, call, [security_groups.show(service, call.ctx, call.params["security_group_id"])])[0]


async def update_group(service: Network, call: Call) -> dict[str, Any]:
    """Change a security group."""
    group_id = call.params["security_group_id"]
    row = await security_groups.update(service, call.ctx, group_id, columns(call.body), revision_of(call))
    return _shown(service, call, [row])[0]


async def delete_group(service: Network, call: Call) -> None:
    """Delete a security group that no port uses."""
    await security_groups.delete(service, call.ctx, call.params["security_group_id"], revision_of(call))


def _shown(service: Network, call: Call, rows: Sequence[SecurityGroup]) -> list[dict[str, Any]]:
    ids = [row.id for row in rows]
    rules = security_groups.rules_of(service, ids)
    shared = service.store.read(standing.shared_in, ids, call.ctx.project_id)
    return [
        shown(
            row,
            shared=row.id in shared,
            security_group_rules=[{**RULE.view(_rule_shown(rule), call), "tags": []} for rule in rules[row.id]],
        )
        for row in rows
    ]


async def list_rules(service: Network, call: Call) -> Listed:
    """List security group rules."""
    await security_groups.ensure_default(service, call.ctx.project_id)
    page = RULES.list(service.store.read, call, security_groups.visible_rules_sql(call.ctx))
    return Listed([_rule_shown(row) for row in page.rows], page.page, page.more)


async def create_rules(service: Network, call: Call) -> list[dict[str, Any]]:
    """Create one or many security group rules."""
    many = []
    for one in call.body:
        values = columns(one)
        if values.get("ethertype") is not None:
            known = {"ipv4": "IPv4", "ipv6": "IPv6"}.get(values["ethertype"].lower())
            if known is None:
                raise Invalid(
                    f"Cannot use ethertype {values['ethertype']}: it must be IPv4 or IPv6.",
                    code="SecurityGroupRuleInvalidEtherType",
                )
            values["ethertype"] = known
        many.append(values)
    return [_rule_shown(row) for row in await security_groups.create_rules(service, call.ctx, many)]


async def show_rule(service: Network, call: Call) -> dict[str, Any]:
    """Show a security group rule."""
    rule_id = call.params["security_group_rule_id"]
    return _rule_shown(service.store.read(security_groups.visible_rule_in, call.ctx, rule_id))


async def delete_rule(service: Network, call: Call) -> None:
    """Delete a security group rule."""
    await security_groups.delete_rule(service, call.ctx, call.params["security_group_rule_id"], revision_of(call))


def _rule_shown(row: SecurityGroupRule) -> dict[str, Any]:
    return shown(row, normalized_cidr=security_groups.normalized(row.remote_ip_prefix))


GROUPS_PATH, GROUP_PATH = "/security-groups", "/security-groups/{security_group_id}"
RULES_PATH, RULE_PATH = "/security-group-rules", "/security-group-rules/{security_group_rule_id}"
ROUTES = [
    Route("GET", GROUPS_PATH, list_groups, ANYONE, "get_security_group", view=GROUP, many=True),
    Route("POST", GROUPS_PATH, create_groups, MEMBER, "create_security_group", 201, body=GROUP, view=GROUP, bulk=True),
    Route("GET", GROUP_PATH, show_group, ANYONE, "get_security_group", view=GROUP),
    Route("PUT", GROUP_PATH, update_group, MEMBER, "update_security_group", body=GROUP, view=GROUP),
    Route("DELETE", GROUP_PATH, delete_group, MEMBER, "delete_security_group", 204),
    Route("GET", RULES_PATH, list_rules, READER, "get_security_group_rule", view=RULE, many=True),
    Route("POST", RULES_PATH, create_rules, MEMBER, "create_security_group_rule", 201, body=RULE, view=RULE, bulk=True),
    Route("GET", RULE_PATH, show_rule, READER, "get_security_group_rule", view=RULE),
    Route("DELETE", RULE_PATH, delete_rule, MEMBER, "delete_security_group_rule", 204),
]
