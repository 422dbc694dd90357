"""Security groups and their rules: what machines may receive and send.

Every project has a group "default", made when it is first needed: everything out, in from its own members. Called by
`api/security_groups.py`, `api/security_group_rules.py` and `ports.py`. Protocol names and numbers: IANA's registry, by
the names that Neutron takes.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from minicloud.core.context import Context
from minicloud.core.errors import Conflict, Invalid, NotFound
from minicloud.core.store import Db
from minicloud.network import addresses, standing
from minicloud.network.tables import (
    RBAC_POLICIES,
    SECURITY_GROUP_RULES,
    SECURITY_GROUPS,
    SecurityGroup,
    SecurityGroupRule,
    lowest_free_number,
)

if TYPE_CHECKING:
    from minicloud.network import Network

NOT_FOUND = "SecurityGroupNotFound"
RULE_NOT_FOUND = "SecurityGroupRuleNotFound"
DEFAULT = "default"
PROTOCOLS = {
    "ah": 51, "dccp": 33, "egp": 8, "esp": 50, "gre": 47, "hopopt": 0, "icmp": 1, "igmp": 2, "ip": 0, "ipip": 4,
    "ipv6-encap": 41, "ipv6-frag": 44, "ipv6-icmp": 58, "icmpv6": 58, "ipv6-nonxt": 59, "ipv6-opts": 60,
    "ipv6-route": 43, "ospf": 89, "pgm": 113, "rsvp": 46, "sctp": 132, "tcp": 6, "udp": 17, "udplite": 136, "vrrp": 112,
}  # fmt: skip
WITH_PORTS = {6, 17, 33, 132, 136}
ICMP = {1, 58}
ONLY_IPV6 = {"ipv6-encap", "ipv6-frag", "ipv6-icmp", "icmpv6", "ipv6-nonxt", "ipv6-opts", "ipv6-route"}
ONLY_IPV6_NUMBERS = {str(PROTOCOLS[name]) for name in ONLY_IPV6}


def protocol_number(protocol: str | None) -> int | None:
    """The IP protocol number of a rule's protocol; None is any ("ip" too)."""
    if protocol is None or protocol == "ip":
        return None
    return int(protocol) if protocol.isdigit() else PROTOCOLS[protocol]


async def create(service: Network, ctx: Context, many: Sequence[Mapping[str, Any]]) -> list[SecurityGroup]:
    """Make groups, all or none; each lets everything out.

    Raises:
        Conflict: the name "default" is taken by the group that we make. OverQuota.
    """

    def write(db: Db) -> list[SecurityGroup]:
        return [_create_in(db, service, ctx, values) for values in many]

    return await service.store.write(write)


def _create_in(db: Db, service: Network, ctx: Context, values: Mapping[str, Any]) -> SecurityGroup:
    project_id = standing.project_of(ctx, values)
    default_in(db, service, project_id)
    if values.get("name") == DEFAULT:
        raise Conflict(
            "Cannot create a group named default: every project has one.", code="SecurityGroupDefaultAlreadyExists"
        )
    service.quotas.check_in(db, project_id, security_group=1, security_group_rule=2)
    return _write_in(db, service, {**values, "project_id": project_id})


def default_in(db: Db, service: Network, project_id: str) -> SecurityGroup:
    """The default group of a project; made if it is not there yet."""
    found = SECURITY_GROUPS.first(db, "project_id = ? AND is_default = 1", (project_id,))
    if found is not None:
        return found
    row = _write_in(
        db, service,
        {"project_id": project_id, "name": DEFAULT, "description": "Default security group", "is_default": True},
    )  # fmt: skip
    for ethertype in ("IPv4", "IPv6"):
        _write_rule_in(db, service, row, direction="ingress", ethertype=ethertype, remote_group_id=row.id)
    return row


async def ensure_default(service: Network, project_id: str | None) -> None:
    """Have a project's default group exist; a look is all it costs once it does."""
    if project_id is None:
        return
    found = service.store.read(SECURITY_GROUPS.first, "project_id = ? AND is_default = 1", (project_id,))
    if found is None:
        await service.store.write(default_in, service, project_id)


def _write_in(db: Db, service: Network, values: Mapping[str, Any]) -> SecurityGroup:
    given = {key: value for key, value in values.items() if key in SECURITY_GROUPS.columns and value is not None}
    plain = {"stateful": True, "is_default": False, "number": lowest_free_number(db, "security_groups")}
    row = SECURITY_GROUPS.insert(db, SecurityGroup(**standing.fresh(service.clock, {**plain, **given})))
    for ethertype in ("IPv4", "IPv6"):
        _write_rule_in(db, service, row, direction="egress", ethertype=ethertype)
    return SECURITY_GROUPS.need(db, row.id)  # its rules count in its revision


async def update(
    service: Network, ctx: Context, group_id: str, values: Mapping[str, Any], revision: int | None = None
) -> SecurityGroup:
    """Change a group. Raises `Conflict` for the name of the default group, and for `stateful` while ports use it."""

    def write(db: Db) -> SecurityGroup:
        row = _owned_in(db, ctx, group_id)
        standing.require_revision(row, revision)
        given = {key: value for key, value in values.items() if key in SECURITY_GROUPS.columns and value is not None}
        if row.is_default and given.get("name", DEFAULT) != DEFAULT:
            raise Conflict("Cannot rename the default group.", code="SecurityGroupCannotUpdateDefault")
        if not row.is_default and given.get("name") == DEFAULT:
            raise Conflict(
                "Cannot name a group default: the project has one.", code="SecurityGroupDefaultAlreadyExists"
            )
        if given.get("stateful", row.stateful) != row.stateful and _is_used_in(db, row.id):
            raise Conflict(f"Cannot change stateful of group {row.id}: ports use it.", code="SecurityGroupInUse")
        return standing.changed_in(db, service.clock, SECURITY_GROUPS, row, given)

    row = await service.store.write(write)
    await service.converge.group(row.id)
    return row


async def delete(service: Network, ctx: Context, group_id: str, revision: int | None = None) -> None:
    """Remove a group. Raises `Conflict` for the default one, and while ports use it."""

    def write(db: Db) -> None:
        row = _owned_in(db, ctx, group_id)
        standing.require_revision(row, revision)
        if row.is_default and not ctx.is_admin:
            raise Conflict("Cannot delete the default group.", code="SecurityGroupCannotRemoveDefault")
        if _is_used_in(db, row.id):
            raise Conflict(f"Cannot delete group {row.id}: ports use it.", code="SecurityGroupInUse")
        SECURITY_GROUP_RULES.delete_where(db, "security_group_id = ? OR remote_group_id = ?", (row.id, row.id))
        RBAC_POLICIES.delete_where(db, "object_id = ?", (row.id,))
        SECURITY_GROUPS.delete(db, row.id)

    await service.store.write(write)
    await service.converge.group(group_id)


def show(service: Network, ctx: Context, group_id: str) -> SecurityGroup:
    """One group that the caller may know of."""
    return service.store.read(standing.visible_in, ctx, SECURITY_GROUPS, group_id, NOT_FOUND)


def rules_of(service: Network, group_ids: Sequence[str]) -> dict[str, list[SecurityGroupRule]]:
    """The rules of groups, by group."""
    marks = ", ".join("?" * len(group_ids))
    rules: dict[str, list[SecurityGroupRule]] = {group_id: [] for group_id in group_ids}
    condition = f"security_group_id IN ({marks})"
    for rule in service.store.read(SECURITY_GROUP_RULES.where, condition, list(group_ids), order="created_at, id"):
        rules[rule.security_group_id].append(rule)
    return rules


def visible_sql(ctx: Context) -> tuple[str, list[Any]]:
    """An SQL condition on `security_groups`, with its parameters: what the caller may know of."""
    if ctx.is_admin:
        return "", []
    condition = f"(security_groups.project_id = ? OR {standing.shared_sql('security_groups')})"
    return condition, [ctx.project_id, ctx.project_id]


def _owned_in(db: Db, ctx: Context, group_id: str) -> SecurityGroup:
    return standing.owned_in(db, ctx, SECURITY_GROUPS, group_id, NOT_FOUND)


def _is_used_in(db: Db, group_id: str) -> bool:
    return db.execute("SELECT 1 FROM port_groups WHERE group_id = ?", (group_id,)).fetchone() is not None


# --- rules -----------------------------------------------------------------------------------------------------------


async def create_rules(service: Network, ctx: Context, many: Sequence[Mapping[str, Any]]) -> list[SecurityGroupRule]:
    """Make rules, all or none.

    Raises:
        NotFound: the group, or the remote one. Invalid: what no packet can match. Conflict: the same rule is there
        already (`SecurityGroupRuleExists`). OverQuota.
    """

    def write(db: Db) -> list[SecurityGroupRule]:
        return [_create_rule_in(db, service, ctx, values) for values in many]

    rows = await service.store.write(write)
    for group_id in {row.security_group_id for row in rows}:
        await service.converge.group(group_id)
    return rows


def _create_rule_in(db: Db, service: Network, ctx: Context, values: Mapping[str, Any]) -> SecurityGroupRule:
    group = _owned_in(db, ctx, values["security_group_id"])
    service.quotas.check_in(db, group.project_id, security_group_rule=1)
    given = {key: value for key, value in values.items() if key in SECURITY_GROUP_RULES.columns and value is not None}
    given.pop("project_id", None)
    if given.get("remote_ip_prefix") == "":  # some clients send it for "from everywhere"
        del given["remote_ip_prefix"]
    ethertype = given.setdefault("ethertype", "IPv4")
    if given.get("remote_ip_prefix") and given.get("remote_group_id"):
        raise Invalid(
            "Cannot use both remote_ip_prefix and remote_group_id.", code="SecurityGroupMultipleRemoteEntites"
        )
    if given.get("remote_group_id"):
        standing.visible_in(db, ctx, SECURITY_GROUPS, given["remote_group_id"], NOT_FOUND)
    given["protocol"] = _checked_protocol(given.get("protocol"), ethertype)
    _check_ports(given)
    if given.get("remote_ip_prefix"):
        given["remote_ip_prefix"] = _checked_prefix(given["remote_ip_prefix"], ethertype)
    same = _same_rule_in(db, group.id, given)
    if same is not None:
        raise Conflict(f"Security group rule already exists. Rule id is {same.id}.", code="SecurityGroupRuleExists")
    return _write_rule_in(db, service, group, **{key: given[key] for key in given if key != "security_group_id"})


def _write_rule_in(db: Db, service: Network, group: SecurityGroup, **values: Any) -> SecurityGroupRule:
    plain = {
        "protocol": None, "port_range_min": None, "port_range_max": None, "remote_ip_prefix": None, "remote_group_id": None,
        "project_id": group.project_id, "security_group_id": group.id,
    }  # fmt: skip
    row = SECURITY_GROUP_RULES.insert(db, SecurityGroupRule(**standing.fresh(service.clock, {**plain, **values})))
    standing.touch_in(db, service.clock, SECURITY_GROUPS, group.id)
    return row


async def delete_rule(service: Network, ctx: Context, rule_id: str, revision: int | None = None) -> None:
    """Remove a rule; flows that it alone allowed are cut."""

    def write(db: Db) -> str:
        row = visible_rule_in(db, ctx, rule_id)
        standing.require_revision(row, revision)
        _owned_in(db, ctx, row.security_group_id)
        SECURITY_GROUP_RULES.delete(db, row.id)
        standing.touch_in(db, service.clock, SECURITY_GROUPS, row.security_group_id)
        return row.security_group_id

    await service.converge.group(await service.store.write(write))


def visible_rule_in(db: Db, ctx: Context, rule_id: str) -> SecurityGroupRule:
    """A rule of a group that the caller may know of."""
    row = SECURITY_GROUP_RULES.get(db, rule_id)
    if row is None or not (
        ctx.sees(row.project_id) or standing.is_shared_in(db, row.security_group_id, ctx.project_id)
    ):
        raise NotFound(f"Security group rule {rule_id} does not exist.", code=RULE_NOT_FOUND)
    return row


def visible_rules_sql(ctx: Context) -> tuple[str, list[Any]]:
    """An SQL condition on `security_group_rules`, with its parameters: what the caller may know of."""
    if ctx.is_admin:
        return "", []
    shared = "SELECT object_id FROM rbac_policies WHERE target IN ('*', ?)"
    return f"(project_id = ? OR security_group_id IN ({shared}))", [ctx.project_id, ctx.project_id]


def _checked_protocol(protocol: Any, ethertype: str) -> str | None:
    if protocol is None or protocol == "":
        return None
    text = str(protocol).lower()
    number = text.isascii() and text.isdigit() and len(text) <= 3
    if number:
        text = str(int(text))
    known = int(text) <= 255 if number else text in PROTOCOLS
    if not known:
        raise Invalid(
            f"Cannot use protocol {text[:40]}: it must be a number from 0 to 255 or one of {', '.join(sorted(PROTOCOLS))}.",
            code="SecurityGroupRuleInvalidProtocol",
        )
    if ethertype == "IPv6" and text in ("icmp", "icmpv6"):
        return "ipv6-icmp"
    if ethertype == "IPv4" and (text in ONLY_IPV6 or text in ONLY_IPV6_NUMBERS):
        raise Invalid(f"Cannot use protocol {text} with IPv4.", code="SecurityGroupEthertypeConflictWithProtocol")
    return text


def _check_ports(given: Mapping[str, Any]) -> None:
    low, high, protocol = given.get("port_range_min"), given.get("port_range_max"), given.get("protocol")
    if low is None and high is None:
        return
    number = protocol_number(protocol)
    if number is None:
        raise Invalid(
            "Must also specify protocol if port range is given.", code="SecurityGroupProtocolRequiredWithPorts"
        )
    if number in ICMP:
        for value, name in ((low, "type (port-range-min)"), (high, "code (port-range-max)")):
            if value is not None and not 0 <= value <= 255:
                raise Invalid(f"Invalid value for ICMP {name} {value}: 0 to 255.", code="SecurityGroupInvalidIcmpValue")
        if low is None:
            raise Invalid(
                f"ICMP type (port-range-min) is missing: code {high} needs one.", code="SecurityGroupMissingIcmpType"
            )
        return
    for value in (low, high):
        if value is not None and not 0 <= value <= 65535:
            raise Invalid(f"Invalid value for port {value}.", code="SecurityGroupInvalidPortValue")
    if number not in WITH_PORTS:
        raise Invalid(
            f"Cannot use ports with protocol {protocol}: it has none.", code="SecurityGroupInvalidProtocolForPort"
        )
    if low is None or high is None or low > high:
        raise Invalid(
            "Cannot use these ports: both ends must be given, and port_range_min must be <= port_range_max.",
            code="SecurityGroupInvalidPortRange",
        )


def _checked_prefix(prefix: str, ethertype: str) -> str:
    try:
        ranged = addresses.range_of(prefix)
    except ValueError:
        raise Invalid(f"Invalid CIDR {prefix[:80]} given as IP prefix.", code="InvalidCIDR") from None
    if f"IPv{ranged.version}" != ethertype:
        raise Invalid(
            f"Conflicting value ethertype {ethertype} for CIDR {ranged}.", code="SecurityGroupRuleParameterConflict"
        )
    return str(prefix) if "/" in prefix else str(ranged)


def _same_rule_in(db: Db, group_id: str, given: Mapping[str, Any]) -> SecurityGroupRule | None:
    """A rule that lets just the same through: protocols and ranges are compared by meaning, not as text."""

    def meaning(values: Mapping[str, Any]) -> tuple[Any, ...]:
        prefix = values.get("remote_ip_prefix")
        ranged = None if prefix is None else ipaddress.ip_network(prefix, strict=False)
        if ranged is not None and ranged.prefixlen == 0:
            ranged = None
        number = protocol_number(values.get("protocol"))
        ports = (values.get("port_range_min"), values.get("port_range_max"))
        return (values["direction"], values["ethertype"], number, ports, ranged, values.get("remote_group_id"))

    wanted = meaning(given)
    for rule in SECURITY_GROUP_RULES.where(db, "security_group_id = ?", (group_id,)):
        if meaning({column: getattr(rule, column) for column in SECURITY_GROUP_RULES.columns}) == wanted:
            return rule
    return None


def normalized(prefix: str | None) -> str | None:
    """A rule's remote prefix with the network's own address (what the filter means by it)."""
    return None if prefix is None else str(ipaddress.ip_network(prefix, strict=False))
