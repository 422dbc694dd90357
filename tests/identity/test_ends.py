"""When tokens end, and that they end everywhere: by time, with what they were made of, by their user's or an admin's wish."""

from __future__ import annotations

import base64
import dataclasses
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from minicloud.core.errors import Unauthenticated
from tests.conftest import PASSWORD, Client, Cloud
from tests.identity.later import run_ahead

V3 = "/identity/v3"
TOKENS = V3 + "/auth/tokens"
DOORS = (
    f"{V3}/auth/projects",
    "/image/v2/images",
    "/compute/v2.1/servers",
    "/network/v2.0/networks",
    "/volume/v3/volumes",
    "/placement/resource_providers",
)


async def again(client: Client, scope: Any = "unscoped") -> Client:
    """A client with a token made of another one's."""
    auth = {"identity": {"methods": ["token"], "token": {"id": client.token}}, "scope": scope}
    answer = await client.post(TOKENS, {"auth": auth}, expect=201)
    return dataclasses.replace(client, token=answer.headers["X-Subject-Token"])


async def told_of(client: Client) -> dict[str, Any]:
    """What a client's own token says."""
    told = await client.get(TOKENS, headers={"X-Subject-Token": client.token})
    return dict(told["token"])


async def lets_in(client: Client) -> bool:
    """Whether its token counts."""
    status = (await client.get(f"{V3}/auth/projects", expect=None)).status
    assert status in (200, 401)
    return status == 200


async def with_credential(client: Client, **values: Any) -> Client:
    """A client that logged in by a new application credential of another one's user."""
    body = {"application_credential": {"name": "program", **values}}
    path = f"{V3}/users/{client.user_id}/application_credentials"
    made = (await client.post(path, body, expect=201))["application_credential"]
    proof = {"id": made["id"], "secret": made["secret"]}
    auth = {"identity": {"methods": ["application_credential"], "application_credential": proof}}
    answer = await client.post(TOKENS, {"auth": auth}, expect=201)
    return dataclasses.replace(client, token=answer.headers["X-Subject-Token"])


async def test_twenty_tokens_of_one_another_all_end_with_the_first(cloud: Cloud) -> None:
    first, client = await told_of(cloud.demo), cloud.demo
    for number in range(20):
        client = await again(client, {"project": {"id": client.project_id}} if number % 2 else "unscoped")
        told = await told_of(client)
        assert told["expires_at"] == first["expires_at"]
        assert told["audit_ids"][1:] == first["audit_ids"]


async def test_a_token_ends_with_its_application_credential(cloud: Cloud) -> None:
    clock = run_ahead(cloud)
    ends = clock.now() + timedelta(minutes=5)
    program = await with_credential(cloud.demo, expires_at=ends.isoformat())
    assert datetime.fromisoformat((await told_of(program))["expires_at"]) <= ends
    assert await lets_in(program)
    clock.ahead = timedelta(minutes=5)
    assert not await lets_in(program)
    assert await lets_in(cloud.demo)


async def test_a_token_that_ended_is_refused_at_every_door_and_never_comes_back(cloud: Cloud) -> None:
    clock = run_ahead(cloud)
    revoked, expired = cloud.demo, await cloud.login("demo", PASSWORD, "demo")
    await revoked.delete(TOKENS, headers={"X-Subject-Token": revoked.token}, expect=204)
    clock.ahead = timedelta(seconds=cloud.config.identity.token_seconds)
    admin, old = await cloud.login("admin", PASSWORD, "admin"), {"allow_expired": "1"}

    async def seen(token: str, **query: str) -> set[int]:
        asked = [
            await admin.request(verb, TOKENS, headers={"X-Subject-Token": token}, params=query)
            for verb in ("GET", "HEAD")
        ]
        return {one.status for one in asked}

    for token in (revoked.token, expired.token):
        client = dataclasses.replace(cloud.demo, token=token)
        for door in DOORS:
            await client.get(door, expect=401)
        assert await seen(token) == {404}
    # whoever asks for it may look back at what merely expired, not at what was revoked, and not for ever
    assert await seen(expired.token, **old) == {200}
    assert await seen(revoked.token, **old) == {404}
    for hours in (1, 24, 24, 24):
        clock.ahead += timedelta(hours=hours)
        await cloud.daemon.identity._keep_house()
        admin = await cloud.login("admin", PASSWORD, "admin")
        assert await seen(revoked.token, **old) == {404}
    assert await seen(expired.token, **old) == {404}


async def test_a_clock_that_jumped_and_came_back_revives_nothing(cloud: Cloud) -> None:
    clock = run_ahead(cloud)
    await cloud.demo.delete(TOKENS, headers={"X-Subject-Token": cloud.demo.token}, expect=204)
    clock.ahead = timedelta(days=1)
    await cloud.daemon.identity._keep_house()
    clock.ahead = timedelta()
    assert not await lets_in(cloud.demo)


@pytest.mark.parametrize("change", [{"password": "another one"}, {"password": PASSWORD}, {"enabled": False}, None])
async def test_a_users_change_ends_their_tokens_and_no_others_and_new_ones_work_at_once(
    cloud: Cloud, change: dict[str, Any] | None
) -> None:
    path, bystander = f"{V3}/users/{cloud.demo.user_id}", await cloud.person("bystander", project="demo")
    second = await again(cloud.demo)
    if change is None:
        await cloud.admin.delete(path, expect=204)
    else:
        await cloud.admin.patch(path, {"user": change}, expect=200)
    for old in (cloud.demo, second):
        assert not await lets_in(old)
        await cloud.admin.get(TOKENS, headers={"X-Subject-Token": old.token}, expect=404)
    assert await lets_in(bystander)
    if change is not None:
        if not change.get("enabled", True):
            await cloud.admin.patch(path, {"user": {"enabled": True}}, expect=200)
        assert await lets_in(await cloud.login("demo", change.get("password", PASSWORD), "demo"))
        assert not await lets_in(cloud.demo)


@pytest.mark.parametrize("how", ["direct", "group", "inherited", "membership", "role"])
async def test_a_role_that_is_taken_is_gone_from_earlier_tokens_alone(cloud: Cloud, how: str) -> None:
    admin, demo = cloud.admin, cloud.demo
    role = (await admin.post(f"{V3}/roles", {"role": {"name": "extra"}}, expect=201))["role"]["id"]
    group = (await admin.post(f"{V3}/groups", {"group": {"name": "g"}}, expect=201))["group"]["id"]
    member = f"{V3}/groups/{group}/users/{demo.user_id}"
    await admin.put(member, expect=204)
    project = f"{V3}/projects/{demo.project_id}"
    grant = {
        "direct": f"{project}/users/{demo.user_id}/roles/{role}",
        "inherited": f"{V3}/OS-INHERIT/domains/default/users/{demo.user_id}/roles/{role}/inherited_to_projects",
    }.get(how, f"{project}/groups/{group}/roles/{role}")
    await admin.put(grant, expect=204)
    other = await cloud.person("other", project="demo", roles=("member", "extra"))
    earlier = await cloud.login("demo", PASSWORD, "demo")

    async def roles(client: Client) -> set[str]:
        return {one["name"] for one in (await told_of(client))["roles"]}

    assert "extra" in await roles(earlier) and "extra" in await roles(other)
    await admin.delete({"membership": member, "role": f"{V3}/roles/{role}"}.get(how, grant), expect=204)
    assert await roles(earlier) == {"member", "reader"}
    assert ("extra" in await roles(other)) == (how != "role")


async def test_no_changed_bit_and_no_other_spelling_makes_another_token(cloud: Cloud) -> None:
    identity, text = cloud.daemon.identity, cloud.demo.token
    known, raw = identity.token_of(text).token, base64.urlsafe_b64decode(text)
    for place in range(len(raw) * 8):
        flipped = bytearray(raw)
        flipped[place // 8] ^= 1 << place % 8
        with pytest.raises(Unauthenticated):
            identity.token_of(base64.urlsafe_b64encode(flipped).decode())
    for place in range(len(text)):
        for letter in "A_":
            spelling = text[:place] + letter + text[place + 1 :]
            try:
                assert identity.token_of(spelling).token == known
            except Unauthenticated:
                assert spelling != text


async def test_a_key_from_a_wrong_clocks_future_is_replaced_once(cloud: Cloud) -> None:
    identity = cloud.daemon.identity
    (key,) = (Path(cloud.config.paths.state) / "keys" / "tokens").iterdir()
    ahead = (datetime.now(UTC) + timedelta(days=365)).timestamp()
    os.utime(key, (ahead, ahead))
    for _ in range(2):
        await identity._keep_house()
        assert len(identity._token_keys.ages(ahead)) == 2
    assert await lets_in(cloud.demo)


async def test_ninety_days_leave_no_rows_no_gap_and_few_keys(cloud: Cloud) -> None:
    clock, identity = run_ahead(cloud), cloud.daemon.identity
    folder = Path(cloud.config.paths.state) / "keys" / "tokens"
    early = cloud.demo
    admin_id = cloud.admin.user_id
    for day in range(90):
        clock.ahead = timedelta(days=day)
        admin, demo = await cloud.login("admin", PASSWORD, "admin"), await cloud.login("demo", PASSWORD, "demo")
        spent = await again(demo)
        await spent.delete(TOKENS, headers={"X-Subject-Token": spent.token}, expect=204)
        lent = {
            "trustor_user_id": admin_id, "trustee_user_id": demo.user_id, "impersonation": False,
            "project_id": admin.project_id, "roles": [{"name": "reader"}],
            "expires_at": (clock.now() + timedelta(hours=1)).isoformat(),
        }  # fmt: skip
        await admin.post(f"{V3}/OS-TRUST/trusts", {"trust": lent}, expect=201)
        now = clock.now().timestamp()
        before = {path.name for path in folder.iterdir()}
        await identity._keep_house()
        for path in folder.iterdir():
            if path.name not in before:
                os.utime(path, (now, now))  # keys are dated by the machine, which knows nothing of this test's days
        assert await lets_in(demo) and not await lets_in(spent)
    assert not await lets_in(early)
    assert {path.name for path in folder.iterdir()} == {"88", "89", "90"}
    rows = {
        table: identity.store.read(lambda db, name: db.execute(f"SELECT count(*) FROM {name}").fetchone()[0], table)
        for table in ("revocations", "trusts")
    }
    assert all(1 <= count <= 4 for count in rows.values()), rows
