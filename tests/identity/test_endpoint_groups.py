"""Endpoint groups and filters decide what a project's catalogue tells; policies can be tied to endpoints."""

from __future__ import annotations

from typing import Any

from tests.conftest import PASSWORD, Client, Cloud

V3 = "/identity/v3"
ROOT = V3 + "/OS-EP-FILTER"


async def endpoints(admin: Client) -> list[dict[str, Any]]:
    return list((await admin.get(f"{V3}/endpoints?interface=public"))["endpoints"])


async def seen(caller: Client) -> set[str]:
    catalogue = (await caller.get(f"{V3}/auth/catalog"))["catalog"]
    return {one["id"] for service in catalogue for one in service["endpoints"]}


async def test_a_project_sees_what_it_was_given(cloud: Cloud) -> None:
    admin, demo = cloud.admin, cloud.demo
    all_of_them = await seen(demo)
    one, other = (row["id"] for row in (await endpoints(admin))[:2])
    place = f"{ROOT}/projects/{demo.project_id}"
    await admin.get(f"{place}/endpoints/{one}", expect=404)
    await admin.put(f"{place}/endpoints/{one}", expect=204)
    await admin.put(f"{place}/endpoints/{one}", expect=204)
    await admin.request("HEAD", f"{place}/endpoints/{one}", expect=204)
    assert await seen(demo) == {one} and len(await seen(admin)) == len(all_of_them)
    await admin.put(f"{place}/endpoints/{other}", expect=204)
    assert {row["id"] for row in (await admin.get(f"{place}/endpoints"))["endpoints"]} == {one, other}
    told = (await admin.get(f"{ROOT}/endpoints/{one}/projects"))["projects"]
    assert [row["id"] for row in told] == [demo.project_id]
    fresh = await cloud.login("demo", PASSWORD, "demo")
    shown = (await fresh.get(f"{V3}/auth/tokens", headers={"X-Subject-Token": fresh.token}))["token"]["catalog"]
    assert all(service["endpoints"] for service in shown) and len(shown) <= 2
    await admin.delete(f"{place}/endpoints/{one}", expect=204)
    await admin.delete(f"{place}/endpoints/{one}", expect=404)
    await admin.delete(f"{V3}/endpoints/{other}", expect=204)
    assert len(await seen(demo)) == len(all_of_them) - 1


async def test_a_group_gives_all_that_its_filters_match(cloud: Cloud) -> None:
    admin, demo = cloud.admin, cloud.demo
    values = {"name": "outside", "filters": {"interface": "public"}, "description": "x", "colour": "blue"}
    group = (await admin.post(f"{ROOT}/endpoint_groups", {"endpoint_group": values}, expect=201))["endpoint_group"]
    assert group["colour"] == "blue" and group["links"]["self"].endswith(f"{ROOT}/endpoint_groups/{group['id']}")
    one = f"{ROOT}/endpoint_groups/{group['id']}"
    public = {row["id"] for row in await endpoints(admin)}
    assert {row["id"] for row in (await admin.get(f"{one}/endpoints"))["endpoints"]} == public
    await admin.get(f"{one}/projects/{demo.project_id}", expect=404)
    await admin.put(f"{one}/projects/{demo.project_id}", expect=204)
    assert await seen(demo) == public
    shown = await admin.get(f"{one}/projects/{demo.project_id}")
    assert shown["project_endpoint_group"] == {"project_id": demo.project_id, "endpoint_group_id": group["id"]}
    assert [row["id"] for row in (await admin.get(f"{one}/projects"))["projects"]] == [demo.project_id]
    mine = await admin.get(f"{ROOT}/projects/{demo.project_id}/endpoint_groups")
    assert [row["name"] for row in mine["endpoint_groups"]] == ["outside"]
    assert len((await admin.get(f"{ROOT}/projects/{demo.project_id}/endpoints"))["endpoints"]) == len(public)
    service = (await endpoints(admin))[0]["service_id"]
    changed = {"filters": {"service_id": service, "interface": "admin"}, "name": "inside"}
    await admin.patch(one, {"endpoint_group": changed}, expect=200)
    assert len(await seen(demo)) == 1
    assert (await admin.get(one))["endpoint_group"]["filters"] == changed["filters"]
    assert [row["id"] for row in (await admin.get(f"{ROOT}/endpoint_groups?name=inside"))["endpoint_groups"]]
    await admin.delete(f"{one}/projects/{demo.project_id}", expect=204)
    await admin.delete(f"{one}/projects/{demo.project_id}", expect=404)
    await admin.put(f"{one}/projects/{demo.project_id}", expect=204)
    await admin.delete(one, expect=204)
    await admin.get(one, expect=404)
    assert len(await seen(demo)) > len(public)


async def test_what_is_no_filter_is_refused(cloud: Cloud) -> None:
    admin, path = cloud.admin, f"{ROOT}/endpoint_groups"
    for bad in (
        {"name": "a", "filters": {}},
        {"name": "a", "filters": {"colour": "blue"}},
        {"name": "a", "filters": "interface=public"},
        {"filters": {"interface": "public"}},
        {"name": ""} | {"filters": {"interface": "public"}},
    ):
        await admin.post(path, {"endpoint_group": bad}, expect=400)
    await cloud.demo.post(path, {"endpoint_group": {"name": "a", "filters": {"enabled": True}}}, expect=403)
    made = await admin.post(path, {"endpoint_group": {"name": "a", "filters": {"enabled": True}}}, expect=201)
    one = f"{path}/{made['endpoint_group']['id']}"
    await admin.patch(one, {"endpoint_group": {"filters": {"url": "x"}}}, expect=400)
    await admin.patch(one, {"endpoint_group": {"filters": {}}}, expect=200)
    every = (await admin.get(f"{V3}/endpoints"))["endpoints"]
    assert len((await admin.get(one + "/endpoints"))["endpoints"]) == len(every)
    for place in (f"{one}/projects/nothing", f"{path}/nothing/projects/{cloud.demo.project_id}"):
        await admin.put(place, expect=404)
        await admin.get(place, expect=404)
    for place in ("projects/nothing/endpoints", "projects/nothing/endpoint_groups", "endpoints/nothing/projects"):
        await admin.get(f"{ROOT}/{place}", expect=404)
    await admin.put(f"{ROOT}/projects/{cloud.demo.project_id}/endpoints/nothing", expect=404)


async def test_the_nearest_policy_counts_for_an_endpoint(cloud: Cloud) -> None:
    admin = cloud.admin
    endpoint = (await endpoints(admin))[0]
    ids = []
    for name in ("own", "regional", "common"):
        body = {"policy": {"type": "text/plain", "blob": name}}
        ids.append((await admin.post(f"{V3}/policies", body, expect=201))["policy"]["id"])
    own, regional, common = (f"{V3}/policies/{one}/OS-ENDPOINT-POLICY" for one in ids)
    effective = f"{V3}/endpoints/{endpoint['id']}/OS-ENDPOINT-POLICY/policy"
    service = f"services/{endpoint['service_id']}"
    await admin.get(effective, expect=404)
    for place, expected in (
        (f"{common}/{service}", "common"),
        (f"{regional}/{service}/regions/{endpoint['region_id']}", "regional"),
        (f"{own}/endpoints/{endpoint['id']}", "own"),
    ):
        await admin.get(place, expect=404)
        await admin.put(place, expect=204)
        await admin.get(place, expect=204)
        assert (await admin.get(effective))["policy"]["blob"] == expected
    listed = (await admin.get(f"{own}/endpoints"))["endpoints"]
    assert [row["id"] for row in listed] == [endpoint["id"]]
    others = (await admin.get(f"{regional}/endpoints"))["endpoints"]
    assert endpoint["id"] not in {row["id"] for row in others} and others
    await admin.put(f"{common}/endpoints/{endpoint['id']}", expect=204)
    await admin.get(f"{own}/endpoints/{endpoint['id']}", expect=404)
    await admin.delete(f"{own}/endpoints/{endpoint['id']}", expect=404)
    await admin.delete(f"{common}/endpoints/{endpoint['id']}", expect=204)
    await admin.put(f"{common}/{service}/regions/nowhere", expect=404)
    await admin.put(f"{V3}/policies/nothing/OS-ENDPOINT-POLICY/{service}", expect=404)
    await admin.delete(f"{V3}/policies/{ids[1]}", expect=204)
    assert (await admin.get(effective))["policy"]["blob"] == "common"
