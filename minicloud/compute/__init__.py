"""The compute service: servers and all that is said about them. Nova's wire is in `api/`.

A server comes to life in `launch.py` and ends in `teardown.py`; in between `power.py`, `attach.py` and `snapshot.py`
tell the stories. This module is what other services may call, and what the stories share.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from minicloud.compute import (
    actions,
    attach,
    domain,
    guests,
    launch,
    power,
    quotas,
    reconcile,
    services,
    snapshot,
    teardown,
)
from minicloud.compute.api import DIALECT, ROUTES
from minicloud.compute.documents import EC2_VERSIONS, VERSIONS, GuestFacts, ec2_meta_data, openstack_files
from minicloud.compute.states import Task
from minicloud.compute.tables import BLOCK_DEVICES, SERVERS, BlockDevice, Server, migrations
from minicloud.config import Config
from minicloud.core.clock import stamp
from minicloud.core.context import Context
from minicloud.core.errors import NotFound
from minicloud.core.foundation import Foundation
from minicloud.core.operations import AfterCrash, undo
from minicloud.core.reconcile import Reconciler
from minicloud.core.store import Db
from minicloud.host import Host
from minicloud.host.hypervisor import DomainEvent, DomainSpec, Power
from minicloud.identity import Identity
from minicloud.image import Image
from minicloud.network import Network, Nic, PortGone, PortInfo
from minicloud.placement import Placement
from minicloud.volume import Volume, VolumeExtended

__all__ = ["EC2_VERSIONS", "VERSIONS", "Compute", "GuestFacts", "Server", "ec2_meta_data", "openstack_files"]
log = structlog.get_logger(__name__)


class Compute:
    """Makes, keeps and ends servers on this host."""

    name = "compute"
    migrations = migrations
    dialect = DIALECT
    routes = ROUTES

    def __init__(
        self,
        foundation: Foundation,
        host: Host,
        config: Config,
        *,
        identity: Identity,
        image: Image,
        placement: Placement,
        network: Network,
        volume: Volume,
    ) -> None:
        self.store, self.clock, self.events = foundation.store, foundation.clock, foundation.events
        self.operations, self.tracer = foundation.operations, foundation.tracer
        self.hypervisor, self.disks, self.config = host.hypervisor, host.disks, config
        self.identity, self.image, self.placement = identity, image, placement
        self.network, self.volume = network, volume
        self.quotas = quotas.made()
        self._parting: set[asyncio.Task[None]] = set()
        self._off: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._reconciler = Reconciler("compute", partial(reconcile.run, self))
        register = self.operations.register
        register(
            "server.create",
            partial(launch.build, self),
            after_crash=AfterCrash.UNDO,
            failed=partial(launch.failed, self),
        )
        register("server.delete", partial(teardown.run, self), after_crash=AfterCrash.REDO,
                 failed=partial(teardown.failed, self), interrupts=True)  # fmt: skip
        register(
            "server.power", partial(power.run, self), after_crash=AfterCrash.UNDO, failed=partial(power.failed, self)
        )
        register("server.snapshot", partial(snapshot.run, self), after_crash=AfterCrash.UNDO,
                 failed=partial(snapshot.failed, self))  # fmt: skip
        for kind, story in attach.STORIES.items():
            register(kind, partial(story, self), after_crash=AfterCrash.UNDO, failed=partial(attach.failed, self))
        for kind, story in attach.REMOVALS.items():
            register(kind, partial(story, self), after_crash=AfterCrash.REDO, failed=partial(attach.failed, self))
        self.operations.undo_by(self)
        image.keep_bases(self.images_in_use)

    def reconcilers(self) -> Sequence[Reconciler]:
        """One that compares rows with machines."""
        return [self._reconciler]

    async def start(self) -> None:
        """Listen to the hypervisor; note our service records."""
        self.hypervisor.on_event(self._observe)
        self.events.subscribe_in(VolumeExtended, partial(actions.volume_extended_in, self))
        self.events.subscribe(PortGone, self._lose_card)
        await services.begin(self)

    async def stop(self) -> None:
        """Machines go on."""
        for task in self._parting:
            task.cancel()

    # --- what other services ask ---------------------------------------------------------------------------------

    def guest(self, server_id: str) -> GuestFacts | None:
        """All that metadata tells of a server; None if there is no such (living) server."""
        return guests.facts(self, server_id)

    async def leave_password(self, server_id: str, told: str) -> None:
        """A guest tells its owner a password. Raises `Invalid` or `Conflict`. See `guests.leave_password`."""
        await guests.leave_password(self, server_id, told)

    def server(self, ctx: Context, server_id: str) -> Server:
        """A living server that the caller may know; `NotFound` otherwise."""
        return self.store.read(self.visible_in, ctx, server_id)

    def images_in_use(self) -> frozenset[str]:
        """Images on whose bases some server's disk stands."""
        condition = "destination = 'local' AND source = 'image'"
        return frozenset(one.source_id or "" for one in self.store.read(BLOCK_DEVICES.where, condition))

    # --- what the stories share ----------------------------------------------------------------------------------

    def visible_in(self, db: Db, ctx: Context, server_id: str) -> Server:
        """`server` inside a transaction."""
        row = SERVERS.get(db, server_id)
        if row is None or row.deleted or not ctx.sees(row.project_id):
            raise NotFound(f"Instance {server_id} could not be found.")
        return row

    def now(self) -> str:
        """The moment as rows keep it."""
        return stamp(self.clock.now())

    def row_of(self, subject: str) -> Server:
        """The server that an operation is about, deleted or not."""
        return self.store.read(SERVERS.need, subject.removeprefix("server/"))

    def devices_of(self, server_id: str) -> list[BlockDevice]:
        """A server's disks, the one that boots first."""
        return self.store.read(devices_in, server_id)

    async def change(self, server_id: str, **values: Any) -> Server:
        """Set columns of a server's row."""
        return await self.store.write(SERVERS.change, server_id, updated_at=self.now(), **values)

    async def doing(self, server: Server, task: Task) -> None:
        """Say what is being done, unless the server is being deleted meanwhile."""

        def note(db: Db) -> None:
            if SERVERS.need(db, server.id).task_state != Task.DELETING:
                SERVERS.change(db, server.id, task_state=task)

        await self.store.write(note)

    def folder(self, server_id: str) -> Path:
        """Where a server's own files lie."""
        return self.config.state / "servers" / server_id

    def run_folder(self, server_id: str) -> Path:
        """Where a server's sockets lie; short, as a socket's path may have 107 bytes."""
        return Path(self.config.paths.run) / server_id[:13]

    def ports_in_order(self, server: Server) -> list[PortInfo]:
        """A server's ports, in the order of its cards."""
        return self.ports_of_all([server]).get(server.id, [])

    def ports_of_all(self, servers: Sequence[Server]) -> dict[str, list[PortInfo]]:
        """The ports of many servers, each in the order of its cards; those without a port are left out."""
        found = self.network.ports_of_all([server.id for server in servers])
        return {server.id: _in_order(server, found[server.id]) for server in servers if server.id in found}

    def domain_spec(self, server: Server) -> DomainSpec:
        """The machine that the rows describe."""
        return domain.domain_of(
            server,
            self.devices_of(server.id),
            self.ports_in_order(server),
            folder=self.folder(server.id),
            run=self.run_folder(server.id),
            machine=self.config.compute.machine,
            vnc=self.config.compute.vnc,
        )

    async def power_of(self, server_id: str) -> Power | None:
        """What the hypervisor says of a machine now; None if it knows none."""
        seen = (await self.hypervisor.actual()).get(server_id)
        return None if seen is None else seen.power

    async def until_off(self, server_id: str, seconds: float) -> bool:
        """Wait until a machine is off; False if it isn't after so many seconds."""
        off = asyncio.Event()
        self._off[server_id].add(off)
        try:
            if await self.power_of(server_id) not in (Power.RUNNING, Power.PAUSED):
                return True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await off.wait()
            return off.is_set() or await self.power_of(server_id) not in (Power.RUNNING, Power.PAUSED)
        finally:
            self._off[server_id].discard(off)
            if not self._off[server_id]:
                del self._off[server_id]

    def look_again(self) -> None:
        """Have the reconciler compare rows and machines soon."""
        self._reconciler.wake()

    def _lose_card(self, fact: PortGone) -> None:
        task = asyncio.create_task(attach.port_gone(self, fact.port_id, fact.device_id), name="port gone")
        self._parting.add(task)
        task.add_done_callback(self._parting.discard)

    def _observe(self, event: DomainEvent) -> None:
        if event.power in (Power.SHUTOFF, Power.CRASHED, Power.SAVED):
            for waiting in self._off.get(event.id, ()):
                waiting.set()
        self._reconciler.wake()

    def require_key_quota_in(self, db: Db, user_id: str, project_id: str) -> None:
        """Raise `OverQuota` if a user has as many key pairs as the project allows."""
        quotas.require_key_in(self.quotas, db, user_id=user_id, project_id=project_id)

    # --- taking steps back ---------------------------------------------------------------------------------------

    @undo
    async def remove_domain(self, server_id: str) -> None:
        """The machine is off and forgotten; shrugs at none."""
        await self.hypervisor.destroy(server_id)
        await self.hypervisor.undefine(server_id)

    @undo
    async def remove_files(self, server_id: str) -> None:
        """The server's own files are gone; shrugs at none."""
        await self.disks.remove(self.folder(server_id))
        await self.disks.remove(self.run_folder(server_id))

    @undo
    async def unplug_disk(self, server_id: str, disk_id: str) -> None:
        """The machine, if there is one, has no such disk."""
        if await self.power_of(server_id) is not None:
            await self.hypervisor.detach_disk(server_id, disk_id)

    @undo
    async def unplug_nic(self, server_id: str, port_id: str) -> None:
        """The machine, if there is one, has no such card."""
        if await self.power_of(server_id) is not None:
            await self.hypervisor.detach_nic(server_id, port_id)

    @undo
    async def discard_snapshot(self, server_id: str, image_id: str) -> None:
        """The image and the draft file of a snapshot that could not be made are gone."""
        await snapshot.discard(self, server_id, image_id)


def devices_in(db: Db, server_id: str) -> list[BlockDevice]:
    """A server's disks, the one that boots first."""
    return BLOCK_DEVICES.where(db, "server_id = ?", (server_id,), order="coalesce(boot_index, 1000), device")


def _in_order(server: Server, ports: Sequence[PortInfo]) -> list[PortInfo]:
    order = {nic["port_id"]: index for index, nic in enumerate(server.nics)}
    return sorted(ports, key=lambda port: order.get(port.id, len(order)))


def nic_of(saved: Mapping[str, Any]) -> Nic:
    """A card as the network service wants it back, from the row."""
    return Nic(**{**saved, "security_groups": tuple(saved.get("security_groups", ()))})
