"""The few system calls that a sandbox needs and Python 3.11 does not offer: unshare, mount, umount2, prctl.

Called by the sandbox's two processes before anything else runs in them. Sources: unshare(2), mount(2), umount2(2),
prctl(2), netdevice(7).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import struct
from pathlib import Path

CLONE_NEWNS, CLONE_NEWNET = 0x00020000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1

_libc = ctypes.CDLL(None, use_errno=True)


def own_spaces() -> None:
    """Move this process into a network and a mount namespace of its own; no mount made here is seen outside.

    Raises:
        OSError: not root.
    """
    _check(_libc.unshare(CLONE_NEWNS | CLONE_NEWNET), "unshare")
    _mount("none", "/", None, MS_REC | MS_PRIVATE)
    _mount("sysfs", "/sys", "sysfs", 0)  # the old one would go on showing the links of the outer namespace
    _loopback_up()


def bind(source: Path, target: Path) -> None:
    """Show the folder (or file) `source` at `target`; a folder that is missing is made."""
    if not target.exists():
        target.mkdir(parents=True)
    _mount(str(source), str(target), None, MS_BIND)


def detach(target: Path) -> None:
    """Take a mount and all below it away, even in use; nothing mounted there is fine."""
    _libc.umount2(os.fsencode(target), MNT_DETACH)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends, so that none gets away unseen and all are reaped."""
    _check(_libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def end_with_parent(number: signal.Signals, parent: int) -> None:
    """Have this process get the signal when its parent ends; at once, if `parent` is gone already."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, int(number), 0, 0, 0), "prctl")
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def _mount(source: str, target: str, kind: str | None, flags: int) -> None:
    encoded = None if kind is None else kind.encode()
    _check(
        _libc.mount(os.fsencode(source), os.fsencode(target), encoded, ctypes.c_ulong(flags), None), f"mount {target}"
    )


def _loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as door:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack("16sH14x", fcntl.ioctl(door, SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(door, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | IFF_UP))


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
