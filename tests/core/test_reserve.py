"""A full disk refuses what is new, and lets what is under way end."""

from __future__ import annotations

from pathlib import Path

import pytest

from minicloud.core.errors import Unavailable
from minicloud.core.reserve import Reserve, urgent
from minicloud.core.store import Db, Store

MORE_THAN_ANY_DISK = 1 << 60


def note(db: Db, text: str) -> None:
    db.execute("CREATE TABLE IF NOT EXISTS notes (text)")
    db.execute("INSERT INTO notes VALUES (?)", (text,))


def notes(db: Db) -> list[str]:
    return [text for (text,) in db.execute("SELECT text FROM notes ORDER BY text")]


def test_the_room_is_really_taken_and_given_up(tmp_path: Path) -> None:
    path = tmp_path / "reserve"
    reserve = Reserve(path, room=1 << 20)
    assert reserve.take() and reserve.held
    assert path.stat().st_blocks * 512 >= 1 << 20
    reserve.give_up()
    reserve.give_up()
    assert not path.exists() and not reserve.held


async def test_without_room_only_what_ends_or_removes_something_is_written(tmp_path: Path) -> None:
    store = Store(tmp_path / "db", room=MORE_THAN_ANY_DISK)
    store.open([])
    with pytest.raises(Unavailable, match="disk is full") as refused:
        await store.write(note, "ordinary")
    assert refused.value.retry_after
    with urgent():
        await store.write(note, "urgent")
    assert store.read(notes) == ["urgent"]
    await store.close()
    assert not (tmp_path / "db.reserve").exists()


async def test_with_room_everything_is_written(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    store.open([])
    await store.write(note, "ordinary")
    with urgent():
        await store.write(note, "urgent")
    assert store.read(notes) == ["ordinary", "urgent"]
    await store.close()
