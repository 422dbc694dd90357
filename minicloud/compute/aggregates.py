"""Host aggregates, and the availability zones that they make of this one host."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING

from minicloud.compute import services
from minicloud.compute.tables import AGGREGATES, Aggregate
from minicloud.core.errors import Conflict, NotFound
from minicloud.core.store import Db

if TYPE_CHECKING:
    from minicloud.compute import Compute

DEFAULT_ZONE = "nova"
ZONE = "availability_zone"


def zone_of_host(compute: Compute) -> str:
    """The availability zone that this host is in."""
    for one in compute.store.read(AGGREGATES.where, order="id"):
        if one.hosts and one.metadata.get(ZONE):
            return one.metadata[ZONE]
    return DEFAULT_ZONE


def zones(compute: Compute) -> list[str]:
    """The zones in which a server may be placed: those that have a host."""
    return [zone_of_host(compute)]


def listed(compute: Compute) -> list[Aggregate]:
    """All aggregates."""
    return compute.store.read(AGGREGATES.where, order="id")


def show(compute: Compute, aggregate_id: str) -> Aggregate:
    """One aggregate by its number."""
    return compute.store.read(need_in, aggregate_id)


def need_in(db: Db, aggregate_id: str) -> Aggregate:
    """One aggregate by its number or `NotFound`."""
    if not aggregate_id.isascii() or not aggregate_id.isdigit() or len(aggregate_id) > 18:
        raise NotFound(f"Aggregate {aggregate_id} could not be found.")
    return AGGREGATES.need(db, int(aggregate_id))


async def create(compute: Compute, *, name: str, zone: str | None) -> Aggregate:
    """A new, empty aggregate; `Conflict` if the name is taken."""
    row = Aggregate(
        id=None, uuid=str(uuid.uuid4()), name=name, hosts=[], metadata={ZONE: zone} if zone else {},
        created_at=compute.now(), updated_at=None,
    )  # fmt: skip

    def add(db: Db) -> Aggregate:
        _require_free_name(db, name)
        AGGREGATES.insert(db, row)
        found = AGGREGATES.first(db, "uuid = ?", (row.uuid,))
        assert found is not None
        return found

    return await compute.store.write(add)


def _require_free_name(db: Db, name: str) -> None:
    if AGGREGATES.first(db, "name = ?", (name,)) is not None:
        raise Conflict(f"Aggregate {name} already exists.")


async def update(compute: Compute, aggregate_id: str, *, name: str | None, zone: str | None) -> Aggregate:
    """Rename, or put into another zone."""

    def change(db: Db) -> Aggregate:
        row = need_in(db, aggregate_id)
        if name is not None and name != row.name:
            _require_free_name(db, name)
        metadata = row.metadata if zone is None else {**row.metadata, ZONE: zone}
        return AGGREGATES.change(db, row.id or 0, name=name or row.name, metadata=metadata, updated_at=compute.now())

    return await compute.store.write(change)


async def delete(compute: Compute, aggregate_id: str) -> None:
    """Remove an aggregate; `Conflict` while it has a host."""

    def remove(db: Db) -> None:
        row = need_in(db, aggregate_id)
        if row.hosts:
            raise Conflict(f"Cannot remove aggregate {aggregate_id}: it is not empty; remove its host first.")
        AGGREGATES.delete(db, row.id or 0)

    await compute.store.write(remove)


async def add_host(compute: Compute, aggregate_id: str, host: str) -> Aggregate:
    """Put this host into an aggregate.

    Raises:
        NotFound: no such host. Conflict: it is in there, or in one of another zone.
    """
    if host != services.host_name(compute):
        raise NotFound(f"Compute host {host} could not be found.")

    def change(db: Db) -> Aggregate:
        row = need_in(db, aggregate_id)
        if host in row.hosts:
            raise Conflict(f"Aggregate {aggregate_id} already has host {host}.")
        for other in AGGREGATES.where(db):
            zone = other.metadata.get(ZONE)
            if host in other.hosts and zone and row.metadata.get(ZONE) not in (None, zone):
                raise Conflict(f"Cannot add host {host} to aggregate {aggregate_id}: it is in the zone {zone}.")
        return AGGREGATES.change(db, row.id or 0, hosts=[*row.hosts, host], updated_at=compute.now())

    return await compute.store.write(change)


async def remove_host(compute: Compute, aggregate_id: str, host: str) -> Aggregate:
    """Take this host out; `NotFound` if it isn't in there."""

    def change(db: Db) -> Aggregate:
        row = need_in(db, aggregate_id)
        if host not in row.hosts:
            raise NotFound(f"Aggregate {aggregate_id} has no host {host}.")
        return AGGREGATES.change(db, row.id or 0, hosts=[h for h in row.hosts if h != host], updated_at=compute.now())

    return await compute.store.write(change)


async def set_metadata(compute: Compute, aggregate_id: str, metadata: Mapping[str, str | None]) -> Aggregate:
    """Set items; one whose value is None goes."""

    def change(db: Db) -> Aggregate:
        row = need_in(db, aggregate_id)
        merged = {key: value for key, value in {**row.metadata, **metadata}.items() if value is not None}
        return AGGREGATES.change(db, row.id or 0, metadata=merged, updated_at=compute.now())

    return await compute.store.write(change)
