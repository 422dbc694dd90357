"""A domain's configuration is kept by group and option; secrets in it come back to nobody."""

from __future__ import annotations

from tests.conftest import Cloud

V3 = "/identity/v3"
LDAP = {"url": "ldap://directory.example", "suffix": "dc=example", "password": "hush-hush"}


async def test_a_configuration_is_made_changed_and_taken_apart(cloud: Cloud) -> None:
    admin = cloud.admin
    domain = (await admin.post(f"{V3}/domains", {"domain": {"name": "people"}}, expect=201))["domain"]["id"]
    path = f"{V3}/domains/{domain}/config"
    await admin.get(path, expect=404)
    whole = {"config": {"identity": {"driver": "ldap"}, "ldap": LDAP}}
    told = (await admin.put(path, whole, expect=201))["config"]
    shown = {name: value for name, value in LDAP.items() if name != "password"}
    assert told == {"identity": {"driver": "ldap"}, "ldap": shown}
    assert (await admin.put(path, whole, expect=200)).body == (await admin.get(path)).body == {"config": told}
    assert (await admin.get(f"{path}/ldap"))["config"] == {"ldap": shown}
    assert (await admin.get(f"{path}/ldap/url"))["config"] == {"url": LDAP["url"]}
    await admin.get(f"{path}/ldap/password", expect=404)
    assert b"hush-hush" not in cloud.daemon.store.path.read_bytes()
    changed = await admin.patch(path, {"config": {"ldap": {"user": "cn=root"}}}, expect=200)
    assert changed["config"]["ldap"] == {**shown, "user": "cn=root"} and changed["config"]["identity"]
    await admin.patch(f"{path}/ldap", {"config": {"ldap": {"url": "ldap://b.example"}}}, expect=200)
    await admin.patch(f"{path}/identity/driver", {"config": {"driver": "sql"}}, expect=200)
    assert (await admin.get(path))["config"]["identity"] == {"driver": "sql"}
    await admin.delete(f"{path}/identity/driver", expect=204)
    await admin.delete(f"{path}/identity", expect=404)
    await admin.get(f"{path}/identity", expect=404)
    await admin.delete(f"{path}/ldap", expect=204)
    await admin.get(path, expect=404)
    await admin.delete(path, expect=404)
    await admin.put(path, whole, expect=201)
    await admin.delete(path, expect=204)
    await admin.patch(path, whole, expect=200)


async def test_what_no_domain_may_set_is_forbidden(cloud: Cloud) -> None:
    admin, path = cloud.admin, f"{V3}/domains/default/config"
    for bad in (
        {"database": {"connection": "x"}},
        {"ldap": {"no_such": 1}},
        {"ldap": {}},
        {"ldap": "x"},
        {"identity": {"caching": True}},
    ):
        await admin.put(path, {"config": bad}, expect=403)
    await admin.put(path, {"config": "x"}, expect=400)
    await admin.put(path, {}, expect=400)
    await admin.put(path, {"config": {}}, expect=400)
    await admin.put(f"{V3}/domains/nothing/config", {"config": {"ldap": LDAP}}, expect=404)
    await admin.put(path, {"config": {"ldap": LDAP}}, expect=201)
    await admin.patch(f"{path}/identity", {"config": {"identity": {"driver": "x"}}}, expect=404)
    await admin.patch(f"{path}/ldap", {"config": {"identity": {"driver": "x"}}}, expect=403)
    await admin.patch(f"{path}/ldap/url", {"config": {"suffix": "x"}}, expect=403)
    await admin.patch(f"{path}/ldap/user", {"config": {"user": "x"}}, expect=404)
    for place in ("database", "ldap/no_such"):
        await admin.get(f"{path}/{place}", expect=403)
        await admin.delete(f"{path}/{place}", expect=403)
    await cloud.demo.get(path, expect=403)


async def test_the_defaults_are_told(cloud: Cloud) -> None:
    admin, path = cloud.admin, f"{V3}/domains/config"
    whole = (await admin.get(f"{path}/default"))["config"]
    assert whole["identity"]["driver"] == "sql" and "password" not in whole["ldap"]
    assert (await admin.get(f"{path}/ldap/default"))["config"] == {"ldap": whole["ldap"]}
    assert (await admin.get(f"{path}/ldap/url/default"))["config"] == {"url": whole["ldap"]["url"]}
    await admin.get(f"{path}/database/default", expect=403)
    await admin.get(f"{path}/ldap/no_such/default", expect=403)


async def test_a_domain_takes_its_configuration_with_it(cloud: Cloud) -> None:
    admin = cloud.admin
    body = {"domain": {"name": "people", "explicit_domain_id": "a" * 32}}
    for _ in range(2):
        await admin.post(f"{V3}/domains", body, expect=201)
        await admin.get(f"{V3}/domains/{'a' * 32}/config", expect=404)
        await admin.put(f"{V3}/domains/{'a' * 32}/config", {"config": {"ldap": LDAP}}, expect=201)
        await admin.patch(f"{V3}/domains/{'a' * 32}", {"domain": {"enabled": False}}, expect=200)
        await admin.delete(f"{V3}/domains/{'a' * 32}", expect=204)
