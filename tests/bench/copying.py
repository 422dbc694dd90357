"""The floors of image bytes: a bare aiohttp server that writes what is PUT to a file, and answers GET with it. A program.

`/` makes the file durable before it answers, since a cloud must, and does no more. `/hashed` makes MD5 and SHA-512 as well, each on a thread
of its own beside the writing: what the wire demands of an upload, with nothing around it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from pathlib import Path

from aiohttp import web

PIECE = 1024 * 1024
FILE = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("floor.bin")


async def put(request: web.Request) -> web.Response:
    with FILE.open("wb", buffering=0) as file:
        async for piece in request.content.iter_chunked(PIECE):
            await asyncio.to_thread(file.write, piece)
        await asyncio.to_thread(os.fsync, file.fileno())
    return web.Response()


async def put_hashed(request: web.Request) -> web.Response:
    md5, sha512 = hashlib.md5(), hashlib.sha512()
    with FILE.open("wb", buffering=0) as file:

        def keep(piece: bytes) -> None:
            file.write(piece)
            md5.update(piece)

        working: list[asyncio.Future[None]] = []
        async for piece in request.content.iter_chunked(PIECE):
            await asyncio.gather(*working)
            working = [asyncio.ensure_future(asyncio.to_thread(work, piece)) for work in (keep, sha512.update)]
        await asyncio.gather(*working)
        await asyncio.to_thread(os.fsync, file.fileno())
    return web.Response(text=md5.hexdigest() + sha512.hexdigest())


async def get(request: web.Request) -> web.FileResponse:
    return web.FileResponse(FILE)


if __name__ == "__main__":
    app = web.Application()
    app.router.add_put("/", put)
    app.router.add_put("/hashed", put_hashed)
    app.router.add_get("/", get)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)
