"""The placement service: what there is, and who was promised how much of it.

It exists so that two launches can't get the last gigabyte both: a claim is counted and given inside the caller's own
transaction. Compute calls `claim`, `claim_in` and `release`; administrators and tools speak the wire in `api/`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from minicloud.config import Config
from minicloud.core.clock import stamp
from minicloud.core.context import Context
from minicloud.core.errors import Conflict, NoCapacity, Unavailable
from minicloud.core.foundation import Foundation
from minicloud.core.operations import undo
from minicloud.core.reconcile import Reconciler
from minicloud.core.store import Db
from minicloud.host import Host
from minicloud.placement import allocations, inventories, measure
from minicloud.placement.allocations import Claim
from minicloud.placement.api import DIALECT, ROUTES
from minicloud.placement.tables import PROVIDERS, Inventory, Provider, migrations

__all__ = ["Inventory", "Placement", "Provider"]
SERVER = "INSTANCE"
"""The consumer type of servers, as Nova names it."""


class Placement:
    """Keeps the provider that stands for this host, and everybody's claims."""

    name = "placement"
    migrations = migrations
    dialect = DIALECT
    routes = ROUTES

    def __init__(self, foundation: Foundation, host: Host, config: Config) -> None:
        self.store, self.clock, self.host, self.config = foundation.store, foundation.clock, host, config
        foundation.operations.undo_by(self)

    def reconcilers(self) -> Sequence[Reconciler]:
        """One that measures the host."""
        return [Reconciler("placement", self.measure)]

    async def start(self) -> None:
        """Nothing lives as long as the daemon here."""

    async def stop(self) -> None:
        """Nothing to end."""

    @property
    def provider_id(self) -> str:
        """The provider of this host (Nova's id of the hypervisor, too). Raises `Unavailable` before the first measure."""
        return self.provider().id

    def provider(self) -> Provider:
        """This host's provider."""
        return self.store.read(_host)

    def inventory(self) -> dict[str, Inventory]:
        """What this host has, by resource class."""
        return {one.resource_class: one for one in self.store.read(inventories.of_provider, self.provider_id)}

    def usage(self) -> dict[str, int]:
        """What is promised of this host, by resource class."""
        return self.store.read(inventories.usages, self.provider_id)

    async def measure(self) -> None:
        """Bring the host's provider up to date with the machine; idempotent."""
        await measure.run(self)

    def claim_in(
        self, db: Db, *, consumer_id: str, project_id: str, user_id: str, resources: Mapping[str, int]
    ) -> None:
        """Promise so much of this host to a consumer, inside the caller's transaction; an old promise is replaced.

        Args:
            resources: resource class ("VCPU", "MEMORY_MB", "DISK_GB") -> amount; zeros are left out.

        Raises:
            NoCapacity: too little is left; tells the numbers.
        """
        wanted = {name: amount for name, amount in resources.items() if amount > 0}
        claim = Claim(consumer_id, {_host(db).id: wanted} if wanted else {}, project_id, user_id, SERVER)
        try:
            allocations.replace_in(db, [claim], now=stamp(self.clock.now()))
        except Conflict as refused:
            raise NoCapacity(f"No valid host was found: {refused.message}") from refused

    async def claim(self, ctx: Context, consumer_id: str, resources: Mapping[str, int]) -> None:
        """`claim_in` in a transaction of its own, for the caller's project."""
        await self.store.write(
            self.claim_in,
            consumer_id=consumer_id,
            project_id=ctx.project_id or allocations.UNNAMED,
            user_id=ctx.user_id,
            resources=resources,
        )

    @undo
    async def release(self, consumer_id: str) -> None:
        """Let go of whatever a consumer has; shrugs at nothing."""
        await self.store.write(allocations.release_in, consumer_id)

    def claim_of(self, consumer_id: str) -> dict[str, int]:
        """What a consumer was promised, by resource class, over all providers."""
        found: dict[str, int] = {}
        for one in self.store.read(allocations.of_consumer, consumer_id):
            found[one.resource_class] = found.get(one.resource_class, 0) + one.used
        return found


def _host(db: Db) -> Provider:
    found = PROVIDERS.first(db, "host = 1")
    if found is None:
        raise Unavailable("Cannot place anything: this host has not been measured yet.", retry_after=5)
    return found
