"""A sandbox's folder: everything it writes, under a name that no other sandbox has, and a lock that tells it is alive.

The name is also how its processes are found: each of them sees the mounts that were made from this folder, in
/proc/PID/mountinfo, whoever its parent is by now. Folders whose lock is free belong to sandboxes that were killed
together with their guard; the next start takes those away.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PREFIX = "mcs-"
LONGEST = 24
"""Characters of the folder above; longer ones would make socket paths too long (unix(7): 107 bytes)."""


@dataclass(frozen=True)
class Folder:
    """The folder and the descriptor that holds its lock; children made by fork hold the lock too."""

    path: Path
    lock: int

    @property
    def name(self) -> str:
        """The name that no other sandbox has."""
        return self.path.name

    def members(self) -> list[int]:
        """Processes in this sandbox's mount namespace or one made from it."""
        return _members(self.name)

    def remove(self) -> None:
        """Delete the folder; nothing there is fine."""
        shutil.rmtree(self.path, ignore_errors=True)

    def keep(self) -> None:
        """Leave the folder to whoever wants to look into it: later sandboxes won't take it away."""
        (self.path / "lock").unlink(missing_ok=True)


def make() -> Folder:
    """A new folder, locked. Others may pass through it (QEMU runs as a user of its own), not list it."""
    above = tempfile.gettempdir()
    if len(above) > LONGEST:
        above = "/tmp"  # noqa: S108  (mkdtemp makes a folder of our own in it)
    path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=above))
    path.chmod(0o711)
    lock = os.open(path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.rename(path / ".lock", path / "lock")  # never visible without being held
    return Folder(path, lock)


def sweep() -> None:
    """Take away what killed sandboxes left: their processes, then their folders."""
    for above in {tempfile.gettempdir(), "/tmp"}:  # noqa: S108
        for path in Path(above).glob(f"{PREFIX}*"):
            if _abandoned(path):
                kill(_members(path.name))
                shutil.rmtree(path, ignore_errors=True)


def kill(pids: list[int]) -> None:
    """End processes at once; those that are gone already are fine."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _abandoned(path: Path) -> bool:
    try:
        if path.stat().st_uid != os.geteuid():
            return False
        lock = os.open(path / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False  # being made, kept on purpose, or just gone
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


def _members(name: str) -> list[int]:
    word = f"{name}/".encode()
    return [pid for pid in _pids() if pid != os.getpid() and word in _mounts(pid)]


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def _mounts(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/mountinfo").read_bytes()
    except OSError:  # it ended meanwhile (a zombie has no mounts either)
        return b""
