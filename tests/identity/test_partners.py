"""Identity providers, mappings, other clouds and programs are set up, told and removed."""

from __future__ import annotations

from typing import Any

import pytest
from yarl import URL

from tests.conftest import PASSWORD, Cloud

V3 = "/identity/v3"
FEDERATION = V3 + "/OS-FEDERATION"
RULES = [{"local": [{"user": {"name": "{0}"}}], "remote": [{"type": "REMOTE_USER"}]}]
CLOUD = {"auth_url": "https://b.example/auth", "sp_url": "https://b.example/sp"}


@pytest.mark.parametrize(
    ("noun", "values", "change"),
    [
        ("identity_provider", {"remote_ids": ["https://idp.example"], "description": "x"}, {"enabled": True}),
        ("mapping", {"rules": RULES}, {"rules": [*RULES, *RULES]}),
        ("service_provider", CLOUD, {"enabled": True}),
    ],
)
async def test_a_partner_is_made_at_its_id_changed_and_removed(
    cloud: Cloud, noun: str, values: dict[str, Any], change: dict[str, Any]
) -> None:
    path = f"{FEDERATION}/{noun}s/partner"
    made = (await cloud.admin.put(path, {noun: values}, expect=201))[noun]
    assert made["id"] == "partner" and made.items() >= values.items() and made["links"]["self"].endswith(path)
    assert made.get("enabled", False) is False
    await cloud.admin.put(path, {noun: values}, expect=409)
    assert (await cloud.admin.patch(path, {noun: change}, expect=200))[noun].items() >= change.items()
    assert [one["id"] for one in (await cloud.admin.get(f"{FEDERATION}/{noun}s"))[f"{noun}s"]] == ["partner"]
    await cloud.demo.get(path, expect=403)
    await cloud.admin.delete(path, expect=204)
    for method in ("GET", "DELETE"):
        await cloud.admin.request(method, path, expect=404)
    await cloud.admin.patch(path, {noun: change}, expect=404)


async def test_an_identity_provider_has_a_domain_and_protocols(cloud: Cloud) -> None:
    admin, path = cloud.admin, f"{FEDERATION}/identity_providers"
    provider = {"remote_ids": ["https://idp.example"]}
    made = (await admin.put(f"{path}/one", {"identity_provider": provider}, expect=201))["identity_provider"]
    assert (await admin.get(f"{V3}/domains/{made['domain_id']}"))["domain"]["name"] == "one"
    await admin.put(f"{path}/two", {"identity_provider": provider}, expect=409)
    await admin.put(f"{path}/two", {"identity_provider": {"domain_id": "nothing"}}, expect=404)
    await admin.put(f"{path}/two", {"identity_provider": {"domain_id": "default"}}, expect=201)
    await admin.patch(f"{path}/two", {"identity_provider": {"domain_id": made["domain_id"]}}, expect=400)
    await admin.patch(f"{path}/two", {"identity_provider": provider}, expect=409)
    for name in ("m", "n"):
        await admin.put(f"{FEDERATION}/mappings/{name}", {"mapping": {"rules": RULES}}, expect=201)
    place, body = f"{path}/one/protocols/saml2", {"protocol": {"mapping_id": "m"}}
    await admin.put(place, {"protocol": {"mapping_id": "nothing"}}, expect=400)
    await admin.put(f"{path}/nobody/protocols/saml2", body, expect=404)
    told = (await admin.put(place, body, expect=201))["protocol"]
    assert (told["id"], told["mapping_id"]) == ("saml2", "m")
    await admin.put(place, body, expect=409)
    await admin.put(f"{path}/two/protocols/saml2", body, expect=201)
    await admin.patch(place, {"protocol": {"mapping_id": "n"}}, expect=200)
    assert (await admin.get(place))["protocol"]["mapping_id"] == "n"
    assert [one["id"] for one in (await admin.get(f"{path}/one/protocols"))["protocols"]] == ["saml2"]
    await admin.delete(f"{path}/one", expect=204)
    await admin.get(place, expect=404)
    await admin.delete(f"{path}/two/protocols/saml2", expect=204)


async def test_a_domain_takes_its_identity_providers_with_it(cloud: Cloud) -> None:
    admin, path = cloud.admin, f"{FEDERATION}/identity_providers/one"
    for _ in range(2):
        home = (await admin.put(path, {"identity_provider": {}}, expect=201))["identity_provider"]["domain_id"]
        await admin.patch(f"{V3}/domains/{home}", {"domain": {"enabled": False}}, expect=200)
        await admin.delete(f"{V3}/domains/{home}", expect=204)
        await admin.get(path, expect=404)


async def test_what_is_no_partner_is_refused(cloud: Cloud) -> None:
    for path, body in (
        ("service_providers/a", {"service_provider": {**CLOUD, "auth_url": "no url"}}),
        ("service_providers/a", {"service_provider": {"auth_url": CLOUD["auth_url"]}}),
        ("mappings/a", {"mapping": {}}),
        ("mappings/a", {"mapping": {"rules": []}}),
        ("mappings/a", {"mapping": {"rules": [{"local": []}]}}),
        ("identity_providers/a", {"identity_provider": {"colour": "blue"}}),
        ("identity_providers/a", {"identity_provider": {"remote_ids": [1]}}),
    ):
        await cloud.admin.put(f"{FEDERATION}/{path}", body, expect=400)
    for odd in ("a" * 65, "a b", "%0d%0aX", "%F0%9F%92%A9", "a%2Fb"):
        url = URL(f"{cloud.admin.url}{FEDERATION}/service_providers/{odd}", encoded=True)
        headers = {"X-Auth-Token": cloud.admin.token}
        async with cloud.session.put(url, json={"service_provider": CLOUD}, headers=headers) as answer:
            assert answer.status in (400, 404), odd


async def test_tokens_tell_of_enabled_clouds(cloud: Cloud) -> None:
    path = f"{FEDERATION}/service_providers"
    await cloud.admin.put(f"{path}/on", {"service_provider": {**CLOUD, "enabled": True}}, expect=201)
    await cloud.admin.put(f"{path}/off", {"service_provider": CLOUD}, expect=201)
    fresh = await cloud.login("demo", PASSWORD, "demo")
    token = (await fresh.get(f"{V3}/auth/tokens", headers={"X-Subject-Token": fresh.token}))["token"]
    assert token["service_providers"] == [{"id": "on", **CLOUD}] and token["catalog"]
    await cloud.admin.delete(f"{path}/on", expect=204)
    token = (await fresh.get(f"{V3}/auth/tokens", headers={"X-Subject-Token": fresh.token}))["token"]
    assert "service_providers" not in token


async def test_the_secret_of_a_program_is_told_once(cloud: Cloud) -> None:
    path = f"{V3}/OS-OAUTH1/consumers"
    made = (await cloud.admin.post(path, {"consumer": {"description": "robot", "colour": "blue"}}, expect=201))[
        "consumer"
    ]
    assert len(made["secret"]) > 30 and made["colour"] == "blue"
    assert made["secret"].encode() not in cloud.daemon.store.path.read_bytes()
    one = f"{path}/{made['id']}"
    shown = (await cloud.admin.get(one))["consumer"]
    assert shown == {name: value for name, value in made.items() if name != "secret"}
    changed = await cloud.admin.patch(one, {"consumer": {"description": "x", "secret": "mine"}}, expect=200)
    assert changed["consumer"]["description"] == "x" and "secret" not in changed["consumer"]
    assert len((await cloud.admin.get(path))["consumers"]) == 1
    await cloud.admin.delete(one, expect=204)
    await cloud.admin.get(one, expect=404)


async def test_what_is_only_told_cannot_be_set(cloud: Cloud) -> None:
    body = {"name": "x", "password_expires_at": "2001-01-01T00:00:00", "id": "mine", "links": {}}
    made = (await cloud.admin.post(f"{V3}/users", {"user": body}, expect=201))["user"]
    assert made["password_expires_at"] is None and made["id"] != "mine"
    path = f"{V3}/users/{made['id']}"
    await cloud.admin.patch(path, {"user": {"password_expires_at": "2001-01-01T00:00:00"}}, expect=200)
    assert (await cloud.admin.get(path))["user"] == made
