"""The composition root: builds every service in order, hands each exactly what it needs, starts and stops them.

`start`: lock the state folder, migrate, open the host, recover operations, reconcile once, open the door, start the
loops. `stop` is the reverse, and takes under two seconds; guests, DHCP servers and filters go on without us.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import fcntl
import gc
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web

from minicloud import __version__, certificates
from minicloud.api import policy_file
from minicloud.api.app import Api
from minicloud.api.policy import Policy
from minicloud.certificates import Certificate
from minicloud.compute import Compute
from minicloud.config import Config, is_loopback
from minicloud.core import operations, quota, trace
from minicloud.core.clock import Clock, SystemClock
from minicloud.core.errors import Conflict, Unavailable
from minicloud.core.events import Events
from minicloud.core.foundation import Foundation
from minicloud.core.operations import Operations
from minicloud.core.reconcile import Reconciler
from minicloud.core.service import Service
from minicloud.core.store import Store
from minicloud.core.trace import Tracer, boundary
from minicloud.host import Host
from minicloud.identity import Identity
from minicloud.image import Image
from minicloud.metadata import Metadata
from minicloud.network import Network
from minicloud.placement import Placement
from minicloud.volume import Volume

log = structlog.get_logger(__name__)
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
PLUGINS = "minicloud.services"
STUCK_SECONDS = 30.0
"""How often what could not be taken back is tried again."""
UNHEARD_SECONDS = 60.0
"""How often one kind of failure that the loop meets is logged."""
STOP_SECONDS = 1.0
"""How long requests under way may take to end when the daemon stops."""
CERTIFICATE_SECONDS = 3600.0
"""How often the files of the certificate are looked at."""


class Daemon:
    """One cloud in one process.

    Args:
        config: its options.
        host: the drivers, real or fake.
        clock: tests bring their own.
        observer: told of every journal write (the crash harness).
        admin_password: for the first start; None makes one, told once as `new_password`.
    """

    def __init__(
        self,
        config: Config,
        host: Host,
        *,
        clock: Clock | None = None,
        observer: Callable[[str], None] | None = None,
        admin_password: str | None = None,
    ) -> None:
        clock = clock or SystemClock()
        self.config, self.host = config, host
        self.store = Store(config.state / "minicloud.db")
        self.tracer = Tracer(self.store, clock)
        self.operations = Operations(self.store, self.tracer, clock, observer=observer)
        self.foundation = Foundation(self.store, Events(), self.operations, self.tracer, clock)
        self._build(_traced(host))
        self.new_password: str | None = None
        self.reconcilers: list[Reconciler] = []
        self._admin_password = admin_password
        self._lock: int | None = None
        self._runner: web.ServerRunner | None = None
        self._certificate: Certificate | None = None
        self._port = config.api.port
        self._started_at = clock.monotonic()

    def _build(self, host: Host) -> None:
        foundation, config = self.foundation, self.config
        self.identity = Identity(foundation, config)
        self.image = Image(foundation, host, config)
        self.image.obey(lambda db, project_id: self.identity.limits_in(db, "image", project_id))
        self.placement = Placement(foundation, host, config)
        self.network = Network(foundation, host, config)
        # what one service gets of another is the other behind its boundary: each awaited call is a span
        identity, image = boundary(self.identity, "identity"), boundary(self.image, "image")
        placement, network = boundary(self.placement, "placement"), boundary(self.network, "network")
        self.volume = Volume(foundation, host, config, image=image)
        volume = boundary(self.volume, "volume")
        self.compute = Compute(
            foundation,
            host,
            config,
            identity=identity,
            image=image,
            placement=placement,
            network=network,
            volume=volume,
        )
        self.metadata = Metadata(foundation, host, config, network=network, compute=boundary(self.compute, "compute"))
        self.services: list[Service] = [
            self.identity, self.image, self.placement, self.network, self.volume, self.compute, self.metadata,
        ]  # fmt: skip
        for factory in plugins():
            self.services.append(factory(foundation, host, config))

    async def start(self) -> None:
        """Bring the cloud up; returns when the door is open.

        Raises:
            Conflict: another daemon holds the state folder.
            Unavailable: the database or the host can't be used.
        """
        try:
            self._open_state()
            bootstrap = asyncio.create_task(self._bootstrap())  # hashes a password on a thread meanwhile
            try:
                await self._begin()
            finally:
                await bootstrap
            await self._open_door()
        except BaseException:
            await self.stop()
            raise
        for one in self.reconcilers:
            one.start()
        log.info("serving", url=self.url, version=__version__)

    async def _begin(self) -> None:
        """Open the host, take up what was under way, bring the host to what the rows say."""
        await self.host.open()
        for service in self.services:
            await service.start()
        await self.operations.recover()
        self.reconcilers = [one for service in self.services for one in service.reconcilers()]
        for one in self.reconcilers:
            await one.once()
        self.reconcilers.append(Reconciler("operations", self.operations.retry_stuck, every=STUCK_SECONDS))
        self.reconcilers.append(Reconciler("certificate", self._keep_certificate, every=CERTIFICATE_SECONDS))

    async def initialise(self) -> None:
        """Make the database and the first administrator (`new_password`), without host and door.

        Raises:
            Conflict: a daemon holds the state folder.
        """
        try:
            self._open_state()
            await self._bootstrap()
        finally:
            await self.store.close()
            self._let_go()

    def _open_state(self) -> None:
        make_state(self.config)
        self._take_lock()
        own = (quota.migrations, trace.migrations, operations.migrations)
        self.store.open([*own, *(service.migrations for service in self.services)])

    async def _bootstrap(self) -> None:
        dialects = [service.dialect for service in self.services if service.dialect is not None]
        self.new_password = await self.identity.bootstrap(password=self._admin_password, dialects=dialects)

    async def stop(self) -> None:
        """Close the door, let go of everything; what is under way is taken up by the next start."""
        async with contextlib.AsyncExitStack() as leaving:  # from the last to the first, whatever one of them raises
            leaving.callback(self._let_go)
            leaving.push_async_callback(self.store.close)
            leaving.push_async_callback(self.host.close)
            for service in self.services:
                leaving.push_async_callback(service.stop)
            leaving.push_async_callback(self.operations.stop)
            for one in reversed(self.reconcilers):
                leaving.push_async_callback(one.stop)
            if self._runner is not None:
                leaving.push_async_callback(self._runner.cleanup)

    def _let_go(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def url(self) -> str:
        """Where the door is."""
        return self.config.url(self._port)

    async def run(self, started: Callable[[], None] = lambda: None) -> None:
        """Start, call `started`, serve until SIGTERM or SIGINT, stop.

        Raises:
            Unavailable: the database was lost on the way; systemd starts us anew, and that start looks at the file first.
        """
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()
        for one in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(one, ended.set)
        loop.set_exception_handler(_Unheard())
        await self.start()
        started()
        notify("READY=1")
        watching = [asyncio.create_task(one) for one in (_keep_watchdog_quiet(), self._end_without_database(ended))]
        await ended.wait()
        notify("STOPPING=1")
        for task in watching:
            task.cancel()
        await self.stop()
        if self.store.lost.is_set():
            raise Unavailable(f"Cannot go on: the database in {self.config.state} cannot be written any more.")

    async def _end_without_database(self, ended: asyncio.Event) -> None:
        await self.store.lost.wait()
        ended.set()

    def _take_lock(self) -> None:
        path = self.config.state / "lock"
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(handle, 20).decode() or "unknown"
            os.close(handle)
            raise Conflict(f"Cannot use {self.config.state}: the daemon with process id {holder} does.") from None
        os.truncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        self._lock = handle

    def _rules(self) -> dict[str, Policy]:
        """The operator's own policies."""
        path = self.config.policy_file
        if not self.config.api.policy_file and not path.exists():
            return {}
        return policy_file.read(path, [route for service in self.services for route in service.routes])

    async def _open_door(self) -> None:
        rules = await asyncio.to_thread(self._rules)
        await self._keep_certificate()
        listen = self.config.api.listen
        if self._certificate is None and not is_loopback(listen):
            log.warning(
                "passwords and tokens go over the network in the clear; `minicloud certificate make` is a remedy"
            )
        api = Api(self.services, self.identity.authenticate, self.tracer, health=self._health, rules=rules)
        self._runner = web.ServerRunner(api.server(), shutdown_timeout=STOP_SECONDS)
        await self._runner.setup()
        try:
            context = None if self._certificate is None else self._certificate.context
            await web.TCPSite(self._runner, listen, self.config.api.port, ssl_context=context).start()
        except OSError as error:
            raise Unavailable(f"Cannot listen on {listen}:{self.config.api.port}: {error.strerror or error}.") from None
        self._port = self._runner.addresses[0][1]

    async def _keep_certificate(self) -> None:
        """Have the door show the certificate that lies there now, renewed if it is ours and near its end."""
        if self.config.tls is None:
            return
        now = self.foundation.clock.now()
        if self.config.authority is not None and certificates.near_end(self.config.tls_folder, now):
            await asyncio.to_thread(_renew, self.config.tls_folder, now)
        if self._certificate is None:
            self._certificate = await asyncio.to_thread(Certificate, *self.config.tls)
        elif await asyncio.to_thread(self._certificate.refresh):
            log.info("the door shows another certificate")

    def _health(self) -> dict[str, Any]:
        """For everybody, so it names nothing that is somebody's; `minicloud ops` does."""
        live = self.operations.listed()
        return {
            "status": "ok",
            "version": __version__,
            "uptime_seconds": round(self.foundation.clock.monotonic() - self._started_at, 1),
            "operations": len(live),
            "stuck": sum(row.state == "stuck" for row in live),
        }


def _traced(host: Host) -> Host:
    """The host with every driver behind a boundary, so that each effect on the machine is a span."""
    return Host(
        hypervisor=boundary(host.hypervisor, "hypervisor"),
        disks=boundary(host.disks, "disks"),
        links=boundary(host.links, "links"),
        dhcp=boundary(host.dhcp, "dhcp"),
        firewall=boundary(host.firewall, "firewall"),
        namespaces=boundary(host.namespaces, "namespaces"),
    )


def plugins() -> list[Callable[[Foundation, Host, Config], Service]]:
    """Factories of services that other packages bring (entry point group `minicloud.services`). One that asks others over
    TLS brings its own `ssl` context: aiohttp's trusts nobody in here, see `cli/serve.py`.

    importlib.metadata reads every package there is; most machines have none of ours, which a glance at the files tells.
    """
    folders = [Path(one) for one in sys.path if one]
    if not any(
        PLUGINS in file.read_text(errors="replace") for one in folders for file in one.glob("*-info/entry_points.txt")
    ):
        return []
    from importlib.metadata import entry_points

    return [entry.load() for entry in entry_points(group=PLUGINS)]


def _renew(tls_folder: Path, now: datetime) -> None:
    from minicloud import authority  # megabytes, once a year

    authority.renew(tls_folder, now)


class _Unheard:
    """Tells in one line what nobody else could tell, such as a socket that cannot accept: of failures of the machine one a
    minute of a kind, as the loop meets them again and again."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}

    def __call__(self, loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        text, failure = str(context.get("message")), context.get("exception")
        if not isinstance(failure, OSError):
            log.error("the loop met a bug", text=text, exc_info=failure)
        elif loop.time() - self._told.get(text, -UNHEARD_SECONDS) >= UNHEARD_SECONDS:
            self._told[text] = loop.time()
            log.error("the loop met a failure", text=text, error=str(failure))


def notify(state: str) -> None:
    """Tell systemd (sd_notify(3)); nothing without one."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel,
        contextlib.suppress(OSError),
    ):
        channel.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)


async def _keep_watchdog_quiet() -> None:
    period = int(os.environ.get("WATCHDOG_USEC", "0")) / 2_000_000
    while period:
        notify("WATCHDOG=1")
        await asyncio.sleep(period)


def settle_memory() -> None:
    """Keep the process small: glibc would keep a heap for each thread, and would keep the 19 MiB of each password hash.

    mallopt(3): two arenas; blocks over 512 KiB are mapped and given back; the top of the heap is trimmed. asyncio reads
    each request into a fresh 256 KiB: those must come from the heap, or every request maps and unmaps memory. What was
    imported by now stays for good, so the collector need not look at it, now or ever: half a MiB of it is garbage, and
    finding that takes a tenth of the start.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # musl has none
        for parameter, value in ((M_ARENA_MAX, 2), (M_MMAP_THRESHOLD, 512 * 1024), (M_TRIM_THRESHOLD, 1024 * 1024)):
            libc.mallopt(parameter, value)
    gc.freeze()
    gc.enable()


def configure_logs(*, as_json: bool) -> None:
    """One line a fact on standard error: for people, or JSON."""
    structlog.configure(
        processors=[
            trace.tell_work,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer() if as_json else structlog.processors.LogfmtRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=open(2, "w", buffering=1, closefd=False)),  # noqa: SIM115
        cache_logger_on_first_use=True,
    )


def make_state(config: Config) -> None:
    """Have the state folder, one that can be written to.

    Raises:
        Unavailable: it can't be had.
    """
    try:
        config.state.mkdir(mode=0o711, parents=True, exist_ok=True)
        (config.state / "lock").touch(mode=0o600)
    except OSError as error:
        reason = error.strerror or error
        raise Unavailable(f"Cannot use {config.state} as the state folder (paths.state): {reason}.") from None


def make_host(config: Config) -> Host:
    """The real host of a configuration, or the fake one.

    Raises:
        Unavailable: there can be no state folder.
    """
    make_state(config)
    if config.fake:
        from minicloud.host.fake import fake_host

        return fake_host(Path(config.paths.state) / "fake")[0]
    from minicloud.host.real import real_host

    return real_host(
        libvirt_uri=config.compute.libvirt_uri,
        state=config.state,
        cache=Path(config.paths.cache),
        namespaces=Path(config.paths.namespaces),
    )
