"""Machines of this host, by libvirt and QEMU.

Each verb is one short piece of blocking work that `real/connection.py` runs in a thread; waiting for guests happens on
the loop. Events only say *that* a machine changed; what it is now is asked, because libvirt tells passing states too
(a guest that reboots by its agent is "suspended" for a blink).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import libvirt
import structlog

from minicloud.core.errors import Failure, HostFailure, Unavailable
from minicloud.core.files import make_folder
from minicloud.host import filesystem
from minicloud.host.hypervisor import Capabilities, DiskSpec, DomainEvent, DomainSeen, DomainSpec, NicSpec
from minicloud.host.real import domain_xml, domains, probe
from minicloud.host.real.connection import Connection, Listeners

START_SECONDS = 180.0
STOP_SECONDS = 60.0
COPY_SECONDS = 3600.0
DETACH_SECONDS = 30.0
"""How long a guest may take to let go of a device, all tries together."""
DETACH_TRY_SECONDS = 5.0
"""After this long the guest is asked again: one that was still booting did not hear the first time."""

_REASONS = {
    libvirt.VIR_DOMAIN_EVENT_STARTED: {0: "booted", 2: "restored"},
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED: {0: "paused", 2: "ioerror"},
    libvirt.VIR_DOMAIN_EVENT_RESUMED: {0: "resumed"},
    libvirt.VIR_DOMAIN_EVENT_STOPPED: {0: "shutdown", 1: "destroyed", 2: "crashed", 4: "saved", 5: "crashed"},
    libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED: {0: "sleeping"},
    libvirt.VIR_DOMAIN_EVENT_CRASHED: {0: "crashed"},
}
"""Lifecycle events that can mean another power state, and our word for each detail (virDomainEvent*DetailType)."""

_UNDEFINE = (
    libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
    | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
    | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
)
_LIVE, _CONFIG = libvirt.VIR_DOMAIN_AFFECT_LIVE, libvirt.VIR_DOMAIN_AFFECT_CONFIG

_log = structlog.get_logger(__name__)


class LibvirtHypervisor:
    """`Hypervisor` by libvirt.

    Args:
        uri: libvirt's address of the host, "qemu:///system".
        cache: folder in which the accelerator probe keeps its answer.
        detach_seconds: how long a guest may take to let go of a device.
    """

    def __init__(self, *, uri: str, cache: Path, detach_seconds: float = DETACH_SECONDS) -> None:
        self._connection = Connection(
            uri, Listeners(up=self._tell_all, changed=self._noticed, removed=self._let_go, finished=self._job_done)
        )
        self._cache = cache
        self._detach_seconds = detach_seconds
        self._facts: domains.Facts | None = None
        self._accelerator = probe.Accelerator("qemu", "The accelerator was not probed yet.")
        self._callbacks: list[Callable[[DomainEvent], None]] = []
        self._changed: dict[str, str] = {}
        self._change = asyncio.Event()
        self._teller: asyncio.Task[None] | None = None
        self._removals: dict[tuple[str, str], asyncio.Event] = {}
        self._jobs: dict[str, asyncio.Event] = {}

    async def open(self) -> None:
        """As promised."""
        self._accelerator = await probe.accelerator(self._cache)
        _log.info("accelerator", note=self._accelerator.note)
        self._teller = asyncio.create_task(self._tell_changes(), name="libvirt events")
        await self._connection.open()

    async def close(self) -> None:
        """As promised."""
        if self._teller is not None:
            self._teller.cancel()
            await asyncio.gather(self._teller, return_exceptions=True)
        await self._connection.close()

    def host_name(self) -> str:
        """As promised."""
        return socket.gethostname()

    def capabilities(self) -> Capabilities:
        """As promised."""
        return self._known().capabilities

    async def ready(self) -> None:
        """As promised."""
        await self._connection.call("make a machine", lambda connection: connection.isAlive())

    def on_event(self, callback: Callable[[DomainEvent], None]) -> None:
        """As promised."""
        self._callbacks.append(callback)

    async def define(self, spec: DomainSpec) -> None:
        """As promised; makes the folders of its sockets and log, that of the screen owned by QEMU's user, who binds it."""
        facts = self._known()
        what = f"define the machine {spec.id}"
        xml = domain_xml.domain_xml(spec, facts.capabilities)
        with filesystem.told("make the folders of the machine", Path(spec.id)):
            await filesystem.in_thread(_make_folders, spec, facts.owner)
        await self._connection.call(what, lambda connection: connection.defineXML(xml))

    async def start(self, server_id: str, *, paused: bool = False) -> None:
        """As promised."""
        flags = libvirt.VIR_DOMAIN_START_PAUSED if paused else 0

        def work(connection: libvirt.virConnect) -> None:
            domain = connection.lookupByUUIDString(server_id)
            if not domain.isActive():
                domain.createWithFlags(flags)

        await self._connection.call(f"start the machine {server_id}", work, seconds=START_SECONDS)

    async def shutdown(self, server_id: str) -> None:
        """As promised."""

        def work(connection: libvirt.virConnect) -> None:
            domain = connection.lookupByUUIDString(server_id)
            if domain.isActive():
                domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN)

        await self._connection.call(f"shut down the machine {server_id}", work)

    async def destroy(self, server_id: str) -> None:
        """As promised."""

        def work(connection: libvirt.virConnect) -> None:
            domain = domains.find(connection, server_id)
            if domain is None:
                return
            with domains.unless(libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_NO_DOMAIN):  # it is off already
                domain.destroyFlags(libvirt.VIR_DOMAIN_DESTROY_DEFAULT)

        await self._connection.call(f"stop the machine {server_id}", work, seconds=STOP_SECONDS)

    async def reset(self, server_id: str) -> None:
        """As promised."""
        await self._connection.call(
            f"reset the machine {server_id}", lambda connection: connection.lookupByUUIDString(server_id).reset(0)
        )

    async def pause(self, server_id: str) -> None:
        """As promised."""
        await self._connection.call(
            f"pause the machine {server_id}", lambda connection: connection.lookupByUUIDString(server_id).suspend()
        )

    async def resume(self, server_id: str) -> None:
        """As promised."""

        def work(connection: libvirt.virConnect) -> None:
            domain = connection.lookupByUUIDString(server_id)
            if domain.state(0)[0] != libvirt.VIR_DOMAIN_RUNNING:
                domain.resume()

        await self._connection.call(f"resume the machine {server_id}", work)

    async def undefine(self, server_id: str) -> None:
        """As promised; refuses a machine that is on."""
        what = f"forget the machine {server_id}"

        def work(connection: libvirt.virConnect) -> None:
            domain = domains.find(connection, server_id)
            if domain is None:
                return
            if domain.isActive():
                raise HostFailure(f"Cannot {what}: it is running.")
            with domains.unless(libvirt.VIR_ERR_NO_DOMAIN):
                domain.undefineFlags(_UNDEFINE)

        await self._connection.call(what, work)

    async def attach_disk(self, server_id: str, disk: DiskSpec) -> None:
        """As promised."""
        alias = domain_xml.alias(domain_xml.DISK_ALIAS, disk.id)
        await self._attach(server_id, alias, lambda machine: domain_xml.disk_xml(disk, machine), f"disk {disk.id}")

    async def detach_disk(self, server_id: str, disk_id: str) -> None:
        """As promised."""
        await self._detach(server_id, domain_xml.alias(domain_xml.DISK_ALIAS, disk_id), f"disk {disk_id}")

    async def attach_nic(self, server_id: str, nic: NicSpec) -> None:
        """As promised."""
        alias = domain_xml.alias(domain_xml.PORT_ALIAS, nic.port_id)
        await self._attach(server_id, alias, lambda _: domain_xml.nic_xml(nic), f"network card {nic.port_id}")

    async def detach_nic(self, server_id: str, port_id: str) -> None:
        """As promised."""
        await self._detach(server_id, domain_xml.alias(domain_xml.PORT_ALIAS, port_id), f"network card {port_id}")

    async def resize_disk(self, server_id: str, disk_id: str, size: int) -> None:
        """As promised."""
        what = f"grow the disk {disk_id} of the machine {server_id}"

        def work(connection: libvirt.virConnect) -> None:
            domain = connection.lookupByUUIDString(server_id)
            target = domains.target(domain, disk_id, what)
            domain.blockResize(target, size, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)

        await self._connection.call(what, work)

    async def copy_disk(self, server_id: str, disk_id: str, target: Path, *, format: str) -> None:
        """As promised, by a backup job in push mode (https://libvirt.org/formatbackup.html)."""
        what = f"copy the disk {disk_id} of the machine {server_id}"
        done = self._jobs.setdefault(server_id, asyncio.Event())
        done.clear()
        async with filesystem.draft(target, what="copy to the disk") as draft:

            def begin(connection: libvirt.virConnect) -> None:
                domain = connection.lookupByUUIDString(server_id)
                xml = domain_xml.backup_xml(
                    domain.XMLDesc(0), domains.target(domain, disk_id, what), str(draft), format
                )
                domain.backupBegin(xml, None, 0)

            await self._connection.call(what, begin)
            try:
                await self._job_end(server_id, done, what)
            except BaseException:
                with contextlib.suppress(Failure):  # it may have ended by itself; the copy is thrown away anyway
                    await self._connection.call(what, lambda c: c.lookupByUUIDString(server_id).abortJob())
                raise
            finally:
                self._jobs.pop(server_id, None)
            await filesystem.in_thread(os.chown, draft, os.geteuid(), os.getegid())

    async def actual(self) -> dict[str, DomainSeen]:
        """As promised."""
        return await self._connection.call("look at the machines", domains.look)

    async def console_log(self, server_id: str, path: str, *, tail_bytes: int = 1024 * 1024) -> bytes:
        """As promised: libvirtd writes the file."""
        with filesystem.told("read the console of", Path(server_id)):
            return await filesystem.in_thread(filesystem.tail, Path(path), tail_bytes)

    def _known(self) -> domains.Facts:
        if self._facts is None:
            raise Unavailable("The hypervisor was not reached yet.", retry_after=5)
        return self._facts

    async def _attach(self, server_id: str, alias: str, render: Callable[[str], str], noun: str) -> None:
        def work(connection: libvirt.virConnect) -> None:
            domain = connection.lookupByUUIDString(server_id)
            stored = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
            flags = 0 if domain_xml.device_xml(stored, alias) else _CONFIG
            if domain.isActive() and not domain_xml.device_xml(domain.XMLDesc(0), alias):
                flags |= _LIVE
            if flags:
                domain.attachDeviceFlags(render(domain_xml.machine_of(stored)), flags)

        await self._connection.call(f"attach the {noun} to the machine {server_id}", work)

    async def _detach(self, server_id: str, alias: str, noun: str) -> None:
        """First from the live machine, then from the definition: a kill between the two leaves what can be repeated."""
        what = f"detach the {noun} from the machine {server_id}"
        loop = asyncio.get_running_loop()
        end = loop.time() + self._detach_seconds
        gone = self._removals.setdefault((server_id, alias), asyncio.Event())
        try:
            while await self._connection.call(
                what, lambda connection: domains.ask_to_let_go(connection, server_id, alias)
            ):
                left = end - loop.time()
                if left <= 0:
                    raise HostFailure(
                        f"Cannot {what}: the guest did not let go of it within {self._detach_seconds:g} s."
                    )
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(gone.wait(), min(DETACH_TRY_SECONDS, left))
                gone.clear()
        finally:
            self._removals.pop((server_id, alias), None)

        def forget(connection: libvirt.virConnect) -> None:
            domain = domains.find(connection, server_id)
            if domain is None:
                return
            if domain_xml.device_xml(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE), alias):
                domain.detachDeviceAlias(alias, _CONFIG)

        await self._connection.call(what, forget)

    async def _job_end(self, server_id: str, done: asyncio.Event, what: str) -> None:
        """Wait for a backup's end by its event, and look once a second in case the event was lost."""

        def running(connection: libvirt.virConnect) -> bool:
            domain = connection.lookupByUUIDString(server_id)
            if domain.jobStats(0).get("type", libvirt.VIR_DOMAIN_JOB_NONE) != libvirt.VIR_DOMAIN_JOB_NONE:
                return True
            ended = domain.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)
            if ended.get("type") != libvirt.VIR_DOMAIN_JOB_COMPLETED:
                raise HostFailure(f"Cannot {what}: the copy broke off.", detail=str(ended))
            return False

        try:
            async with asyncio.timeout(COPY_SECONDS):
                while await self._connection.call(what, running):
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(done.wait(), 1.0)
                    done.clear()
        except TimeoutError:
            raise HostFailure(f"Cannot {what}: it did not end within {COPY_SECONDS:g} s.") from None

    async def _tell_all(self) -> None:
        """After each connect: learn the host's facts once, then tell of every machine, for events were missed."""
        if self._facts is None:
            accelerator = self._accelerator
            self._facts = await self._connection.call(
                "learn what the host can", lambda c: domains.learn(c, accelerator)
            )
        for seen in (await self.actual()).values():
            self._deliver(DomainEvent(seen.id, seen.power, "found"))

    async def _tell_changes(self) -> None:
        while True:
            await self._change.wait()
            self._change.clear()
            while self._changed:
                server_id, reason = self._changed.popitem()
                try:
                    power = await self._connection.call("look at a machine", partial(domains.power_of, server_id))
                except Failure as failure:  # a new connection tells everything anew
                    _log.info("a change of a machine could not be looked at", server=server_id, why=failure.message)
                    continue
                self._deliver(DomainEvent(server_id, power, reason))

    def _noticed(self, server_id: str, event: int, detail: int) -> None:
        words = _REASONS.get(event)
        if words is not None:
            self._changed[server_id] = words.get(detail, words[0])
            self._change.set()

    def _let_go(self, server_id: str, alias: str) -> None:
        if (gone := self._removals.get((server_id, alias))) is not None:
            gone.set()

    def _job_done(self, server_id: str) -> None:
        if (done := self._jobs.get(server_id)) is not None:
            done.set()

    def _deliver(self, event: DomainEvent) -> None:
        for callback in self._callbacks:
            callback(event)


def _make_folders(spec: DomainSpec, owner: tuple[int, int] | None) -> None:
    """Folders of a machine's sockets and log."""
    for file in (spec.console_log, spec.serial_socket, spec.agent_socket, spec.vnc_socket):
        if file is not None:
            make_folder(Path(file).parent, mode=filesystem.FOLDER_MODE)
    if spec.vnc_socket is not None and owner is not None:
        os.chown(os.path.dirname(spec.vnc_socket), *owner)
