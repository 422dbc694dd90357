"""DHCP, router advertisements and DNS of this machine: one dnsmasq a network, and one a router that advertises.

Each has a folder of its own (configuration, hosts, options, names, leases, pid) and runs in its namespace. It starts
itself into the background, so it outlives this daemon; the next daemon finds it by its pid file. Called through
`minicloud.host.Host.dhcp`; the text is rendered by `dnsmasq_files`. Sources: dnsmasq(8), dhcp_release(1), nsenter(1).
"""

from __future__ import annotations

import asyncio
import contextlib
import grp
import ipaddress
import os
import pwd
import shutil
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from minicloud.core.errors import HostFailure, Invalid, MinicloudError
from minicloud.host.dhcp import Advertiser, DhcpServer, Lease
from minicloud.host.real.dnsmasq_files import Account, Files, advertiser_files, server_files, without_leases
from minicloud.host.real.namespaces import MountedNamespaces, run_inside
from minicloud.host.real.watched import Watched
from minicloud.host.real.whole import whole
from minicloud.host.run import program

START_DEADLINE = 20.0
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 60.0
GOOD_LIFE = 60.0
"""Seconds after which a process counts as sound, and the next death starts with the first pause again."""
RELEASE_TRIES = 20
RELEASE_PAUSE = 0.05

logger = structlog.get_logger(__name__)


@dataclass
class Owned:
    """One network's or router's dnsmasq. `lock` orders what is done to it; `process` is None while it doesn't run."""

    folder: Path
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    process: Watched | None = None
    keeper: asyncio.Task[None] | None = None


class DnsmasqDhcp:
    """`Dhcp` of this machine.

    Args:
        folder: where a folder for each network and router lies. The folders above must let dnsmasq's user pass, as it
            reads its files again after it has given up its rights.
        namespaces: where the servers run.
    """

    def __init__(self, folder: Path, namespaces: MountedNamespaces) -> None:
        self._folder = folder
        self._namespaces = namespaces
        self._owned: dict[str, Owned] = {}
        self._account = _account()

    async def open(self) -> None:
        """See `Dhcp.open`. One that has died in the meantime is started; without its namespace it waits for
        `converge`."""
        program("dnsmasq")
        program("dhcp_release")
        self._folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        for owner_id in sorted(await self.actual()):
            owned = self._of(owner_id)
            async with owned.lock:
                owned.process = self._running(owned)
                if owned.process is None and not self._namespaces.path(_space(owned)).exists():
                    continue
                try:
                    await self._ensure_running(owned)
                except MinicloudError as error:
                    logger.warning("DHCP server could not be taken over", owner=owner_id, reason=error.message)

    async def close(self) -> None:
        """See `Dhcp.close`."""
        for owned in self._owned.values():
            await _dismiss(owned.keeper)
            if owned.process is not None:
                owned.process.let_go()
        self._owned.clear()

    @whole
    async def converge(self, server: DhcpServer) -> None:
        """See `Dhcp.converge`. Leases of hosts that are not known any more are released."""
        owned = self._of(server.network_id)
        files = server_files(server, folder=owned.folder, account=self._account)
        async with owned.lock:
            before = await asyncio.to_thread(_known_holders, owned.folder)
            await self._apply(owned, files, space=server.space, link=server.link)
            now = {(host.mac.lower(), address) for host in server.hosts for address in host.addresses}
            leased = {(lease.mac, lease.address) for lease in await self._leases(owned)}
            # A machine hears of its lease an instant before the file does, so who was known counts as well.
            for mac, address in sorted((leased | before) - now):
                await self._release(owned, mac=mac, address=address)

    @whole
    async def converge_advertiser(self, advertiser: Advertiser) -> None:
        """See `Dhcp.converge_advertiser`."""
        if not advertiser.prefixes:
            await self.remove(advertiser.router_id)
            return
        owned = self._of(advertiser.router_id)
        files = advertiser_files(advertiser, folder=owned.folder, account=self._account)
        async with owned.lock:
            await self._apply(owned, files, space=advertiser.space, link="")

    @whole
    async def release(self, network_id: str, *, mac: str, address: str) -> None:
        """See `Dhcp.release`; a lease that another MAC holds by now is left alone."""
        owned = self._of(network_id)
        async with owned.lock:
            await self._release(owned, mac=mac.lower(), address=address)

    @whole
    async def remove(self, owner_id: str) -> None:
        """See `Dhcp.remove`."""
        owned = self._of(owner_id)
        async with owned.lock:
            owned.process = self._running(owned)
            await self._stop(owned)
            await asyncio.to_thread(shutil.rmtree, owned.folder, True)
            self._owned.pop(owner_id, None)

    async def leases(self, network_id: str) -> tuple[Lease, ...]:
        """See `Dhcp.leases`."""
        return await self._leases(self._of(network_id))

    async def actual(self) -> frozenset[str]:
        """See `Dhcp.actual`."""
        if not self._folder.is_dir():
            return frozenset()
        return frozenset(await asyncio.to_thread(os.listdir, self._folder))

    def _of(self, owner_id: str) -> Owned:
        if "/" in owner_id or owner_id in ("", ".", ".."):
            raise Invalid(f"Cannot serve DHCP for {owner_id!r}: that is no id.")
        return self._owned.setdefault(owner_id, Owned(self._folder / owner_id))

    async def _apply(self, owned: Owned, files: Files, *, space: str, link: str) -> None:
        """Write what differs, then start, restart, reload or leave alone."""
        changed = await asyncio.to_thread(_write, owned.folder, files, space=space, link=link, account=self._account)
        owned.process = self._running(owned)
        left_behind = owned.process is not None and await asyncio.to_thread(self._is_elsewhere, owned, space)
        if owned.process is None or left_behind or changed & {"conf", "space"}:
            await self._stop(owned)
            await self._ensure_running(owned)
        elif changed:
            owned.process.send(signal.SIGHUP)
            await self._ensure_running(owned)

    async def _ensure_running(self, owned: Owned) -> None:
        """It runs and somebody watches it."""
        owned.process = self._running(owned)
        if owned.process is None:
            await self._start(owned)
        if owned.keeper is None or owned.keeper.done():
            owned.keeper = asyncio.create_task(self._keep(owned), name=f"dnsmasq {owned.folder.name}")

    async def _start(self, owned: Owned) -> None:
        conf = f"--conf-file={owned.folder / 'conf'}"
        # It returns when its child has its sockets, or tells why it could not get them.
        await run_inside(
            self._namespaces,
            _space(owned),
            ["dnsmasq", conf],
            timeout=START_DEADLINE,
            what=f"start the DHCP server of {owned.folder.name}",
        )
        owned.process = self._running(owned)
        if owned.process is None:
            raise HostFailure(f"Cannot start the DHCP server of {owned.folder.name}: it ended at once.")

    async def _stop(self, owned: Owned) -> None:
        await _dismiss(owned.keeper)
        owned.keeper = None
        if owned.process is not None:
            await owned.process.stop()
            owned.process = None

    async def _keep(self, owned: Owned) -> None:
        """Start it again whenever it dies, with growing pauses."""
        pause = FIRST_PAUSE
        while True:
            born = time.monotonic()
            if owned.process is not None:
                await owned.process.ended.wait()
            pause = FIRST_PAUSE if time.monotonic() - born > GOOD_LIFE else pause
            logger.warning("DHCP server died, starting it again", owner=owned.folder.name, pause=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
            async with owned.lock:
                owned.process = self._running(owned)
                try:
                    if owned.process is None:
                        await self._start(owned)
                except MinicloudError as error:
                    logger.warning("DHCP server could not be started", owner=owned.folder.name, reason=error.message)

    def _running(self, owned: Owned) -> Watched | None:
        """The process that is watched or that the pid file names, if it lives."""
        if owned.process is not None and not owned.process.ended.is_set():
            return owned.process
        return Watched.find(owned.folder / "pid", argument=f"--conf-file={owned.folder / 'conf'}")

    def _is_elsewhere(self, owned: Owned, space: str) -> bool:
        """Whether it runs in a namespace that was removed under it; the one of that name now is another."""
        with contextlib.suppress(OSError, ValueError):  # it ended this moment: its keeper starts it again
            inside = os.stat(f"/proc/{int((owned.folder / 'pid').read_text())}/ns/net")
            return inside.st_ino != self._namespaces.path(space).stat().st_ino
        return False

    async def _leases(self, owned: Owned) -> tuple[Lease, ...]:
        return await asyncio.to_thread(_read_leases, owned.folder)

    async def _release(self, owned: Owned, *, mac: str, address: str) -> None:
        owned.process = self._running(owned)
        if ipaddress.ip_address(address).version == 4 and owned.process is not None:
            link = (owned.folder / "link").read_text()
            identifier = await asyncio.to_thread(_client_id, owned.folder, address)
            argv = ["dhcp_release", link, address, mac, *([identifier] if identifier else [])]
            await run_inside(self._namespaces, _space(owned), argv, timeout=10.0, check=False)
            for _ in range(RELEASE_TRIES):
                if not await self._holds(owned, mac=mac, address=address):
                    return
                await asyncio.sleep(RELEASE_PAUSE)
        if await self._holds(owned, mac=mac, address=address):
            await self._forget_by_restart(owned, address)

    async def _holds(self, owned: Owned, *, mac: str, address: str) -> bool:
        return any(lease.mac == mac and lease.address == address for lease in await self._leases(owned))

    async def _forget_by_restart(self, owned: Owned, address: str) -> None:
        """The server holds its leases in memory: stop it, take the line out, start it."""
        ran = owned.process is not None
        await self._stop(owned)
        leases = owned.folder / "leases"
        kept = without_leases(leases.read_text(), {address})
        await asyncio.to_thread(_replace, leases, kept, self._account)
        if ran:
            await self._ensure_running(owned)


async def _dismiss(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def _account() -> Account:
    """dnsmasq's own user where the package made one."""
    for name in ("dnsmasq", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(user=name, group=grp.getgrgid(entry.pw_gid).gr_name)
    raise HostFailure("Cannot serve DHCP: this machine has neither a user dnsmasq nor a user nobody.")


def _space(owned: Owned) -> str:
    try:
        return (owned.folder / "space").read_text()
    except FileNotFoundError:
        raise HostFailure(f"Cannot start the DHCP server of {owned.folder.name}: its files are incomplete.") from None


def _write(folder: Path, files: Files, *, space: str, link: str, account: Account) -> frozenset[str]:
    """Write what differs by rename; returns the names of those files."""
    folder.mkdir(mode=0o750, exist_ok=True)
    os.chown(folder, 0, grp.getgrnam(account.group).gr_gid)
    wanted = {
        "space": space,
        "link": link,
        "hosts": files.hosts,
        "options": files.options,
        "names": files.names,
        "conf": files.conf,
    }
    changed = set()
    for name, text in wanted.items():
        path = folder / name
        if path.exists() and path.read_text() == text:
            continue
        _replace(path, text, account)
        changed.add(name)
    return frozenset(changed)


def _replace(path: Path, text: str, account: Account) -> None:
    draft = path.with_suffix(".new")
    draft.write_text(text)
    os.chmod(draft, 0o640)
    os.chown(draft, 0, grp.getgrnam(account.group).gr_gid)
    os.replace(draft, path)


def _read_leases(folder: Path) -> tuple[Lease, ...]:
    """IPv4 lines name the MAC; IPv6 lines don't, so it is found by the address among the hosts."""
    leases = []
    for line in _text(folder / "leases").splitlines():
        parts = line.split()
        if len(parts) < 3 or parts[0] == "duid":
            continue
        mac = parts[1] if ":" not in parts[2] else _holder(folder, parts[2])
        leases.append(Lease(mac=mac, address=parts[2], expires=int(parts[0])))
    return tuple(leases)


def _known_holders(folder: Path) -> set[tuple[str, str]]:
    """(MAC, IPv4 address) of the hosts that were served up to now."""
    rows = (line.split(",") for line in _text(folder / "hosts").splitlines())
    return {(row[0], row[1]) for row in rows if len(row) > 1 and row[1].count(".") == 3}


def _holder(folder: Path, address: str) -> str:
    for line in _text(folder / "hosts").splitlines():
        mac, *rest = line.split(",")
        if f"[{address}]" in rest:
            return mac
    return ""


def _client_id(folder: Path, address: str) -> str | None:
    for line in _text(folder / "leases").splitlines():
        parts = line.split()
        if len(parts) == 5 and parts[2] == address and parts[4] != "*":
            return parts[4]
    return None


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""
