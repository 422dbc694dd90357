"""A process that need not be our child: known by its pid file, held by a descriptor, signalled without races.

dnsmasq outlives this daemon and is taken over by the next one, so it is watched as what it is, somebody else's process.
Called by `dnsmasq.DnsmasqDhcp` only. Source: pidfd_open(2), pidfd_send_signal(2).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path


class Watched:
    """A running process. Made by `find`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.ended = asyncio.Event()
        asyncio.get_running_loop().add_reader(descriptor, self._end)

    @classmethod
    def find(cls, pid_file: Path, *, argument: str) -> Watched | None:
        """The living process that `pid_file` names, if its command line has `argument` in it (a number may have been
        given to another process since)."""
        try:
            number = int(pid_file.read_text())
            descriptor = os.pidfd_open(number)
        except (FileNotFoundError, ValueError, ProcessLookupError):
            return None
        try:
            command = Path(f"/proc/{number}/cmdline").read_bytes().split(b"\0")
        except (FileNotFoundError, ProcessLookupError):
            command = []
        if argument.encode() not in command:
            os.close(descriptor)
            return None
        return cls(descriptor)

    def send(self, which: signal.Signals) -> None:
        """Send a signal; nothing happens if it has ended."""
        if self._descriptor >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, which)

    async def stop(self, *, patience: float = 3.0) -> None:
        """Ask it to end, and make it end after `patience` seconds."""
        for which in (signal.SIGTERM, signal.SIGKILL):
            self.send(which)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.ended.wait(), patience)
            if self.ended.is_set():
                return

    def let_go(self) -> None:
        """Stop watching; the process goes on."""
        if self._descriptor >= 0:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _end(self) -> None:
        self.let_go()
        self.ended.set()
