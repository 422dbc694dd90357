"""Long work that survives a crash: a journal of what is under way and how to take it back.

An operation runs one coroutine about one subject ("server/5f3c..."). Above each step that leaves something behind it
saves an undo record: the name of a service method and its arguments. Record first, act second: a kill between the two
leaves a record about nothing, and undo shrugs at nothing. A failed step and a killed daemon are unwound by the same code,
newest record first, each struck out in a transaction of its own. After a crash an operation is either undone (what
creates) or run again from its start (what removes); nothing resumes in the middle.

One live operation per subject: the loser gets `Conflict`. A kind that `interrupts` (delete) may be enlisted over a live
one; the live one sees it at its next record, unwinds, and the waiting one goes on. An undo that fails again and again
leaves the operation *stuck*: visible (`minicloud ops`), tried again now and then and at boot, its subject locked.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_base,
    retry_if_exception_type,
    stop_after_attempt,
    wait_chain,
    wait_exponential,
    wait_fixed,
)

from minicloud.core.clock import Clock, stamp
from minicloud.core.context import Context
from minicloud.core.errors import Conflict, Failure, Interrupted, MinicloudError, Unavailable
from minicloud.core.migrations import Migrations
from minicloud.core.reserve import urgent
from minicloud.core.store import Db, Store, Table
from minicloud.core.trace import Tracer, render_call

if TYPE_CHECKING:
    from sqlite_utils import Database

log = structlog.get_logger(__name__)
migrations = Migrations("operations")
UNDO_PAUSES = (0.05, 0.5, 2.0, 5.0)
"""Seconds between tries of an undo that fails; after the last the operation is stuck."""

WRITE_PAUSE, WRITE_PAUSE_MOST = 0.25, 30.0
"""Seconds between tries to write the end of an operation while the database can't be written."""

HISTORY = 2_000
"""Ended operations that are kept for `minicloud ops --all`."""


@migrations()
def m001_operations(db: Database) -> None:
    db["operations"].create(
        {
            "id": str, "kind": str, "subject": str, "context": str, "arguments": str, "state": str,
            "error": str, "created_at": str, "ended_at": str,
        },
        pk="id",
    )  # fmt: skip
    db["undo_records"].create({"id": int, "operation_id": str, "call": str, "arguments": str}, pk="id")
    db["undo_records"].create_index(["operation_id"])
    db.execute(
        "CREATE UNIQUE INDEX one_live_operation ON operations(subject) WHERE state IN ('running', 'undoing', 'stuck')"
    )
    db.execute("CREATE UNIQUE INDEX one_waiting_operation ON operations(subject) WHERE state = 'waiting'")


class State(StrEnum):
    """Where an operation is. Only waiting, running, undoing and stuck are live."""

    WAITING = "waiting"
    RUNNING = "running"
    UNDOING = "undoing"
    STUCK = "stuck"
    DONE = "done"
    FAILED = "failed"


LIVE = (State.WAITING, State.RUNNING, State.UNDOING, State.STUCK)


class AfterCrash(StrEnum):
    """What becomes of an operation that a stopped daemon left: taken back, or done from its start again."""

    UNDO = "undo"
    REDO = "redo"


@dataclass(frozen=True, slots=True)
class OperationRow:
    """One operation in the journal."""

    id: str
    kind: str
    subject: str
    context: dict[str, Any]
    arguments: dict[str, Any]
    state: State
    error: str
    created_at: str
    ended_at: str | None


@dataclass(frozen=True, slots=True)
class UndoRecord:
    """How to take one step back: `call` as "network.unplug", positional JSON arguments."""

    id: int | None
    operation_id: str
    call: str
    arguments: list[Any]


OPERATIONS = Table("operations", OperationRow, noun="Operation")
UNDO_RECORDS = Table("undo_records", UndoRecord, noun="Undo record")
Method = TypeVar("Method", bound=Callable[..., Awaitable[None]])


def undo(method: Method) -> Method:
    """Mark a service method that takes a step back: JSON arguments, idempotent, and it names the holder, so that it lets
    go only what that one holds."""
    method.__undo__ = True  # type: ignore[attr-defined]
    return method


async def insist(call: Callable[..., Awaitable[None]], *arguments: Any) -> None:
    """One step of a removal: tried again, with the pauses of an undo, before it counts as failed. What removes can't be
    taken back, so half of it is worse than a wait. `call` must be idempotent."""
    async for attempt in _tries(retry_if_exception_type(Failure), step=call.__name__):
        with attempt:
            await call(*arguments)


def _tries(retry: retry_base, **told: Any) -> AsyncRetrying:
    """Tries of a step that takes something away, with growing pauses; the last failure comes out."""

    def tell(state: RetryCallState) -> None:
        failure = state.outcome.exception() if state.outcome else None
        log.warning(
            "a step failed and is tried again", error=str(failure), detail=getattr(failure, "detail", ""), **told
        )

    return AsyncRetrying(
        retry=retry,
        wait=wait_chain(*(wait_fixed(pause) for pause in UNDO_PAUSES)),
        stop=stop_after_attempt(len(UNDO_PAUSES) + 1),
        before_sleep=tell,
        reraise=True,
    )


@dataclass
class Operation:
    """One operation as its coroutine sees it."""

    id: str
    kind: str
    subject: str
    ctx: Context
    arguments: dict[str, Any]
    _engine: Operations
    _overtaken: bool = field(default=False)

    async def on_failure(self, call: Callable[..., Awaitable[None]], *arguments: Any) -> None:
        """Save how the next step is taken back; returns when that is durable.

        Raises:
            Interrupted: a delete came in between; stop here, what was done is being taken back.
        """
        self.checkpoint()
        await self._engine.record(self, call, arguments)

    def checkpoint(self) -> None:
        """Raise `Interrupted` if this work has been overtaken; for long waits without a record."""
        if self._overtaken:
            raise Interrupted(f"{self.kind} of {self.subject} was overtaken by its deletion.")

    def overtake(self) -> None:
        """Have the next record or checkpoint stop this work."""
        self._overtaken = True


Run = Callable[[Operation], Awaitable[None]]
Failed = Callable[[Db, Operation, MinicloudError], None]
"""Writes into the last transaction of a failed operation what the rows should say (state, fault)."""


@dataclass(frozen=True)
class Kind:
    """One registered kind of operation."""

    name: str
    run: Run
    after_crash: AfterCrash
    failed: Failed
    interrupts: bool


class Operations:
    """The engine: enlists, runs, unwinds, recovers.

    Args:
        observer: told "journal record", "journal strike", "journal end" around journal writes; the crash harness's points.
    """

    def __init__(
        self, store: Store, tracer: Tracer, clock: Clock, *, observer: Callable[[str], None] | None = None
    ) -> None:
        self._store, self._tracer, self._clock, self.observer = store, tracer, clock, observer
        self._kinds: dict[str, Kind] = {}
        self._services: dict[str, Any] = {}
        self._running: dict[str, tuple[Operation, asyncio.Task[None]]] = {}
        self._stopping = False

    def register(
        self, name: str, run: Run, *, after_crash: AfterCrash, failed: Failed, interrupts: bool = False
    ) -> None:
        """Make a kind of operation known, "server.create"."""
        self._kinds[name] = Kind(name, run, after_crash, failed, interrupts)

    def undo_by(self, service: Any) -> None:
        """Let undo records name the methods of this service (it has a `name`)."""
        self._services[service.name] = service

    # --- enlisting -----------------------------------------------------------------------------------------------

    def enlist_in(self, db: Db, ctx: Context, kind: str, subject: str, **arguments: Any) -> str:
        """Have an operation start when the caller's transaction is durable; its id.

        Raises:
            Conflict: something else is under way with the subject, and this kind may not interrupt it.
        """
        live = self.live_in(db, subject)
        if live and not (self._kinds[kind].interrupts and all(one.kind != kind for one in live)):
            raise Conflict(f"Cannot begin {kind} of {subject}: {live[0].kind} is under way ({live[0].state}).")
        state = State.WAITING if live else State.RUNNING
        row = OperationRow(
            id=str(uuid.uuid4()), kind=kind, subject=subject, context=ctx.to_json(), arguments=arguments, state=state,
            error="", created_at=stamp(self._clock.now()), ended_at=None,
        )  # fmt: skip
        OPERATIONS.insert(db, row)
        if state is State.WAITING:
            db.after_commit(self._overtake, subject)
        else:
            db.after_commit(self._start, row)
        return row.id

    def live_in(self, db: Db, subject: str) -> list[OperationRow]:
        """Operations under way, waiting or stuck with this subject."""
        return OPERATIONS.where(db, f"subject = ? AND state IN ({_marks(LIVE)})", (subject, *LIVE), order="created_at")

    def subjects_in(self, db: Db) -> set[str]:
        """Every subject that some live operation is about: reconcilers leave those alone."""
        return {row.subject for row in OPERATIONS.where(db, f"state IN ({_marks(LIVE)})", LIVE)}

    def listed(self, *, everything: bool = False) -> list[OperationRow]:
        """Live operations, or all that are remembered, oldest first."""
        condition, params = ("", ()) if everything else (f"state IN ({_marks(LIVE)})", LIVE)
        return self._store.read(OPERATIONS.where, condition, params, order="created_at")

    def records(self, operation_id: str) -> list[UndoRecord]:
        """What is still to be taken back if the operation fails now, newest first."""
        return self._store.read(UNDO_RECORDS.where, "operation_id = ?", (operation_id,), order="id DESC")

    async def settled(self, subject: str) -> None:
        """Wait until nothing is under way with the subject (or it is stuck)."""
        while running := self._running.get(subject):
            await asyncio.wait([running[1]])
            await asyncio.sleep(0)

    async def all_settled(self) -> None:
        """Wait until nothing is under way at all."""
        while self._running:
            await asyncio.wait([task for _, task in self._running.values()])
            await asyncio.sleep(0)

    # --- running -------------------------------------------------------------------------------------------------

    async def record(
        self, operation: Operation, call: Callable[..., Awaitable[None]], arguments: Iterable[Any]
    ) -> None:
        """Save one undo record (called through `Operation.on_failure`)."""
        if not getattr(call, "__undo__", False):
            raise TypeError(f"{call!r} is not marked @undo")
        record = UndoRecord(None, operation.id, render_call(call), list(arguments))
        self._reach("before journal record")
        await self._store.write(UNDO_RECORDS.insert, record)
        self._reach("after journal record")

    def _start(self, row: OperationRow) -> None:
        if self._stopping:
            return
        operation = self._of(row)
        task = asyncio.create_task(self._carry_out(operation), name=f"{row.kind} {row.subject}")
        self._running[row.subject] = (operation, task)

    def _of(self, row: OperationRow) -> Operation:
        return Operation(row.id, row.kind, row.subject, Context.from_json(row.context), row.arguments, self)

    def _overtake(self, subject: str) -> None:
        if running := self._running.get(subject):
            running[0].overtake()
        else:  # the live one is stuck: the waiting one starts when it is freed
            log.warning("an operation waits for one that is stuck", subject=subject)

    async def _carry_out(self, operation: Operation) -> None:
        kind = self._kinds[operation.kind]
        with self._tracer.operation(operation.ctx.request_id, operation.subject, operation.kind) as work:
            error: MinicloudError | None = None
            try:
                with urgent() if kind.after_crash is AfterCrash.REDO else contextlib.nullcontext():
                    await kind.run(operation)
            except asyncio.CancelledError:
                return  # the daemon stops: the next boot treats this as a crash
            except MinicloudError as known:
                error = known
                log.warning(
                    "an operation failed",
                    kind=operation.kind,
                    error=known.message,
                    detail=getattr(known, "detail", ""),
                )
            except Exception:
                log.exception("an operation met a bug", kind=operation.kind)
                error = MinicloudError("Something went wrong inside; the request id leads to it in the log.")
            if error is None:
                await self._end(operation, State.DONE)
            else:
                await self._unwind(operation, error)
        await self._tracer.save(work)

    async def _unwind(self, operation: Operation, error: MinicloudError) -> None:
        """Take back what an operation did, newest first, and end it; or leave it stuck."""
        await self._write_surely(OPERATIONS.change, operation.id, state=State.UNDOING, error=error.message)
        try:
            for record in self.records(operation.id):
                if not await self._undo(operation, record):
                    break
            else:
                await self._end(operation, State.FAILED, error)
                return
        except Exception:  # what the kind writes at its end
            log.exception("an operation that failed cannot be ended", kind=operation.kind)
        await self._write_surely(OPERATIONS.change, operation.id, state=State.STUCK)
        self._forget(operation)

    async def _undo(self, operation: Operation, record: UndoRecord) -> bool:
        owner, _, method = record.call.partition(".")
        try:
            call = getattr(self._services[owner], method)  # another version, or a plugin that is gone, may not have it
            async for attempt in _tries(retry_if_exception_type(Exception), kind=operation.kind, call=record.call):
                with attempt, urgent():
                    await call(*record.arguments)
        except Exception:
            log.exception("an undo failed for good", kind=operation.kind, call=record.call)
            return False
        self._reach("before journal strike")
        await self._write_surely(UNDO_RECORDS.delete, record.id)
        self._reach("after journal strike")
        return True

    async def _end(self, operation: Operation, state: State, error: MinicloudError | None = None) -> None:
        kind = self._kinds[operation.kind]

        def close(db: Db) -> OperationRow | None:
            if error is not None:
                kind.failed(db, operation, error)
            UNDO_RECORDS.delete_where(db, "operation_id = ?", (operation.id,))
            OPERATIONS.change(db, operation.id, state=state, ended_at=stamp(self._clock.now()))
            db.execute(
                f"DELETE FROM operations WHERE state NOT IN ({_marks(LIVE)}) AND rowid <= (SELECT max(rowid) FROM operations) - ?",
                (*LIVE, HISTORY),
            )
            waiting = OPERATIONS.first(db, "subject = ? AND state = ?", (operation.subject, State.WAITING))
            return None if waiting is None else OPERATIONS.change(db, waiting.id, state=State.RUNNING)

        self._reach("before journal end")
        following = await self._write_surely(close)
        self._reach("after journal end")
        self._forget(operation)
        if following is not None:
            self._start(following)

    async def _write_surely(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Write what must be written for the work to end; while the disk is full, wait for room."""
        tries = AsyncRetrying(
            retry=retry_if_exception_type(Unavailable),
            wait=wait_exponential(WRITE_PAUSE, max=WRITE_PAUSE_MOST),
            before_sleep=lambda state: log.error("the journal waits for the database", tries=state.attempt_number),
        )
        with urgent():
            return await tries(self._store.write, fn, *args, **kwargs)

    def _forget(self, operation: Operation) -> None:
        running = self._running.get(operation.subject)
        if running is not None and running[0] is operation:
            del self._running[operation.subject]

    def _reach(self, point: str) -> None:
        if self.observer is not None:
            self.observer(point)

    # --- boot and stop -------------------------------------------------------------------------------------------

    async def recover(self) -> None:
        """Unwind or start again what a stopped daemon left; returns when all unwinding is over, while what is done
        again goes on. An operation that can't be unwound is left stuck and stops no other."""
        undoing: list[Awaitable[None]] = []
        for row in self.listed():
            if row.state is State.WAITING:
                continue  # starts when the one before it ends
            kind = self._kinds.get(row.kind)
            if kind is None:
                log.error("an operation of an unknown kind is left alone", kind=row.kind, subject=row.subject)
            elif row.state is State.RUNNING and kind.after_crash is AfterCrash.REDO:
                self._start(row)
            else:
                error = Interrupted(row.error or f"The daemon was stopped during {row.kind}.")
                operation = self._of(row)
                task = asyncio.create_task(self._resume_unwinding(operation, error), name=f"undo {row.subject}")
                self._running[row.subject] = (operation, task)
                undoing.append(task)
        await asyncio.gather(*undoing)

    async def retry_stuck(self) -> None:
        """Try once more to unwind what is stuck: what stood in its way (a hypervisor that was away) may be gone. Called
        by a loop of the daemon; returns when all tries are over."""
        undoing: list[Awaitable[None]] = []
        for row in self.listed():
            if row.state is State.STUCK and row.subject not in self._running and row.kind in self._kinds:
                operation = self._of(row)
                error = Interrupted(row.error or f"The daemon was stopped during {row.kind}.")
                task = asyncio.create_task(self._resume_unwinding(operation, error), name=f"undo {row.subject}")
                self._running[row.subject] = (operation, task)
                undoing.append(task)
        await asyncio.gather(*undoing)

    async def _resume_unwinding(self, operation: Operation, error: MinicloudError) -> None:
        with self._tracer.operation(operation.ctx.request_id, operation.subject, f"undo {operation.kind}") as work:
            await self._unwind(operation, error)
        await self._tracer.save(work)

    async def stop(self) -> None:
        """Let go of everything under way as it is; the next boot takes it up."""
        self._stopping = True
        tasks = [task for _, task in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _marks(values: Iterable[object]) -> str:
    return ", ".join("?" for _ in values)
