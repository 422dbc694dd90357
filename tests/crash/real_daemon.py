"""A daemon on the real host that ends itself by SIGKILL at a chosen point; a process of its own: `python -m
tests.crash.real_daemon CONFIG`.

Points are as in `runs.py`: before and after every call of a driver, and every journal write. Who started it arms it
with SIGUSR1 after writing the number of the point into the file `strike` beside the configuration (0 only counts);
SIGUSR2 has the count so far written to `points`. Used by `test_real.py`.
"""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import inspect
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from minicloud.config import load
from minicloud.daemon import Daemon, configure_logs, make_host
from minicloud.host import Host

LOOKS = ("actual", "console_log", "interfaces", "leases", "open", "close", "listen")
"""Calls that change nothing: no points."""


class Striker:
    """Counts points once armed, and ends the process at one of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.at: int | None = None
        self.points: list[str] = []

    def arm(self) -> None:
        """Count from here; strike where the file says."""
        self.points.clear()
        self.at = int((self.folder / "strike").read_text())

    def tell(self) -> None:
        """Write down what was counted."""
        draft = self.folder / "points.new"
        draft.write_text(json.dumps(self.points))
        draft.rename(self.folder / "points")

    def __call__(self, point: str) -> None:
        if self.at is None:
            return
        self.points.append(point)
        if len(self.points) == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


class Pointed:
    """A driver with a point before and after each call that may change something."""

    def __init__(self, driver: Any, name: str, striker: Striker) -> None:
        self._driver, self._name, self._striker = driver, name, striker

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._driver, name)
        if not inspect.iscoroutinefunction(found) or name in LOOKS:
            return found

        @functools.wraps(found)
        async def call(*args: Any, **kwargs: Any) -> Any:
            self._striker(f"before {self._name}.{name}")
            told = await found(*args, **kwargs)
            self._striker(f"after {self._name}.{name}")
            return told

        return call


async def main(file: Path) -> None:
    """Serve until killed."""
    config = load(file)
    striker = Striker(file.parent)
    host = make_host(config)
    drivers = {one.name: Pointed(getattr(host, one.name), one.name, striker) for one in dataclasses.fields(host)}
    daemon = Daemon(config, Host(**drivers), observer=striker, admin_password=os.environ.pop("ADMIN_PASSWORD", None))
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, striker.arm)
    loop.add_signal_handler(signal.SIGUSR2, striker.tell)
    await daemon.run()


if __name__ == "__main__":
    configure_logs(as_json=False)
    asyncio.run(main(Path(sys.argv[1])))
