"""The store: what was answered is there, what was refused is not, and lists page without gaps."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from minicloud.core.errors import Conflict, Invalid, NotFound, Unavailable
from minicloud.core.migrations import Migrations
from minicloud.core.store import Db, Page, Store, Table

migrations = Migrations("things")


@migrations()
def m001_things(db: Any) -> None:
    db["things"].create({"id": str, "name": str, "tags": str, "on_": int, "rank": int}, pk="id")


@dataclass(frozen=True)
class Thing:
    id: str
    name: str | None
    tags: list[str]
    on_: bool
    rank: int | None = None


THINGS = Table("things", Thing, noun="Thing")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    one = Store(tmp_path / "db")
    one.open([migrations])
    yield one
    await one.close()


async def test_rows_come_back_as_they_went_in(store: Store) -> None:
    thing = Thing("a", None, ["x", "y"], True, 3)
    await store.write(THINGS.insert, thing)
    assert store.read(THINGS.get, "a") == thing
    assert await store.scan(THINGS.where) == [thing]


async def test_a_raising_transaction_leaves_nothing_and_hurts_no_neighbour(store: Store) -> None:
    def broken(db: Db) -> None:
        THINGS.insert(db, Thing("bad", "b", [], False))
        raise Invalid("no")

    writes = [store.write(THINGS.insert, Thing(str(n), "n", [], False)) for n in range(20)]
    results = await asyncio.gather(*writes[:10], store.write(broken), *writes[10:], return_exceptions=True)
    assert [type(one) for one in results if isinstance(one, Exception)] == [Invalid]
    assert store.read(THINGS.count) == 20
    assert store.read(THINGS.get, "bad") is None


async def test_work_after_a_commit_runs_only_when_it_is_durable(store: Store) -> None:
    told: list[str] = []

    def good(db: Db) -> None:
        db.after_commit(told.append, "good")

    def bad(db: Db) -> None:
        db.after_commit(told.append, "bad")
        raise Conflict("no")

    await store.write(good)
    with pytest.raises(Conflict):
        await store.write(bad)
    assert told == ["good"]


async def test_what_is_recalled_is_read_once_until_something_is_committed(store: Store) -> None:
    reads: list[str] = []

    def name_of(db: Db, key: str) -> str | None:
        reads.append(key)
        return THINGS.need(db, key).name

    await store.write(THINGS.insert, Thing("a", "old", [], False))
    assert [store.recall(name_of, "a") for _ in range(3)] == ["old"] * 3
    assert reads == ["a"]
    await store.write(THINGS.change, "a", name="new")
    assert store.recall(name_of, "a") == "new"
    with pytest.raises(NotFound):
        store.recall(name_of, "b")
    with pytest.raises(NotFound):  # a refusal isn't kept
        store.recall(name_of, "b")
    assert reads == ["a", "a", "b", "b"]


async def test_what_was_read_while_something_was_committed_is_not_kept_beyond_it(store: Store) -> None:
    await store.write(THINGS.insert, Thing("a", "old", [], False))
    began, seen = threading.Event(), threading.Event()

    def rename(db: Db) -> None:
        began.set()
        assert seen.wait(10)
        THINGS.change(db, "a", name="new")

    def slowly(db: Db) -> str | None:
        name = THINGS.need(db, "a").name
        seen.set()
        with contextlib.closing(sqlite3.connect(store.path)) as other:
            while other.execute("SELECT name FROM things").fetchone() == ("old",):
                pass  # until it is committed, though the snapshot of this read is older
        assert store.recall(THINGS.need, "a").name == name  # a read inside a read shares its snapshot
        return name

    writing = asyncio.create_task(store.write(rename))
    await asyncio.to_thread(began.wait, 10)
    assert store.recall(slowly) == "old"
    await writing
    assert store.recall(slowly) == store.recall(THINGS.need, "a").name == "new"


async def test_change_refuses_what_no_longer_holds(store: Store) -> None:
    await store.write(THINGS.insert, Thing("a", "old", [], False))
    changed = await store.write(lambda db: THINGS.change(db, "a", {"name": "old"}, name="new", tags=["t"]))
    assert changed == store.read(THINGS.get, "a")
    with pytest.raises(Conflict):
        await store.write(lambda db: THINGS.change(db, "a", {"name": "old"}, name="newer"))
    with pytest.raises(NotFound, match="Thing b"):
        await store.write(lambda db: THINGS.change(db, "b", name="x"))


@pytest.mark.parametrize("sorts", [(), (("name", True),), (("name", False), ("rank", True)), (("rank", True),)])
async def test_pages_join_to_the_whole_list_in_order(store: Store, sorts: tuple[tuple[str, bool], ...]) -> None:
    def fill(db: Db) -> None:
        for n in range(23):
            THINGS.insert(db, Thing(f"id{n:02}", None if n % 5 == 0 else f"n{n % 3}", [], False, n % 4 or None))

    await store.write(fill)
    whole = store.read(THINGS.page, Page(sorts=sorts))
    seen: list[Thing] = []
    marker = None
    while part := store.read(THINGS.page, Page(limit=4, marker=marker, sorts=sorts)):
        seen += part
        marker = part[-1].id
    assert seen == whole
    assert len({one.id for one in seen}) == 23
    before = store.read(THINGS.page, Page(limit=4, marker=whole[10].id, sorts=sorts, reverse=True))
    assert before == whole[6:10]


async def test_a_marker_or_sort_that_is_unknown_is_refused(store: Store) -> None:
    with pytest.raises(Invalid, match="marker nope"):
        store.read(THINGS.page, Page(marker="nope"))
    with pytest.raises(Invalid, match="colour"):
        store.read(THINGS.page, Page(sorts=(("colour", True),)))


async def test_a_damaged_file_is_told_at_open(tmp_path: Path) -> None:
    (tmp_path / "db").write_bytes(b"this is no database at all, not even close" * 100)
    with pytest.raises(Unavailable, match="Cannot use the database"):
        Store(tmp_path / "db").open([migrations])


async def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    newer = Migrations("things")
    newer(name="m001_things")(m001_things)
    newer(name="m002_more")(lambda db: db["things"].add_column("more", str))
    one = Store(tmp_path / "db")
    one.open([newer])
    await one.close()
    with pytest.raises(Unavailable, match="newer minicloud"):
        Store(tmp_path / "db").open([migrations])
