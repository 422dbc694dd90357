"""What is secret is told to whom it concerns and written down nowhere: not in logs, traces and decisions, and in the state folder
only hashed or sealed with a key that is not in the database.
"""

from __future__ import annotations

import base64
import dataclasses
import itertools
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.conftest import Cloud

V3 = "/identity/v3"
NAME = "eve-the-user"


class Purse:
    """Secrets that were handed out, by what they are."""

    def __init__(self) -> None:
        self.held: dict[str, str] = {}
        self._numbers: Iterator[int] = itertools.count(100)

    def new(self, name: str) -> str:
        """A secret of our choice."""
        return self.keep(name, f"hush-{next(self._numbers)}-{name.replace(' ', '-')}")

    def keep(self, name: str, secret: str) -> str:
        """A secret that the cloud chose."""
        assert len(secret) >= 8
        self.held[name] = secret
        return secret

    def seen_in(self, text: bytes) -> list[str]:
        """Those that a text holds, plain, in base64 or in hexadecimal digits."""
        found = []
        for name, secret in self.held.items():
            raw = secret.encode()
            middle = [base64.b64encode(b" " * shift + raw)[4:-4] for shift in range(3)]
            if any(form in text for form in (raw, raw.hex().encode(), *middle)):
                found.append(name)
        return found


async def _spend(cloud: Cloud, purse: Purse) -> None:
    """Use every kind of secret, rightly and wrongly."""
    admin, tokens = cloud.admin, f"{V3}/auth/tokens"
    stranger = dataclasses.replace(admin, token="")

    def proof(name: str, password: str) -> dict[str, Any]:
        user = {"name": name, "domain": {"id": "default"}, "password": password}
        return {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}

    first, second = purse.new("password"), purse.new("next password")
    user = (await admin.post(f"{V3}/users", {"user": {"name": NAME, "password": first}}, expect=201))["user"]["id"]
    role = (await admin.get(f"{V3}/roles?name=member"))["roles"][0]["id"]
    await admin.put(f"{V3}/projects/{admin.project_id}/users/{user}/roles/{role}", expect=204)
    await stranger.post(tokens, proof(NAME, purse.new("wrong password")), expect=401)
    await stranger.post(tokens, {"auth": {"identity": {"methods": ["password"], "password": first}}}, expect=400)
    change = {"user": {"original_password": first, "password": second}}
    await stranger.post(f"{V3}/users/{user}/password", change, expect=204)
    eve = await cloud.login(NAME, second, "admin")
    purse.keep("token", eve.token)
    await admin.get(tokens, headers={"X-Subject-Token": eve.token})
    await dataclasses.replace(eve, token=eve.token[:-8] + "AAAAAAA=").get(tokens, expect=401)
    await eve.patch(f"{V3}/users/{user}", {"user": {"password": purse.new("password that may not be set")}}, expect=403)

    programs = f"{V3}/users/{user}/application_credentials"
    for name, values in (("made", {}), ("chosen", {"secret": purse.new("secret of a program")})):
        body = {"application_credential": {"name": name, **values}}
        made = (await eve.post(programs, body, expect=201))["application_credential"]
        purse.held.setdefault(f"{name} secret", made["secret"])
        own = {"id": made["id"], "secret": made["secret"]}
        auth = {"identity": {"methods": ["application_credential"], "application_credential": own}}
        answer = await stranger.post(tokens, {"auth": auth}, expect=201)
        purse.keep(f"token of a program, {name}", answer.headers["X-Subject-Token"])
    keys = await eve.post(f"{V3}/users/{user}/credentials/OS-EC2", {"tenant_id": eve.project_id}, expect=201)
    purse.keep("EC2 secret", keys["credential"]["secret"])
    asked = {"credentials": {"access": keys["credential"]["access"], "signature": "wrong", "token": "eA=="}}
    await admin.post(f"{V3}/s3tokens", asked, expect=401)
    blob = {"type": "note", "blob": purse.new("blob"), "user_id": user}
    kept = (await eve.post(f"{V3}/credentials", {"credential": blob}, expect=201))["credential"]["id"]
    await eve.patch(f"{V3}/credentials/{kept}", {"credential": {"blob": purse.new("next blob")}}, expect=200)
    await eve.get(f"{V3}/credentials")
    made = await admin.post(f"{V3}/OS-OAUTH1/consumers", {"consumer": {"description": "x"}}, expect=201)
    purse.keep("secret of a consumer", made["consumer"]["secret"])
    ldap = {"config": {"ldap": {"url": "ldap://x", "user": "x", "password": purse.new("password of a directory")}}}
    await admin.put(f"{V3}/domains/default/config", ldap, expect=201)


async def test_secrets_are_in_no_log_and_lie_nowhere_in_the_clear(
    cloud: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    purse = Purse()
    caplog.set_level(logging.DEBUG)
    with capture_logs() as facts:
        await _spend(cloud, purse)
        await cloud.stop()
    try:
        said = json.dumps(facts, default=repr) + caplog.text
        assert purse.seen_in(said.encode()) == []
        files = [path for path in Path(cloud.config.paths.state).rglob("*") if path.is_file()]
        assert {"minicloud.db"} < {path.name for path in files}
        control = Purse()
        control.keep("no secret", NAME)
        assert any(control.seen_in(path.read_bytes()) for path in files)
        found = {path.name: purse.seen_in(path.read_bytes()) for path in files}
        assert not any(found.values()), found
    finally:
        await cloud.start()


async def test_a_bug_tells_no_secrets(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trace in the log names places in the code, not values; the client gets a request's id."""

    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr("minicloud.identity.login._named_user", broken)
    purse = Purse()
    user = {"id": "x", "password": purse.new("password")}
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}
    with capture_logs() as facts:
        answer = await cloud.demo.post(f"{V3}/auth/tokens", body, expect=500)
    assert any(fact["event"] == "a request met a bug" for fact in facts)
    said = json.dumps(facts, default=repr).encode()
    assert purse.seen_in(said) == [] and purse.seen_in(str(answer.body).encode()) == []
