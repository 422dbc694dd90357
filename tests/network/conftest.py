"""The network service alone, behind the real door, on a fake host.

`net.admin`, `net.demo` and `net.other` are callers of three projects. Tokens are words here: who someone is, is not this
service's business.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from minicloud.api.app import Api
from minicloud.config import Config
from minicloud.core import operations, quota, trace
from minicloud.core.clock import SystemClock
from minicloud.core.context import Context
from minicloud.core.errors import Unauthenticated
from minicloud.core.events import Events
from minicloud.core.foundation import Foundation
from minicloud.core.operations import Operations
from minicloud.core.store import Store
from minicloud.core.trace import Tracer
from minicloud.host.fake import World, fake_host
from minicloud.network import Network
from tests.conftest import Client

PEOPLE = {
    "admin": Context(
        "u-admin", "req-0", project_id="a" * 32, roles=frozenset({"admin", "manager", "member", "reader"})
    ),
    "demo": Context("u-demo", "req-0", project_id="d" * 32, roles=frozenset({"member", "reader"})),
    "other": Context("u-other", "req-0", project_id="e" * 32, roles=frozenset({"member", "reader"})),
    "reader": Context("u-reader", "req-0", project_id="d" * 32, roles=frozenset({"reader"})),
}


class Caller(Client):
    """A client whose paths begin at v2.0."""

    async def request(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        return await super().request(method, "/network/v2.0" + path, body, **options)

    async def make(self, kind: str, expect: int = 201, **values: Any) -> Any:
        """Create one resource and return it (or the whole refusal)."""
        plural = {"policy": "policies"}.get(kind, kind + "s").replace("_", "-").replace("policys", "policies")
        answer = await self.post(f"/{plural}", {kind: values}, expect=expect)
        return answer.body[kind] if expect == 201 else answer

    async def network_with_subnet(self, cidr: str = "10.0.0.0/24", **values: Any) -> tuple[Any, Any]:
        """A network and a subnet on it."""
        network = await self.make("network", name="n")
        version = 6 if ":" in cidr else 4
        return network, await self.make("subnet", network_id=network["id"], ip_version=version, cidr=cidr, **values)


class Net:
    """The service under test and everything around it."""

    def __init__(self, folder: Path, config: Config) -> None:
        self.folder, self.config = folder, config
        self.host, self.world = fake_host(None)

    async def start(self) -> None:
        """Start the service (again), on the same file and host."""
        clock = SystemClock()
        self.store = Store(self.folder / "minicloud.db")
        tracer = Tracer(self.store, clock)
        self.operations = Operations(self.store, tracer, clock)
        self.events = Events()
        foundation = Foundation(self.store, self.events, self.operations, tracer, clock)
        self.network = Network(foundation, self.host, self.config)
        self.store.open([quota.migrations, trace.migrations, operations.migrations, self.network.migrations])
        await self.network.start()
        for one in self.network.reconcilers():
            await one.once()
        api = Api([self.network], self._authenticate, tracer)
        self.runner = web.ServerRunner(api.server(), shutdown_timeout=0.2)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.session = aiohttp.ClientSession()
        self.url = url = f"http://127.0.0.1:{self.runner.addresses[0][1]}"
        for name, ctx in PEOPLE.items():
            setattr(self, name, Caller(self.session, url, name, ctx.project_id or "", ctx.user_id))

    admin: Caller
    demo: Caller
    other: Caller
    reader: Caller
    world: World

    async def stop(self) -> None:
        """Stop it; file and host stay."""
        await self.session.close()
        await self.runner.cleanup()
        await self.operations.stop()
        await self.network.stop()
        await self.store.close()

    def context(self, name: str) -> Context:
        """Who one of the callers is."""
        return PEOPLE[name]

    def section(self, name: str) -> dict[str, Any]:
        """What of one kind is on the fake host."""
        return self.world.section(name)

    def _authenticate(self, token: str, *, request_id: str, service: str, method: str, path: str) -> Context:
        if token not in PEOPLE:
            raise Unauthenticated("The request you have made requires authentication.")
        return dataclasses.replace(PEOPLE[token], request_id=request_id)


@pytest.fixture
async def net(tmp_path: Path) -> AsyncIterator[Net]:
    """A fresh one."""
    one = Net(tmp_path, Config(fake=True))
    await one.start()
    yield one
    await one.stop()
