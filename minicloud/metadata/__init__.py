"""The metadata service: what guests ask 169.254.169.254 for at their first boot.

There is no proxy and no shared secret: one small HTTP application listens inside every network's (or router's)
namespace, on a socket that the host opened there. Who asks is known by the door through which the request came in and
its source address, which the filters of the ports vouch for; headers are never believed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import structlog
from aiohttp import web

from minicloud.api.app import Silence
from minicloud.compute import Compute
from minicloud.config import Config
from minicloud.core.foundation import Foundation
from minicloud.core.migrations import Migrations
from minicloud.core.reconcile import Reconciler
from minicloud.host import Host
from minicloud.metadata.answers import Answers
from minicloud.network import DoorsChanged, MetadataDoor, Network

__all__ = ["Metadata"]
log = structlog.get_logger(__name__)
STOP_SECONDS = 0.5
IDLE_SECONDS = 75.0
"""How long a guest's connection may say nothing: a guest must not use up the daemon's descriptors."""


class Metadata:
    """Keeps a listener at every door that the network service has."""

    name = "metadata"
    migrations = Migrations("metadata")
    dialect = None
    routes: Sequence[object] = ()

    def __init__(
        self, foundation: Foundation, host: Host, config: Config, *, network: Network, compute: Compute
    ) -> None:
        self._namespaces, self._network = host.namespaces, network
        self._events = foundation.events
        self._answers = Answers(network=network, compute=compute, tracer=foundation.tracer, clock=foundation.clock)
        self._open: dict[MetadataDoor, web.AppRunner] = {}
        self._reconciler = Reconciler("metadata", self._reconcile, every=30.0)

    def reconcilers(self) -> Sequence[Reconciler]:
        """One that opens and closes doors."""
        return [self._reconciler]

    async def start(self) -> None:
        """Follow the network service's doors."""
        self._events.subscribe(DoorsChanged, lambda fact: self._reconciler.wake())

    async def stop(self) -> None:
        """Close every door."""
        await asyncio.gather(*(self._close(door) for door in list(self._open)))

    def addresses(self) -> dict[MetadataDoor, tuple[str, int]]:
        """Where each door really listens (on the fake host a port of the kernel's choice on the loopback)."""
        return {door: runner.addresses[0][:2] for door, runner in self._open.items() if runner.addresses}

    async def _reconcile(self) -> None:
        wanted = set(self._network.metadata_doors())
        for door in self._open.keys() - wanted:
            await self._close(door)
        for door in wanted - self._open.keys():
            try:
                await self._listen(door)
            except Exception as error:  # one odd namespace must not keep the others from their metadata
                log.warning(
                    "a metadata door could not be opened; it is tried again", owner=door.owner_id, error=str(error)
                )

    async def _listen(self, door: MetadataDoor) -> None:
        socket = await self._namespaces.listen(door.space, door.address, door.port)
        runner = web.AppRunner(
            self._answers.application(door.owner_id),
            access_log=None,
            logger=Silence(),
            keepalive_timeout=IDLE_SECONDS,
            shutdown_timeout=STOP_SECONDS,
        )
        try:
            await runner.setup()
            await web.SockSite(runner, socket).start()
        except BaseException:
            socket.close()
            await runner.cleanup()
            raise
        self._open[door] = runner
        log.info("metadata is served", owner=door.owner_id, space=door.space)

    async def _close(self, door: MetadataDoor) -> None:
        runner = self._open.pop(door)
        with contextlib.suppress(OSError):  # its namespace may be gone already
            await runner.cleanup()
