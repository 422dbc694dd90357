"""Domains, projects, users, groups, roles and the catalogue: made, seen, changed, refused, removed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import PASSWORD, Cloud

V3 = "/identity/v3"


async def made(cloud: Cloud, noun: str, **values: Any) -> dict[str, Any]:
    answer = await cloud.admin.post(f"{V3}/{noun}s", {noun: values}, expect=201)
    found: dict[str, Any] = answer[noun]
    return found


@pytest.mark.parametrize(
    ("noun", "values", "change"),
    [
        ("domain", {"name": "d", "description": "x"}, {"description": "y", "enabled": False}),
        ("project", {"name": "p", "tags": ["a"]}, {"description": "y", "name": "q"}),
        ("user", {"name": "u", "email": "a@b.c", "description": "x"}, {"email": "d@e.f"}),
        ("group", {"name": "g"}, {"description": "y"}),
        ("role", {"name": "r"}, {"description": "y", "name": "s"}),
        ("region", {"id": "far", "description": "x"}, {"description": "y"}),
        ("service", {"name": "s", "type": "t"}, {"enabled": False, "description": "y"}),
    ],
)
async def test_a_resource_is_made_seen_changed_and_removed(
    cloud: Cloud, noun: str, values: dict[str, Any], change: dict[str, Any]
) -> None:
    one = await made(cloud, noun, **values)
    path = f"{V3}/{noun}s/{one['id']}"
    assert values.items() <= one.items()
    assert one["links"] == {"self": cloud.daemon.url + path}
    assert (await cloud.admin.get(path))[noun] == one
    listed = await cloud.admin.get(f"{V3}/{noun}s")
    assert one in listed[f"{noun}s"]
    assert listed["links"] == {"next": None, "self": f"{cloud.daemon.url}{V3}/{noun}s", "previous": None}
    changed = await cloud.admin.patch(path, {noun: change}, expect=200)
    assert changed[noun] == one | change
    await cloud.demo.patch(path, {noun: change}, expect=403)
    await cloud.demo.delete(path, expect=403)
    await cloud.admin.request("HEAD", path, expect=200)
    await cloud.admin.delete(path, expect=204)
    await cloud.admin.get(path, expect=404)
    await cloud.admin.delete(path, expect=404)
    await cloud.admin.patch(path, {noun: change}, expect=404)


@pytest.mark.parametrize("noun", ["domain", "project", "user", "group", "role"])
async def test_a_name_is_given_once(cloud: Cloud, noun: str) -> None:
    await made(cloud, noun, name="same")
    await cloud.admin.post(f"{V3}/{noun}s", {noun: {"name": "same"}}, expect=409)
    other = await made(cloud, noun, name="other")
    await cloud.admin.patch(f"{V3}/{noun}s/{other['id']}", {noun: {"name": "same"}}, expect=409)
    for bad in ("", " ", 7, None, "n" * 300):
        await cloud.admin.post(f"{V3}/{noun}s", {noun: {"name": bad}}, expect=400)
    for enabled in ("False", "no", 0, None, []):
        if noun in ("domain", "project", "user"):
            await cloud.admin.post(f"{V3}/{noun}s", {noun: {"name": "x", "enabled": enabled}}, expect=400)


async def test_filters_and_pages(cloud: Cloud) -> None:
    for name in ("alpha", "alphabet", "beta"):
        await made(cloud, "user", name=name, enabled=name != "beta")
    names = [row["name"] for row in (await cloud.admin.get(f"{V3}/users?name__startswith=alpha"))["users"]]
    assert names == ["alpha", "alphabet"]
    assert [row["name"] for row in (await cloud.admin.get(f"{V3}/users?enabled=false"))["users"]] == ["beta"]
    first = await cloud.admin.get(f"{V3}/users?limit=2")
    assert len(first["users"]) == 2
    rest = await cloud.admin.get(first["links"]["next"].removeprefix(cloud.daemon.url))
    everyone = await cloud.admin.get(f"{V3}/users?sort_key=zz")
    assert first["users"] + rest["users"] == everyone["users"][:4]
    await cloud.admin.get(f"{V3}/users?limit=-1", expect=400)


async def test_a_domain_is_deleted_with_all_in_it_once_disabled(cloud: Cloud) -> None:
    domain = await made(cloud, "domain", name="d")
    user = await made(cloud, "user", name="u", domain_id=domain["id"], password=PASSWORD)
    group = await made(cloud, "group", name="g", domain_id=domain["id"])
    project = await made(cloud, "project", name="p", domain_id=domain["id"])
    path = f"{V3}/domains/{domain['id']}"
    await cloud.admin.delete(path, expect=403)
    await cloud.admin.patch(path, {"domain": {"enabled": False}}, expect=200)
    await cloud.admin.delete(path, expect=204)
    for noun, one in (("user", user), ("group", group), ("project", project)):
        await cloud.admin.get(f"{V3}/{noun}s/{one['id']}", expect=404)


async def test_projects_stand_in_a_tree(cloud: Cloud) -> None:
    top = await made(cloud, "project", name="top")
    low = await made(cloud, "project", name="low", parent_id=top["id"])
    assert top["parent_id"] == "default" and low["parent_id"] == top["id"]
    path = f"{V3}/projects/{top['id']}"
    assert (await cloud.admin.get(path + "?subtree_as_ids"))["project"]["subtree"] == {low["id"]: None}
    answer = await cloud.admin.get(f"{V3}/projects/{low['id']}?parents_as_list")
    assert answer["project"]["parents"][0]["project"]["id"] == top["id"]
    await cloud.admin.delete(path, expect=403)
    await cloud.admin.patch(path, {"project": {"enabled": False}}, expect=403)
    await cloud.admin.patch(path, {"project": {"domain_id": "other"}}, expect=400)
    parent = low["id"]
    for depth in range(3):
        parent = (await made(cloud, "project", name=f"deep{depth}", parent_id=parent))["id"]
    await cloud.admin.post(f"{V3}/projects", {"project": {"name": "deeper", "parent_id": parent}}, expect=403)
    await cloud.admin.post(f"{V3}/projects", {"project": {"name": "z", "domain_id": "nope"}}, expect=400)


async def test_tags(cloud: Cloud) -> None:
    tags = f"{V3}/projects/{cloud.demo.project_id}/tags"
    await cloud.admin.put(tags + "/blue", expect=201)
    assert (await cloud.demo.get(tags))["tags"] == ["blue"]
    await cloud.demo.get(tags + "/blue", expect=204)
    await cloud.demo.get(tags + "/red", expect=404)
    await cloud.admin.put(tags, {"tags": ["c", "d"]}, expect=200)
    found = (await cloud.admin.get(f"{V3}/projects?tags=c,d"))["projects"]
    assert [row["id"] for row in found] == [cloud.demo.project_id]
    await cloud.admin.delete(tags + "/c", expect=204)
    await cloud.admin.delete(tags + "/c", expect=404)
    await cloud.admin.delete(tags, expect=204)


async def test_members_of_a_group_have_its_roles(cloud: Cloud) -> None:
    group, role = await made(cloud, "group", name="g"), await made(cloud, "role", name="special")
    member = f"{V3}/groups/{group['id']}/users/{cloud.demo.user_id}"
    grant = f"{V3}/projects/{cloud.demo.project_id}/groups/{group['id']}/roles/{role['id']}"
    await cloud.admin.put(grant, expect=204)
    await cloud.admin.request("HEAD", grant, expect=204)
    await cloud.admin.request("HEAD", member, expect=404)
    await cloud.admin.put(member, expect=204)
    await cloud.admin.get(member, expect=204)
    users = (await cloud.admin.get(f"{V3}/groups/{group['id']}/users"))["users"]
    assert [user["name"] for user in users] == ["demo"]
    subject = {"X-Subject-Token": cloud.demo.token}
    seen = (await cloud.demo.get(f"{V3}/auth/tokens", headers=subject))["token"]["roles"]
    assert "special" in [one["name"] for one in seen]
    assert (await cloud.demo.get(f"{V3}/users/{cloud.demo.user_id}/groups"))["groups"][0]["id"] == group["id"]
    await cloud.admin.delete(member, expect=204)
    await cloud.admin.delete(member, expect=404)
    seen = (await cloud.demo.get(f"{V3}/auth/tokens", headers=subject))["token"]["roles"]
    assert "special" not in [one["name"] for one in seen]


async def test_inherited_roles_count_below_only(cloud: Cloud) -> None:
    top = await made(cloud, "project", name="top")
    low = await made(cloud, "project", name="low", parent_id=top["id"])
    role = await made(cloud, "role", name="heir")
    place = f"{V3}/OS-INHERIT/projects/{top['id']}/users/{cloud.demo.user_id}/roles"
    await cloud.admin.put(f"{place}/{role['id']}/inherited_to_projects", expect=204)
    await cloud.admin.request("HEAD", f"{place}/{role['id']}/inherited_to_projects", expect=204)
    assert (await cloud.admin.get(f"{place}/inherited_to_projects"))["roles"][0]["name"] == "heir"
    names = [row["name"] for row in (await cloud.demo.get(f"{V3}/auth/projects"))["projects"]]
    assert names == ["demo", "low"]
    query = f"?user.id={cloud.demo.user_id}&effective&scope.project.id={low['id']}"
    rows = (await cloud.admin.get(f"{V3}/role_assignments{query}"))["role_assignments"]
    assert [row["role"]["id"] for row in rows] == [role["id"]]
    assert rows[0]["scope"]["OS-INHERIT:inherited_to"] == "projects"
    await cloud.admin.delete(f"{place}/{role['id']}/inherited_to_projects", expect=204)
    await cloud.admin.delete(f"{place}/{role['id']}/inherited_to_projects", expect=404)


async def test_roles_imply_others_but_never_themselves_or_admin(cloud: Cloud) -> None:
    roles = {row["name"]: row["id"] for row in (await cloud.admin.get(f"{V3}/roles"))["roles"]}
    mine = (await made(cloud, "role", name="mine"))["id"]
    rule = f"{V3}/roles/{mine}/implies/{roles['reader']}"
    await cloud.admin.get(rule, expect=404)
    answer = await cloud.admin.put(rule, expect=201)
    assert answer["role_inference"]["implies"]["name"] == "reader"
    await cloud.admin.put(rule, expect=409)
    await cloud.admin.request("HEAD", rule, expect=204)
    await cloud.admin.put(f"{V3}/roles/{roles['reader']}/implies/{mine}", expect=400)
    local = (await made(cloud, "role", name="local", domain_id="default"))["id"]
    await cloud.admin.put(f"{V3}/roles/{mine}/implies/{local}", expect=403)
    await cloud.admin.post(f"{V3}/users", {"user": {"name": "x", "domain_id": "none"}}, expect=404)
    await cloud.admin.put(f"{V3}/roles/{mine}/implies/{roles['admin']}", expect=403)
    assert len((await cloud.admin.get(f"{V3}/role_inferences"))["role_inferences"]) == 4
    await cloud.admin.delete(rule, expect=204)
    await cloud.admin.delete(rule, expect=404)


NOT_HELD = (
    "projects/{project}/users/{user}/roles/{role}",
    "domains/default/users/{user}/roles/{role}",
    "system/users/{user}/roles/{role}",
    "projects/{project}/groups/{group}/roles/{role}",
    "OS-INHERIT/projects/{project}/users/{user}/roles/{held}/inherited_to_projects",
    "OS-INHERIT/domains/default/groups/{group}/roles/{role}/inherited_to_projects",
    "groups/{group}/users/{user}",
    "roles/{held}/implies/{role}",
    "projects/{project}/tags/blue",
)
"""What can be taken away, and is not there."""


async def test_what_is_not_held_cannot_be_taken(cloud: Cloud) -> None:
    roles = {row["name"]: row["id"] for row in (await cloud.admin.get(f"{V3}/roles"))["roles"]}
    group = await made(cloud, "group", name="g")
    ids = {
        "project": cloud.demo.project_id, "user": cloud.demo.user_id, "group": group["id"], "role": roles["manager"],
        "held": roles["member"],
    }  # fmt: skip
    before = (await cloud.admin.get(f"{V3}/role_assignments"))["role_assignments"]
    for path in NOT_HELD:
        await cloud.admin.delete(f"{V3}/{path.format(**ids)}", expect=404)
    assert (await cloud.admin.get(f"{V3}/role_assignments"))["role_assignments"] == before


async def test_a_group_is_no_user_of_the_same_id_and_a_domains_role_counts_nowhere(cloud: Cloud) -> None:
    admin, demo = cloud.admin, cloud.demo
    await admin.post(f"{V3}/groups", {"group": {"name": "twin"}}, expect=201)
    rename = "UPDATE groups SET id = ? WHERE name = 'twin'"
    await cloud.daemon.identity.write(lambda db: db.execute(rename, (demo.user_id,)))
    roles = {row["name"]: row["id"] for row in (await admin.get(f"{V3}/roles"))["roles"]}
    own = await made(cloud, "role", name="own", domain_id="default")
    place = f"{V3}/projects/{demo.project_id}"
    await admin.put(f"{place}/groups/{demo.user_id}/roles/{roles['admin']}", expect=204)
    await admin.put(f"{place}/users/{demo.user_id}/roles/{own['id']}", expect=204)
    await admin.put(f"{V3}/domains/default/users/{demo.user_id}/roles/{roles['admin']}", expect=204)
    told = (await demo.get(f"{V3}/auth/tokens", headers={"X-Subject-Token": demo.token}))["token"]
    assert {role["name"] for role in told["roles"]} == {"member", "reader"}
    await admin.get(f"{place}/users/{demo.user_id}/roles/{roles['admin']}", expect=404)
    query = f"effective&scope.project.id={demo.project_id}&user.id={demo.user_id}"
    worked_out = (await admin.get(f"{V3}/role_assignments?{query}"))["role_assignments"]
    assert {row["role"]["id"] for row in worked_out} == {roles["member"], roles["reader"]}


async def test_immutable_roles_stay(cloud: Cloud) -> None:
    role = (await cloud.admin.get(f"{V3}/roles?name=member"))["roles"][0]
    path = f"{V3}/roles/{role['id']}"
    await cloud.admin.delete(path, expect=403)
    await cloud.admin.patch(path, {"role": {"name": "x"}}, expect=403)
    await cloud.admin.patch(path, {"role": {"options": {"immutable": False}}}, expect=200)
    await cloud.admin.patch(path, {"role": {"description": "x"}}, expect=200)


async def test_the_list_of_assignments_names_everybody(cloud: Cloud) -> None:
    query = f"?include_names=true&user.id={cloud.demo.user_id}"
    rows = (await cloud.admin.get(f"{V3}/role_assignments{query}"))["role_assignments"]
    assert rows[0]["user"]["name"] == "demo" and rows[0]["role"]["name"] == "member"
    assert rows[0]["scope"]["project"] == {
        "id": cloud.demo.project_id, "name": "demo", "domain": {"id": "default", "name": "Default"},
    }  # fmt: skip
    system = (await cloud.admin.get(f"{V3}/role_assignments?scope.system=all"))["role_assignments"]
    assert [row["user"]["id"] for row in system] == [cloud.admin.user_id]
    await cloud.demo.get(f"{V3}/role_assignments", expect=403)
    await cloud.admin.get(f"{V3}/role_assignments?scope.project.id=a&scope.domain.id=b", expect=400)


async def test_a_domain_is_guarded_alike_at_both_of_its_doors(cloud: Cloud) -> None:
    """A domain is a project, too: what `/domains` refuses, `/projects` refuses."""
    roles = {row["name"]: row["id"] for row in (await cloud.admin.get(f"{V3}/roles"))["roles"]}
    domain = await made(cloud, "domain", name="d")
    grant = f"{V3}/domains/{domain['id']}/users/{cloud.admin.user_id}/roles/{roles['admin']}"
    await cloud.admin.put(grant, expect=204)
    inside = await cloud.login("admin", PASSWORD, domain={"id": domain["id"]})
    for noun in ("domain", "project"):
        await cloud.admin.patch(f"{V3}/{noun}s/default", {noun: {"enabled": False}}, expect=403)
        await inside.patch(f"{V3}/{noun}s/{domain['id']}", {noun: {"description": "mine"}}, expect=403)
        more = {"name": "more"} if noun == "domain" else {"name": "more", "is_domain": True}
        await inside.post(f"{V3}/{noun}s", {noun: more}, expect=403)
        await inside.delete(f"{V3}/{noun}s/{domain['id']}", expect=403)
        await cloud.admin.delete(f"{V3}/{noun}s/{domain['id']}", expect=403)  # it is enabled
        answer = await cloud.admin.patch(f"{V3}/{noun}s/{domain['id']}", {noun: {"name": "Default"}})
        assert answer.status == 409
        spare = await made(cloud, "domain", name=f"spare {noun}")
        await cloud.admin.patch(f"{V3}/{noun}s/{spare['id']}", {noun: {"enabled": False}}, expect=200)
        await cloud.admin.delete(f"{V3}/{noun}s/{spare['id']}", expect=204)


async def test_a_moment_without_an_hour_in_utc_is_no_moment(cloud: Cloud) -> None:
    path = f"{V3}/users/{cloud.demo.user_id}/application_credentials"
    for text in ("9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00", "soon"):
        await cloud.demo.post(path, {"application_credential": {"name": "a", "expires_at": text}}, expect=400)
        await cloud.admin.get(f"{V3}/users", params={"password_expires_at": f"lt:{text}"}, expect=400)


async def test_a_domain_manager_stays_in_the_domain(cloud: Cloud) -> None:
    domain = await made(cloud, "domain", name="d")
    boss = await made(cloud, "user", name="boss", domain_id=domain["id"], password=PASSWORD)
    roles = {row["name"]: row["id"] for row in (await cloud.admin.get(f"{V3}/roles"))["roles"]}
    await cloud.admin.put(f"{V3}/domains/{domain['id']}/users/{boss['id']}/roles/{roles['manager']}", expect=204)
    user = {"id": boss["id"], "password": PASSWORD}
    auth = {
        "identity": {"methods": ["password"], "password": {"user": user}},
        "scope": {"domain": {"id": domain["id"]}},
    }
    cloud.demo.token = (await cloud.demo.post(f"{V3}/auth/tokens", {"auth": auth}, expect=201)).headers[
        "X-Subject-Token"
    ]
    manager = cloud.demo
    own = await manager.post(f"{V3}/users", {"user": {"name": "u", "domain_id": domain["id"]}}, expect=201)
    assert own["user"]["domain_id"] == domain["id"]
    await manager.post(f"{V3}/users", {"user": {"name": "u", "domain_id": "default"}}, expect=403)
    assert {row["name"] for row in (await manager.get(f"{V3}/users"))["users"]} == {"boss", "u"}
    await manager.get(f"{V3}/users/{cloud.admin.user_id}", expect=403)
    project = (await manager.post(f"{V3}/projects", {"project": {"name": "p"}}, expect=201))["project"]
    grant = f"{V3}/projects/{project['id']}/users/{own['user']['id']}/roles/"
    await manager.put(grant + roles["member"], expect=204)
    await manager.put(grant + roles["admin"], expect=403)
    foreign = f"{V3}/projects/{project['id']}/users/{cloud.admin.user_id}/roles/{roles['member']}"
    await manager.put(foreign, expect=403)
    await manager.post(f"{V3}/domains", {"domain": {"name": "mine"}}, expect=403)


async def test_people_see_themselves_and_nobody_else(cloud: Cloud) -> None:
    me = f"{V3}/users/{cloud.demo.user_id}"
    assert "password" not in (await cloud.demo.get(me))["user"]
    await cloud.demo.get(f"{V3}/users/{cloud.admin.user_id}", expect=403)
    await cloud.demo.get(f"{V3}/users/nobody", expect=403)
    await cloud.demo.get(f"{V3}/projects/nothing", expect=403)
    await cloud.demo.get(f"{V3}/projects/{cloud.demo.project_id}", expect=200)
    await cloud.demo.get(f"{V3}/projects/{cloud.admin.project_id}", expect=403)
    for lists in ("users", "projects", "domains", "groups", "services", "endpoints", "roles"):
        await cloud.demo.get(f"{V3}/{lists}", expect=403)
        await cloud.demo.get(f"{V3}/{lists}", headers={"X-Auth-Token": ""}, expect=401)


async def test_ones_own_password(cloud: Cloud) -> None:
    path = f"{V3}/users/{cloud.demo.user_id}/password"
    await cloud.demo.post(path, {"user": {"original_password": "bad", "password": "new"}}, expect=401)
    await cloud.demo.post(path, {"user": {"original_password": PASSWORD, "password": PASSWORD}}, expect=400)
    await cloud.demo.post(path, {"user": {"original_password": PASSWORD, "password": "x" * 5000}}, expect=400)
    await cloud.demo.post(path, {"user": {"original_password": PASSWORD, "password": "new"}}, expect=204)
    await cloud.demo.get(f"{V3}/auth/projects", expect=401)
    await cloud.login("demo", "new", "demo")
    await cloud.admin.patch(
        f"{V3}/users/{cloud.demo.user_id}", {"user": {"options": {"lock_password": True}}}, expect=200
    )
    await cloud.demo.post(path, {"user": {"original_password": "new", "password": "newer"}}, expect=403)


async def test_endpoints_are_filled_in_for_the_token(cloud: Cloud) -> None:
    service = await made(cloud, "service", name="s", type="mine")
    values = {
        "service_id": service["id"],
        "interface": "public",
        "url": "http://x/$(project_id)s",
        "region_id": "RegionOne",
    }
    one = await made(cloud, "endpoint", **values)
    assert one["region"] == "RegionOne"
    listing = (await cloud.demo.get(f"{V3}/auth/catalog"))["catalog"]
    urls = [place["url"] for entry in listing if entry["type"] == "mine" for place in entry["endpoints"]]
    assert urls == [f"http://x/{cloud.demo.project_id}"]
    for bad in ({"url": "http://x/$(admin_token)s"}, {"interface": "side"}, {"service_id": "none"}, {"enabled": "yes"}):
        await cloud.admin.post(f"{V3}/endpoints", {"endpoint": values | bad}, expect=400)
    path = f"{V3}/endpoints/{one['id']}"
    await cloud.admin.patch(path, {"endpoint": {"enabled": False}}, expect=200)
    assert not [
        e for e in (await cloud.demo.get(f"{V3}/auth/catalog"))["catalog"] if e["type"] == "mine" and e["endpoints"]
    ]
    await cloud.admin.delete(f"{V3}/regions/RegionOne", expect=403)
    await cloud.admin.delete(path, expect=204)
    await cloud.admin.get(path, expect=404)
