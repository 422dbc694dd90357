"""Application credentials, access rules, trusts and kept secrets: what is lent never grows, and ends with its giver."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.conftest import PASSWORD, Client, Cloud

V3 = "/identity/v3"
TOKENS = V3 + "/auth/tokens"


async def credential(caller: Client, **values: Any) -> dict[str, Any]:
    path = f"{V3}/users/{caller.user_id}/application_credentials"
    made: dict[str, Any] = (
        await caller.post(path, {"application_credential": {"name": "robot"} | values}, expect=201)
    ).body
    return made["application_credential"]


async def log_in(caller: Client, one: dict[str, Any], *, expect: int = 201, **further: Any) -> Client:
    proof = {"id": one["id"], "secret": one["secret"]}
    auth = {"identity": {"methods": ["application_credential"], "application_credential": proof}} | further
    answer = await caller.post(TOKENS, {"auth": auth}, expect=expect)
    return dataclasses.replace(caller, token=answer.headers.get("X-Subject-Token", ""))


async def test_a_credential_logs_in_with_its_roles_and_cannot_make_more(cloud: Cloud) -> None:
    one = await credential(cloud.demo, roles=[{"name": "reader"}], description="x")
    robot = await log_in(cloud.demo, one)
    token = (await robot.get(TOKENS, headers={"X-Subject-Token": robot.token}))["token"]
    assert [role["name"] for role in token["roles"]] == ["reader"]
    assert token["application_credential"] == {"id": one["id"], "name": "robot", "restricted": True}
    path = f"{V3}/users/{cloud.demo.user_id}"
    await robot.post(path + "/application_credentials", {"application_credential": {"name": "more"}}, expect=403)
    await robot.post(
        f"{V3}/credentials", {"credential": {"type": "t", "blob": "b", "user_id": robot.user_id}}, expect=403
    )
    rescope = {"identity": {"methods": ["token"], "token": {"id": robot.token}}, "scope": "unscoped"}
    await robot.post(TOKENS, {"auth": rescope}, expect=403)
    await log_in(cloud.demo, one | {"secret": "bad"}, expect=401)
    await log_in(cloud.demo, one, expect=401, scope={"project": {"id": cloud.demo.project_id}})
    seen = (await cloud.demo.get(f"{path}/application_credentials/{one['id']}"))["application_credential"]
    assert "secret" not in seen and seen["name"] == "robot"
    assert [
        row["id"]
        for row in (await cloud.demo.get(path + "/application_credentials?name=robot"))["application_credentials"]
    ]
    await cloud.demo.delete(f"{path}/application_credentials/{one['id']}", expect=204)
    await robot.get(f"{V3}/auth/projects", expect=401)
    await cloud.demo.get(f"{path}/application_credentials/{one['id']}", expect=404)


async def test_a_credential_never_has_more_than_its_user(cloud: Cloud) -> None:
    path = f"{V3}/users/{cloud.demo.user_id}/application_credentials"
    for bad, status in (
        ({"name": "a", "roles": [{"name": "admin"}]}, 400),
        ({"name": "a", "roles": [{"name": "nothing"}]}, 404),
        ({"name": "a", "expires_at": "2001-01-01T00:00:00"}, 400),
        ({"name": "a", "expires_at": "soon"}, 400),
        ({"name": ""}, 400),
        ({"name": "a", "access_rules": [{"path": "x", "method": "GET", "service": "y"}]}, 400),
    ):
        await cloud.demo.post(path, {"application_credential": bad}, expect=status)
    other = f"{V3}/users/{cloud.admin.user_id}/application_credentials"
    await cloud.demo.post(other, {"application_credential": {"name": "a"}}, expect=403)
    await cloud.demo.get(other, expect=403)
    one = await credential(cloud.demo, secret="chosen by a person", expires_at="2999-01-01T00:00:00Z")
    await cloud.demo.post(path, {"application_credential": {"name": "robot"}}, expect=409)
    robot = await log_in(cloud.demo, one)
    roles = {row["name"]: row["id"] for row in (await cloud.admin.get(f"{V3}/roles"))["roles"]}
    grant = f"{V3}/projects/{cloud.demo.project_id}/users/{cloud.demo.user_id}/roles/"
    await cloud.admin.put(grant + roles["reader"], expect=204)
    await cloud.admin.delete(grant + roles["member"], expect=204)
    token = (await robot.get(TOKENS, headers={"X-Subject-Token": robot.token}))["token"]
    assert [role["name"] for role in token["roles"]] == ["reader"]
    await cloud.admin.delete(grant + roles["reader"], expect=204)
    await robot.get(f"{V3}/auth/projects", expect=401)


async def test_access_rules_hold_at_every_request(cloud: Cloud) -> None:
    rules = [
        {"service": "identity", "method": "GET", "path": "/v3/auth/*"},
        {"service": "identity", "method": "GET", "path": "/v3/users/{user_id}"},
    ]
    one = await credential(cloud.demo, access_rules=rules)
    robot = await log_in(cloud.demo, one)
    await robot.get(f"{V3}/auth/projects", expect=200)
    await robot.get(f"{V3}/users/{robot.user_id}", expect=200)
    await robot.get(f"{V3}/users/{robot.user_id}/groups", expect=403)
    await robot.get(f"{V3}/regions", expect=403)
    await robot.post(f"{V3}/auth/projects", {}, expect=405)
    path = f"{V3}/users/{cloud.demo.user_id}/access_rules"
    listed = (await cloud.demo.get(path))["access_rules"]
    assert {rule["path"] for rule in listed} == {"/v3/auth/*", "/v3/users/{user_id}"}
    await cloud.demo.get(f"{path}/{listed[0]['id']}", expect=200)
    await cloud.demo.delete(f"{path}/{listed[0]['id']}", expect=403)
    await cloud.demo.delete(f"{V3}/users/{cloud.demo.user_id}/application_credentials/{one['id']}", expect=204)
    await cloud.demo.delete(f"{path}/{listed[0]['id']}", expect=204)
    await cloud.demo.get(f"{path}/{listed[0]['id']}", expect=404)


@pytest.mark.parametrize("impersonation", [True, False])
async def test_a_trust_lends_and_ends(cloud: Cloud, impersonation: bool) -> None:
    taker = await cloud.person("taker", project="elsewhere")
    values = {
        "trustor_user_id": cloud.demo.user_id, "trustee_user_id": taker.user_id, "project_id": cloud.demo.project_id,
        "impersonation": impersonation, "roles": [{"name": "reader"}], "remaining_uses": 2,
    }  # fmt: skip
    trust = (await cloud.demo.post(f"{V3}/OS-TRUST/trusts", {"trust": values}, expect=201))["trust"]
    scope = {"OS-TRUST:trust": {"id": trust["id"]}}
    lent = await cloud.login("taker", PASSWORD, **scope)
    token = (await lent.get(TOKENS, headers={"X-Subject-Token": lent.token}))["token"]
    assert token["user"]["name"] == ("demo" if impersonation else "taker")
    assert token["project"]["id"] == cloud.demo.project_id
    assert [role["name"] for role in token["roles"]] == ["reader"]
    assert token["OS-TRUST:trust"]["impersonation"] is impersonation
    rescope = {"identity": {"methods": ["token"], "token": {"id": lent.token}}, "scope": "unscoped"}
    await lent.post(TOKENS, {"auth": rescope}, expect=403)
    await lent.post(f"{V3}/OS-TRUST/trusts", {"trust": values | {"trustor_user_id": lent.user_id}}, expect=403)
    await cloud.login("taker", PASSWORD, **scope)
    user = {"name": "taker", "domain": {"id": "default"}, "password": PASSWORD}
    auth = {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}
    await lent.post(TOKENS, {"auth": auth}, expect=403)
    path = f"{V3}/OS-TRUST/trusts/{trust['id']}"
    roles = (await taker.get(path + "/roles"))["roles"]
    await taker.request("HEAD", f"{path}/roles/{roles[0]['id']}", expect=200)
    listed = await cloud.demo.get(f"{V3}/OS-TRUST/trusts?trustor_user_id={cloud.demo.user_id}")
    assert [row["id"] for row in listed["trusts"]] == [trust["id"]]
    await taker.delete(path, expect=403)
    await cloud.demo.delete(path, expect=204)
    await lent.get(f"{V3}/auth/projects", expect=401)
    await cloud.demo.get(path, expect=404)


async def test_only_ones_own_can_be_lent(cloud: Cloud) -> None:
    values = {
        "trustor_user_id": cloud.demo.user_id, "trustee_user_id": cloud.admin.user_id, "project_id": cloud.demo.project_id,
        "impersonation": False, "roles": [{"name": "member"}],
    }  # fmt: skip
    for bad, status in (
        ({"trustor_user_id": cloud.admin.user_id}, 403),
        ({"roles": []}, 403),
        ({"roles": [{"name": "admin"}]}, 403),
        ({"project_id": cloud.admin.project_id}, 403),
        ({"trustee_user_id": "nobody"}, 404),
        ({"expires_at": "2001-01-01T00:00:00Z"}, 400),
        ({"remaining_uses": 0}, 400),
    ):
        await cloud.demo.post(f"{V3}/OS-TRUST/trusts", {"trust": values | bad}, expect=status)
    await cloud.demo.get(f"{V3}/OS-TRUST/trusts", expect=403)
    await cloud.admin.get(f"{V3}/OS-TRUST/trusts", expect=200)


async def test_secrets_are_kept_for_their_user_and_sealed(cloud: Cloud) -> None:
    values = {"type": "totp", "blob": "a-very-secret-blob", "user_id": cloud.demo.user_id}
    one = (await cloud.demo.post(f"{V3}/credentials", {"credential": values}, expect=201))["credential"]
    path = f"{V3}/credentials/{one['id']}"
    assert (await cloud.demo.get(path))["credential"] == one
    assert [row["id"] for row in (await cloud.demo.get(f"{V3}/credentials"))["credentials"]] == [one["id"]]
    changed = await cloud.demo.patch(path, {"credential": {"blob": "another"}}, expect=200)
    assert changed["credential"]["blob"] == "another"
    stranger = await cloud.person("stranger", project="demo")
    await stranger.get(path, expect=403)
    await stranger.delete(path, expect=403)
    assert (await stranger.get(f"{V3}/credentials"))["credentials"] == []
    await cloud.demo.post(f"{V3}/credentials", {"credential": values | {"user_id": stranger.user_id}}, expect=403)
    await cloud.demo.patch(path, {"credential": {"user_id": stranger.user_id}}, expect=403)
    for name in ("minicloud.db", "minicloud.db-wal"):
        assert b"a-very-secret-blob" not in (cloud.config.state / name).read_bytes()
    await cloud.demo.delete(path, expect=204)
    await cloud.admin.get(path, expect=404)


async def test_ec2_keys(cloud: Cloud) -> None:
    path = f"{V3}/users/{cloud.demo.user_id}/credentials/OS-EC2"
    keys = (await cloud.demo.post(path, {"tenant_id": cloud.demo.project_id}, expect=201))["credential"]
    assert keys["tenant_id"] == cloud.demo.project_id and len(keys["access"]) == 32
    assert (await cloud.demo.get(f"{path}/{keys['access']}"))["credential"] == keys
    assert (await cloud.demo.get(path))["credentials"] == [keys]
    await cloud.demo.post(path, {"tenant_id": "nothing"}, expect=404)
    await cloud.demo.delete(f"{path}/{keys['access']}", expect=204)
    await cloud.demo.get(f"{path}/{keys['access']}", expect=404)


async def test_policies_are_kept(cloud: Cloud) -> None:
    values = {"type": "application/json", "blob": '{"a": "b"}'}
    one = (await cloud.admin.post(f"{V3}/policies", {"policy": values}, expect=201))["policy"]
    await cloud.admin.patch(f"{V3}/policies/{one['id']}", {"policy": {"type": "x"}}, expect=200)
    assert (await cloud.admin.get(f"{V3}/policies"))["policies"][0]["type"] == "x"
    await cloud.demo.get(f"{V3}/policies", expect=403)
    await cloud.admin.delete(f"{V3}/policies/{one['id']}", expect=204)
    await cloud.admin.get(f"{V3}/policies/{one['id']}", expect=404)


async def lend(caller: Client, taker: Client, project: str, *, expect: int = 201, **values: Any) -> dict[str, Any]:
    body = {
        "trustor_user_id": caller.user_id, "trustee_user_id": taker.user_id, "project_id": project,
        "impersonation": False, "roles": [{"name": "member"}],
    }  # fmt: skip
    answer = await caller.post(f"{V3}/OS-TRUST/trusts", {"trust": body | values}, expect=expect)
    return dict(answer["trust"]) if expect == 201 else {}


@pytest.mark.parametrize("impersonation", [True, False])
async def test_a_chain_of_trusts_gives_what_its_first_giver_has(cloud: Cloud, impersonation: bool) -> None:
    first, second = await cloud.person("first", project="elsewhere"), await cloud.person("second", project="elsewhere")
    project_id = cloud.demo.project_id
    start = {"impersonation": impersonation}
    one = await lend(cloud.demo, first, project_id, allow_redelegation=True, redelegation_count=2, **start)
    assert (one["redelegation_count"], one["redelegated_trust_id"]) == (2, None)
    lent = await cloud.login("first", PASSWORD, **{"OS-TRUST:trust": {"id": one["id"]}})
    again = await lend(lent, second, project_id, allow_redelegation=True, **start)
    assert (again["redelegation_count"], again["redelegated_trust_id"]) == (1, one["id"])
    end = await cloud.login("second", PASSWORD, **{"OS-TRUST:trust": {"id": again["id"]}})
    token = (await end.get(TOKENS, headers={"X-Subject-Token": end.token}))["token"]
    assert {role["name"] for role in token["roles"]} == {"member", "reader"}
    assert token["project"]["id"] == project_id and token["OS-TRUST:trust"]["id"] == again["id"]
    assert token["user"]["id"] == (cloud.demo if impersonation else second).user_id
    await lend(end, first, project_id, expect=403, allow_redelegation=True, redelegation_count=1, **start)
    await lend(end, first, project_id, **start)
    # whatever breaks one link breaks the end
    await cloud.admin.patch(f"{V3}/users/{first.user_id}", {"user": {"enabled": False}}, expect=200)
    await end.get(f"{V3}/auth/projects", expect=401)
    await cloud.admin.patch(f"{V3}/users/{first.user_id}", {"user": {"enabled": True}}, expect=200)
    await end.get(f"{V3}/auth/projects", expect=200)
    await cloud.demo.delete(f"{V3}/OS-TRUST/trusts/{one['id']}", expect=204)
    await end.get(f"{V3}/auth/projects", expect=401)
    assert (await cloud.admin.get(f"{V3}/OS-TRUST/trusts"))["trusts"] == []


async def test_what_is_lent_on_is_never_more(cloud: Cloud) -> None:
    first, second = await cloud.person("first", project="elsewhere"), await cloud.person("second", project="elsewhere")
    project_id, further = cloud.demo.project_id, {"allow_redelegation": True}
    ends = {"expires_at": "2999-01-01T00:00:00.000000Z"}
    await lend(cloud.demo, first, project_id, expect=403, redelegation_count=4, **further)
    await lend(cloud.demo, first, project_id, expect=400, remaining_uses=1, **further)
    await lend(cloud.demo, first, project_id, expect=403, redelegated_trust_id="0" * 32)
    only = await lend(cloud.demo, first, project_id)
    lent = await cloud.login("first", PASSWORD, **{"OS-TRUST:trust": {"id": only["id"]}})
    await lend(lent, second, project_id, expect=403)
    one = await lend(cloud.demo, first, project_id, roles=[{"name": "reader"}], **further, **ends)
    assert one["redelegation_count"] == 3
    lent = await cloud.login("first", PASSWORD, **{"OS-TRUST:trust": {"id": one["id"]}})
    reader = {"roles": [{"name": "reader"}]}
    for bad in (
        {},
        {**reader, "impersonation": True},
        {**reader, "project_id": first.project_id},
        {**reader, "expires_at": "3000-01-01T00:00:00.000000Z"},
        {**reader, **further, "redelegation_count": 3},
        {**reader, "redelegated_trust_id": only["id"]},
        {**reader, "trustor_user_id": cloud.demo.user_id},
    ):
        await lend(lent, second, project_id, expect=403, **bad)
    made = await lend(lent, second, project_id, redelegated_trust_id=one["id"], **reader)
    assert (made["expires_at"], made["redelegation_count"]) == (one["expires_at"], 0)


@pytest.mark.parametrize("kept", [("reader",), ("manager", "reader")])
async def test_an_unrestricted_credential_makes_nothing_that_has_more_than_itself(
    cloud: Cloud, kept: tuple[str, ...]
) -> None:
    """Whatever it makes gives a subset of its roles, on its own project."""
    names = {"admin": {"admin", "manager", "member", "reader"}, "manager": {"manager", "member", "reader"}}
    names |= {"member": {"member", "reader"}, "reader": {"reader"}}
    own = set[str]().union(*(names[name] for name in kept))
    admin = cloud.admin
    robot = await log_in(admin, await credential(admin, unrestricted=True, roles=[{"name": name} for name in kept]))
    lent = {"trustor_user_id": admin.user_id, "trustee_user_id": cloud.demo.user_id, "impersonation": False}
    for name, given in names.items():
        roles, fits = [{"name": name}], given <= own
        trust = {**lent, "project_id": admin.project_id, "roles": roles}
        await robot.post(f"{V3}/OS-TRUST/trusts", {"trust": trust}, expect=201 if fits else 403)
        path = f"{V3}/users/{admin.user_id}/application_credentials"
        body = {"application_credential": {"name": f"of {name}", "roles": roles}}
        await robot.post(path, body, expect=201 if fits else 400)
    elsewhere = (await admin.get(f"{V3}/projects?name=service"))["projects"][0]["id"]
    role = (await admin.get(f"{V3}/roles?name=reader"))["roles"][0]["id"]
    await admin.put(f"{V3}/projects/{elsewhere}/users/{admin.user_id}/roles/{role}", expect=204)
    trust = {**lent, "project_id": elsewhere, "roles": [{"name": "reader"}]}
    await robot.post(f"{V3}/OS-TRUST/trusts", {"trust": trust}, expect=403)
    await admin.post(f"{V3}/OS-TRUST/trusts", {"trust": trust}, expect=201)


async def test_access_rules_bind_what_a_credential_with_them_makes(cloud: Cloud) -> None:
    path = f"/v3/users/{cloud.demo.user_id}/application_credentials"
    rules = [
        {"service": "identity", "method": "POST", "path": path},
        {"service": "identity", "method": "POST", "path": "/v3/OS-TRUST/trusts"},
    ]
    robot = await log_in(cloud.demo, await credential(cloud.demo, unrestricted=True, access_rules=rules))
    further = {"service": "compute", "method": "GET", "path": "/**"}

    async def made(name: str, *, expect: int = 201, **values: Any) -> Any:
        body = {"application_credential": {"name": name, **values}}
        return (await robot.post(f"/identity{path}", body, expect=expect)).body

    await made("more", access_rules=[*rules, further], expect=403)
    await made("others", access_rules=[further], expect=403)
    same = (await made("same"))["application_credential"]["access_rules"]
    assert sorted(one["path"] for one in same) == sorted(one["path"] for one in rules)
    (fewer,) = (await made("fewer", access_rules=rules[:1]))["application_credential"]["access_rules"]
    assert fewer["path"] == path
    lent = {
        "trustor_user_id": robot.user_id, "trustee_user_id": cloud.admin.user_id, "impersonation": True,
        "project_id": robot.project_id, "roles": [{"name": "reader"}],
    }  # fmt: skip
    await robot.post(f"{V3}/OS-TRUST/trusts", {"trust": lent}, expect=403)


async def test_lent_rights_never_reach_the_seed_of_a_users_codes(cloud: Cloud) -> None:
    """A code alone lets its user in: who knows the seed has all that the user has."""
    seed = {"type": "totp", "blob": "GEZDGNBVGY3TQOJQ", "user_id": cloud.demo.user_id}
    own = (await cloud.demo.post(f"{V3}/credentials", {"credential": seed}, expect=201))["credential"]["id"]
    other = {"type": "note", "blob": "x", "user_id": cloud.demo.user_id}
    robot = await log_in(cloud.demo, await credential(cloud.demo, unrestricted=True))
    note = (await robot.post(f"{V3}/credentials", {"credential": other}, expect=201))["credential"]["id"]
    await robot.post(f"{V3}/credentials", {"credential": seed}, expect=403)
    await robot.patch(f"{V3}/credentials/{note}", {"credential": {"type": "totp"}}, expect=403)
    await robot.patch(f"{V3}/credentials/{own}", {"credential": {"blob": "GEZDGNBVGY3TQOJR"}}, expect=403)
    await robot.get(f"{V3}/credentials/{own}", expect=403)
    assert [one["id"] for one in (await robot.get(f"{V3}/credentials"))["credentials"]] == [note]
    assert len((await cloud.demo.get(f"{V3}/credentials"))["credentials"]) == 2
