"""Allocations: who was promised how much of which provider.

A promise is given inside the caller's transaction after counting what the others have, so it can't be given twice; there
are no generation races between our own services. Called by the claim of `Placement` and by the wire.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minicloud.core.errors import Conflict, Invalid
from minicloud.core.store import Db
from minicloud.placement import inventories, providers, resource_classes
from minicloud.placement.tables import ALLOCATIONS, CONSUMERS, PROVIDERS, Allocation, Consumer

CONCURRENT_UPDATE = "placement.concurrent_update"
NO_PROVIDER = "placement.resource_provider.not_found"
UNNAMED = "00000000-0000-0000-0000-000000000000"
"""Project and user of a consumer that a client before 1.8 wrote."""

Wanted = Mapping[str, Mapping[str, int]]
"""Provider id -> resource class -> amount."""


@dataclass(frozen=True, slots=True)
class Claim:
    """All that one consumer shall have from now on; an empty `wanted` lets everything go.

    `generation` is the consumer's as the client knows it (None: it must be new), `checked` whether that counts.
    """

    consumer_id: str
    wanted: Wanted
    project_id: str = UNNAMED
    user_id: str = UNNAMED
    kind: str | None = None
    generation: int | None = None
    checked: bool = False


def of_consumer(db: Db, consumer_id: str) -> list[Allocation]:
    """Everything promised to a consumer."""
    return ALLOCATIONS.where(db, "consumer_id = ?", (consumer_id,), order="provider_id, resource_class")


def of_provider(db: Db, provider_id: str) -> list[Allocation]:
    """Everything promised of a provider."""
    return ALLOCATIONS.where(db, "provider_id = ?", (provider_id,), order="consumer_id, resource_class")


def replace_in(db: Db, claims: Sequence[Claim], *, now: str) -> None:
    """Set what each consumer has, all or nothing; providers' generations go up.

    Raises:
        Invalid: a provider, class or consumer that can't be.
        Conflict: code `placement.concurrent_update` when a consumer is no longer as the client believes; else too little is left.
    """
    for claim in claims:
        _match_consumer(db, claim)
    for claim in claims:
        ALLOCATIONS.delete_where(db, "consumer_id = ?", (claim.consumer_id,))
    touched: set[str] = set()
    for claim in claims:
        _remember_consumer(db, claim, now)
        for provider_id, resources in claim.wanted.items():
            _promise(db, claim.consumer_id, provider_id, resources, now)
            touched.add(provider_id)
    for provider_id in sorted(touched):
        providers.bump_in(db, provider_id, now=now)
    for claim in claims:
        if not claim.wanted:
            CONSUMERS.delete(db, claim.consumer_id)


def release_in(db: Db, consumer_id: str) -> bool:
    """Let go of everything a consumer has; whether there was anything."""
    found = ALLOCATIONS.delete_where(db, "consumer_id = ?", (consumer_id,)) > 0
    CONSUMERS.delete(db, consumer_id)
    return found


def _match_consumer(db: Db, claim: Claim) -> None:
    known = CONSUMERS.get(db, claim.consumer_id)
    if not claim.checked:
        return
    found = None if known is None else known.generation
    if found != claim.generation:
        raise Conflict(
            f"Cannot change the allocations of consumer {claim.consumer_id}: consumer generation conflict - "
            f"expected {'null' if found is None else found} but got {'null' if claim.generation is None else claim.generation}.",
            code=CONCURRENT_UPDATE,
        )


def _remember_consumer(db: Db, claim: Claim, now: str) -> None:
    known = CONSUMERS.get(db, claim.consumer_id)
    if known is None:
        CONSUMERS.insert(
            db,
            Consumer(
                id=claim.consumer_id, generation=1, project_id=claim.project_id, user_id=claim.user_id, kind=claim.kind,
                created_at=now, updated_at=now,
            ),
        )  # fmt: skip
        return
    named: dict[str, Any] = (
        {} if claim.project_id == UNNAMED else {"project_id": claim.project_id, "user_id": claim.user_id}
    )
    typed: dict[str, Any] = {} if claim.kind is None else {"kind": claim.kind}
    CONSUMERS.change(db, known.id, generation=known.generation + 1, updated_at=now, **named, **typed)


def _promise(db: Db, consumer_id: str, provider_id: str, resources: Mapping[str, int], now: str) -> None:
    provider = PROVIDERS.get(db, provider_id)
    if provider is None:
        raise Invalid(
            f"Cannot allocate: Allocation for resource provider '{provider_id}' that does not exist.", code=NO_PROVIDER
        )
    for resource_class, amount in resources.items():
        if not resource_classes.exists(db, resource_class):
            raise Invalid(
                f"Unable to allocate inventory for consumer {consumer_id}: No such resource class {resource_class[:255]}."
            )
        found = inventories.of_class(db, provider_id, resource_class)
        if found is None:
            raise Conflict(
                f"Unable to allocate: Inventory for '{resource_class}' on resource provider '{provider_id}' invalid: there is none."
            )
        if amount < found.min_unit or amount > found.max_unit or amount % found.step_size:
            raise Conflict(
                f"Unable to allocate inventory: {amount} {resource_class} of resource provider '{provider_id}' is against "
                f"the inventory's constraints (min {found.min_unit}, max {found.max_unit}, step {found.step_size})."
            )
        used = inventories.used_in(db, provider_id, resource_class)
        if used + amount > found.capacity:
            raise Conflict(
                f"Unable to allocate inventory: {amount} {resource_class} of resource provider '{provider_id}' is too "
                f"much: The requested amount would exceed the capacity ({used} of {found.capacity} used)."
            )
        ALLOCATIONS.insert(db, Allocation(consumer_id, provider_id, resource_class, amount, now))
