"""What a request may cost, in counts: queries, transactions (each one fsync), effects on the host.

`tests/bench` measures seconds, which depend on the machine; these don't, and rise when somebody reads row by row.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from minicloud.core.store import Db
from tests.conftest import Cloud
from tests.crash.scenarios import make_server, prepare, request_server

QUERIES_OF_A_SERVER = 7
"""The server, its volumes, ports, networks, groups and floating IPs, and of the host its zone and its service record."""

TRANSACTIONS_OF_AN_ACCEPT = 1
TRANSACTIONS_OF_A_LAUNCH = 20
"""Of everything between POST /servers and ACTIVE; nine undo records and notes of the story, the rest is of the network."""


class Counts:
    """Statements by their first word, and what was done to the fake host."""

    def __init__(self) -> None:
        self.statements: list[str] = []
        self.effects: list[str] = []

    def of(self, *words: str) -> int:
        return sum(one.startswith(words) for one in self.statements)


@contextlib.contextmanager
def counted(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counts]:
    """Everything that is asked of the database and of the host inside the block."""
    counts, execute = Counts(), Db.execute

    def counting(db: Db, sql: str, *args: Any) -> Any:
        counts.statements.append(sql)
        return execute(db, sql, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Db, "execute", counting)
        cloud.world.observer = counts.effects.append
        yield counts
        cloud.world.observer = None


async def test_showing_a_server_costs_few_queries_on_one_snapshot_and_nothing_of_the_host(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    await prepare(cloud)
    server = await make_server(cloud)
    await cloud.demo.put(f"/compute/v2.1/servers/{server}", {"server": {"name": "another"}}, expect=200)
    with counted(cloud, monkeypatch) as counts:
        await cloud.demo.get(f"/compute/v2.1/servers/{server}")
    assert 0 < counts.of("SELECT") <= QUERIES_OF_A_SERVER, counts.statements
    assert counts.of("BEGIN") == 1, counts.statements
    assert not counts.effects


async def test_a_server_that_nothing_happened_to_is_shown_without_a_query(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    await prepare(cloud)
    server = await make_server(cloud)
    await cloud.demo.get(f"/compute/v2.1/servers/{server}")
    with counted(cloud, monkeypatch) as counts:
        await cloud.demo.get(f"/compute/v2.1/servers/{server}")
    assert not counts.statements
    assert not counts.effects


async def test_a_list_of_servers_costs_no_more_queries_than_one_of_them(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    await prepare(cloud)
    for _ in range(3):
        await make_server(cloud)
    with counted(cloud, monkeypatch) as counts:
        listed = await cloud.demo.get("/compute/v2.1/servers/detail")
    assert len(listed["servers"]) == 3
    assert counts.of("SELECT") <= QUERIES_OF_A_SERVER, counts.statements
    assert not counts.effects


async def test_a_known_token_is_validated_without_a_query(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = {"X-Subject-Token": cloud.demo.token}
    await cloud.demo.get("/identity/v3/auth/tokens", headers=headers)
    (cloud.folder / "state" / "keys" / "tokens").touch()  # read again, and found to be the same keys
    with counted(cloud, monkeypatch) as counts:
        await cloud.demo.get("/identity/v3/auth/tokens", headers=headers)
    assert not counts.statements
    assert not counts.effects


async def test_a_server_is_promised_in_one_transaction_and_launched_in_few(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    await prepare(cloud)
    with counted(cloud, monkeypatch) as counts:
        server = await request_server(cloud)
        promised = next(index for index, one in enumerate(counts.statements) if one.startswith("INSERT INTO servers"))
        accepted = [one for one in counts.statements[:promised] if one.startswith("BEGIN IMMEDIATE")]
        await cloud.daemon.operations.all_settled()
    assert len(accepted) == TRANSACTIONS_OF_AN_ACCEPT, counts.statements
    assert counts.of("BEGIN IMMEDIATE") <= TRANSACTIONS_OF_A_LAUNCH, counts.of("BEGIN IMMEDIATE")
    assert (await cloud.demo.get(f"/compute/v2.1/servers/{server}"))["server"]["status"] == "ACTIVE"
