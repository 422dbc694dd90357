"""The floor of a request: a bare aiohttp handler that answers JSON of the size of a server. Run as a program."""

from __future__ import annotations

import sys

from aiohttp import web

BODY = {"server": {"id": "x" * 36, "name": "floor", "links": ["y" * 80] * 4, "metadata": {"key": "value" * 200}}}


async def answer(request: web.Request) -> web.Response:
    return web.json_response(BODY)


if __name__ == "__main__":
    app = web.Application()
    app.router.add_get("/", answer)
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)
