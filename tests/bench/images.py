"""How fast image bytes go in and out, against a bare aiohttp server that writes and reads a file; and in how much memory.

The floor writes, fsyncs and answers. Uploads hash as well (MD5 and SHA-512, by the wire's demand) and look at the format: that is
why the promise is 0.6. The two hashes alone cost about twice what the floor costs, so with two processors, which client, floor
and hashes share, 0.6 is what is possible at best; a second figure tells how near uploads come to a bare copy that hashes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp

from minicloud.host.run import spawn
from tests.bench.measure import SOURCE, Figure, Served, ask, free_port

PIECE = 1024 * 1024
SIZE = 512 * PIECE
ROUNDS = 6
PARALLEL = 20
OCTETS = {"Content-Type": "application/octet-stream"}


async def stream(size: int) -> AsyncIterator[bytes]:
    """Bytes that are no holes and no format."""
    piece = os.urandom(PIECE)
    for _ in range(size // PIECE):
        yield piece


async def put(session: aiohttp.ClientSession, url: str, size: int, headers: dict[str, str]) -> float:
    """Seconds of an upload."""
    began = time.monotonic()
    async with session.put(url, data=stream(size), headers={**OCTETS, **headers}) as answer:
        assert answer.status in (200, 204), await answer.text()
    return time.monotonic() - began


async def fetch(session: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> float:
    """Seconds of a download."""
    began = time.monotonic()
    async with session.get(url, headers=headers) as answer:
        async for _ in answer.content.iter_chunked(PIECE):
            pass
    return time.monotonic() - began


@contextlib.asynccontextmanager
async def bare_copy(folder: Path) -> AsyncIterator[str]:
    """The floor's URL: PUT writes a file, GET reads it."""
    port = free_port()
    argv = [sys.executable, "-m", "tests.bench.copying", str(port), str(folder / "floor.bin")]
    process = await spawn(argv, env={"PYTHONPATH": SOURCE})
    url = f"http://127.0.0.1:{port}/"
    try:
        async with aiohttp.ClientSession() as session:
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.put(url, data=b"x"):
                        break
                await asyncio.sleep(0.02)
        yield url
    finally:
        process.terminate()
        await process.wait()


async def made(one: Served, token: str) -> str:
    """The URL of a fresh raw image."""
    body = {"name": "bench", "disk_format": "raw", "container_format": "bare"}
    status, _, told = await asyncio.to_thread(ask, f"{one.url}/image/v2/images", method="POST", token=token, body=body)
    assert status == 201, told
    return f"{one.url}/image/v2/images/{told['id']}"


async def copying(one: Served, token: str, folder: Path) -> list[Figure]:
    """Upload and download, each in turn with the floor.

    What comes right after a large upload is slower, as the disk is still at work on that one: so each waits until it is
    quiet, and each is the first in one round.
    """
    ups, hashes, downs, auth = [], [], [], {"X-Auth-Token": token}
    async with bare_copy(folder) as floor, aiohttp.ClientSession() as session:
        for number in range(ROUNDS):
            image = await made(one, token)
            ways = [("plain", floor, {}), ("hashed", floor + "hashed", {}), ("own", image + "/file", auth)]
            took = {}
            for name, url, headers in ways[number % len(ways) :] + ways[: number % len(ways)]:
                await asyncio.to_thread(os.sync)
                took[name] = await put(session, url, SIZE, headers)
            ups.append((took["plain"], took["own"]))
            hashes.append((took["hashed"], took["own"]))
            downs.append((await fetch(session, floor, {}), await fetch(session, image + "/file", auth)))
            await session.delete(image, headers=auth)
    figures = []
    for name, pairs, promised in (
        ("upload, rate against a bare aiohttp file copy", ups, 0.6),
        ("upload, rate against the same copy that hashes", hashes, 0.9),
        ("download, rate against a bare aiohttp file copy", downs, 0.6),
    ):
        floors, ours = (SIZE / PIECE / statistics.median(column) for column in zip(*pairs, strict=True))
        note = f"{ours:.0f} against {floors:.0f} MiB/s"
        value = statistics.median(floor / own for floor, own in pairs)
        figures.append(Figure(f"image {name}", value, "x", promised, "more", note))
    return figures


async def parallel(one: Served, token: str, *, size: int) -> Figure:
    """The daemon's largest memory while many images come in at once."""
    images = [await made(one, token) for _ in range(PARALLEL)]
    headers, most, done = {"X-Auth-Token": token}, 0.0, asyncio.Event()

    async def watch() -> None:
        nonlocal most
        while not done.is_set():
            most = max(most, one.rss_mb())
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), 0.1)

    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        watching = asyncio.create_task(watch())
        await asyncio.gather(*(put(session, image + "/file", size, headers) for image in images))
        done.set()
        await watching
        for image in images:
            await session.delete(image, headers=headers)
    return Figure(f"RSS with {PARALLEL} uploads of {size // PIECE} MiB at once", most, "MB", 150)
