"""Networks over HTTP: who sees what, what is refused, and that the bridge follows."""

from __future__ import annotations

import asyncio

from minicloud.host.links import bridge_name
from tests.network.conftest import Net


async def test_a_network_has_all_that_clients_look_at(net: Net) -> None:
    made = await net.demo.make("network", name="n1")
    assert made["subnets"] == [] and made["status"] == "ACTIVE" and made["admin_state_up"] is True
    assert made["tenant_id"] == made["project_id"] == net.demo.project_id
    assert made["shared"] is False and made["router:external"] is False and made["mtu"] == 1500
    assert "provider:network_type" not in made
    seen = (await net.admin.get(f"/networks/{made['id']}"))["network"]
    assert seen["provider:network_type"] == "local" and seen["provider:physical_network"] is None


async def test_members_may_say_of_a_new_thing_that_it_is_not_for_all(net: Net) -> None:
    network = await net.demo.make("network", shared=False, **{"router:external": "false", "is_default": False})
    await net.demo.make("subnetpool", name="p", prefixes=["10.8.0.0/16"], shared=False, is_default=False)
    await net.demo.make("address_scope", name="s", ip_version=4, shared=False)
    for body in ({"shared": True}, {"router:external": True}, {"provider:network_type": None}):
        refused = await net.demo.make("network", 403, **body)
        assert f"create_network:{next(iter(body))}" in refused["NeutronError"]["message"]
    await net.demo.put(f"/networks/{network['id']}", {"network": {"shared": False}}, expect=403)


async def test_a_network_is_a_bridge_as_long_as_it_lives(net: Net) -> None:
    made = await net.demo.make("network", name="n1")
    assert bridge_name(made["id"]) in net.section("bridges")
    await net.demo.delete(f"/networks/{made['id']}", expect=204)
    assert bridge_name(made["id"]) not in net.section("bridges")
    await net.demo.get(f"/networks/{made['id']}", expect=404)


async def test_strangers_do_not_find_a_network(net: Net) -> None:
    made = await net.demo.make("network", name="n1")
    for call in (net.other.get, net.other.delete):
        answer = await call(f"/networks/{made['id']}", expect=404)
        assert answer["NeutronError"]["type"] == "NetworkNotFound"
    listed = (await net.other.get("/networks"))["networks"]
    assert made["id"] not in [one["id"] for one in listed]


async def test_everyone_sees_the_external_network_made_at_the_first_start(net: Net) -> None:
    listed = (await net.demo.get("/networks?router:external=true"))["networks"]
    assert [one["name"] for one in listed] == ["public"] and len(listed[0]["subnets"]) == 1
    bridge = net.section("bridges")[bridge_name(listed[0]["id"])]
    assert bridge["addresses"] == ["172.24.4.1/24"]
    assert [one["cidr"] for one in net.section("uplinks").values()] == ["172.24.4.0/24"]


async def test_the_external_network_is_not_made_again_once_deleted(net: Net) -> None:
    listed = (await net.admin.get("/networks"))["networks"]
    await net.admin.delete(f"/networks/{listed[0]['id']}", expect=204)
    await net.stop()
    await net.start()
    assert (await net.admin.get("/networks"))["networks"] == []


async def test_members_may_not_share_or_choose_how_networks_are_made(net: Net) -> None:
    for values in ({"shared": True}, {"router:external": True}, {"provider:network_type": "flat"}):
        answer = await net.demo.make("network", expect=403, **values)
        assert answer["NeutronError"]["type"] == "PolicyNotAuthorized"
    await net.demo.make("network", expect=400, project_id=net.other.project_id)


async def test_a_shared_network_is_seen_but_not_changed_by_others(net: Net) -> None:
    made = await net.admin.make("network", name="s", shared=True)
    seen = (await net.demo.get(f"/networks/{made['id']}"))["network"]
    assert seen["shared"] is True
    await net.demo.put(f"/networks/{made['id']}", {"network": {"name": "x"}}, expect=404)
    assert [one["id"] for one in (await net.demo.get("/networks?shared=True"))["networks"]] == [made["id"]]


async def test_bulk_creation_is_all_or_nothing(net: Net) -> None:
    body = {"networks": [{"name": "a"}, {"name": "b"}]}
    made = (await net.demo.post("/networks", body, expect=201))["networks"]
    assert [one["name"] for one in made] == ["a", "b"]
    refused = {"networks": [{"name": "c"}, {"name": "d", "mtu": 9000}]}
    await net.demo.post("/networks", refused, expect=400)
    assert (await net.demo.get("/networks?name=c"))["networks"] == []


async def test_refusals_name_what_is_wrong(net: Net) -> None:
    made = await net.demo.make("network", name="n")
    for body in ({}, {"network": {"name": 5}}, {"network": {"zz": 1}}, {"network": {"admin_state_up": "zz"}}):
        await net.demo.post("/networks", body, expect=400)
    await net.demo.put(f"/networks/{made['id']}", {"network": {"status": "DOWN"}}, expect=400)
    for query in ("zz=1", "limit=-1", "sort_key=zz", "admin_state_up=zz", "marker=nope"):
        await net.demo.get(f"/networks?{query}", expect=400)
    flat = {"provider:network_type": "flat", "provider:physical_network": "public"}
    answer = await net.admin.make("network", expect=409, **flat)
    assert answer["NeutronError"]["type"] == "FlatNetworkInUse"
    await net.admin.make("network", expect=400, **{"provider:network_type": "vxlan"})
    assert (await net.demo.request("PATCH", "/networks", {}, expect=405)).body
    assert (await net.demo.get("/zzz", expect=404))["NeutronError"]["type"] == "HTTPNotFound"


async def test_if_match_refuses_a_change_of_something_else(net: Net) -> None:
    made = await net.demo.make("network", name="n")
    body, path = {"network": {"name": "m"}}, f"/networks/{made['id']}"
    answer = await net.demo.put(path, body, headers={"If-Match": "revision_number=99"}, expect=412)
    assert answer["NeutronError"]["type"] == "RevisionNumberConstraintFailed"
    told = f"revision_number={made['revision_number']}"
    changed = (await net.demo.put(path, body, headers={"If-Match": told}, expect=200))["network"]
    assert changed["revision_number"] > made["revision_number"] and changed["name"] == "m"


async def test_quota_is_a_conflict(net: Net) -> None:
    await net.store.write(net.network.quotas.set_in, net.demo.project_id, {"network": 1})
    await net.demo.make("network")
    answer = await net.demo.make("network", expect=409)
    assert answer["NeutronError"]["type"] == "OverQuota"


async def test_lists_come_in_pages_with_links(net: Net) -> None:
    for name in "abc":
        await net.demo.make("network", name=name)
    first = await net.demo.get("/networks?limit=2&sort_key=name&project_id=" + net.demo.project_id)
    assert [one["name"] for one in first["networks"]] == ["a", "b"]
    following = next(one["href"] for one in first["networks_links"] if one["rel"] == "next")
    second = await net.demo.get(following.split("/network/v2.0")[1])
    assert [one["name"] for one in second["networks"]] == ["c"]
    assert [one["rel"] for one in second["networks_links"]] == ["previous"]
    wrapped = {"networks": [{"network": {"name": "w"}}]}
    assert (await net.demo.post("/networks", wrapped, expect=201))["networks"][0]["name"] == "w"
    thin = await net.demo.get("/networks?name=a&fields=id&fields=name")
    assert set(thin["networks"][0]) == {"id", "name"}


async def test_a_failing_host_does_not_fail_the_request_and_is_mended(net: Net) -> None:
    net.world.fail("links.converge_bridge")
    made = await net.demo.make("network")
    assert made["status"] == "DOWN"
    await net.network.reconciler.once()
    seen = (await net.demo.get(f"/networks/{made['id']}"))["network"]
    assert seen["status"] == "ACTIVE" and bridge_name(made["id"]) in net.section("bridges")


async def test_orphans_go_and_one_odd_network_stops_no_other(net: Net) -> None:
    made = [await net.demo.make("network") for _ in range(2)]
    names = [bridge_name(one["id"]) for one in made]
    for name in names:
        del net.section("bridges")[name]
    net.section("bridges")["mcborphan"] = {"mtu": 1500, "addresses": [], "physical": None}
    net.section("namespaces")["mc-dhcp-gone"] = {"sysctls": {}}
    net.world.fail("links.converge_bridge")
    await net.network.reconciler.once()
    await net.network.reconciler.once()
    assert set(names) <= set(net.section("bridges"))
    assert "mcborphan" not in net.section("bridges") and "mc-dhcp-gone" not in net.section("namespaces")


async def test_discovery_needs_no_token_and_extensions_do(net: Net) -> None:
    async with net.session.get(net.url + "/network/") as answer:
        assert answer.status == 200 and (await answer.json())["versions"][0]["id"] == "v2.0"
    assert (await net.demo.get(""))["resources"]
    listed = (await net.demo.get("/extensions.json"))["extensions"]
    assert "security-group" in [one["alias"] for one in listed]
    assert (await net.demo.get("/extensions/security-group"))["extension"]["alias"] == "security-group"
    await net.demo.get("/extensions/zz", expect=404)
    assert [one["service_type"] for one in (await net.demo.get("/service-providers"))["service_providers"]] == [
        "L3_ROUTER_NAT"
    ]
    assert (await net.demo.get("/service-providers?service_type=VPN"))["service_providers"] == []


async def test_many_networks_at_once_get_numbers_of_their_own(net: Net) -> None:
    await asyncio.gather(*(net.demo.make("network") for _ in range(12)))
    numbers = net.store.read(lambda db: [row[0] for row in db.execute("SELECT number FROM networks")])
    assert len(set(numbers)) == len(numbers) == 13
