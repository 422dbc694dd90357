"""Security groups of servers, and Nova's old window on Neutron's groups (`/os-security-groups`, until 2.35)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import MEMBER, READER
from minicloud.api.route import Call, Reply, Route
from minicloud.api.schema import OPTIONAL, REQUIRED, UUID, Field, Schema, Type, integer, nullable, string
from minicloud.core.errors import Conflict, Invalid
from minicloud.network import SecurityGroup, SecurityGroupRule

if TYPE_CHECKING:
    from minicloud.compute import Compute

RULE = "os_compute_api:os-security-groups"
UNTIL = (2, 35)
_TEXT = Type({"type": "string", "maxLength": 255, "pattern": r"^[\s\S]*\S[\s\S]*$"})
NAMED = Schema("action", Field("name", string(low=1, high=255), create=REQUIRED))
GROUP = Schema(
    "security_group",
    Field("name", _TEXT, create=REQUIRED, update=REQUIRED),
    Field("description", nullable(string(high=255)), create=OPTIONAL, update=OPTIONAL),
)
_PORT = nullable(integer(low=-1, high=65535))
NEW_RULE = Schema(
    "security_group_rule",
    Field("parent_group_id", UUID, create=REQUIRED),
    Field("ip_protocol", nullable(string(enum=("tcp", "udp", "icmp", "TCP", "UDP", "ICMP"))), create=OPTIONAL),
    Field("from_port", _PORT, create=OPTIONAL),
    Field("to_port", _PORT, create=OPTIONAL),
    Field("cidr", nullable(Type({"type": "string", "format": "cidr"})), create=OPTIONAL),
    Field("group_id", nullable(UUID), create=OPTIONAL),
)


def _rule(compute: Compute, call: Call, rule: SecurityGroupRule) -> dict[str, Any]:
    low, high = rule.port_range_min, rule.port_range_max
    if rule.protocol in ("icmp", "1", "icmpv6") and low is None:
        low = high = -1
    elif rule.protocol is not None and low is None:
        low, high = 1, 65535
    told: dict[str, Any] = {
        "id": rule.id, "parent_group_id": rule.security_group_id, "ip_protocol": rule.protocol, "from_port": low,
        "to_port": high, "group": {}, "ip_range": {},
    }  # fmt: skip
    if rule.remote_group_id:
        remote = compute.network.group(call.ctx, rule.remote_group_id)
        told["group"] = {"name": remote.name, "tenant_id": remote.project_id}
    else:
        everything = "::/0" if rule.ethertype == "IPv6" else "0.0.0.0/0"
        told["ip_range"] = {"cidr": rule.remote_ip_prefix or everything}
    return told


def _groups(compute: Compute, call: Call, groups: list[SecurityGroup]) -> list[dict[str, Any]]:
    rules = compute.network.incoming_rules(groups)
    return [
        {
            "id": one.id, "name": one.name, "description": one.description, "tenant_id": one.project_id,
            "rules": [_rule(compute, call, rule) for rule in rules.get(one.id, [])],
        }
        for one in groups
    ]  # fmt: skip


async def list_groups(compute: Compute, call: Call) -> Reply:
    """`GET /os-security-groups`."""
    everyone = call.ctx.is_admin and call.query.get("all_tenants", "").lower() in ("1", "true", "yes")
    told = _groups(compute, call, await compute.network.groups_of_project(call.ctx, everyone=everyone))
    start, limit = call.query.get("offset", "0"), call.query.get("limit", "1000")
    if not (start.isascii() and start.isdigit() and limit.isascii() and limit.isdigit()):
        raise Invalid("Cannot use limit and offset: they must be whole numbers, 0 or more.")
    return Reply({"security_groups": told[int(start) :][: int(limit)]})


async def show_group(compute: Compute, call: Call) -> Reply:
    """`GET /os-security-groups/{id}`."""
    group = compute.network.group(call.ctx, call.params["group_id"])
    return Reply({"security_group": _groups(compute, call, [group])[0]})


async def create_group(compute: Compute, call: Call) -> Reply:
    """`POST /os-security-groups`."""
    group = await compute.network.create_group(
        call.ctx, name=call.body["name"], description=call.body.get("description") or ""
    )
    return Reply({"security_group": _groups(compute, call, [group])[0]})


async def update_group(compute: Compute, call: Call) -> Reply:
    """`PUT /os-security-groups/{id}`."""
    group = await compute.network.update_group(
        call.ctx, call.params["group_id"], name=call.body["name"], description=call.body.get("description") or ""
    )
    return Reply({"security_group": _groups(compute, call, [group])[0]})


async def delete_group(compute: Compute, call: Call) -> None:
    """`DELETE /os-security-groups/{id}`."""
    try:
        await compute.network.delete_group(call.ctx, call.params["group_id"])
    except Conflict as refused:
        raise Invalid(refused.message) from None


async def create_rule(compute: Compute, call: Call) -> Reply:
    """`POST /os-security-group-rules`: from a CIDR (anywhere, if none is named) or a group."""
    body = call.body
    if body.get("cidr") and body.get("group_id"):
        raise Invalid("Cannot use both cidr and group_id: a rule has one source.")
    protocol = body.get("ip_protocol")
    low, high = body.get("from_port"), body.get("to_port")
    if protocol is None and not body.get("group_id"):
        raise Invalid("Cannot make a rule: ip_protocol, from_port and to_port are missing.")
    if (
        protocol is not None
        and protocol.lower() != "icmp"
        and (low is None or high is None)
        and not body.get("group_id")
    ):
        raise Invalid("Cannot make a rule: from_port and to_port are missing.")
    if low is not None and high is not None and low > high and (protocol or "").lower() != "icmp":
        raise Invalid("Cannot make a rule: the from_port is above the to_port.")
    values: dict[str, Any] = {
        "protocol": None if protocol is None else protocol.lower(),
        "port_range_min": None if low in (None, -1) else low,
        "port_range_max": None if high in (None, -1) else high,
    }
    if body.get("group_id"):
        values["remote_group_id"] = body["group_id"]
    else:
        cidr = body.get("cidr") or "0.0.0.0/0"
        values |= {"remote_ip_prefix": cidr, "ethertype": "IPv6" if ":" in cidr else "IPv4"}
    try:
        made = await compute.network.create_incoming_rule(call.ctx, body["parent_group_id"], **values)
    except Conflict as refused:
        raise Invalid(refused.message) from None
    return Reply({"security_group_rule": _rule(compute, call, made)})


async def delete_rule(compute: Compute, call: Call) -> None:
    """`DELETE /os-security-group-rules/{id}`."""
    await compute.network.delete_rule(call.ctx, call.params["rule_id"])


async def list_of_server(compute: Compute, call: Call) -> Reply:
    """`GET /servers/{id}/os-security-groups`."""
    server = compute.server(call.ctx, call.params["server_id"])
    return Reply({"security_groups": _groups(compute, call, compute.network.groups_of(server.id))})


async def add_group(compute: Compute, call: Call) -> None:
    """`addSecurityGroup`."""
    server = compute.server(call.ctx, call.params["server_id"])
    await compute.network.change_groups(call.ctx, server.id, call.body["name"], add=True)


async def remove_group(compute: Compute, call: Call) -> None:
    """`removeSecurityGroup`."""
    server = compute.server(call.ctx, call.params["server_id"])
    await compute.network.change_groups(call.ctx, server.id, call.body["name"], add=False)


_ALL, _ONE, _RULES = "/os-security-groups", "/os-security-groups/{group_id}", "/os-security-group-rules"
_ACTION = "/servers/{server_id}/action"
ROUTES = [
    Route(
        "POST", _ACTION, add_group, action="addSecurityGroup", body=NAMED, status=202, policy=MEMBER, rule=f"{RULE}:add"
    ),
    Route(
        "POST",
        _ACTION,
        remove_group,
        action="removeSecurityGroup",
        body=NAMED,
        status=202,
        policy=MEMBER,
        rule=f"{RULE}:remove",
    ),
    Route("GET", "/servers/{server_id}/os-security-groups", list_of_server, policy=READER, rule=f"{RULE}:list"),
    Route("GET", _ALL, list_groups, policy=READER, rule=f"{RULE}:get", until=UNTIL),
    Route("POST", _ALL, create_group, body=GROUP, policy=MEMBER, rule=f"{RULE}:create", until=UNTIL),
    Route("GET", _ONE, show_group, policy=READER, rule=f"{RULE}:show", until=UNTIL),
    Route("PUT", _ONE, update_group, body=GROUP, policy=MEMBER, rule=f"{RULE}:update", until=UNTIL),
    Route("DELETE", _ONE, delete_group, status=202, policy=MEMBER, rule=f"{RULE}:delete", until=UNTIL),
    Route("POST", _RULES, create_rule, body=NEW_RULE, policy=MEMBER, rule=f"{RULE}:rule:create", until=UNTIL),
    Route(
        "DELETE", _RULES + "/{rule_id}", delete_rule, status=202, policy=MEMBER, rule=f"{RULE}:rule:delete", until=UNTIL
    ),
]
