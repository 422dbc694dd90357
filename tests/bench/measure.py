"""Measuring: a daemon of our own, request rates by wrk, memory from /proc."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import statistics
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minicloud.host.run import run, spawn

PASSWORD = "a-bench-password"
SOURCE = str(Path(__file__).resolve().parents[2])


@dataclass
class Figure:
    """One line of the result: what was measured, against which floor, and what is promised."""

    name: str
    value: float
    unit: str
    limit: float
    better: str = "less"
    note: str = ""

    @property
    def kept(self) -> bool:
        return self.value <= self.limit if self.better == "less" else self.value >= self.limit

    def __str__(self) -> str:
        sign = "<=" if self.better == "less" else ">="
        verdict = "ok  " if self.kept else "MISS"
        return f"{verdict} {self.name:58} {self.value:9.2f} {self.unit:6} (promised {sign} {self.limit:g})  {self.note}"


def free_port() -> int:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


def ask(
    url: str, *, method: str = "GET", token: str = "", body: Any = None, raw: bytes | None = None
) -> tuple[int, Any, Any]:
    """One request over a plain connection: status, headers, JSON."""
    data = raw if raw is not None else (None if body is None else json.dumps(body).encode())
    kind = "application/octet-stream" if raw is not None else "application/json"
    request = urllib.request.Request(
        url, data=data, method=method, headers={"Content-Type": kind, "X-Auth-Token": token}
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
            return answer.status, answer.headers, json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def login(url: str) -> str:
    user = {"name": "admin", "domain": {"id": "default"}, "password": PASSWORD}
    scope = {"project": {"name": "admin", "domain": {"id": "default"}}}
    auth = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
    _, headers, _ = ask(f"{url}/identity/v3/auth/tokens", method="POST", body=auth)
    return str(headers["X-Subject-Token"])


@dataclass
class Served:
    """A daemon under measurement."""

    url: str
    pid: int
    seconds: float
    """From its start to the first 200."""

    def rss_mb(self) -> float:
        text = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", text)
        assert found
        return int(found[1]) / 1024


@contextlib.asynccontextmanager
async def served(folder: Path, *, fake: bool) -> AsyncIterator[Served]:
    """A daemon for the length of a block."""
    port, began = free_port(), time.monotonic()
    options = ["--fake"] if fake else []
    env = {"PYTHONPATH": SOURCE}
    if not (folder / "state").exists():  # the password is for the very first start
        env["MINICLOUD_ADMIN_PASSWORD"] = PASSWORD
    folder.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-m", "minicloud", "serve", *options, "--state", str(folder / "state"), "--port", str(port)]
    process = await spawn(argv, log=str(folder / "log"), env=env)
    url = f"http://127.0.0.1:{port}"
    try:
        while True:
            with contextlib.suppress(OSError):
                if (await asyncio.to_thread(ask, url + "/identity/v3"))[0] == 200:
                    break
            if process.returncode is not None or time.monotonic() - began > 60:
                raise RuntimeError((folder / "log").read_text()[-2000:])
            await asyncio.sleep(0.005)
        yield Served(url, process.pid, time.monotonic() - began)
    finally:
        process.terminate()
        await process.wait()


@contextlib.asynccontextmanager
async def bare_handler() -> AsyncIterator[str]:
    """The floor's URL."""
    port = free_port()
    process = await spawn([sys.executable, "-m", "tests.bench.floor", str(port)], env={"PYTHONPATH": SOURCE})
    try:
        while True:
            with contextlib.suppress(OSError):
                if (await asyncio.to_thread(ask, f"http://127.0.0.1:{port}/"))[0] == 200:
                    break
            await asyncio.sleep(0.02)
        yield f"http://127.0.0.1:{port}/"
    finally:
        process.terminate()
        await process.wait()


async def rate(url: str, *, headers: Sequence[str] = (), seconds: int = 3) -> float:
    """Requests a second of one URL, eight connections of one client thread (wrk)."""
    argv = ["wrk", "-t1", "-c8", f"-d{seconds}", *(word for one in headers for word in ("-H", one)), url]
    text = (await run(argv, timeout=seconds + 30)).text
    assert "Non-2xx" not in text, text
    found = re.search(r"Requests/sec:\s+([\d.]+)", text)
    assert found, text
    return float(found[1])


async def ratio(url: str, floor: str, *, headers: Sequence[str] = (), rounds: int = 3) -> tuple[float, float, float]:
    """Median of the pairwise ratios of a URL's rate to the floor's, measured in turn; and both median rates."""
    pairs = [(await rate(url, headers=headers), await rate(floor)) for _ in range(rounds)]
    ours, floors = [one for one, _ in pairs], [one for _, one in pairs]
    return statistics.median(a / b for a, b in pairs), statistics.median(ours), statistics.median(floors)


def machine() -> str:
    """What this was measured on."""
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    gib = int(memory[1]) / 1024**2 if memory else 0
    return f"{os.cpu_count()} x {model[1] if model else 'unknown'}, {gib:.0f} GiB, Python {sys.version.split()[0]}"
