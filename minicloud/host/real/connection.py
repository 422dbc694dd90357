"""The line to libvirtd: one connection, kept up; its calls in threads, its events on our loop.

libvirt's calls block, so they run in a small pool of our own. libvirt's own event loop runs in a thread of its own and
hands events over: keep-alives are answered even while our loop is busy, and a second loop in the same process (tests)
needs no second registration, which libvirt would not take. Used by `real/libvirt.py` only.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import libvirt
import structlog

from minicloud.core.errors import Failure, HostFailure, Unavailable

R = TypeVar("R")

WORKERS = 16
CALL_SECONDS = 60.0
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 3.0
"""Seconds between tries to connect; libvirtd is back in use at most this long after it came back."""
KEEPALIVE_SECONDS = 5
KEEPALIVE_MISSES = 5

REASONS = {
    'Failed to get "write" lock': "one of its disks is in use elsewhere",
    "Failed to get shared": "one of its disks is in use elsewhere",
    "Cannot access storage file": "the file of one of its disks is missing",
    "Could not open": "the file of one of its disks can't be opened",
    "cannot set up guest memory": "the host has too little memory",
    "Cannot allocate memory": "the host has too little memory",
    "No space left on device": "the host's disk is full",
    "No more available PCI": "it has no free slot for another device",
    "Unable to open '/dev/net/tun'": "the host has no tap devices",
    "already exists with uuid": "another machine on this host has the same name",
}
"""Words of libvirt and QEMU that have a plain meaning for users; all others stay in the detail."""

_log = structlog.get_logger(__name__)
_events = threading.Lock()
_events_run = False


@dataclass(frozen=True, slots=True)
class Listeners:
    """Whom the connection tells, always on the loop: `changed(server id, libvirt's event, its detail)`,
    `removed(server id, device alias)`, `finished(server id)` of a job, and `up` (awaited) after each connect."""

    up: Callable[[], Awaitable[None]]
    changed: Callable[[str, int, int], None]
    removed: Callable[[str, str], None]
    finished: Callable[[str], None]


class Connection:
    """One connection to `uri` that comes back by itself."""

    def __init__(self, uri: str, listeners: Listeners) -> None:
        self._uri = uri
        self._listeners = listeners
        self._pool = ThreadPoolExecutor(max_workers=WORKERS, thread_name_prefix="libvirt")
        self._handle: libvirt.virConnect | None = None
        self._numbers: list[int] = []
        self._keeper: asyncio.Task[None] | None = None
        self._lost = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self) -> None:
        """Connect once and keep the connection from then on; an absent libvirtd is no error, only a wait."""
        self._loop = asyncio.get_running_loop()
        _run_events()
        try:
            await self._connect()
        except Failure as failure:
            _log.warning("libvirt can't be reached; trying on", detail=getattr(failure, "detail", ""))
            self._lost.set()
        self._keeper = asyncio.create_task(self._keep(), name="libvirt connection")

    async def close(self) -> None:
        """Hang up; calls that are under way end first."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        handle, self._handle = self._handle, None
        if handle is not None:
            await asyncio.get_running_loop().run_in_executor(self._pool, self._hang_up, handle)
        self._pool.shutdown(wait=False)

    async def call(self, what: str, work: Callable[[libvirt.virConnect], R], *, seconds: float = CALL_SECONDS) -> R:
        """Run `work` with the connection in a thread, to its end even if the caller is cancelled.

        Args:
            what: for messages, "start the machine X".
            seconds: after them the caller gets `HostFailure`; the call itself can't be stopped and may still act.

        Raises:
            Unavailable: there is no connection, or it broke during the call.
            HostFailure: libvirt refused; its words are in the detail.
        """
        handle = self._handle
        if handle is None:
            raise Unavailable(f"Cannot {what}: the hypervisor can't be reached at the moment.", retry_after=5)
        loop = asyncio.get_running_loop()
        doing = loop.run_in_executor(self._pool, work, handle)
        end = loop.time() + seconds
        cancelled = False
        while not doing.done() and (left := end - loop.time()) > 0:
            try:
                await asyncio.wait([doing], timeout=left)
            except asyncio.CancelledError:
                cancelled = True
        if cancelled or not doing.done():
            doing.add_done_callback(_look_away)
        if cancelled:
            raise asyncio.CancelledError
        if not doing.done():
            raise HostFailure(f"Cannot {what}: libvirt did not answer within {seconds:g} s.")
        try:
            return doing.result()
        except libvirt.libvirtError as error:
            raise self._told(what, handle, error) from error

    def _told(self, what: str, handle: libvirt.virConnect, error: libvirt.libvirtError) -> Failure:
        words = str(error)
        if handle is not self._handle or error.get_error_code() in (libvirt.VIR_ERR_INVALID_CONN, libvirt.VIR_ERR_RPC):
            return Unavailable(f"Cannot {what}: the hypervisor went away meanwhile.", retry_after=5)
        if "client socket is closed" in words or "end of file" in words.lower():
            return Unavailable(f"Cannot {what}: the hypervisor went away meanwhile.", retry_after=5)
        reason = next((plain for told, plain in REASONS.items() if told in words), "the hypervisor refused")
        return HostFailure(f"Cannot {what}: {reason}.", detail=words)

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            self._handle = await loop.run_in_executor(self._pool, self._dial)
        except libvirt.libvirtError as error:
            raise HostFailure("Cannot reach the hypervisor.", detail=str(error)) from error
        self._lost.clear()
        _log.info("connected to libvirt", uri=self._uri)
        await self._listeners.up()

    async def _keep(self) -> None:
        while True:
            await self._lost.wait()
            self._handle = None
            pause = FIRST_PAUSE
            while self._handle is None or self._lost.is_set():
                try:
                    await self._connect()
                except Failure as failure:
                    _log.debug("libvirt is still away", detail=getattr(failure, "detail", ""))
                    self._handle = None
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, LONGEST_PAUSE)

    def _dial(self) -> libvirt.virConnect:
        handle = libvirt.open(self._uri)
        with contextlib.suppress(libvirt.libvirtError):  # drivers without a wire have none, and need none
            handle.setKeepAlive(KEEPALIVE_SECONDS, KEEPALIVE_MISSES)
            handle.registerCloseCallback(self._closed, None)
        tell = self._tell
        listeners = self._listeners
        wanted: dict[int, Callable[..., None]] = {
            libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE: lambda _c, domain, event, detail, _o: tell(
                listeners.changed, domain.UUIDString(), event, detail
            ),
            libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED: lambda _c, domain, alias, _o: tell(
                listeners.removed, domain.UUIDString(), alias
            ),
            libvirt.VIR_DOMAIN_EVENT_ID_JOB_COMPLETED: lambda _c, domain, _params, _o: tell(
                listeners.finished, domain.UUIDString()
            ),
        }
        self._numbers = [handle.domainEventRegisterAny(None, kind, call, None) for kind, call in wanted.items()]
        return handle

    def _hang_up(self, handle: libvirt.virConnect) -> None:
        with contextlib.suppress(libvirt.libvirtError):  # what is closed already can't be unregistered
            for number in self._numbers:
                handle.domainEventDeregisterAny(number)
            handle.unregisterCloseCallback()
        with contextlib.suppress(libvirt.libvirtError):
            handle.close()

    def _closed(self, _handle: libvirt.virConnect, reason: int, _opaque: Any) -> None:
        self._tell(self._lose, reason)

    def _lose(self, reason: int) -> None:
        _log.warning("the connection to libvirt broke; connecting again", reason=reason)
        self._handle = None
        self._lost.set()

    def _tell(self, listener: Callable[..., None], *what: Any) -> None:
        """From libvirt's event thread to the loop; a loop that is closed has nobody to tell."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(listener, *what)


def _look_away(doing: asyncio.Future[Any]) -> None:
    """Take note of an error that has no caller any more."""
    if not doing.cancelled() and (error := doing.exception()) is not None:
        _log.warning("a libvirt call ended after its caller had left", detail=str(error))


def _run_events() -> None:
    """Start libvirt's event loop, once a process; it must be registered before the first connection."""
    global _events_run
    with _events:
        if _events_run:
            return
        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        libvirt.virEventRegisterDefaultImpl()
        threading.Thread(target=_turn, name="libvirt events", daemon=True).start()
        _events_run = True


def _turn() -> None:
    pause = threading.Event()
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError as error:
            _log.error("libvirt's event loop stumbled", detail=str(error))
            pause.wait(1.0)
