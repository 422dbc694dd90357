"""The one SQLite file: one writer, readers, and a function as the transaction.

`await store.write(fn, ...)` runs `fn(db, ...)` on the writer's thread in one transaction. The function is plain and
cannot await, so no transaction is ever held across I/O, and one that spans several services is just a function that
calls theirs (names ending in `_in`, `db` first). A reply means durable: writes that wait together share one fsync,
but none is answered before it. On a full disk only what ends or removes something is still written (`reserve.py`).
`store.read(fn, ...)` runs on the loop's own read-only connection and takes microseconds; `store.recall(fn, ...)` keeps
what it read until the next commit; `await store.scan(fn, ...)` is for long reads, on a thread. Rows are `table.py`'s.

Only the writer's connection writes and checkpoints (SQLite before 3.51.3 can lose a reset WAL otherwise). After an error
of the disk itself, or once the file shows damage, nothing is written any more: what such a disk says of the next fsync
is worth nothing (`Store.lost`; the daemon ends, and its next start looks at the file before it writes).
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
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

WAL_BYTES = 16 * 1024 * 1024
"""What the log beside the database may keep once it is written back; a large transaction makes it larger for a time."""

_OF_THE_FILE = frozenset(
    {
        sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL,
    }
)  # fmt: skip
"""Primary codes of errors that are of the file; others are of the statement that met them."""

_LOST = frozenset({sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
"""After these nothing is written any more."""


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
        self._gone = False
        self.lost = asyncio.Event()
        """Set once nothing can be written any more, until the file is opened anew."""
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
            if self.path.exists():
                self._look(sets)
            writer = self._connect(read_only=False)
            self._write_back(writer)
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

    def _look(self, sets: Sequence[Migrations]) -> None:
        """Raise for a file that isn't to be used, before anything writes to it: read only, as long as no journal of its
        first moments has to be rolled back."""
        journal = Path(f"{self.path}-journal")
        with contextlib.closing(self._connect(read_only=not journal.exists())) as db:
            if db.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise Unavailable(f"Cannot use the database {self.path}: it is damaged; restore the last backup.")
            made = migrations.made(db)
        for one in sets:
            if extra := sorted(set(made.get(one.name, ())) - one.steps.keys()):
                raise Unavailable(
                    f"Cannot use the database {self.path}: a newer minicloud made it ({', '.join(extra)})."
                )

    def _write_back(self, db: Db) -> None:
        """Put what a daemon that was killed left in the log into the file, durably: nothing is built on a log whose fsync
        may have failed. Without room it stays where it is."""
        log_file = Path(f"{self.path}-wal")
        if not log_file.exists() or not log_file.stat().st_size:
            return
        try:
            db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.OperationalError as error:
            if not _is_full(error):
                raise

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
        """Finish what is queued, write the log back, let go of the file; a file that is lost is left as it is."""
        await asyncio.to_thread(self._scanners.shutdown)
        if self._reader is not None and not self._gone:  # the last to close writes the log back
            self._reader.close()
        if self._thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)
        if self._reader is not None:
            self._reader.close()

    async def write(self, fn: Callable[Concatenate[Db, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run `fn(db, ...)` as one durable transaction and return its result.

        Whatever `fn` raises rolls everything back and comes out here. Raises `Unavailable` when the disk is full or the
        file can't be written; then nothing is changed (but for an error of the disk itself: the next start tells).
        """
        loop = asyncio.get_running_loop()
        job = _Job(lambda db: fn(db, *args, **kwargs), loop.create_future(), loop, is_urgent())
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
            owner = self.path.stat().st_uid
            if owner != os.geteuid():
                db.close()
                raise Unavailable(
                    f"Cannot use the database {self.path}: user {owner} owns it; {os.geteuid()} is wanted."
                )
            self.path.chmod(0o600)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
            db.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
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
        try:
            if self._gone:
                _refuse(jobs, _unwritable())
            elif self._reserve.held or self._reserve.take():
                waiting = self._commit_or_make_room(db, jobs)
            else:
                waiting = self._commit_all(db, _without_the_ordinary(jobs))
        except Exception as error:  # a bug of ours: nobody shall wait for ever, and nobody knows what was written
            log.exception("the writer met a bug")
            self._gone = True
            _refuse(jobs, error)
        self._commits += 1  # before anybody is told
        try:
            jobs[0].loop.call_soon_threadsafe(self._answer, jobs, waiting)
        except RuntimeError:  # the loop is closed: nobody waits any more
            log.warning("a transaction ended after the loop", jobs=len(jobs))

    def _commit_or_make_room(self, db: Db, jobs: Sequence[_Job]) -> _Waiting:
        try:
            return _transact(db, jobs)
        except sqlite3.Error as error:
            if not _is_full(error):
                return self._failed(jobs, error)
        self._reserve.give_up()
        log.error("the disk is full: only what ends or removes something is written from now on", path=str(self.path))
        return self._commit_all(db, _without_the_ordinary(jobs))

    def _commit_all(self, db: Db, jobs: Sequence[_Job]) -> _Waiting:
        try:
            return _transact(db, jobs)
        except sqlite3.Error as error:
            return self._failed(jobs, error)

    def _failed(self, jobs: Sequence[_Job], error: sqlite3.Error) -> _Waiting:
        """Tell all of a batch that it isn't written; nothing is left to do after it."""
        if not _is_of_the_file(error):
            _refuse(jobs, error)
            return []
        self._gone = _code(error) in _LOST and not _is_full(error)
        log.error("the database cannot be written", error=str(error), code=error.sqlite_errorname, for_good=self._gone)
        _refuse(jobs, _unwritable())
        return []

    def _answer(self, jobs: Sequence[_Job], waiting: _Waiting) -> None:
        if self._gone:
            self.lost.set()
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


def _transact(db: Db, jobs: Sequence[_Job]) -> _Waiting:
    """One transaction for all; the error of a single one is its own, an error of the file (raised) is everybody's."""
    waiting: _Waiting = []
    if not jobs:
        return waiting
    try:
        db.execute("BEGIN IMMEDIATE")
        for job in jobs:
            db.waiting, job.error = [], None
            db.execute("SAVEPOINT one")
            try:
                job.result = job.run(db)
                db.execute("RELEASE one")
                waiting += db.waiting
            except BaseException as error:
                if _is_of_the_file(error):
                    raise
                job.error = error
                db.execute("ROLLBACK TO one")
                db.execute("RELEASE one")
        db.execute("COMMIT")
    except sqlite3.Error:
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise
    return waiting


def _unwritable() -> Unavailable:
    return Unavailable("Cannot save this: the database cannot be written now.", retry_after=5)


def _refuse(jobs: Sequence[_Job], error: Exception) -> None:
    for job in jobs:
        job.error = job.error or error


def _without_the_ordinary(jobs: Sequence[_Job]) -> list[_Job]:
    """Those that are urgent; the others are refused."""
    for job in jobs:
        if not job.urgent:
            job.error = Unavailable(
                "Cannot save this: the host's disk is full; delete something first.", retry_after=60
            )
    return [job for job in jobs if job.urgent]


def _code(error: BaseException) -> int:
    """SQLite's primary code of an error, 0 if it is none of SQLite's."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _is_of_the_file(error: BaseException) -> bool:
    """Whether an error is the file's or the disk's rather than that of the statement that met it."""
    return isinstance(error, sqlite3.Error) and _code(error) in _OF_THE_FILE


def _is_full(error: sqlite3.Error) -> bool:
    """Whether SQLite lacked room; for its index in shared memory it says so as an I/O error."""
    return _code(error) == sqlite3.SQLITE_FULL or getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_IOERR_SHMSIZE
