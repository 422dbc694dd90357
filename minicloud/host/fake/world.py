"""The fake machine's memory: what exists on it, kept in one file so that it survives the daemon as a real host would.

Every fake driver does its work inside `world.step(...)`: that is where tests make the host slow, failing or deadly, and
where the crash harness counts its points. Called by the fake drivers only; tests get it as `fake_host(...).world`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from minicloud.core.errors import Failure, HostFailure

Observer = Callable[[str], None]
"""Called with "before VERB" and "after VERB" at every effect; may raise or end the process."""


class World:
    """A dictionary of sections ("domains", "bridges", "leases", ...), each a dictionary by name, saved with each step.

    Args:
        folder: where `world.json` lies; None keeps everything in memory only.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._file = None if folder is None else folder / "world.json"
        self.observer: Observer | None = None
        self._delays: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._kinds: dict[str, Failure] = {}
        self._sections: dict[str, dict[str, Any]] = {}
        if self._file is not None and self._file.exists():
            self._sections = json.loads(self._file.read_text())

    def section(self, name: str) -> dict[str, Any]:
        """One kind of thing on this machine: name -> JSON value. Change it only inside `step`."""
        return self._sections.setdefault(name, {})

    @contextlib.asynccontextmanager
    async def step(self, verb: str, subject: str = "") -> AsyncIterator[None]:
        """One effect on the host: `verb` as "driver.method". The body makes the change; it is saved when it ends."""
        if delay := self._delays.get(verb, 0.0):
            await asyncio.sleep(delay)
        if self._failures.get(verb, 0) > 0:
            self._failures[verb] -= 1
            plain = HostFailure(f"Cannot {verb.replace('.', ' ')} {subject}: the fake host was told to fail.")
            raise self._kinds.get(verb, plain)
        self._tell(f"before {verb}")
        yield
        self._save()
        self._tell(f"after {verb}")

    def slow(self, verb: str, seconds: float) -> None:
        """Have each `verb` take this long from now on; 0 ends it."""
        self._delays[verb] = seconds

    def fail(self, verb: str, times: int = 1, *, kind: Failure | None = None) -> None:
        """Have the next `times` calls of `verb` raise `kind`, or a plain `HostFailure`, without effect."""
        self._failures[verb] = times
        self._kinds.pop(verb, None)
        if kind is not None:
            self._kinds[verb] = kind

    def is_empty(self) -> bool:
        """Nothing of ours exists on this machine."""
        return not any(self._sections.values())

    def contents(self) -> dict[str, list[str]]:
        """Names of everything that exists, by section: for assertions and for the emptiness check."""
        return {name: sorted(things) for name, things in self._sections.items() if things}

    def _tell(self, point: str) -> None:
        if self.observer is not None:
            self.observer(point)

    def _save(self) -> None:
        if self._file is None:
            return
        draft = self._file.with_suffix(".new")
        draft.write_text(json.dumps(self._sections))
        os.replace(draft, self._file)
