"""No more connections than the daemon can bear: the rest are told to come later.

Without descriptors nothing works any more, neither new connections nor the files and processes that requests need; so a part
of them is kept for work. Whoever comes when the door is full gets a 503 and is gone, without costing a request. Stands
before aiohttp's server, see `app.py`.
"""

from __future__ import annotations

import asyncio
import resource
from typing import Any

import structlog
from aiohttp import web

log = structlog.get_logger(__name__)
MOST = 4096
"""Connections, however many descriptors there are: each costs some ten KiB."""
OWN = 64
"""Descriptors of the daemon itself: the database, sockets, processes that it starts."""
QUIET_SECONDS = 60.0

TOLD = b'{"message": "Cannot take more connections now; try again in some seconds."}'
FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(TOLD), TOLD)
)


def bearable() -> int:
    """How many connections fit: each may need a second descriptor for what it asks for."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST if limit == resource.RLIM_INFINITY else max(8, min(MOST, (limit - OWN) // 2))


class Crowd:
    """A server of aiohttp's that has room for so many connections at a time."""

    def __init__(self, server: web.Server, most: int) -> None:
        self._server, self._most = server, most
        self._told_at = float("-inf")

    def __call__(self) -> asyncio.Protocol:
        """What carries out one more connection."""
        if len(self._server.connections) < self._most:
            return self._server()
        now = asyncio.get_running_loop().time()
        if now - self._told_at >= QUIET_SECONDS:
            self._told_at = now
            log.warning("the door is full: more connections are told to come later", connections=self._most)
        return _TurnedAway()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)


class _TurnedAway(asyncio.Protocol):
    """One connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say so and close."""
        assert isinstance(transport, asyncio.Transport)
        transport.write(FULL)
        transport.close()
