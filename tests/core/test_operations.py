"""Operations: whatever happens in the middle, what was begun is finished or taken back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from minicloud.core import operations as journal
from minicloud.core import trace
from minicloud.core.clock import SystemClock
from minicloud.core.context import Context
from minicloud.core.errors import Conflict, HostFailure, MinicloudError, Unavailable
from minicloud.core.operations import AfterCrash, Operation, Operations, undo
from minicloud.core.store import Db, Store
from minicloud.core.trace import Tracer

SUBJECT = "thing/1"


class Things:
    """A service whose world is a list on "the host" that outlives the engine."""

    name = "things"

    def __init__(self, world: list[str]) -> None:
        self.world = world
        self.faults: list[str] = []
        self.undo_failures = 0
        self.hold = asyncio.Event()
        self.hold.set()

    async def build(self, op: Operation) -> None:
        for part in ("claim", "disk", "domain"):
            await op.on_failure(self.take_back, part)
            self.world.append(part)
            await self.hold.wait()
            if op.arguments.get("fail_after") == part:
                raise HostFailure(f"Cannot make the {part}.")

    async def clear(self, op: Operation) -> None:
        self.world.clear()

    @undo
    async def take_back(self, part: str) -> None:
        if self.undo_failures:
            self.undo_failures -= 1
            raise HostFailure("not now")
        if part in self.world:
            self.world.remove(part)

    def failed(self, db: Db, op: Operation, error: MinicloudError) -> None:
        self.faults.append(f"{op.kind}: {error.message}")


class Engine:
    def __init__(self, folder: Path, world: list[str]) -> None:
        self.store = Store(folder / "db")
        self.store.open([trace.migrations, journal.migrations])
        self.tracer = Tracer(self.store, SystemClock())
        self.operations = Operations(self.store, self.tracer, SystemClock())
        self.things = Things(world)
        self.operations.undo_by(self.things)
        self.operations.register("create", self.things.build, after_crash=AfterCrash.UNDO, failed=self.things.failed)
        self.operations.register(
            "delete", self.things.clear, after_crash=AfterCrash.REDO, failed=self.things.failed, interrupts=True
        )

    async def begin(self, kind: str, **arguments: object) -> None:
        ctx = Context(user_id="u", request_id="req-1")
        await self.store.write(lambda db: self.operations.enlist_in(db, ctx, kind, SUBJECT, **arguments))

    async def stop(self) -> None:
        await self.operations.stop()
        await self.store.close()


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    one = Engine(tmp_path, [])
    yield one
    await one.stop()


async def test_a_good_operation_leaves_its_work_and_no_records(engine: Engine) -> None:
    await engine.begin("create")
    await engine.operations.settled(SUBJECT)
    assert engine.things.world == ["claim", "disk", "domain"]
    assert engine.operations.listed() == []
    assert [one.step for one in engine.tracer.spans(SUBJECT)] == ["create"]


@pytest.mark.parametrize("part", ["claim", "disk", "domain"])
async def test_a_failed_step_takes_back_all_before_it(engine: Engine, part: str) -> None:
    await engine.begin("create", fail_after=part)
    await engine.operations.settled(SUBJECT)
    assert engine.things.world == []
    assert engine.things.faults == [f"create: Cannot make the {part}."]


async def test_two_cannot_work_on_one_subject(engine: Engine) -> None:
    engine.things.hold.clear()
    await engine.begin("create")
    with pytest.raises(Conflict, match="create is under way"):
        await engine.begin("create")
    engine.things.hold.set()
    await engine.operations.settled(SUBJECT)


async def test_a_delete_overtakes_a_create_and_runs_after_its_unwinding(engine: Engine) -> None:
    engine.things.hold.clear()
    await engine.begin("create")
    await asyncio.sleep(0.02)
    await engine.begin("delete")
    with pytest.raises(Conflict):
        await engine.begin("delete")
    engine.things.hold.set()
    await engine.operations.settled(SUBJECT)
    assert engine.things.world == []
    assert len(engine.things.faults) == 1 and "overtaken" in engine.things.faults[0]
    assert engine.operations.listed() == []


async def test_a_stopped_daemons_create_is_taken_back_at_the_next_start(tmp_path: Path) -> None:
    first = Engine(tmp_path, world := [])
    first.things.hold.clear()
    await first.begin("create")
    async with asyncio.timeout(30):
        while world != ["claim"]:
            await asyncio.sleep(0)
    await first.stop()
    second = Engine(tmp_path, world)
    await second.operations.recover()
    assert world == []
    assert second.things.faults and second.operations.listed() == []
    await second.stop()


async def test_a_stopped_daemons_delete_is_done_at_the_next_start(tmp_path: Path) -> None:
    first = Engine(tmp_path, world := ["claim", "disk"])
    await first.store.write(
        lambda db: journal.OPERATIONS.insert(
            db,
            journal.OperationRow(
                "1", "delete", SUBJECT, Context("u", "r").to_json(), {}, journal.State.RUNNING, "", "2026", None
            ),
        )
    )
    await first.stop()
    second = Engine(tmp_path, world)
    await second.operations.recover()
    await second.operations.settled(SUBJECT)
    assert world == [] and second.operations.listed() == []
    await second.stop()


async def test_an_undo_that_never_works_is_stuck_locks_its_subject_and_is_tried_at_boot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "UNDO_PAUSES", (0.0, 0.0))
    first = Engine(tmp_path, world := [])
    first.things.undo_failures = 3
    await first.begin("create", fail_after="disk")
    await first.operations.settled(SUBJECT)
    assert [row.state for row in first.operations.listed()] == ["stuck"]
    with pytest.raises(Conflict, match="stuck"):
        await first.begin("create")
    await first.stop()
    second = Engine(tmp_path, world)
    await second.operations.recover()
    assert world == [] and second.operations.listed() == []
    await second.stop()


async def test_what_is_stuck_is_taken_back_once_nothing_stands_in_the_way(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "UNDO_PAUSES", (0.0, 0.0))
    engine.things.undo_failures = 6
    await engine.begin("create", fail_after="disk")
    await engine.operations.settled(SUBJECT)
    await engine.operations.retry_stuck()
    assert [row.state for row in engine.operations.listed()] == ["stuck"]
    await engine.operations.retry_stuck()
    assert engine.things.world == [] and engine.operations.listed() == []


async def test_an_undo_that_fails_once_is_tried_again(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "UNDO_PAUSES", (0.0, 0.0))
    engine.things.undo_failures = 1
    await engine.begin("create", fail_after="domain")
    await engine.operations.settled(SUBJECT)
    assert engine.things.world == [] and engine.operations.listed() == []


async def test_an_undo_that_nobody_knows_is_stuck_and_stops_no_other(tmp_path: Path) -> None:
    first = Engine(tmp_path, world := [])
    first.things.hold.clear()
    ctx = Context(user_id="u", request_id="req-1")
    for subject in ("thing/1", "thing/2"):
        await first.store.write(lambda db, subject=subject: first.operations.enlist_in(db, ctx, "create", subject))
    async with asyncio.timeout(30):
        while len(world) < 2:
            await asyncio.sleep(0)
    await first.stop()
    second = Engine(tmp_path, world)
    await second.store.write(
        lambda db: db.execute(
            "UPDATE undo_records SET call = 'plugin.gone' WHERE operation_id = (SELECT id FROM operations WHERE subject = 'thing/1')"
        )
    )
    await second.operations.recover()
    assert [(row.subject, row.state) for row in second.operations.listed()] == [("thing/1", "stuck")]
    await second.stop()


async def test_an_operation_whose_end_meets_a_bug_is_stuck_and_can_be_ended_later(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = True

    def failed(db: Db, op: Operation, error: MinicloudError) -> None:
        if broken:
            raise ZeroDivisionError

    engine.operations.register("create", engine.things.build, after_crash=AfterCrash.UNDO, failed=failed)
    await engine.begin("create", fail_after="disk")
    await engine.operations.settled(SUBJECT)
    assert [row.state for row in engine.operations.listed()] == ["stuck"]
    assert engine.things.world == []
    broken = False
    await engine.operations.retry_stuck()
    assert engine.operations.listed() == []


async def test_an_operation_that_cannot_write_its_end_waits_for_room(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal, "WRITE_PAUSE", 0.0)
    write, refusals = engine.store.write, [Unavailable("full")] * 3

    async def sometimes_full(fn: Any, *args: Any, **kwargs: Any) -> Any:
        if refusals and getattr(fn, "__name__", "") == "close":
            raise refusals.pop()
        return await write(fn, *args, **kwargs)

    monkeypatch.setattr(engine.store, "write", sometimes_full)
    await engine.begin("create")
    await engine.operations.settled(SUBJECT)
    assert not refusals and engine.operations.listed() == []
    assert engine.things.world == ["claim", "disk", "domain"]
