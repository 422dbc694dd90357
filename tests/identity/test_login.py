"""How tokens come to be and end, over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from click.testing import CliRunner

from minicloud.cli import root
from minicloud.config import render
from tests.conftest import PASSWORD, Cloud

TOKENS = "/identity/v3/auth/tokens"


def by_password(name: str, password: str, scope: Any = None) -> dict[str, Any]:
    user = {"name": name, "domain": {"id": "default"}, "password": password}
    auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": user}}}
    return {"auth": auth | ({} if scope is None else {"scope": scope})}


async def test_a_scoped_token_tells_roles_and_catalogue(cloud: Cloud) -> None:
    answer = await cloud.admin.get(TOKENS, headers={"X-Subject-Token": cloud.admin.token})
    token = answer["token"]
    assert {role["name"] for role in token["roles"]} == {"admin", "manager", "member", "reader"}
    assert token["project"]["name"] == "admin"
    types = {service["type"]: service for service in token["catalog"]}
    urls = {place["interface"]: place["url"] for place in types["identity"]["endpoints"]}
    assert urls == dict.fromkeys(("public", "internal", "admin"), f"{cloud.daemon.url}/identity/v3")
    assert answer.headers["Vary"] == "X-Auth-Token"


async def test_wrong_password_unknown_user_and_no_role_are_the_same_401(cloud: Cloud) -> None:
    project = {"project": {"name": "admin", "domain": {"id": "default"}}}
    bodies = [
        by_password("admin", "bad"),
        by_password("nobody", PASSWORD),
        by_password("demo", PASSWORD, project),
        by_password("demo", PASSWORD, {"system": {"all": True}}),
        by_password("demo", PASSWORD, {"domain": {"id": "default"}}),
    ]
    told = [await cloud.demo.post(TOKENS, body, expect=401) for body in bodies]
    assert len({str(answer.body) for answer in told}) == 1


async def test_malformed_logins_are_400(cloud: Cloud) -> None:
    good = by_password("demo", PASSWORD)
    for body in (
        {},
        {"auth": {}},
        {"auth": {"identity": {"methods": []}}},
        {"auth": {"identity": {"methods": ["password"]}}},
    ):
        await cloud.demo.post(TOKENS, body, expect=400)
    for scope in ({"project": {"id": "a"}, "domain": {"id": "b"}}, {}, [], 7, {"project": {}}):
        await cloud.demo.post(TOKENS, {"auth": good["auth"] | {"scope": scope}}, expect=400)
    for password in (None, 7, []):
        await cloud.demo.post(TOKENS, by_password("demo", password), expect=400)  # type: ignore[arg-type]
    await cloud.demo.post(TOKENS, by_password("demo", ""), expect=401)


async def test_a_token_of_a_token_lives_no_longer_and_shares_the_chain(cloud: Cloud) -> None:
    first = (await cloud.demo.get(TOKENS, headers={"X-Subject-Token": cloud.demo.token}))["token"]
    body = {"auth": {"identity": {"methods": ["token"], "token": {"id": cloud.demo.token}}, "scope": "unscoped"}}
    second = await cloud.demo.post(TOKENS, body, expect=201)
    token = second["token"]
    assert token["expires_at"] == first["expires_at"]
    assert token["audit_ids"][1] == first["audit_ids"][0]
    assert token["methods"] == ["token", "password"]
    assert "roles" not in token and "catalog" not in token
    await cloud.demo.delete(TOKENS, headers={"X-Subject-Token": second.headers["X-Subject-Token"]}, expect=204)
    await cloud.demo.get("/identity/v3/auth/projects", expect=200)
    # the end of the first one is the end of the chain
    third = await cloud.demo.post(TOKENS, body, expect=201)
    await cloud.demo.delete(TOKENS, headers={"X-Subject-Token": cloud.demo.token}, expect=204)
    await cloud.demo.get("/identity/v3/auth/projects", expect=401)
    cloud.demo.token = third.headers["X-Subject-Token"]
    await cloud.demo.get("/identity/v3/auth/projects", expect=401)


async def test_no_spelling_of_a_revoked_token_gets_in(cloud: Cloud) -> None:
    text = cloud.demo.token
    await cloud.demo.delete(TOKENS, headers={"X-Subject-Token": text}, expect=204)
    for spelling in (text, text + "=", text + "==", text.rstrip("="), text + "====", text[:10] + "." + text[10:]):
        cloud.demo.token = spelling
        await cloud.demo.get("/identity/v3/auth/projects", expect=401)


async def test_a_removed_role_counts_from_the_next_request_on(cloud: Cloud) -> None:
    role_id = (await cloud.admin.get("/identity/v3/roles?name=member"))["roles"][0]["id"]
    grant = f"/identity/v3/projects/{cloud.demo.project_id}/users/{cloud.demo.user_id}/roles/{role_id}"
    await cloud.demo.get("/identity/v3/auth/projects")
    await cloud.admin.delete(grant, expect=204)
    await cloud.demo.get("/identity/v3/auth/projects", expect=401)
    await cloud.admin.delete(grant, expect=404)


async def test_a_disabled_user_project_or_changed_password_ends_tokens_at_once(cloud: Cloud) -> None:
    user, project = f"/identity/v3/users/{cloud.demo.user_id}", f"/identity/v3/projects/{cloud.demo.project_id}"
    for path, body in (
        (user, {"user": {"enabled": False}}),
        (project, {"project": {"enabled": False}}),
        (user, {"user": {"password": "another"}}),
    ):
        await cloud.demo.get("/identity/v3/auth/projects", expect=200)
        await cloud.admin.patch(path, body, expect=200)
        await cloud.demo.get("/identity/v3/auth/projects", expect=401)
        back = (
            {name: {"enabled": True} for name in body}
            if path == project
            else {"user": {"enabled": True, "password": PASSWORD}}
        )
        await cloud.admin.patch(path, back, expect=200)
        await cloud.as_demo()


async def test_tokens_survive_a_key_rotation_but_not_all(cloud: Cloud) -> None:
    cloud.daemon.identity.rotate()
    await cloud.demo.get("/identity/v3/auth/projects")
    old = cloud.demo.token
    for _ in range(cloud.config.identity.keys_kept):
        cloud.daemon.identity.rotate()
    await cloud.demo.get("/identity/v3/auth/projects", expect=401)
    await cloud.restart()
    cloud.demo.token = old
    cloud.demo.url = cloud.daemon.url
    await cloud.demo.get("/identity/v3/auth/projects", expect=401)


async def test_guessing_is_bounded_for_known_and_unknown_accounts(cloud: Cloud) -> None:
    for name in ("demo", "nobody"):
        for _ in range(cloud.config.identity.login_failures):
            await cloud.demo.post(TOKENS, by_password(name, "bad"), expect=401)
        answer = await cloud.demo.post(TOKENS, by_password(name, PASSWORD), expect=429)
        assert int(answer.headers["Retry-After"]) > 0


async def test_identity_headers_of_clients_are_not_believed(cloud: Cloud) -> None:
    headers = {
        "X-Roles": "admin",
        "X-Is-Admin-Project": "True",
        "OpenStack-System-Scope": "all",
        "X-User-Id": cloud.admin.user_id,
    }
    await cloud.demo.get("/identity/v3/users", headers=headers, expect=403)


async def test_discovery_answers_with_and_without_a_slash(cloud: Cloud) -> None:
    cloud.demo.token = ""
    for path in ("/identity", "/identity/"):
        answer = await cloud.demo.get(path, expect=300, allow_redirects=False)
        assert answer["versions"]["values"][0]["id"] == "v3.14"
    for path in ("/identity/v3", "/identity/v3/"):
        assert (await cloud.demo.get(path))["version"]["status"] == "stable"
    assert "resources" in (await cloud.demo.get("/identity/v3", headers={"Accept": "application/json-home"})).body


async def test_only_the_holder_and_admins_look_at_a_token(cloud: Cloud) -> None:
    await cloud.demo.get(TOKENS, headers={"X-Subject-Token": cloud.admin.token}, expect=403)
    await cloud.admin.get(TOKENS, headers={"X-Subject-Token": cloud.demo.token}, expect=200)
    await cloud.admin.get(TOKENS, headers={"X-Subject-Token": "bad"}, expect=404)
    await cloud.demo.get(TOKENS, headers={"X-Subject-Token": "bad"}, expect=404)
    await cloud.admin.get(TOKENS, expect=404)
    await cloud.demo.request("HEAD", TOKENS, headers={"X-Subject-Token": cloud.demo.token}, expect=200)


async def test_an_operator_rotates_the_keys_of_a_daemon_that_runs(cloud: Cloud, tmp_path: Path) -> None:
    config_file = tmp_path / "minicloud.toml"
    config_file.write_text(render(cloud.config))

    def rotate() -> str:
        done = CliRunner().invoke(root, ["keys", "rotate", "--config", str(config_file)])
        assert done.exit_code == 0, done.output
        return done.output

    old, headers = cloud.demo.token, {"X-Subject-Token": cloud.demo.token}
    assert rotate().startswith("key 2, 0.0 hours old\nkey 1,")
    await cloud.demo.get("/identity/v3/auth/tokens", headers=headers, expect=200)
    for _ in range(cloud.config.identity.keys_kept):
        rotate()
    await cloud.demo.post(TOKENS, by_password("admin", PASSWORD), expect=201)
    await cloud.demo.get("/identity/v3/auth/tokens", headers={**headers, "X-Auth-Token": old}, expect=401)
