"""The store when the disk, the file or the log beside it lets it down: nothing is built on what may not be there."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from minicloud.core import store as module
from minicloud.core.errors import Conflict, Unavailable
from minicloud.core.migrations import Migrations
from minicloud.core.reserve import urgent
from minicloud.core.store import Db, Store
from tests.core.test_store import THINGS, Thing, m001_things, migrations


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    one = Store(tmp_path / "db")
    one.open([migrations])
    yield one
    await one.close()


class Disk:
    """Fails statements that begin with a word, so many times, with a code of SQLite's; `tried` are all that came."""

    def __init__(self) -> None:
        self.word, self.code, self.times = "", "", 0
        self.tried: list[str] = []

    def fail(self, word: str, code: str, *, times: int = 1) -> None:
        self.word, self.code, self.times = word, code, times
        self.tried.clear()

    def meet(self, sql: str) -> None:
        self.tried.append(sql)
        if self.times and sql.startswith(self.word):
            self.times -= 1
            error = sqlite3.OperationalError("the disk says so")
            error.sqlite_errorcode, error.sqlite_errorname = getattr(sqlite3, self.code), self.code
            raise error


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    one, plain = Disk(), Db.execute

    def execute(db: Db, sql: str, *args: Any) -> Any:
        if threading.current_thread().name == "store-write":
            one.meet(sql)
        return plain(db, sql, *args)

    monkeypatch.setattr(Db, "execute", execute)
    yield one


def a(name: str) -> Thing:
    return Thing(name, name, [], False)


# --- while it runs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["SQLITE_IOERR_FSYNC", "SQLITE_IOERR_WRITE", "SQLITE_CORRUPT"])
@pytest.mark.parametrize("word", ["COMMIT", "INSERT"])
async def test_after_an_error_of_the_disk_nothing_is_written_any_more(
    store: Store, disk: Disk, code: str, word: str
) -> None:
    await store.write(THINGS.insert, a("before"))
    disk.fail(word, code)
    for name in ("now", "later"):
        with pytest.raises(Unavailable, match="cannot be written") as refused:
            await store.write(THINGS.insert, a(name))
        assert refused.value.retry_after
    assert sum(sql.startswith("BEGIN") for sql in disk.tried) == 1
    assert store.lost.is_set()
    assert store.read(THINGS.count) == 1


@pytest.mark.parametrize("code", ["SQLITE_FULL", "SQLITE_IOERR_SHMSIZE", "SQLITE_BUSY"])
async def test_what_passes_by_itself_refuses_one_write_and_no_more(store: Store, disk: Disk, code: str) -> None:
    disk.fail("COMMIT", code)
    with pytest.raises(Unavailable):
        await store.write(THINGS.insert, a("now"))
    await store.write(THINGS.insert, a("later"))
    assert not store.lost.is_set()
    assert store.read(lambda db: [one.id for one in THINGS.where(db)]) == ["later"]


async def test_a_statement_that_is_wrong_hurts_no_neighbour(store: Store) -> None:
    writes = [store.write(THINGS.insert, a(str(number))) for number in range(6)]
    wrong = store.write(lambda db: db.execute("SELECT json_extract('no json', '$.a') FROM things").fetchall())
    results = await asyncio.gather(*writes[:3], wrong, *writes[3:], return_exceptions=True)
    assert [type(one) for one in results if isinstance(one, Exception)] == [sqlite3.OperationalError]
    assert store.read(THINGS.count) == 6


async def test_what_was_refused_for_the_sake_of_a_neighbour_that_is_not_written_is_tried_anew(
    store: Store, disk: Disk
) -> None:
    began, go = threading.Event(), threading.Event()

    def hold(db: Db) -> None:
        began.set()
        assert go.wait(30)

    def unless_there_is_one(db: Db) -> None:
        if THINGS.count(db):
            raise Conflict("There is one.")
        THINGS.insert(db, a("second"))

    async def removing() -> None:
        with urgent():
            await store.write(unless_there_is_one)

    first = asyncio.create_task(store.write(hold))
    await asyncio.to_thread(began.wait, 30)  # what is queued from here on shares one transaction
    disk.fail("COMMIT", "SQLITE_FULL", times=2)
    others = [asyncio.create_task(store.write(THINGS.insert, a("first"))), asyncio.create_task(removing())]
    await asyncio.sleep(0)
    go.set()
    told = await asyncio.gather(first, *others, return_exceptions=True)
    assert [type(one) for one in told] == [Unavailable, Unavailable, type(None)], told
    assert [one.id for one in store.read(THINGS.where)] == ["second"]


async def test_a_reserve_that_cannot_be_opened_stops_nobody_who_ends_something(tmp_path: Path) -> None:
    (tmp_path / "db.reserve").mkdir()
    store = Store(tmp_path / "db")
    store.open([migrations])
    async with asyncio.timeout(30):
        with pytest.raises(Unavailable):
            await store.write(THINGS.insert, a("ordinary"))
        with urgent():
            await store.write(THINGS.insert, a("urgent"))
        await store.close()


async def test_a_bug_of_the_writer_is_told_and_nobody_waits_for_ever(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(module, "_transact", broken)
    async with asyncio.timeout(30):
        with pytest.raises(ZeroDivisionError):
            await store.write(THINGS.insert, a("x"))
        with pytest.raises(Unavailable):
            await store.write(THINGS.insert, a("y"))
    assert store.lost.is_set()


# --- when it is opened -----------------------------------------------------------------------------------------------


async def left_behind(folder: Path, *, rows: int = 40, sets: Migrations = migrations) -> Path:
    """What a killed daemon leaves: a file whose newest rows are in the log alone."""
    (folder / "running").mkdir()
    store = Store(folder / "running" / "db", room=4096)
    store.open([sets])
    for number in range(rows):
        await store.write(lambda db, number=number: [THINGS.insert(db, a(f"{number:03}-{one}")) for one in (1, 2)])
    shutil.copytree(folder / "running", folder / "left")
    await store.close()
    return folder / "left" / "db"


def contents(folder: Path) -> dict[str, bytes]:
    """Of all files that say something; what SQLite shares in memory is none of them."""
    found = {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")}
    return {name: data for name, data in found.items() if data}


async def test_a_stopped_store_is_one_file(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    store.open([migrations])
    await store.write(THINGS.insert, a("x"))
    await store.scan(THINGS.count)
    await store.close()
    assert {path.name for path in tmp_path.iterdir()} == {"db", "db.reserve"}


async def test_what_a_killed_daemon_left_in_the_log_is_in_the_file_before_more_is_written(tmp_path: Path) -> None:
    path = await left_behind(tmp_path)
    store = Store(path)
    store.open([migrations])
    shutil.copy(path, tmp_path / "alone")
    await store.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "alone")) as db:
        assert db.execute("SELECT count(*) FROM things").fetchone() == (80,)


async def test_a_log_that_is_cut_or_damaged_gives_a_beginning_of_what_was_written(tmp_path: Path) -> None:
    path = await left_behind(tmp_path, rows=20)
    whole = contents(path.parent)
    log = whole["db-wal"]
    cuts = [*range(0, len(log), 12_007), *(32 + frame * 4120 + more for frame in (0, 1, 9, 30) for more in (-1, 0, 1))]
    damaged = [log[:cut] for cut in cuts if cut <= len(log)]
    damaged += [log[:at] + bytes([log[at] ^ 4]) + log[at + 1 :] for at in range(100, len(log), 18_041)]
    assert len(damaged) > 30
    for one in damaged:
        for name in ("db-shm", "db-wal"):
            (path.parent / name).unlink(missing_ok=True)
        path.write_bytes(whole["db"])
        (path.parent / "db-wal").write_bytes(one)
        store = Store(path, room=4096)
        store.open([migrations])
        ids = [row.id for row in store.read(THINGS.where)] if has_things(store) else []
        assert store.read(lambda db: db.execute("PRAGMA integrity_check").fetchone()) == ("ok",)
        await store.close()
        assert ids == sorted(f"{number:03}-{part}" for number in range(len(ids) // 2) for part in (1, 2))


def has_things(store: Store) -> bool:
    return bool(store.read(lambda db: db.execute("SELECT 1 FROM sqlite_master WHERE name = 'things'").fetchone()))


async def test_a_file_of_a_newer_version_is_not_touched_not_even_its_log(tmp_path: Path) -> None:
    newer = Migrations("things")
    newer(name="m001_things")(m001_things)
    newer(name="m002_more")(lambda db: db["more"].create({"id": str}))
    path = await left_behind(tmp_path, sets=newer)
    before = contents(path.parent)
    with pytest.raises(Unavailable, match="newer minicloud made it"):
        Store(path).open([migrations])
    assert contents(path.parent) == before


@pytest.mark.parametrize("where", ["header", "schema", "table", "index"])
async def test_a_damaged_page_is_found_at_the_start_and_nothing_is_written(tmp_path: Path, where: str) -> None:
    path = tmp_path / "db"
    store = Store(path)
    store.open([migrations])
    await store.write(lambda db: [THINGS.insert(db, a(f"{number:05}" + "x" * 90)) for number in range(400)])
    await store.close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        pages = dict(db.execute("SELECT type, rootpage FROM sqlite_master WHERE tbl_name = 'things' ORDER BY name"))
    at = {"header": 16, "schema": 100, "table": (pages["table"] - 1) * 4096, "index": (pages["index"] - 1) * 4096}[
        where
    ]
    data = bytearray(path.read_bytes())
    data[at : at + 64] = b"\xa5" * 64
    path.write_bytes(data)
    before = contents(tmp_path)
    with pytest.raises(Unavailable, match="Cannot use the database"):
        Store(path).open([migrations])
    assert contents(tmp_path) == before


async def test_a_migration_that_fails_half_way_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    store.open([migrations])
    await store.write(THINGS.insert, a("x"))
    await store.close()
    before = contents(tmp_path)

    def breaks(db: Any) -> None:
        db["things"].transform(rename={"name": "title"})
        raise ZeroDivisionError

    newer, other = Migrations("things"), Migrations("other")
    newer(name="m001_things")(m001_things)
    newer(name="m002_more")(lambda db: db["more"].create({"id": str}))
    other(name="m001_breaks")(breaks)
    with pytest.raises(ZeroDivisionError):
        Store(tmp_path / "db").open([newer, other])
    assert contents(tmp_path)["db"] == before["db"]
    again = Store(tmp_path / "db")
    again.open([migrations])
    assert again.read(THINGS.need, "x") == a("x")
    await again.close()
