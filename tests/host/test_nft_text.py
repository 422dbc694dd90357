"""The text that nftables loads: pinned, and a change costs what changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from minicloud.core.errors import Invalid
from minicloud.host.firewall import GroupFilter, GroupRule, NatPlan, PortFilter, Uplink
from minicloud.host.real.nft_nat import nat_text
from minicloud.host.real.nft_text import (
    NOTHING,
    Part,
    bridge_part,
    difference,
    everything,
    group_part,
    merged,
    port_part,
    reachable_part,
    uplinks_part,
)

GOLDEN = Path(__file__).parent / "golden"
MAC = "fa:16:3e:00:00:01"
RULES = (
    GroupRule("egress", 4),
    GroupRule("egress", 6, remote_cidr="fd00::/8"),
    GroupRule("ingress", 4, 6, 22, 22),
    GroupRule("ingress", 4, 17, 100, 200, "10.0.0.0/8"),
    GroupRule("ingress", 4, 6, 0, 65535),
    GroupRule("ingress", 4, 1, 8, 0),
    GroupRule("ingress", 6, 1, 128),
    GroupRule("ingress", 4, 112),
    GroupRule("ingress", 4, 6, None, 99, "0.0.0.0/0"),
    GroupRule("ingress", 4, remote_group="web"),
    GroupRule("ingress", 6, 6, 443, 443, remote_group="web"),
    GroupRule("ingress", 4, remote_group="unknown"),
)
WEB = GroupFilter("web", 1, RULES, ("10.0.0.4", "fd00::4", "10.9.0.0/24", "10.9.0.0/16"))
GROUPS = {"web": WEB}
PAIRS = ((MAC, "10.0.0.4"), (MAC, "fd00::4"), ("fa:16:3e:00:00:09", "10.7.0.0/24"), (MAC, "fd00:1::/64"))
PORT = PortFilter("p", "mctp", "mcbn", 7, 101, MAC, PAIRS, ("web", "unknown"))
INSIDE = (("mcia", "10.0.0.0/24"), ("mcib", "10.1.0.0/24"))
NAT = NatPlan("r", "s", "mcig", "203.0.113.2", INSIDE, (("203.0.113.50", "10.0.0.4"),), 8775)


def whole() -> Part:
    return merged(
        [
            group_part(WEB, GROUPS),
            port_part(PORT, GROUPS),
            bridge_part("mcbn", zone=101, uplinked=False),
            bridge_part("mcbx", zone=102, uplinked=True),
            reachable_part("mcbx", [replace(PORT, number=9, bridge="mcbx"), PORT]),
            uplinks_part((Uplink("mcbx", "203.0.113.0/24"), Uplink("mcbx", "2001:db8::/64", masquerade=False))),
        ]
    )


def test_the_ruleset_is_just_this() -> None:
    assert everything([whole()]) == (GOLDEN / "nft_ruleset.nft").read_text()


def test_a_routers_ruleset_is_just_this() -> None:
    assert nat_text(NAT) == (GOLDEN / "nft_router.nft").read_text()


def test_what_is_the_same_costs_nothing() -> None:
    assert difference(whole(), whole()) == ""


def test_a_member_more_is_one_line() -> None:
    more = replace(WEB, members=(*WEB.members, "10.0.0.5"))
    text = difference(group_part(WEB, GROUPS), group_part(more, {"web": more}))
    assert text == "add element inet minicloud sg1_ip4 { 10.0.0.5 }\n"


def test_names_are_unused_before_they_go() -> None:
    lines = difference(merged([group_part(WEB, GROUPS), port_part(PORT, GROUPS)]), NOTHING).splitlines()
    kinds = [" ".join(line.split()[:2]) for line in lines]
    assert list(dict.fromkeys(kinds)) == ["delete element", "flush chain", "delete chain", "delete set"]


def test_a_stateless_group_does_not_lean_on_tracking() -> None:
    part = port_part(PORT, {"web": replace(WEB, stateful=False)})
    assert not any("ct state" in rule for rules in part.chains.values() for rule in rules)


def test_a_port_that_is_not_guarded_is_only_let_in() -> None:
    part = port_part(replace(PORT, guarded=False), GROUPS)
    assert part.chains == {} and list(part.elements) == [("bridge minicloud", "open", '"mctp"')]


@pytest.mark.parametrize(
    "rule",
    [
        GroupRule("ingress", 4, 47, 1, 2),
        GroupRule("ingress", 4, 6, 1, 2, "fd00::/8"),
        GroupRule("ingress", 6, remote_cidr="10.0.0.0/8"),
    ],
)
def test_a_rule_that_contradicts_itself_is_refused(rule: GroupRule) -> None:
    with pytest.raises(Invalid):
        group_part(replace(WEB, rules=(rule,)), GROUPS)


@pytest.mark.parametrize("name", ["", 'a"b', "a b", "a\nb", "sixteen-letters-", "mct*"])
def test_a_name_that_no_link_has_is_refused(name: str) -> None:
    with pytest.raises(Invalid):
        port_part(replace(PORT, tap=name), GROUPS)
    with pytest.raises(Invalid):
        nat_text(replace(NAT, gateway_link=name))
