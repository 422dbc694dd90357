"""Guessing is bounded: how long an account stays closed, to whom, and that many guesses at once are no way around it."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from minicloud.core.errors import RateLimited
from minicloud.identity.login import log_in
from minicloud.identity.passwords import QUEUE, Passwords
from minicloud.identity.throttle import MOST, Throttle
from tests.conftest import PASSWORD, Cloud
from tests.identity.later import Later, run_ahead

TOKENS = "/identity/v3/auth/tokens"


def logging_in(password: str, name: str = "demo") -> dict[str, Any]:
    user = {"name": name, "domain": {"id": "default"}, "password": password}
    return {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}


def closed_for(throttle: Throttle, address: str, account: str = "a") -> int:
    """Seconds until the next try may be made; 0: now."""
    try:
        throttle.check(account, address)
    except RateLimited as error:
        assert error.retry_after is not None
        return error.retry_after
    return 0


def test_each_failure_beyond_the_free_ones_closes_for_longer() -> None:
    clock = Later()
    throttle = Throttle(clock, failures=3, window=900)
    waits = []
    for _ in range(11):
        throttle.failed("a", "192.0.2.1")
        waits.append(closed_for(throttle, "192.0.2.1"))
        clock.ahead += timedelta(seconds=waits[-1])
        assert closed_for(throttle, "192.0.2.1") == 0
    assert waits == [0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    throttle.failed("a", "192.0.2.1")
    throttle.passed("a", "192.0.2.1")
    assert closed_for(throttle, "192.0.2.1") == 0
    for _ in range(3):
        throttle.failed("a", "192.0.2.1")
    clock.ahead += timedelta(seconds=901)
    throttle.failed("a", "192.0.2.1")
    assert closed_for(throttle, "192.0.2.1") == 0


@pytest.mark.parametrize(
    ("address", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::2%eth0", True),
        ("", "", True),
    ],
)
def test_the_addresses_of_one_host_count_together(address: str, other: str, same: bool) -> None:
    throttle = Throttle(Later(), failures=1, window=900)
    throttle.failed("a", address)
    assert bool(closed_for(throttle, other)) == same
    assert closed_for(throttle, address, "somebody else") == 0


def test_memory_of_failures_is_bounded() -> None:
    throttle = Throttle(Later(), failures=1, window=900)
    for number in range(MOST + 10):
        throttle.failed(str(number), "192.0.2.1")
    assert closed_for(throttle, "192.0.2.1", "0") == 0
    assert closed_for(throttle, "192.0.2.1", str(MOST)) == 1
    assert len(throttle._seen) == MOST


async def test_guesses_at_once_are_no_more_than_one_after_the_other(cloud: Cloud) -> None:
    run_ahead(cloud)  # whose clock stands still for the bound
    path = f"/identity/v3/users/{cloud.demo.user_id}/password"
    free = cloud.config.identity.login_failures
    guesses = [cloud.demo.post(TOKENS, logging_in(f"guess {number}")) for number in range(free - 4)]
    guesses += [
        cloud.demo.post(path, {"user": {"original_password": f"guess {number}", "password": "x"}})
        for number in range(free)
    ]
    answers = await asyncio.gather(*guesses, cloud.demo.post(TOKENS, logging_in(PASSWORD, "admin")))
    assert answers[-1].status == 201
    assert Counter(one.status for one in answers[:-1]) == {401: free, 429: free - 4}
    assert (await cloud.demo.post(TOKENS, logging_in(PASSWORD))).status == 429


async def test_a_storm_of_logins_waits_in_a_short_queue_while_tokens_are_checked(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 logins at once: few hashes run, the rest waits, requests with tokens are answered all the while; too many are told
    to come back."""
    identity = cloud.daemon.identity
    gate, lock, running, most = threading.Event(), threading.Lock(), 0, 0
    plain = Passwords._verify

    def held(self: Passwords, kept: str | None, password: str) -> bool:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        assert gate.wait(60)
        with lock:
            running -= 1
        return plain(self, kept, password)

    monkeypatch.setattr(Passwords, "_verify", held)
    storm = [asyncio.create_task(_login(cloud)) for _ in range(200)]
    try:
        await _until(lambda: identity.passwords._waiting == 200)
        for _ in range(20):
            await cloud.demo.get("/identity/v3/auth/projects", expect=200)
            await cloud.demo.get(TOKENS, headers={"X-Subject-Token": cloud.demo.token}, expect=200)
        storm += [asyncio.create_task(_login(cloud)) for _ in range(QUEUE - 200)]
        await _until(lambda: identity.passwords._waiting == QUEUE)
        turned_away = await cloud.demo.post(TOKENS, logging_in(PASSWORD), expect=503)
        assert int(turned_away.headers["Retry-After"]) > 0
    finally:
        gate.set()
    assert Counter(await asyncio.gather(*storm)) == {201: QUEUE}
    assert most == cloud.config.identity.hash_threads <= 4
    assert identity.passwords._waiting == 0


async def _login(cloud: Cloud) -> int:
    """Past the door: a client of aiohttp would only have a hundred connections."""
    body = logging_in(PASSWORD)["auth"]["identity"]
    await log_in(cloud.daemon.identity, proofs=body, methods=["password"], scope="unscoped", address="192.0.2.1")
    return 201


async def _until(happened: Any) -> None:
    """Let the loop run until something is so."""
    for _ in range(10_000):
        if happened():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never happened")
