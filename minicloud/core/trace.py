"""What really happened: spans of every call between services, and why something was decided.

The composition root hands out each service and driver behind `boundary(...)`, so that every awaited call from one room
into another becomes a span: request id, subject, service, step, start, milliseconds. Drivers add what they did with
`note(...)` (XML, nft text, a command). An operation's spans are saved when it ends; `minicloud trace SERVER` prints
them. A refusal of a scheduler, quota, policy or driver leaves a decision with its numbers; `minicloud why` prints those.
Both are bounded in number.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import inspect
import json
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import structlog

from minicloud.core.clock import Clock, stamp
from minicloud.core.errors import Unavailable
from minicloud.core.migrations import Migrations
from minicloud.core.store import Db, Store, Table

if TYPE_CHECKING:
    from sqlite_utils import Database

log = structlog.get_logger(__name__)
SPANS_KEPT = 20_000
DECISIONS_KEPT = 5_000
REQUESTS_KEPT = 256
DETAIL_LIMIT = 4_000
"""Characters of one span's detail that are kept."""

T = TypeVar("T")
migrations = Migrations("trace")


@migrations()
def m001_spans_and_decisions(db: Database) -> None:
    db["spans"].create(
        {
            "id": int, "request_id": str, "subject": str, "depth": int, "service": str, "step": str,
            "started": float, "ms": float, "detail": str, "error": str,
        },
        pk="id",
    )  # fmt: skip
    db["spans"].create_index(["subject", "started"])
    db["decisions"].create(
        {"id": int, "at": str, "request_id": str, "subject": str, "verdict": str, "reason": str, "numbers": str},
        pk="id",
    )
    db["decisions"].create_index(["subject"])
    db["decisions"].create_index(["request_id"])


@dataclass(frozen=True, slots=True)
class Span:
    """One step. `started` in seconds since the epoch; `ms` milliseconds; `depth` 0 for what the client asked."""

    id: int | None
    request_id: str
    subject: str
    depth: int
    service: str
    step: str
    started: float
    ms: float
    detail: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """Why something was refused or chosen, with the numbers that decided."""

    id: int | None
    at: str
    request_id: str
    subject: str
    verdict: str
    reason: str
    numbers: dict[str, Any]


SPANS = Table("spans", Span, noun="Span")
DECISIONS = Table("decisions", Decision, noun="Decision")


@dataclass(slots=True)
class Work:
    """One request or one operation under way: where its steps gather."""

    request_id: str
    subject: str = ""
    depth: int = 0
    service: str = ""
    steps: list[Step] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


_work: contextvars.ContextVar[Work | None] = contextvars.ContextVar("work", default=None)


def note(text: str) -> None:
    """Add what was really done (a command, XML) to the span under way; cheap, and nothing outside of one."""
    work = _work.get()
    if work is not None:
        work.notes.append(text[:DETAIL_LIMIT])


def current() -> Work | None:
    """The work under way in this task."""
    return _work.get()


def tell_work(logger: Any, method: str, fact: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A processor of logs: facts bear the request and the subject of the work under way."""
    work = _work.get()
    if work is not None:
        fact.setdefault("request_id", work.request_id)
        if work.subject:
            fact.setdefault("subject", work.subject)
    return fact


class Step(NamedTuple):
    """A span before it is saved. A tuple and no dataclass: each request leaves several, hardly any is ever looked at."""

    depth: int
    service: str
    step: str
    started: float
    ms: float
    detail: str
    error: str


class span:
    """One step of the work under way, as a context; outside of any work it costs nothing.

    A class and no generator: every request opens several of them.
    """

    __slots__ = ("_begun", "_caller", "_notes", "_service", "_started", "_step", "_work")

    def __init__(self, service: str, step: str) -> None:
        self._service, self._step = service, step
        self._work = _work.get()

    def __enter__(self) -> None:
        work = self._work
        if work is None:
            return
        self._notes, self._caller = work.notes, work.service
        work.depth, work.notes, work.service = work.depth + 1, [], self._service
        self._started, self._begun = time.time(), time.perf_counter()

    def __exit__(self, kind: type[BaseException] | None, failure: BaseException | None, place: object) -> None:
        work = self._work
        if work is None:
            return
        ms = (time.perf_counter() - self._begun) * 1000
        detail = "\n".join(work.notes)[:DETAIL_LIMIT] if work.notes else ""
        error = "" if failure is None else f"{type(failure).__name__}: {failure}"[:DETAIL_LIMIT]
        work.notes, work.service, work.depth = self._notes, self._caller, work.depth - 1
        work.steps.append(Step(work.depth, self._service, self._step, self._started, ms, detail, error))


class _Boundary:
    """Stands before a service or a driver; awaited calls through it are spans, all else passes."""

    def __init__(self, target: Any, name: str) -> None:
        self.__dict__["_target"], self.__dict__["_name"] = target, name

    def __getattr__(self, attribute: str) -> Any:
        value = getattr(self._target, attribute)
        if attribute.startswith("_") or not inspect.iscoroutinefunction(value):
            if inspect.ismethod(value):  # the same for ever: later calls need not come by here
                self.__dict__[attribute] = value
            return value
        name = self._name

        @functools.wraps(value)
        async def traced(*args: Any, **kwargs: Any) -> Any:
            with span(name, attribute):
                return await value(*args, **kwargs)

        traced.__self__ = self._target  # type: ignore[attr-defined]  # undo records name the owner
        self.__dict__[attribute] = traced
        return traced


def boundary(target: T, name: str) -> T:
    """`target` as other rooms get it: each awaited call a span of `name`."""
    return _Boundary(target, name)  # type: ignore[return-value]


class _Request:
    """A request under way, as a context; see `Tracer.request`. A class for the same reason as `span`."""

    __slots__ = ("_before", "_kept", "_span", "_step", "_work")

    def __init__(self, work: Work, step: str, kept: OrderedDict[str, list[Step]]) -> None:
        self._work, self._step, self._kept = work, step, kept

    def __enter__(self) -> Work:
        self._before = _work.set(self._work)
        self._span = span("api", self._step)
        self._span.__enter__()
        return self._work

    def __exit__(self, kind: type[BaseException] | None, failure: BaseException | None, place: object) -> None:
        self._span.__exit__(kind, failure, place)
        _work.reset(self._before)
        self._kept[self._work.request_id] = self._work.steps
        if len(self._kept) > REQUESTS_KEPT:
            self._kept.popitem(last=False)


class Tracer:
    """Keeps spans and decisions of one daemon."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._requests: OrderedDict[str, list[Step]] = OrderedDict()

    def request(self, request_id: str, name: str) -> contextlib.AbstractContextManager[Work]:
        """A client's request under way, from its first byte to its answer; `name` as "POST /servers"."""
        return _Request(Work(request_id), name, self._requests)

    @contextlib.contextmanager
    def operation(self, request_id: str, subject: str, kind: str) -> Iterator[Work]:
        """An operation under way."""
        work = Work(request_id, subject)
        token = _work.set(work)
        try:
            with span("operation", kind):
                yield work
        finally:
            _work.reset(token)

    async def save(self, work: Work) -> None:
        """Keep an operation's spans, with those of the request that asked for it."""
        asked = self._requests.pop(work.request_id, [])
        steps = [*asked, *work.steps]

        def keep(db: Db) -> None:
            for one in steps:
                db.execute(
                    "INSERT INTO spans VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (work.request_id, work.subject, *one)
                )
            db.execute("DELETE FROM spans WHERE id <= (SELECT max(id) FROM spans) - ?", (SPANS_KEPT,))

        if steps:
            await self._keep(keep)

    async def happened(self, subject: str, service: str, step: str, *, detail: str = "", request_id: str = "") -> None:
        """Keep one thing that a guest or the host did by itself (took its lease, asked for its metadata), once."""

        def keep(db: Db) -> None:
            if SPANS.count(db, "subject = ? AND service = ? AND step = ?", (subject, service, step)):
                return
            db.execute(
                "INSERT INTO spans VALUES (NULL, ?, ?, 0, ?, ?, ?, 0, ?, '')",
                (request_id, subject, service, step, self._clock.now().timestamp(), detail[:DETAIL_LIMIT]),
            )

        await self._keep(keep)

    async def _keep(self, keep: Callable[[Db], None]) -> None:
        """What is told here explains the work; where it can't be kept the work goes on all the same."""
        try:
            await self._store.write(keep)
        except Unavailable as failure:
            log.warning("a trace is lost", error=failure.message)

    def spans(self, subject: str) -> list[Span]:
        """Everything known of a subject ("server/5f3c..."), in the order in which it began."""
        return self._store.read(SPANS.where, "subject = ?", (subject,), order="started, depth")

    async def decide(self, verdict: str, reason: str, *, request_id: str, subject: str = "", **numbers: Any) -> None:
        """Keep why: `verdict` as "quota refused", `reason` one sentence, and the numbers that decided."""
        at = stamp(self._clock.now())

        def keep(db: Db) -> None:
            db.execute(
                "INSERT INTO decisions VALUES (NULL, ?, ?, ?, ?, ?, ?)",
                (at, request_id, subject, verdict, reason, json.dumps(numbers, default=str)),
            )
            db.execute("DELETE FROM decisions WHERE id <= (SELECT max(id) FROM decisions) - ?", (DECISIONS_KEPT,))

        await self._keep(keep)

    def decisions(self, about: str) -> list[Decision]:
        """Decisions about a subject or of a request, oldest first."""
        return self._store.read(DECISIONS.where, "subject = ? OR request_id = ?", (about, about), order="id")


def render_call(call: Callable[..., Any]) -> str:
    """How spans and undo records name a bound method: "network.unplug"."""
    return f"{call.__self__.name}.{call.__name__}"  # type: ignore[attr-defined]
