"""The floor of image bytes: a bare aiohttp server that writes what is PUT to a file, and answers GET with it. A program."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from aiohttp import web

FILE = Path(sys.argv[2]) if len(sys.argv) > 2 else Path("floor.bin")


async def put(request: web.Request) -> web.Response:
    with FILE.open("wb", buffering=0) as file:
        async for piece in request.content.iter_chunked(1024 * 1024):
            await asyncio.to_thread(file.write, piece)
    return web.Response()


async def get(request: web.Request) -> web.FileResponse:
    return web.FileResponse(FILE)


if __name__ == "__main__":
    app = web.Application()
    app.router.add_put("/", put)
    app.router.add_get("/", get)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)
