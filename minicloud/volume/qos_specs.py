"""QoS specifications: named limits that volume types refer to.

The one backend has no limits of its own to set (its pool says `QoS_support: False`), so they are kept for whoever
reads them, as in an OpenStack whose driver knows none.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from minicloud.core.errors import Conflict, Invalid, NotFound
from minicloud.core.store import Db
from minicloud.volume.tables import QOS_SPECS, VOLUME_TYPES, QosSpec, VolumeType

if TYPE_CHECKING:
    from minicloud.volume import Volume

CONSUMERS = ("front-end", "back-end", "both")


def show(volume: Volume, qos_id: str) -> QosSpec:
    """One specification; `NotFound` without it."""
    return volume.store.read(QOS_SPECS.need, qos_id)


async def create(volume: Volume, *, name: str, consumer: str, specs: Mapping[str, str]) -> QosSpec:
    """A new specification; `Conflict` if the name is taken, `Invalid` for an unknown consumer."""
    _require_consumer(consumer)

    def insert(db: Db) -> QosSpec:
        if QOS_SPECS.first(db, "name = ?", (name,)):
            raise Conflict(f"Cannot create the QoS specification {name}: the name is taken.")
        return QOS_SPECS.insert(db, QosSpec(str(uuid.uuid4()), name, consumer, dict(specs), volume.now()))

    return await volume.store.write(insert)


async def merge(volume: Volume, qos_id: str, specs: Mapping[str, str]) -> QosSpec:
    """Add keys, or change their values; the key `consumer` is the consumer."""

    def change(db: Db) -> QosSpec:
        row = QOS_SPECS.need(db, qos_id)
        consumer = specs.get("consumer", row.consumer)
        _require_consumer(consumer)
        merged = row.specs | {key: value for key, value in specs.items() if key != "consumer"}
        return QOS_SPECS.change(db, qos_id, consumer=consumer, specs=merged)

    return await volume.store.write(change)


async def forget_keys(volume: Volume, qos_id: str, keys: Iterable[str]) -> None:
    """Take keys away; `NotFound` names one that isn't there, and then none goes."""

    def change(db: Db) -> None:
        specs = dict(QOS_SPECS.need(db, qos_id).specs)
        for key in keys:
            if key not in specs:
                raise NotFound(f"QoS specification {qos_id} has no spec with key {key}.")
            del specs[key]
        QOS_SPECS.change(db, qos_id, specs=specs)

    await volume.store.write(change)


async def delete(volume: Volume, qos_id: str, *, force: bool) -> None:
    """Forget a specification; `Invalid` while types refer to it, unless forced."""

    def forget(db: Db) -> None:
        row = QOS_SPECS.need(db, qos_id)
        if not force and VOLUME_TYPES.count(db, "qos_specs_id = ?", (qos_id,)):
            raise Invalid(
                f"Cannot delete the QoS specification {row.name}: volume types refer to it; force it, or let them go."
            )
        _forget_in(db, qos_id)
        QOS_SPECS.delete(db, qos_id)

    await volume.store.write(forget)


def associations(volume: Volume, qos_id: str) -> list[VolumeType]:
    """The types that refer to it."""
    show(volume, qos_id)
    return volume.store.read(VOLUME_TYPES.where, "qos_specs_id = ?", (qos_id,), order="name")


async def associate(volume: Volume, qos_id: str, type_id: str) -> None:
    """Let a type refer to it; `Invalid` if it refers to another."""

    def change(db: Db) -> None:
        QOS_SPECS.need(db, qos_id)
        kind = VOLUME_TYPES.need(db, type_id)
        if kind.qos_specs_id not in (None, qos_id):
            raise Invalid(f"Cannot associate volume type {kind.name}: it refers to another QoS specification.")
        VOLUME_TYPES.change(db, type_id, qos_specs_id=qos_id)

    await volume.store.write(change)


async def disassociate(volume: Volume, qos_id: str, type_id: str | None) -> None:
    """Let one type, or all, refer to it no more."""

    def change(db: Db) -> None:
        QOS_SPECS.need(db, qos_id)
        if type_id is None:
            _forget_in(db, qos_id)
        else:
            VOLUME_TYPES.change(db, type_id, {"qos_specs_id": qos_id}, qos_specs_id=None)

    await volume.store.write(change)


def _forget_in(db: Db, qos_id: str) -> None:
    db.execute(f"UPDATE {VOLUME_TYPES.name} SET qos_specs_id = NULL WHERE qos_specs_id = ?", (qos_id,))


def _require_consumer(consumer: str) -> None:
    if consumer not in CONSUMERS:
        raise Invalid(f"Cannot use the consumer {consumer[:80]}: it must be one of {', '.join(CONSUMERS)}.")
