"""Ends of passwords and closed accounts: what an operator can ask for, and who is exempt."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from minicloud.config import Identity
from tests.conftest import PASSWORD, Answer, Cloud, plain_config, running_cloud
from tests.identity.later import run_ahead

V3 = "/identity/v3"


@pytest.fixture
async def strict(tmp_path: Path) -> AsyncIterator[Cloud]:
    """A cloud that closes accounts after three wrong passwords, and whose passwords last ten days."""
    identity = Identity(
        argon2_memory_kib=64,
        argon2_time=1,
        lockout_failures=3,
        lockout_seconds=600,
        password_days=10,
        login_failures=50,
    )
    async with running_cloud(tmp_path, dataclasses.replace(plain_config(tmp_path), identity=identity)) as cloud:
        yield cloud


async def attempt(cloud: Cloud, password: str, name: str = "demo") -> Answer:
    user = {"name": name, "domain": {"id": "default"}, "password": password}
    auth = {"identity": {"methods": ["password"], "password": {"user": user}}}
    return await dataclasses.replace(cloud.demo, token="").post(f"{V3}/auth/tokens", {"auth": auth})


async def options(cloud: Cloud, **values: Any) -> None:
    path = f"{V3}/users/{cloud.demo.user_id}"
    assert (await cloud.admin.patch(path, {"user": {"options": values}}, expect=200))["user"]["options"] == values


async def test_wrong_passwords_in_a_row_close_an_account_for_a_while(strict: Cloud) -> None:
    clock = run_ahead(strict)
    for _ in range(2):
        refused = await attempt(strict, "guess")
        assert refused.status == 401
    assert (await attempt(strict, PASSWORD)).status == 201  # starts counting anew
    for _ in range(3):
        await attempt(strict, "guess")
    closed = await attempt(strict, PASSWORD)
    assert closed.status == 401 and closed.body == refused.body
    assert (await attempt(strict, PASSWORD, "admin")).status == 201
    own = {"user": {"original_password": PASSWORD, "password": "another one"}}
    await strict.demo.post(f"{V3}/users/{strict.demo.user_id}/password", own, expect=401)
    clock.ahead = timedelta(seconds=601)
    assert (await attempt(strict, PASSWORD)).status == 201


async def test_an_exempt_user_is_never_locked_out(strict: Cloud) -> None:
    await options(strict, ignore_lockout_failure_attempts=True)
    for _ in range(4):
        await attempt(strict, "guess")
    assert (await attempt(strict, PASSWORD)).status == 201


async def test_a_password_ends_and_its_user_can_change_it(strict: Cloud) -> None:
    clock, path = run_ahead(strict), f"{V3}/users/{strict.demo.user_id}"
    ends = (await strict.demo.get(path))["user"]["password_expires_at"]
    assert datetime.fromisoformat(ends).replace(tzinfo=UTC) - clock.now() > timedelta(days=9)
    told = (await strict.demo.get(f"{V3}/auth/tokens", headers={"X-Subject-Token": strict.demo.token}))["token"]
    assert told["user"]["password_expires_at"] == ends
    clock.ahead = timedelta(days=11)
    refused = await attempt(strict, PASSWORD)
    assert refused.status == 401 and "password is expired" in refused["error"]["message"]
    assert (await attempt(strict, "guess")).body != refused.body
    own = {"user": {"original_password": PASSWORD, "password": "another one"}}
    await dataclasses.replace(strict.demo, token="").post(f"{path}/password", own, expect=204)
    assert (await attempt(strict, "another one")).status == 201


async def test_a_password_without_end(strict: Cloud) -> None:
    clock = run_ahead(strict)
    await options(strict, ignore_password_expiry=True)
    shown = await strict.admin.get(f"{V3}/users/{strict.demo.user_id}")
    assert shown["user"]["password_expires_at"] is None
    clock.ahead = timedelta(days=11)
    assert (await attempt(strict, PASSWORD)).status == 201


async def test_a_password_from_somebody_else_is_changed_first(tmp_path: Path) -> None:
    identity = Identity(argon2_memory_kib=64, argon2_time=1, change_password_at_first_use=True)
    cloud = Cloud(tmp_path, dataclasses.replace(plain_config(tmp_path), identity=identity))
    await cloud.start()
    cloud.demo = cloud.admin
    path = f"{V3}/users"
    body = {"user": {"name": "fresh", "password": PASSWORD}}
    made = (await cloud.admin.post(path, body, expect=201))["user"]
    assert "password is expired" in (await attempt(cloud, PASSWORD, "fresh"))["error"]["message"]
    own = {"user": {"original_password": PASSWORD, "password": "my own"}}
    await cloud.admin.post(f"{path}/{made['id']}/password", own, expect=204)
    assert (await attempt(cloud, "my own", "fresh")).status == 201
    await cloud.admin.patch(f"{path}/{made['id']}", {"user": {"password": "reset"}}, expect=200)
    assert (await attempt(cloud, "reset", "fresh")).status == 401
    exempt = {"password": "reset again", "options": {"ignore_change_password_upon_first_use": True}}
    await cloud.admin.patch(f"{path}/{made['id']}", {"user": exempt}, expect=200)
    assert (await attempt(cloud, "reset again", "fresh")).status == 201
    await cloud.stop()
    await cloud.session.close()


async def test_passwords_are_as_the_operator_wants_them(tmp_path: Path) -> None:
    rule, words = r"^(?=.*\d).{7,}$", "A password has at least 7 characters, one of them a digit."
    options = Identity(argon2_memory_kib=64, argon2_time=1, password_regex=rule, password_regex_description=words)
    cloud = Cloud(tmp_path, dataclasses.replace(plain_config(tmp_path), identity=options))
    await cloud.start()
    path = f"{V3}/users"
    refused = await cloud.admin.post(path, {"user": {"name": "a", "password": "short"}}, expect=400)
    assert words in refused["error"]["message"]
    user = (await cloud.admin.post(path, {"user": {"name": "a", "password": "long enough 1"}}, expect=201))["user"]
    await cloud.admin.patch(f"{path}/{user['id']}", {"user": {"password": "no digit here"}}, expect=400)
    own = {"user": {"original_password": "long enough 1", "password": "no digit here"}}
    await cloud.admin.post(f"{path}/{user['id']}/password", own, expect=400)
    place = f"{V3}/domains/default/config/security_compliance"
    rules = {"password_regex": rule, "password_regex_description": words}
    assert (await cloud.admin.get(place))["config"] == {"security_compliance": rules}
    assert (await cloud.admin.get(f"{place}/password_regex"))["config"] == {"password_regex": rule}
    await cloud.admin.get(f"{place}/lockout_failures", expect=403)
    await cloud.admin.get(place.replace("default", "a" * 32), expect=403)
    await cloud.stop()
    await cloud.session.close()


async def test_an_option_of_a_wrong_kind_is_refused(cloud: Cloud) -> None:
    path = f"{V3}/users/{cloud.demo.user_id}"
    for bad in ({"lock_password": "yes"}, {"no_such": True}, {"ignore_password_expiry": 1}, []):
        await cloud.admin.patch(path, {"user": {"options": bad}}, expect=400)
    await options(cloud, lock_password=True, multi_factor_auth_enabled=False)
    await cloud.admin.patch(path, {"user": {"options": {"lock_password": None}}}, expect=200)
    assert (await cloud.admin.get(path))["user"]["options"] == {"multi_factor_auth_enabled": False}
