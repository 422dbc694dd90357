"""Groups of servers, and Nova's old window on groups."""

from __future__ import annotations

from tests.compute.conftest import Yard

GROUPS = "/compute/v2.1/os-security-groups"


async def test_groups_are_made_ruled_and_removed_through_the_old_window(yard: Yard) -> None:
    body = {"security_group": {"name": "web", "description": "d"}}
    group = (await yard.demo.post(GROUPS, body, expect=200))["security_group"]
    assert (group["name"], group["rules"]) == ("web", [])
    rule = {"parent_group_id": group["id"], "ip_protocol": "tcp", "from_port": 80, "to_port": 80, "cidr": "10.0.0.0/8"}
    path = "/compute/v2.1/os-security-group-rules"
    made = (await yard.demo.post(path, {"security_group_rule": rule}, expect=200))["security_group_rule"]
    assert (made["from_port"], made["ip_range"], made["group"]) == (80, {"cidr": "10.0.0.0/8"}, {})
    assert (await yard.demo.get(f"{GROUPS}/{group['id']}"))["security_group"]["rules"] == [made]
    await yard.demo.delete(f"{path}/{made['id']}", expect=202)
    await yard.demo.post(path, {"security_group_rule": {**rule, "from_port": 90}}, expect=400)
    await yard.demo.delete(f"{GROUPS}/{group['id']}", expect=202)
    await yard.demo.get(f"{GROUPS}/{group['id']}", expect=404)
    assert [one["name"] for one in (await yard.demo.get(GROUPS))["security_groups"]] == ["default"]


async def test_a_server_gets_and_loses_a_group(yard: Yard) -> None:
    server_id = await yard.launch()
    await yard.demo.post(GROUPS, {"security_group": {"name": "web", "description": ""}}, expect=200)
    await yard.act(server_id, {"addSecurityGroup": {"name": "web"}})
    assert {"name": "web"} in (await yard.show(server_id))["security_groups"]
    listed = await yard.demo.get(f"/compute/v2.1/servers/{server_id}/os-security-groups")
    assert sorted(one["name"] for one in listed["security_groups"]) == ["default", "web"]
    await yard.act(server_id, {"removeSecurityGroup": {"name": "web"}})
    await yard.act(server_id, {"removeSecurityGroup": {"name": "web"}}, expect=404)
    await yard.act(server_id, {"addSecurityGroup": {"name": "nope"}}, expect=404)
