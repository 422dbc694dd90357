"""Security groups, tags, quotas and sharing over HTTP, and the filters that follow."""

from __future__ import annotations

from typing import Any

import pytest

from tests.network.conftest import Net


async def _plugged(net: Net) -> tuple[Any, str]:
    network, _ = await net.demo.network_with_subnet()
    ctx = net.context("demo")
    (nic,) = net.network.choose_nics(ctx, None)
    await net.network.plug(ctx, nic, "server-1", hostname="web", availability_zone="nova")
    return network, nic.port_id


async def test_every_project_has_a_default_group(net: Net) -> None:
    (group,) = (await net.demo.get("/security-groups"))["security_groups"]
    assert group["name"] == "default" and group["project_id"] == net.demo.project_id
    rules = {(one["direction"], one["ethertype"], one["remote_group_id"]) for one in group["security_group_rules"]}
    own = group["id"]
    assert rules == {
        ("egress", "IPv4", None),
        ("egress", "IPv6", None),
        ("ingress", "IPv4", own),
        ("ingress", "IPv6", own),
    }
    answer = await net.demo.delete(f"/security-groups/{own}", expect=409)
    assert answer["NeutronError"]["type"] == "SecurityGroupCannotRemoveDefault"
    await net.demo.put(f"/security-groups/{own}", {"security_group": {"name": "x"}}, expect=409)
    await net.demo.make("security_group", 409, name="default")


async def test_rules_reach_the_filter_of_a_running_machine(net: Net) -> None:
    _, port_id = await _plugged(net)
    group_id = net.section("port_filters")[port_id]["groups"][0]
    rule = await net.demo.make(
        "security_group_rule", security_group_id=group_id, direction="ingress", protocol="tcp", port_range_min=22,
        port_range_max=22, remote_ip_prefix="10.0.0.7/8",
    )  # fmt: skip
    assert rule["normalized_cidr"] == "10.0.0.0/8" and rule["ethertype"] == "IPv4"
    loaded = net.section("group_filters")[group_id]
    assert list(loaded["members"]) == ["10.0.0.3"]
    assert any(
        one["protocol"] == 6 and one["port_min"] == 22 and one["remote_cidr"] == "10.0.0.0/8" for one in loaded["rules"]
    )
    await net.demo.delete(f"/security-group-rules/{rule['id']}", expect=204)
    assert not any(one["protocol"] == 6 for one in net.section("group_filters")[group_id]["rules"])
    await net.demo.get(f"/security-group-rules/{rule['id']}", expect=404)


async def test_a_port_changes_its_groups_and_both_hear_of_it(net: Net) -> None:
    _, port_id = await _plugged(net)
    old = net.section("port_filters")[port_id]["groups"][0]
    new = await net.demo.make("security_group", name="g")
    await net.demo.put(f"/ports/{port_id}", {"port": {"security_groups": [new["id"]]}}, expect=200)
    assert list(net.section("port_filters")[port_id]["groups"]) == [new["id"]]
    assert list(net.section("group_filters")[old]["members"]) == []
    assert list(net.section("group_filters")[new["id"]]["members"]) == ["10.0.0.3"]
    answer = await net.demo.delete(f"/security-groups/{new['id']}", expect=409)
    assert answer["NeutronError"]["type"] == "SecurityGroupInUse"
    await net.demo.put(f"/ports/{port_id}", {"port": {"security_groups": ["nope"]}}, expect=404)


async def test_the_same_rule_twice_is_a_conflict_however_it_is_spelt(net: Net) -> None:
    group = await net.demo.make("security_group", name="g")
    plain = {"security_group_id": group["id"], "direction": "ingress", "port_range_min": 80, "port_range_max": 80}
    await net.demo.make("security_group_rule", protocol="tcp", **plain)
    for same in ({"protocol": "TCP"}, {"protocol": 6}, {"protocol": "tcp", "remote_ip_prefix": "0.0.0.0/0"}):
        answer = await net.demo.make("security_group_rule", 409, **plain, **same)
        assert answer["NeutronError"]["type"] == "SecurityGroupRuleExists"
    await net.demo.make("security_group_rule", protocol="udp", **plain)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({"protocol": "zz"}, "SecurityGroupRuleInvalidProtocol"),
        ({"protocol": 256}, "SecurityGroupRuleInvalidProtocol"),
        ({"port_range_min": 30, "port_range_max": 40}, "SecurityGroupProtocolRequiredWithPorts"),
        ({"direction": "zz"}, "BadRequest"),
        ({"ethertype": "IPX"}, "SecurityGroupRuleInvalidEtherType"),
        ({"remote_ip_prefix": "zz"}, "InvalidCIDR"),
        ({"ethertype": "IPv4", "remote_ip_prefix": "fd00::/64"}, "SecurityGroupRuleParameterConflict"),
        ({"protocol": "tcp", "port_range_min": 70000, "port_range_max": 70000}, "SecurityGroupInvalidPortValue"),
        ({"protocol": "tcp", "port_range_min": 9, "port_range_max": 8}, "SecurityGroupInvalidPortRange"),
        ({"protocol": "icmp", "port_range_max": 8}, "SecurityGroupMissingIcmpType"),
        ({"protocol": "icmp", "port_range_min": 300}, "SecurityGroupInvalidIcmpValue"),
        ({"protocol": "icmpv6"}, "SecurityGroupEthertypeConflictWithProtocol"),
    ],
)
async def test_rules_are_refused_that_no_packet_can_match(net: Net, values: dict[str, Any], kind: str) -> None:
    group = await net.demo.make("security_group", name="g")
    body = {"security_group_id": group["id"], "direction": "ingress", **values}
    answer = await net.demo.make("security_group_rule", 400, **body)
    assert answer["NeutronError"]["type"] == kind


async def test_both_remotes_are_one_too_many(net: Net) -> None:
    group = await net.demo.make("security_group", name="g")
    remotes = {"remote_ip_prefix": "10.0.0.0/8", "remote_group_id": group["id"]}
    answer = await net.demo.make(
        "security_group_rule", 400, security_group_id=group["id"], direction="ingress", **remotes
    )
    assert answer["NeutronError"]["type"] == "SecurityGroupMultipleRemoteEntites"
    gone = await net.other.make("security_group_rule", 404, security_group_id=group["id"], direction="ingress")
    assert gone["NeutronError"]["type"] == "SecurityGroupNotFound"


async def test_a_new_group_is_told_as_it_is(net: Net) -> None:
    made = await net.demo.make("security_group", name="web")
    assert (await net.demo.get(f"/security-groups/{made['id']}"))["security_group"] == made


async def test_tags_are_told_in_their_order_whenever_they_came(net: Net) -> None:
    network = await net.demo.make("network")
    path = f"/networks/{network['id']}/tags"
    for some in (["red", "green"], ["blue", "yellow"], ["blue"], []):
        await net.demo.post(path, {"tags": some}, expect=200)
    assert (await net.demo.get(path))["tags"] == ["blue", "green", "red", "yellow"]


async def test_tags_are_put_on_and_found_by(net: Net) -> None:
    network, other = await net.demo.make("network"), await net.demo.make("network")
    path = f"/networks/{network['id']}/tags"
    assert (await net.demo.put(path, {"tags": ["a", "b"]}, expect=200)).body == {"tags": ["a", "b"]}
    await net.demo.put(f"{path}/c", expect=201)
    await net.demo.get(f"{path}/c", expect=204)
    answer = await net.demo.get(f"{path}/zz", expect=404)
    assert answer["NeutronError"]["type"] == "TagNotFound"
    await net.demo.put(f"/networks/{other['id']}/tags/a", expect=201)
    for query, count in (
        ("tags=a,b", 1),
        ("tags=a", 2),
        ("tags-any=b,zz", 1),
        ("not-tags=a,b", 1),
        ("not-tags-any=c", 1),
    ):
        found = (await net.demo.get(f"/networks?{query}&project_id={net.demo.project_id}"))["networks"]
        assert len(found) == count, query
    await net.demo.delete(f"{path}/c", expect=204)
    await net.demo.delete(path, expect=204)
    assert (await net.demo.get(path)).body == {"tags": []}
    await net.reader.put(path, {"tags": []}, expect=403)
    await net.other.get(path, expect=404)


async def test_quotas_are_shown_changed_and_reset(net: Net) -> None:
    path = f"/quotas/{net.demo.project_id}"
    await net.demo.get(path, expect=403)  # managers may look, members not
    assert (await net.admin.get(path))["quota"]["network"] == 100
    await net.demo.put(path, {"quota": {"network": 5}}, expect=403)
    assert (await net.admin.put(path, {"quota": {"network": 5}}, expect=200))["quota"]["network"] == 5
    await net.demo.make("network")
    details = (await net.admin.get(path + "/details.json"))["quota"]
    assert details["network"] == {"limit": 5, "used": 1, "reserved": 0}
    assert [one["project_id"] for one in (await net.admin.get("/quotas"))["quotas"]] == [net.demo.project_id]
    await net.admin.put(path, {"quota": {"zz": 5}}, expect=400)
    await net.admin.put(path, {"quota": {"network": -2}}, expect=400)
    await net.admin.put(path, {"quota": {"network": 0, "check_limit": True}}, expect=400)
    await net.admin.delete(path, expect=204)
    assert (await net.admin.get(path + "/default"))["quota"] == (await net.admin.get(path))["quota"]
    await net.other.get(path, expect=403)


async def test_a_policy_lets_one_project_use_a_network(net: Net) -> None:
    network, _ = await net.demo.network_with_subnet()
    body = {
        "object_type": "network",
        "object_id": network["id"],
        "action": "access_as_shared",
        "target_tenant": net.other.project_id,
    }
    made = (await net.demo.post("/rbac-policies", {"rbac_policy": body}, expect=201))["rbac_policy"]
    assert (await net.other.get(f"/networks/{network['id']}"))["network"]["shared"] is True
    assert (await net.demo.get(f"/networks/{network['id']}"))["network"]["shared"] is False
    port = await net.other.make("port", network_id=network["id"])
    path = f"/rbac-policies/{made['id']}"
    assert (await net.demo.delete(path, expect=409))["NeutronError"]["type"] == "RbacPolicyInUse"
    await net.demo.post("/rbac-policies", {"rbac_policy": body}, expect=409)
    await net.demo.post("/rbac-policies", {"rbac_policy": {**body, "target_tenant": "*"}}, expect=403)
    await net.other.delete(f"/ports/{port['id']}", expect=204)
    await net.demo.delete(path, expect=204)
    await net.other.get(f"/networks/{network['id']}", expect=404)


async def test_what_administrators_look_at(net: Net) -> None:
    network, subnet = await net.demo.network_with_subnet("10.0.0.0/28")
    agents = (await net.admin.get("/agents"))["agents"]
    assert {one["agent_type"] for one in agents} == {"DHCP agent", "L3 agent"} and all(one["alive"] for one in agents)
    assert (await net.demo.get("/agents"))["agents"] == []
    await net.admin.get(f"/agents/{agents[0]['id']}")
    told = (await net.admin.get(f"/network-ip-availabilities/{network['id']}"))["network_ip_availability"]
    assert (
        told["total_ips"] == 13
        and told["used_ips"] == 1
        and told["subnet_ip_availability"][0]["subnet_id"] == subnet["id"]
    )
    await net.demo.get("/network-ip-availabilities", expect=403)
    served = (await net.admin.get(f"/networks/{network['id']}/dhcp-agents"))["agents"]
    assert [one["agent_type"] for one in served] == ["DHCP agent"]
    path = f"/agents/{served[0]['id']}/dhcp-networks"
    assert [one["id"] for one in (await net.admin.get(path))["networks"]] == [network["id"]]
    zones = (await net.demo.get("/availability_zones"))["availability_zones"]
    assert {one["resource"] for one in zones} == {"network", "router"}
