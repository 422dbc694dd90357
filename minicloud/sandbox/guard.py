"""The outside of a sandbox: makes its folder, forks its inside, and sees to it that nothing is left.

The inside may be killed at any moment, by anybody; then this process, which waits in the caller's namespaces, kills what
lived in there and removes the folder. If both are killed, the next sandbox does (`folder.sweep`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Sequence

from minicloud.config import Config
from minicloud.core.errors import Forbidden, MinicloudError
from minicloud.sandbox import folder, kernel
from minicloud.sandbox.inside import SI_KERNEL, SIGNALS, Inside

FAILED = 125
"""Exit code when the sandbox itself failed, the command did not run (as of docker run and env(1))."""


def run(command: Sequence[str], *, config: Config, bare: bool = False, keep: bool = False) -> int:
    """Run a command in a throw-away cloud of its own, with the caller's terminal and working folder.

    Args:
        command: program and arguments.
        config: options of the cloud; `fake` needs no root and makes no namespaces.
        bare: without the daemon.
        keep: leave the folder (logs, database, disks) for looking into; its path is printed.

    Returns:
        The command's exit code, 128 + the signal that ended it, or `FAILED`.

    Raises:
        Forbidden: not root, and not `fake`.
    """
    if not config.fake and os.geteuid() != 0:
        raise Forbidden("Cannot make a sandbox: that needs root (network namespaces, libvirt); --fake does not.")
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # a caller that ignores it would have the kernel reap for us
    folder.sweep()
    mine = folder.make()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        return _watch(_fork(Inside(mine, config, bare=bare, guard=os.getpid()), command))
    finally:
        _leave_nothing(mine, keep=keep)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _fork(inside: Inside, command: Sequence[str]) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    code = FAILED
    try:
        kernel.end_with_parent(signal.SIGTERM, parent)
        code = inside.run(command)
    except MinicloudError as error:
        print(f"minicloud sandbox: {error.message}", file=sys.stderr)
    except BaseException:
        sys.excepthook(*sys.exc_info())  # a bug; the parent cleans up after it
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _watch(pid: int) -> int:
    """Wait for the inside, passing on what is sent to us alone; its exit code."""
    while True:
        got = signal.sigwaitinfo(SIGNALS)
        if got.si_signo == signal.SIGCHLD:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                return code if code >= 0 else 128 - code
        elif got.si_code != SI_KERNEL:
            os.kill(pid, got.si_signo)


def _leave_nothing(mine: folder.Folder, *, keep: bool) -> None:
    deadline = time.monotonic() + 10
    while living := mine.members():
        folder.kill(living)
        if time.monotonic() > deadline:
            print(f"minicloud sandbox: cannot end the processes {living}", file=sys.stderr)
            break
        signal.sigtimedwait((signal.SIGCHLD,), 0.05)
    if keep:
        mine.keep()
        print(f"minicloud sandbox: kept {mine.path}", file=sys.stderr)
    else:
        mine.remove()
    os.close(mine.lock)
