"""The one SQLite file: one writer, readers, and a function as the transaction.

`await store.write(fn, ...)` runs `fn(db, ...)` on the writer's thread in one transaction. The function is plain and
cannot await, so no transaction is ever held across I/O, and one that spans several services is just a function that
calls theirs (names ending in `_in`, `db` first). A reply means durable: writes that wait together share one fsync,
but none is answered before it. On a full disk only what ends or removes something is still written (`reserve.py`).
`store.read(fn, ...)` runs on the loop's own read-only connection and takes microseconds; `store.recall(fn, ...)` keeps
what it read until the next commit; `await store.scan(fn, ...)` is for long reads, on a thread. Rows are `table.py`'s.

Only the writer's connection writes and checkpoints (SQLite before 3.51.3 can lose a reset WAL otherwise).
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import structlog

from minicloud.core import migrations
from minicloud.core.errors import Unavailable
from minicloud.core.migrations import Migrations
from minicloud.core.reserve import ROOM, Reserve, is_urgent
from minicloud.core.table import Page, Table

__all__ = ["SQLITE", "Db", "Page", "Store", "Table"]

log = structlog.get_logger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

SQLITE = sqlite3.sqlite_version_info
"""The library's version."""

RECALLED = 1_000
"""Results of `recall` that are kept."""

BATCH = 128
"""Transactions that may share one fsync."""


class Db(sqlite3.Connection):
    """A connection as transactions see it: SQLite's own, plus work to do once the transaction is durable."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.waiting: list[tuple[Callable[..., object], tuple[Any, ...]]] = []

    def after_commit(self, call: Callable[..., object], *args: Any) -> None:
        """Have `call(*args)` run on the loop when this transaction is durable; never if it is rolled back."""
        self.waiting.append((call, args))


@dataclass(slots=True)
class _Job:
    run: Callable[[Db], Any]
    done: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    urgent: bool
    result: Any = None
    error: BaseException | None = None


_Waiting = list[tuple[Callable[..., object], tuple[Any, ...]]]
"""Calls for after the commit."""


class Store:
    """The database of one daemon.

    Args:
        path: the file; its folder exists. A second daemon on the same file is kept away by `daemon.py`'s lock.
        room: bytes on the disk that are kept for a time when there are none, see `reserve.py`.
    """

    def __init__(self, path: Path, *, room: int = ROOM) -> None:
        self.path = path
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._reader: Db | None = None
        self._scanners = concurrent.futures.ThreadPoolExecutor(2, "store-scan")
        self._broken: str | None = None
        self._reserve = Reserve(path.with_suffix(".reserve"), room=room)
        self._commits = 0
        self._recalled: dict[tuple[Any, ...], Any] = {}
        self._recalled_at = 0

    def open(self, sets: Sequence[Migrations]) -> None:
        """Make or migrate the file, then start the writer. Blocks for some milliseconds; called before serving.

        Raises:
            Unavailable: the file is damaged, or of a newer minicloud.
        """
        writer: Db | None = None
        try:
            writer = self._connect(read_only=False)
            if writer.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise Unavailable(f"Cannot use the database {self.path}: it is damaged; restore the last backup.")
            made = migrations.made(writer)
            for one in sets:
                if extra := sorted(set(made.get(one.name, ())) - one.steps.keys()):
                    raise Unavailable(
                        f"Cannot use the database {self.path}: a newer minicloud made it ({', '.join(extra)})."
                    )
            migrations.apply(writer, sets)
        except BaseException as error:
            if writer is not None:
                writer.close()
            if isinstance(error, sqlite3.DatabaseError):
                raise Unavailable(f"Cannot use the database {self.path}: {error}.") from error
            raise
        self._reserve.take()
        self._thread = threading.Thread(target=self._write_forever, args=(writer,), name="store-write", daemon=True)
        self._thread.start()
        self._reader = self._connect(read_only=True)

    @classmethod
    @contextlib.contextmanager
    def reading(cls, path: Path) -> Iterator[Store]:
        """A file that is there already, for reading only, beside the daemon that writes it (the command line).

        Raises:
            Unavailable: there is none, or it is no database.
        """
        store = cls(path)
        try:
            store._reader = store._connect(read_only=True)
            store._reader.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error as error:
            raise Unavailable(f"Cannot read the database {path}: {error}.") from None
        with contextlib.closing(store._reader):
            yield store

    async def close(self) -> None:
        """Finish what is queued, checkpoint, let go of the file."""
        if self._thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)
        if self._reader is not None:
            self._reader.close()
        self._scanners.shutdown(wait=True)

    async def write(self, fn: Callable[Concatenate[Db, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `fn(db, ...)` as one durable transaction and return its result.

        Whatever `fn` raises rolls everything back and comes out here. Raises `Unavailable` when the disk is full or the
        file can't be written; then nothing is changed.
        """
        loop = asyncio.get_running_loop()
        job = _Job(lambda db: fn(db, *args, **kwargs), loop.create_future(), loop, is_urgent())
        if self._broken:
            raise Unavailable(self._broken, retry_after=5)
        self._jobs.put(job)
        # a write that has begun takes place: a caller who goes away must not leave half of what follows it undone
        result: R = await asyncio.shield(job.done)
        return result

    def read(self, fn: Callable[Concatenate[Db, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a short read on one snapshot, at once, on the caller's (the loop's) thread."""
        assert self._reader is not None, "the store is not open"
        if self._reader.in_transaction:  # a read inside a read shares its snapshot
            return fn(self._reader, *args, **kwargs)
        self._reader.execute("BEGIN")
        try:
            return fn(self._reader, *args, **kwargs)
        finally:
            self._reader.execute("COMMIT")

    def recall(self, fn: Callable[Concatenate[Db, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """`read`, kept until the next commit: for what clients ask again and again, mostly to hear that nothing changed.

        Exact, as nothing but our writer changes the file: what a commit changed is read anew before anybody is told of
        that commit. `fn` tells of rows and its arguments alone (no clock, no host), and what it tells is nobody's to
        change; its arguments can be hashed.
        """
        if self._reader is not None and self._reader.in_transaction:  # its snapshot may be older than the last commit
            return fn(self._reader, *args, **kwargs)
        if self._recalled_at != self._commits or len(self._recalled) >= RECALLED:
            self._recalled.clear()
            self._recalled_at = self._commits
        key = (fn, args, *kwargs.items())
        if key in self._recalled:
            known: R = self._recalled[key]
            return known
        # a commit that ends only now counts after we counted: what was read just before it is not kept beyond it
        found = self._recalled[key] = self.read(fn, *args, **kwargs)
        return found

    async def scan(self, fn: Callable[Concatenate[Db, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a long read on a thread with a connection of its own."""

        def run() -> R:
            with contextlib.closing(self._connect(read_only=True)) as db:
                return fn(db, *args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._scanners, run)

    def _connect(self, *, read_only: bool) -> Db:
        db = sqlite3.connect(
            f"file:{self.path}?mode={'ro' if read_only else 'rwc'}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=512,
            factory=Db,
        )
        db.execute("PRAGMA busy_timeout = 5000")
        if not read_only:
            self.path.chmod(0o600)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
        else:
            db.execute("PRAGMA query_only = ON")
        return db

    def _write_forever(self, db: Db) -> None:
        running = True
        while running:
            batch = [self._jobs.get()]
            with contextlib.suppress(queue.Empty):
                while len(batch) < BATCH:
                    batch.append(self._jobs.get_nowait())
            running = None not in batch
            jobs = [job for job in batch if job is not None]
            if jobs:
                self._commit(db, jobs)
        db.close()

    def _commit(self, db: Db, jobs: Sequence[_Job]) -> None:
        """Write a batch and answer it. On a full disk what is not urgent is refused, until the reserve is whole again."""
        waiting: _Waiting = []
        written = jobs
        if not self._reserve.held and not self._reserve.take():
            written = _without_the_ordinary(jobs)
        try:
            waiting = _transact(db, written)
        except sqlite3.Error as error:
            if _is_full(error) and self._reserve.held:
                self._reserve.give_up()
                written = _without_the_ordinary(written)
                waiting = self._commit_urgent(db, written)
            else:
                _fail(written, error)
        self._commits += 1  # before anybody is told
        try:
            jobs[0].loop.call_soon_threadsafe(_answer, jobs, waiting)
        except RuntimeError:  # the loop is closed: nobody waits any more
            log.warning("a transaction ended after the loop", jobs=len(jobs))

    def _commit_urgent(self, db: Db, jobs: Sequence[_Job]) -> _Waiting:
        log.error("the disk is full: only what ends or removes something is written from now on", path=str(self.path))
        try:
            return _transact(db, jobs)
        except sqlite3.Error as error:
            _fail(jobs, error)
            return []


def _transact(db: Db, jobs: Sequence[_Job]) -> _Waiting:
    """One transaction for all; the error of a single one is its own, an error of the file (raised) is everybody's."""
    waiting: _Waiting = []
    if not jobs:
        return waiting
    try:
        db.execute("BEGIN IMMEDIATE")
        for job in jobs:
            db.waiting = []
            db.execute("SAVEPOINT one")
            try:
                job.result = job.run(db)
                db.execute("RELEASE one")
                waiting += db.waiting
            except sqlite3.OperationalError:
                raise  # the file itself is in trouble: the whole batch fails
            except BaseException as error:
                job.error = error
                db.execute("ROLLBACK TO one")
                db.execute("RELEASE one")
        db.execute("COMMIT")
    except sqlite3.Error:
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise
    return waiting


def _fail(jobs: Sequence[_Job], error: sqlite3.Error) -> None:
    if "syntax" in str(error) or "no such" in str(error):  # a bug of ours, not the disk's
        failure: BaseException = error
    else:
        log.error("the database cannot be written", error=str(error))
        failure = Unavailable("Cannot save this: the database cannot be written now.", retry_after=5)
    for job in jobs:
        job.error = job.error or failure


def _without_the_ordinary(jobs: Sequence[_Job]) -> list[_Job]:
    """Those that are urgent; the others are refused."""
    for job in jobs:
        if not job.urgent:
            job.error = Unavailable(
                "Cannot save this: the host's disk is full; delete something first.", retry_after=60
            )
    return [job for job in jobs if job.urgent]


def _is_full(error: sqlite3.Error) -> bool:
    """Whether SQLite lacked room; for its index in shared memory it says so as an I/O error."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def _answer(jobs: Sequence[_Job], waiting: _Waiting) -> None:
    for call, args in waiting:
        try:
            call(*args)
        except Exception:
            log.exception("work after a commit failed")
    for job in jobs:
        if job.done.done():
            continue
        if job.error is not None:
            job.done.set_exception(job.error)
        else:
            job.done.set_result(job.result)
