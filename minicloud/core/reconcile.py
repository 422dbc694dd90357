"""Loops around functions without input that close the gap between what should be and what is.

A reconciler runs at boot, on a timer and when woken; one run at a time; what it raises is logged and the next run tries
again. It takes no arguments, so it can't act on something stale.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger(__name__)


class Reconciler:
    """One loop.

    Args:
        name: for logs ("network").
        run: the function that looks and mends; idempotent.
        every: seconds between runs that nobody woke.
    """

    def __init__(self, name: str, run: Callable[[], Awaitable[None]], *, every: float = 30.0) -> None:
        self.name, self._run, self._every = name, run, every
        self._wanted = asyncio.Event()
        self._busy = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def once(self) -> None:
        """Run now and return when the run is over; errors are logged."""
        async with self._busy:
            self._wanted.clear()
            try:
                await self._run()
            except Exception:
                log.exception("a reconciler failed; it runs again later", reconciler=self.name)

    def wake(self) -> None:
        """Run soon."""
        self._wanted.set()

    def start(self) -> None:
        """Begin the loop."""
        self._task = asyncio.create_task(self._loop(), name=f"reconcile {self.name}")

    async def stop(self) -> None:
        """End the loop; a run under way is cut off, its next one will see the same world."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _loop(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._every):
                    await self._wanted.wait()
            await self.once()
