"""A door with few services behind it, for the tests of those: real store, real journal, fake host, HTTP.

Tokens are names: "admin", "alice" and "bob" (members of projects of their own), "carol" (a reader in alice's), and
"nova" (the service role). What tokens are otherwise is the identity service's own test.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from aiohttp import web

from minicloud.api.app import Api
from minicloud.config import Config, Paths
from minicloud.core import operations, quota, trace
from minicloud.core.clock import SystemClock
from minicloud.core.context import Context
from minicloud.core.errors import Unauthenticated
from minicloud.core.events import Events
from minicloud.core.foundation import Foundation
from minicloud.core.operations import Operations
from minicloud.core.service import Service
from minicloud.core.store import Store
from minicloud.core.trace import Tracer
from minicloud.host import Host
from minicloud.host.fake import World, fake_host
from tests.conftest import Client

PEOPLE = {
    "admin": ("p-admin", ("admin", "manager", "member", "reader")),
    "alice": ("p-alice", ("member", "reader")),
    "bob": ("p-bob", ("member", "reader")),
    "carol": ("p-alice", ("reader",)),
    "nova": ("p-service", ("service",)),
}


def context(name: str, request_id: str = "req-test") -> Context:
    """The caller of that name."""
    project, roles = PEOPLE[name]
    return Context(f"u-{name}", request_id, user_name=name, project_id=project, roles=frozenset(roles))


def authenticate(token: str, *, request_id: str, service: str, method: str, path: str) -> Context:
    """Tokens are names."""
    if token not in PEOPLE:
        raise Unauthenticated("The request you have made requires authentication.")
    return context(token, request_id)


@dataclass
class Door:
    """What a test has in hand."""

    services: Sequence[Service]
    url: str
    session: aiohttp.ClientSession
    world: World
    config: Config
    operations: Operations

    def client(self, name: str) -> Client:
        """A caller of that name; "" is nobody."""
        project = PEOPLE[name][0] if name else ""
        return Client(self.session, self.url, name, project_id=project, user_id=f"u-{name}")


Make = Callable[[Foundation, Host, Config], Sequence[Service]]


@contextlib.asynccontextmanager
async def open_door(folder: Path, make: Make, config: Config | None = None) -> AsyncIterator[Door]:
    """Services on a port of their own, for the length of a block; `folder` keeps what they remember."""
    folder.mkdir(parents=True, exist_ok=True)
    config = config or Config(paths=Paths(state=str(folder)))
    store, clock = Store(folder / "minicloud.db"), SystemClock()
    tracer = Tracer(store, clock)
    journal = Operations(store, tracer, clock)
    foundation = Foundation(store, Events(), journal, tracer, clock)
    host, world = fake_host(None)
    services = make(foundation, host, config)
    store.open([operations.migrations, quota.migrations, trace.migrations, *(one.migrations for one in services)])
    await host.open()
    await journal.recover()
    for service in services:
        for one in service.reconcilers():
            await one.once()
    runner = web.ServerRunner(Api(services, authenticate, tracer).server(), shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with aiohttp.ClientSession() as session:
            yield Door(services, f"http://127.0.0.1:{runner.addresses[0][1]}", session, world, config, journal)
    finally:
        await runner.cleanup()
        await journal.stop()
        await host.close()
        await store.close()
