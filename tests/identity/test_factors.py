"""A second factor: codes of an authenticator, and rules about which methods go together."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from minicloud.core.errors import RateLimited, Unauthenticated
from minicloud.identity.login import log_in
from tests.conftest import PASSWORD, Cloud
from tests.identity.later import run_ahead

TOKENS = "/identity/v3/auth/tokens"
SEED = b"an-authenticators-secret"


def code_of(cloud: Cloud, *, ago: int = 0) -> str:
    codes = TOTP(SEED, 6, SHA1(), 30)
    return codes.generate(int(cloud.daemon.identity.clock.now().timestamp()) - ago).decode()


def logging_in(cloud: Cloud, *methods: str, code: str = "") -> dict[str, Any]:
    user = {"id": cloud.demo.user_id}
    proofs = {
        "password": {"user": {**user, "password": PASSWORD}},
        "totp": {"user": {**user, "passcode": code}},
        "token": {"id": cloud.demo.token},
    }
    scope = {"project": {"id": cloud.demo.project_id}}
    return {"auth": {"identity": {"methods": methods, **{name: proofs[name] for name in methods}}, "scope": scope}}


async def with_authenticator(cloud: Cloud) -> None:
    seed = base64.b32encode(SEED).decode().rstrip("=")
    credential = {"type": "totp", "blob": seed, "user_id": cloud.demo.user_id}
    await cloud.demo.post("/identity/v3/credentials", {"credential": credential}, expect=201)


async def test_a_code_lets_in_once(cloud: Cloud) -> None:
    await with_authenticator(cloud)
    code = code_of(cloud)
    answer = await cloud.demo.post(TOKENS, logging_in(cloud, "totp", code=code), expect=201)
    assert answer["token"]["methods"] == ["totp"]
    await cloud.demo.post(TOKENS, logging_in(cloud, "totp", code=code), expect=401)


async def test_wrong_and_old_codes_and_users_without_seed_are_refused(cloud: Cloud) -> None:
    await cloud.demo.post(TOKENS, logging_in(cloud, "totp", code=code_of(cloud)), expect=401)
    await with_authenticator(cloud)
    for code in (
        "000000" if code_of(cloud) != "000000" else "111111",
        code_of(cloud, ago=120),
        "",
        "abc",
        "\u0661" * 6,
    ):
        await cloud.demo.post(TOKENS, logging_in(cloud, "totp", code=code), expect=401)
    broken = {"auth": {"identity": {"methods": ["totp"], "totp": {"user": {"id": cloud.demo.user_id}}}}}
    await cloud.demo.post(TOKENS, broken, expect=400)


async def test_guessing_codes_is_bounded(cloud: Cloud) -> None:
    run_ahead(cloud)
    await with_authenticator(cloud)
    bad = logging_in(cloud, "totp", code="abcdef")
    statuses = [(await cloud.demo.post(TOKENS, bad)).status for _ in range(cloud.config.identity.login_failures + 1)]
    assert statuses[-1] == 429
    assert set(statuses[:-1]) == {401}


async def test_rules_want_methods_together(cloud: Cloud) -> None:
    await with_authenticator(cloud)
    path = f"/identity/v3/users/{cloud.demo.user_id}"
    rules = {"multi_factor_auth_enabled": True, "multi_factor_auth_rules": [["password", "totp"]]}
    shown = await cloud.admin.patch(path, {"user": {"options": rules}}, expect=200)
    assert shown["user"]["options"] == rules
    await cloud.demo.post(TOKENS, logging_in(cloud, "password"), expect=401)
    both = logging_in(cloud, "password", "totp", code=code_of(cloud))
    answer = await cloud.demo.post(TOKENS, both, expect=201)
    assert sorted(answer["token"]["methods"]) == ["password", "totp"]
    # a token made by both is as good as both; one from before the rules is not
    again = {"auth": {"identity": {"methods": ["token"], "token": {"id": answer.headers["X-Subject-Token"]}}}}
    await cloud.demo.post(TOKENS, again, expect=201)
    await cloud.demo.post(TOKENS, logging_in(cloud, "token"), expect=401)
    await cloud.admin.patch(path, {"user": {"options": {"multi_factor_auth_enabled": False}}}, expect=200)
    await cloud.demo.post(TOKENS, logging_in(cloud, "password"), expect=201)


async def test_rules_that_are_none_are_refused(cloud: Cloud) -> None:
    path = f"/identity/v3/users/{cloud.demo.user_id}"
    for rules in ("password", [[]], ["password"], [["password", "password"]], [[1]]):
        await cloud.admin.patch(path, {"user": {"options": {"multi_factor_auth_rules": rules}}}, expect=400)


async def test_codes_cannot_be_guessed_from_many_addresses_nor_by_others_than_who_proved_more(cloud: Cloud) -> None:
    """Six digits are few: failures count wherever they come from, but nobody closes the way of one with a password."""
    await with_authenticator(cloud)
    identity, free = cloud.daemon.identity, cloud.config.identity.login_failures
    run_ahead(cloud)
    wrong = logging_in(cloud, "totp", code="abcdef")["auth"]["identity"]
    for number in range(free):
        with pytest.raises(Unauthenticated):
            await log_in(identity, proofs=wrong, methods=["totp"], scope=None, address=f"192.0.2.{number}")
    with pytest.raises(RateLimited):
        await log_in(identity, proofs=wrong, methods=["totp"], scope=None, address="198.51.100.1")
    eve = await cloud.person("eve", project="demo")
    mixed = {"password": {"user": {"id": eve.user_id, "password": PASSWORD}}, "totp": wrong["totp"]}
    for _ in range(free + 1):
        with pytest.raises(Unauthenticated):
            await log_in(identity, proofs=mixed, methods=["totp", "password"], scope=None, address="192.0.2.1")
    both = logging_in(cloud, "totp", "password", code=code_of(cloud))
    answer = await cloud.demo.post(TOKENS, both, expect=201)
    assert answer["token"]["methods"] == ["totp", "password"]
