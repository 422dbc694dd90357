"""The only place that starts a process.

Every child gets an argument list (never a shell), an absolute program from the fixed search path, an empty
environment but PATH and LANG, closed descriptors, a session of its own, a deadline and bounded output. Called by the
real drivers and by the guest image recipes; `start` serves the sandbox, whose children see the caller's terminal. A house test forbids `subprocess` everywhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import resource
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from minicloud.core.errors import HostFailure, Unavailable

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PR_SET_PDEATHSIG = 1
OUTPUT_LIMIT = 8 * 1024 * 1024
"""Bytes of output kept of one child; what comes after is read and dropped."""


@dataclass(frozen=True)
class Finished:
    """How a child ended: exit code and what it wrote (at most `OUTPUT_LIMIT` bytes each)."""

    argv: tuple[str, ...]
    code: int
    out: bytes
    err: bytes

    @property
    def text(self) -> str:
        """Standard output as text."""
        return self.out.decode("utf-8", "replace")


def program(name: str) -> str:
    """The absolute path of a program; raises `Unavailable` naming it if the machine does not have it."""
    path = name if name.startswith("/") else shutil.which(name, path=SEARCH_PATH)
    if path is None or not os.access(path, os.X_OK):
        raise Unavailable(f"The program {name} is not installed on this machine; `make install` brings it.")
    return path


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a child may know of ours: the search path and the C locale, plus `extra`."""
    return {"PATH": SEARCH_PATH, "LANG": "C.UTF-8", **(extra or {})}


async def run(
    argv: Sequence[str],
    *,
    timeout: float = 60.0,
    stdin: bytes | None = None,
    check: bool = True,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    limits: Mapping[int, int] | None = None,
    what: str | None = None,
) -> Finished:
    """Run a program to its end.

    Args:
        argv: program and arguments; the program is looked up on `SEARCH_PATH`.
        timeout: seconds; past it the child's whole session is killed.
        stdin: bytes for its standard input; none means /dev/null.
        check: raise when the exit code is not 0.
        cwd, env: working folder; variables beyond PATH and LANG.
        limits: resource limits of the child, `{resource.RLIMIT_AS: bytes, ...}`.
        what: for the message to the user: "make the disk of server X"; defaults to the program's name.

    Raises:
        HostFailure: non-zero exit (with `check`) or deadline passed; the detail holds command and error output.
        Unavailable: the program is not installed.

    A run that has begun is not cancelled half-way: on cancellation the child is killed and waited for.
    """
    full = (program(argv[0]), *argv[1:])
    process = await asyncio.create_subprocess_exec(
        *full,
        stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=cwd,
        env=environment(env),
        start_new_session=True,
        preexec_fn=_limiter(limits),
    )
    ended = False
    try:
        async with asyncio.timeout(timeout):
            out, err, _ = await asyncio.gather(
                _bounded(process.stdout), _bounded(process.stderr), _feed(process.stdin, stdin)
            )
            code = await process.wait()
            ended = True
    except TimeoutError:
        raise HostFailure(
            f"Cannot {what or 'run ' + argv[0]}: it did not end within {timeout:g} s.", detail=" ".join(full)
        ) from None
    finally:
        if not ended:
            await _end(process)
    done = Finished(full, code, out, err)
    if check and code != 0:
        tail = err.decode("utf-8", "replace")[-2000:]
        raise HostFailure(
            f"Cannot {what or 'run ' + argv[0]}: {argv[0].rsplit('/', 1)[-1]} ended with {code}.",
            detail=f"{' '.join(full)}\n{tail}",
        )
    return done


async def spawn(
    argv: Sequence[str],
    *,
    log: str | None = None,
    env: Mapping[str, str] | None = None,
    preexec: Callable[[], None] | None = None,
) -> asyncio.subprocess.Process:
    """Start a program that stays (dnsmasq, a private libvirtd) in a session of its own.

    Its standard output and error go to the file `log` (appended) or nowhere. `preexec` runs in the child just before
    the program (entering a namespace); it must only make system calls. The caller owns the end of it.
    """
    full = (program(argv[0]), *argv[1:])
    with contextlib.ExitStack() as stack:
        sink: int = asyncio.subprocess.DEVNULL
        if log is not None:
            sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            stack.callback(os.close, sink)
        return await asyncio.create_subprocess_exec(
            *full,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env=environment(env),
            start_new_session=True,
            preexec_fn=preexec,
        )


def start(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    log: str | None = None,
    own_session: bool = True,
    end_with_us: bool = False,
) -> int:
    """Start a program from a plain process without an event loop (the sandbox's), and return its process id at once.

    Args:
        argv: program and arguments; a name is looked up on the PATH of `env`.
        env: its whole environment.
        log: a file for its output (appended), with nothing as input; None gives it our own input and output.
        own_session: away from our terminal, so that Ctrl-C there does not reach it.
        end_with_us: it is killed when this process ends, however that comes.

    Raises:
        Unavailable: the program is not installed.

    The caller waits for it (`os.waitpid`). Must not be called beside other threads: it forks.
    """
    path = shutil.which(argv[0], path=env.get("PATH", SEARCH_PATH))
    if path is None:
        raise Unavailable(f"Cannot run {argv[0]}: it is not installed, or not on the PATH.")
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        _become(path, argv, env=env, log=log, own_session=own_session, parent=parent if end_with_us else None)
    finally:
        os._exit(127)


def _become(
    path: str, argv: Sequence[str], *, env: Mapping[str, str], log: str | None, own_session: bool, parent: int | None
) -> None:
    if own_session:
        os.setsid()
        os.closerange(3, 256)  # ours are close-on-exec; this is for what we were started with
    if parent is not None:
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:
            return
    for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if log is not None:
        sink = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
    os.execve(path, list(argv), dict(env))


def _limiter(limits: Mapping[int, int] | None) -> Callable[[], None] | None:
    if not limits:
        return None

    def apply() -> None:
        for which, value in limits.items():
            resource.setrlimit(which, (value, value))

    return apply


async def _bounded(stream: asyncio.StreamReader | None) -> bytes:
    kept = bytearray()
    while stream is not None and (piece := await stream.read(65536)):
        if len(kept) < OUTPUT_LIMIT:
            kept += piece[: OUTPUT_LIMIT - len(kept)]
    return bytes(kept)


async def _feed(pipe: asyncio.StreamWriter | None, data: bytes | None) -> None:
    if pipe is None or data is None:
        return
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # a child may end without reading all
        pipe.write(data)
        await pipe.drain()
    pipe.close()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill a child and all of its session: children of its own may outlive it and hold its output."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()
