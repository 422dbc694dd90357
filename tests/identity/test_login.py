"""How tokens come to be and end, over HTTP."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from minicloud.cli import root
from minicloud.config import render
from minicloud.identity.argon import Argon
from tests.conftest import PASSWORD, Cloud
from tests.identity.later import run_ahead

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
    run_ahead(cloud)
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
        "X-Project-Id": cloud.admin.project_id,
        "X-Identity-Status": "Confirmed",
        "X-Forwarded-User": "admin",
        "Remote-User": "admin",
    }
    await cloud.demo.get("/identity/v3/users", headers=headers, expect=403)
    await dataclasses.replace(cloud.demo, token="").get("/identity/v3/users", headers=headers, expect=401)
    external = {"auth": {"identity": {"methods": ["external"]}}}
    await dataclasses.replace(cloud.demo, token="").post(TOKENS, external, headers=headers, expect=401)


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


async def test_only_a_proven_password_is_hashed_again(cloud: Cloud) -> None:
    """Hashes of other numbers are made anew at a login: with the password that was proven, and with no other."""
    old = Argon(time=2, memory_kib=64).hash(PASSWORD)
    store, user_id = cloud.daemon.store, cloud.demo.user_id
    await store.write(lambda db: db.execute("UPDATE users SET password_hash = ? WHERE id = ?", (old, user_id)))

    def kept() -> Any:
        return store.read(
            lambda db: db.execute("SELECT password_hash FROM users WHERE id = ?", (user_id,)).fetchone()[0]
        )

    for block in ({"user": {"id": user_id, "password": "mine now"}}, {"user": {}}, {}):
        proofs = {"methods": ["token"], "token": {"id": cloud.demo.token}, "password": block}
        await cloud.demo.post(TOKENS, {"auth": {"identity": proofs}}, expect=201)
        assert kept() == old
    await cloud.demo.post(TOKENS, by_password("demo", "mine now"), expect=401)
    await cloud.demo.post(TOKENS, by_password("demo", PASSWORD), expect=201)
    assert kept() != old
    await cloud.demo.post(TOKENS, by_password("demo", PASSWORD), expect=201)


async def test_a_token_of_no_token_is_not_found(cloud: Cloud) -> None:
    await cloud.demo.delete(TOKENS, headers={"X-Subject-Token": cloud.demo.token}, expect=204)
    for text in ("bad", cloud.demo.token):
        body = {"auth": {"identity": {"methods": ["token"], "token": {"id": text}}}}
        await cloud.demo.post(TOKENS, body, expect=404)


async def test_a_truth_value_that_is_none_lets_nobody_in(cloud: Cloud) -> None:
    store = cloud.daemon.store
    for table, key in (("users", cloud.demo.user_id), ("projects", cloud.demo.project_id), ("projects", "default")):
        for value in ("False", "no", "true", 2, -1, 0.5, None):
            await cloud.daemon.identity.write(
                lambda db, sql, *told: db.execute(sql, told), f"UPDATE {table} SET enabled = ? WHERE id = ?", value, key
            )
            await cloud.demo.get("/identity/v3/auth/projects", expect=401)
        await store.write(
            lambda db, sql, one: db.execute(sql, (one,)), f"UPDATE {table} SET enabled = 1 WHERE id = ?", key
        )


async def test_refusals_do_not_repeat_secrets(cloud: Cloud) -> None:
    marked, admin = "MARKED", cloud.admin
    user = {"name": "demo", "domain": {"id": "default"}, "password": marked}
    bodies: list[tuple[str, Any]] = [
        ("auth/tokens", {"auth": {"identity": {"password": {"user": user}}}}),
        ("auth/tokens", {"auth": {"identity": {"methods": ["password"], "password": marked}}}),
        ("auth/tokens", {"auth": {"identity": {"methods": ["token"], "token": marked}}}),
        ("auth/tokens", {"auth": {"identity": {"methods": ["token"], "token": {"id": marked}}}}),
        ("users", {"user": {"name": "x", "password": [marked]}}),
        ("users", {"user": {"password": marked}}),
        ("users", {"user": {"name": "x", "password": marked * 800}}),
        ("credentials", {"credential": {"type": "ec2", "blob": marked}}),
        ("credentials", {"credential": {"type": "ec2", "blob": [marked], "user_id": "x"}}),
        (f"users/{admin.user_id}/application_credentials", {"application_credential": {"secret": marked}}),
        (f"users/{admin.user_id}/password", {"user": {"password": marked}}),
        (f"users/{admin.user_id}/password", {"user": {"original_password": [marked], "password": marked}}),
    ]
    for path, body in bodies:
        answer = await admin.post(f"/identity/v3/{path}", body)
        assert 400 <= answer.status < 500 and marked not in str(answer.body), (path, answer.body)
