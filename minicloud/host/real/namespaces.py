"""Network namespaces of this machine, kept by bind mounts in a folder.

Every network's DHCP server and every router lives in a namespace of its own. pyroute2 would fork the whole daemon to
make or enter one, which is slow and a deadlock risk beside libvirt's threads, so this uses throw-away threads and four
system calls. Called through `minicloud.host.Host.namespaces`, and by the sibling drivers (`run_in`, `path`) for their
own work inside. Sources: setns(2), unshare(2), mount(2), network_namespaces(7).
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from minicloud.core.errors import HostFailure
from minicloud.host.namespaces import DHCP_PREFIX, ROUTER_PREFIX
from minicloud.host.run import Finished, program, run

CLONE_NEWNET = 0x40000000
MS_BIND = 4096
MNT_DETACH = 2
BACKLOG = 128
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1

Result = TypeVar("Result")

_libc = ctypes.CDLL(None, use_errno=True)


class MountedNamespaces:
    """`Namespaces` of this machine.

    Args:
        folder: where the bind mounts lie, one file a namespace; /run/netns, so that `ip netns` sees them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, name: str) -> Path:
        """The file to enter the namespace by (`nsenter --net=`)."""
        return self._folder / name

    async def ensure(self, name: str) -> int:
        """See `Namespaces.ensure`. The number is the inode's, which the kernel gives to no other while the namespace
        lives."""
        return await asyncio.to_thread(self._ensure, name)

    async def remove(self, name: str) -> None:
        """See `Namespaces.remove`."""
        await asyncio.to_thread(self._remove, name)

    async def actual(self) -> frozenset[str]:
        """See `Namespaces.actual`."""
        if not self._folder.is_dir():
            return frozenset()
        names = await asyncio.to_thread(os.listdir, self._folder)
        return frozenset(name for name in names if name.startswith((DHCP_PREFIX, ROUTER_PREFIX)))

    async def listen(self, name: str, address: str, port: int) -> socket.socket:
        """See `Namespaces.listen`."""
        return await self.run_in(name, _listener, address, port)

    async def set_sysctl(self, name: str, key: str, value: str) -> None:
        """See `Namespaces.set_sysctl`. A key that the kernel doesn't have raises `HostFailure`."""
        await self.run_in(name, write_sysctl, key, value)

    async def run_in(self, name: str | None, work: Callable[..., Result], *arguments: Any) -> Result:
        """Call `work(*arguments)` in a thread that has entered the namespace (None: the daemon's own) and ends after
        it.

        What `work` opens (a socket, a netlink context) stays inside. The thread never goes back to a pool, as it
        could not be trusted there.

        Raises:
            HostFailure: the namespace is not there, or an OSError of `work` itself.
        """
        try:
            if name is None:
                return await asyncio.to_thread(work, *arguments)
            return await asyncio.to_thread(inside, self.path(name), work, *arguments)
        except OSError as error:
            where = "on this machine" if name is None else f"in namespace {name}"
            raise HostFailure(f"Cannot work {where}: {error.strerror or error}.", detail=repr(error)) from error

    def _ensure(self, name: str) -> int:
        self._folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        path = self.path(name)
        if not _is_namespace(path):
            # A plain file without a mount is what a crash between the two steps left.
            path.unlink(missing_ok=True)
            os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
            inside(None, _mount_own_namespace, path)
        inside(path, _bring_loopback_up)
        return path.stat().st_ino

    def _remove(self, name: str) -> None:
        path = self.path(name)
        while _is_namespace(path):
            _check(_libc.umount2(os.fsencode(path), MNT_DETACH), f"remove namespace {name}")
        path.unlink(missing_ok=True)


async def run_inside(
    namespaces: MountedNamespaces,
    name: str,
    argv: Sequence[str],
    *,
    timeout: float,
    what: str | None = None,
    check: bool = True,
) -> Finished:
    """Run a program to its end inside a namespace; see `run`. nsenter enters it, so no code of ours runs in the
    child."""
    path = namespaces.path(name)
    if not path.exists():
        raise HostFailure(f"Cannot enter namespace {name}: it does not exist.")
    full = ["nsenter", f"--net={path}", program(argv[0]), *argv[1:]]
    return await run(full, timeout=timeout, what=what, check=check)


def inside(path: Path | None, work: Callable[..., Result], *arguments: Any) -> Result:
    """Call `work` in a throw-away thread in the namespace at `path` (None: in a new one); blocks until it ends."""
    outcome: Future[Result] = Future()

    def enter_and_work() -> None:
        try:
            _enter(path)
            outcome.set_result(work(*arguments))
        except BaseException as error:
            outcome.set_exception(error)

    thread = threading.Thread(target=enter_and_work, name="namespace", daemon=True)
    thread.start()
    thread.join()
    return outcome.result()


def write_sysctl(key: str, value: str) -> None:
    """Write one setting below /proc/sys, of the namespace that the calling thread is in."""
    Path("/proc/sys", key.replace(".", "/")).write_text(value)


def _enter(path: Path | None) -> None:
    if path is None:
        _check(_libc.unshare(CLONE_NEWNET), "make a network namespace")
        return
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise HostFailure(f"Cannot enter namespace {path.name}: it does not exist.") from None
    try:
        _check(_libc.setns(descriptor, CLONE_NEWNET), f"enter namespace {path.name}")
    finally:
        os.close(descriptor)


def _mount_own_namespace(path: Path) -> None:
    # thread-self, as /proc/self is the main thread's view.
    source = b"/proc/thread-self/ns/net"
    _check(
        _libc.mount(source, os.fsencode(path), b"none", ctypes.c_ulong(MS_BIND), None), f"keep namespace {path.name}"
    )


def _is_namespace(path: Path) -> bool:
    """Whether something of the kernel's namespace file system is mounted on `path`."""
    try:
        return path.stat().st_dev == os.stat("/proc/self/ns/net").st_dev
    except FileNotFoundError:
        return False


def _bring_loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(handle, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(handle, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | IFF_UP))


def _listener(address: str, port: int) -> socket.socket:
    # by getaddrinfo, as a link-local address carries its link's name and that has another number in each namespace
    family, *_, place = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0]
    listener = socket.create_server(place, family=family, backlog=BACKLOG)
    listener.setblocking(False)
    return listener


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise HostFailure(f"Cannot {what}: {os.strerror(code)}.", detail=f"errno {code}")
