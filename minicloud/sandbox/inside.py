"""The inside of a sandbox: starts libvirtd and the daemon, runs the command, then ends everything that lives here.

One plain process without an event loop: it is the parent of every orphan in the sandbox (QEMU and dnsmasq detach
themselves) and reaps them at once, and it waits for signals and children in one place, `_wait`. Forked by `guard.py`.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import sys
import time
import urllib.error
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from minicloud.clouds import FILE, Person, clouds_yaml, variables
from minicloud.config import Api, Config, Paths, render
from minicloud.core.errors import Unavailable
from minicloud.core.files import write_whole
from minicloud.host import run
from minicloud.sandbox import kernel, libvirtd, people
from minicloud.sandbox.folder import Folder, kill

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGCHLD)
SI_KERNEL = 0x80
"""si_code of a signal that the terminal sent to the whole foreground group: the command has it already."""

READY_SECONDS = 120.0
GRACE_SECONDS = 15.0
"""How long a command may take to end after it was told to."""

RESTARTS = 5
"""Times that a daemon which ends by itself is started again, as systemd would; more is a bug, not a crash test."""


class Ended(Exception):
    """The sandbox was told to end, or the command did, before or while it ran. `code` is what to exit with."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class Inside:
    """One sandbox from its inside.

    Attributes:
        folder: everything it writes.
        config: what the caller wants different from the defaults; paths and door are the sandbox's own.
        bare: no daemon: only the namespaces and libvirtd, for tests that bring their own.
        guard: process id of the guard, which removes the folder; without it we do.
    """

    folder: Folder
    config: Config
    bare: bool = False
    guard: int = 0
    _ends: dict[int, int] = field(default_factory=dict)
    _daemon: int = 0
    _command: int = 0
    _starts: int = 0
    _passwords: dict[str, str] = field(default_factory=dict)

    def run(self, command: Sequence[str]) -> int:
        """Bring everything up, run the command, take everything away; the command's exit code (128 + signal).

        Raises:
            Unavailable: something did not come up; the message holds the end of its log.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        kernel.adopt_orphans()
        try:
            self._bring_up()
            environment = self._environment()
            self._command = run.start(command, env=environment, own_session=False)
            return self._until_ended(lambda: self._command in self._ends, code=lambda: self._ends[self._command])
        except Ended as ended:
            return ended.code
        finally:
            self._take_away()

    # --- up ------------------------------------------------------------------------------------------------------

    def _bring_up(self) -> None:
        path = self.folder.path
        cache = path / "cache" if self.config.fake else Path(self.config.paths.cache)
        cache.mkdir(mode=0o755, parents=True, exist_ok=True)
        (path / "state").mkdir(mode=0o711)
        if not self.config.fake:
            kernel.own_spaces()
            libvirtd.prepare(path, cache)
        port = _free_port() if self.config.fake else self.config.api.port
        paths = Paths(state=str(path / "state"), cache=str(cache), run=str(path / "r"))
        self.config = replace(self.config, api=Api(port=port, region=self.config.api.region), paths=paths)
        self._passwords = {"admin": secrets.token_urlsafe(12), people.DEMO: secrets.token_urlsafe(12)}
        write_whole(path / "minicloud.toml", render(self.config).encode())
        persons = {
            "admin": Person("admin", "admin", self._passwords["admin"]),
            people.DEMO: Person(people.MEMBER, people.DEMO, self._passwords[people.DEMO]),
        }
        text = clouds_yaml(self.config.public_url, self.config.api.region, persons)
        write_whole(path / FILE, text.encode())
        if not self.config.fake:
            self._start_libvirtd()
        if not self.bare:
            self._start_daemon()

    def _start_libvirtd(self) -> None:
        log = self.folder.path / "libvirtd.out"
        pid = run.start(libvirtd.command(), env=run.environment(), log=str(log))
        self._until_ready("libvirtd", lambda: pid in self._ends, lambda: _answers(libvirtd.SOCKET), log)

    def _start_daemon(self) -> None:
        log = self.folder.path / "daemon.log"
        ready = self.folder.path / "notify"
        ready.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
            door.bind(str(ready))
            door.setblocking(False)
            self._daemon = pid = run.start(
                [sys.executable, "-m", "minicloud", "serve", "--config", str(self.folder.path / "minicloud.toml")],
                env={
                    **_python_environment(),
                    "NOTIFY_SOCKET": str(ready),
                    "MINICLOUD_ADMIN_PASSWORD": self._passwords["admin"],
                },
                log=str(log),
                end_with_us=True,
            )
            self._starts += 1
            self._until_ready("the daemon", lambda: pid in self._ends, lambda: _received(door), log)
        if self._starts == 1:
            try:
                people.settle(
                    self.config.public_url,
                    admin_password=self._passwords["admin"],
                    demo_password=self._passwords[people.DEMO],
                )
            except (urllib.error.URLError, OSError) as error:
                raise Unavailable(f"Cannot make the project demo and its member: {error}\n{_tail(log)}") from error

    def _until_ready(self, what: str, ended: Callable[[], bool], ready: Callable[[], bool], log: Path) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not ready():
            if ended() or time.monotonic() > deadline:
                raise Unavailable(f"Cannot start the sandbox: {what} did not come up.\n{_tail(log)}")
            self._wait(0.02)

    def _environment(self) -> dict[str, str]:
        """The caller's environment, with the sandbox's cloud in place of any other."""
        path = self.folder.path
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "MINICLOUD_"))}
        kept |= {"MINICLOUD_SANDBOX": "fake" if self.config.fake else "1", "MINICLOUD_SANDBOX_FOLDER": str(path)}
        if self.bare:
            return kept
        return {
            **kept,
            **variables((path / FILE).read_text(), "admin"),
            "OS_CLIENT_CONFIG_FILE": str(path / FILE),
            "MINICLOUD_URL": self.config.public_url,
            "MINICLOUD_CONFIG": str(path / "minicloud.toml"),
            "MINICLOUD_STATE": str(path / "state"),
            "MINICLOUD_ADMIN_PASSWORD": self._passwords["admin"],
            "MINICLOUD_DEMO_PASSWORD": self._passwords[people.DEMO],
        }

    # --- under way -----------------------------------------------------------------------------------------------

    def _wait(self, seconds: float | None) -> None:
        """Wait for one signal (at most so long): reap, pass on to the command, or stop what comes before it.

        Raises:
            Ended: told to end before the command ran.
        """
        got = signal.sigwaitinfo(SIGNALS) if seconds is None else signal.sigtimedwait(SIGNALS, seconds)
        if got is None:
            return
        if got.si_signo == signal.SIGCHLD:
            self._reap()
        elif not self._command:
            raise Ended(128 + got.si_signo)
        elif got.si_code != SI_KERNEL and self._command not in self._ends:
            os.kill(self._command, got.si_signo)
            if got.si_signo in (signal.SIGTERM, signal.SIGHUP):
                self._until_ended(lambda: self._command in self._ends, code=lambda: 0, seconds=GRACE_SECONDS)
                raise Ended(128 + got.si_signo)

    def _until_ended(self, ended: Callable[[], bool], *, code: Callable[[], int], seconds: float | None = None) -> int:
        deadline = None if seconds is None else time.monotonic() + seconds
        while not ended():
            if deadline is not None and time.monotonic() > deadline:
                break
            self._wait(None if deadline is None else 0.1)
            if self._daemon in self._ends and not ended():
                self._revive()
        return code()

    def _revive(self) -> None:
        """Start a daemon again that ended by itself or was killed, as the machine's service manager would."""
        code = self._ends[self._daemon]
        self._daemon = 0
        if self._starts > RESTARTS:
            print("minicloud sandbox: the daemon ended too often and stays down", file=sys.stderr)
            return
        print(f"minicloud sandbox: the daemon ended with {code} and is started again", file=sys.stderr)
        try:
            self._start_daemon()
        except Unavailable as error:
            print(f"minicloud sandbox: {error.message}", file=sys.stderr)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            self._ends[pid] = code if code >= 0 else 128 - code

    # --- away ----------------------------------------------------------------------------------------------------

    def _take_away(self) -> None:
        """Kill whatever still lives in here, until nothing does."""
        if not self.config.fake:
            libvirtd.remember(self.folder.path, Path(self.config.paths.cache))
        while living := self._living():
            kill(living)
            signal.sigtimedwait((signal.SIGCHLD,), 0.05)
            self._reap()
        if not self.config.fake:
            kernel.detach(Path(libvirtd.ROOMS["netns"]))
        if os.getppid() != self.guard:
            self.folder.remove()

    def _living(self) -> list[int]:
        self._reap()
        children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        return [*self.folder.members(), *(int(child) for child in children)]


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as door:
        door.bind(("127.0.0.1", 0))
        port: int = door.getsockname()[1]
        return port


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        return door.connect_ex(str(path)) == 0


def _received(door: socket.socket) -> bool:
    try:
        return b"READY=1" in door.recv(4096)
    except BlockingIOError:
        return False


def _python_environment() -> Mapping[str, str]:
    """What the daemon may know of ours: where Python code lies (a checkout need not be installed)."""
    source = str(Path(__file__).resolve().parents[2])
    return {**run.environment(), "PYTHONPATH": source, "PYTHONUNBUFFERED": "1"}


def _tail(log: Path) -> str:
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-20:])
    except FileNotFoundError:
        return ""
