"""Resource providers: trees of things that have resources. This machine is one of them; administrators may add others."""

from __future__ import annotations

from collections.abc import Iterable

from minicloud.core.errors import Conflict, Invalid, NotFound
from minicloud.core.store import Db
from minicloud.placement.tables import ALLOCATIONS, INVENTORIES, PROVIDERS, Provider

CONCURRENT_UPDATE = "placement.concurrent_update"
IN_USE = "placement.resource_provider.inuse"
HAS_CHILDREN = "placement.resource_provider.cannot_delete_parent"
DUPLICATE_NAME = "placement.duplicate_name"


def need(db: Db, provider_id: str) -> Provider:
    """The provider, or `NotFound`."""
    found = PROVIDERS.get(db, provider_id)
    if found is None:
        raise NotFound(f"No resource provider with uuid {provider_id} found.")
    return found


def expect(db: Db, provider_id: str, generation: int) -> Provider:
    """The provider, if it still is of that generation; else `Conflict` with code `placement.concurrent_update`."""
    found = need(db, provider_id)
    if found.generation != generation:
        raise Conflict(
            f"Resource provider's generation already changed. Please update the generation and try again. "
            f"(resource provider generation conflict: {provider_id}, actual: {found.generation}, given: {generation})",
            code=CONCURRENT_UPDATE,
        )
    return found


def bump_in(db: Db, provider_id: str, *, now: str) -> None:
    """Note that something about a provider changed."""
    db.execute(
        "UPDATE placement_providers SET generation = generation + 1, updated_at = ? WHERE id = ?", (now, provider_id)
    )


def make_in(
    db: Db, provider_id: str, name: str, *, now: str, parent_id: str | None = None, host: bool = False
) -> Provider:
    """Add a provider, below a parent or as a root.

    Raises:
        Invalid: there is no such parent.
        Conflict: name or id is taken.
    """
    root_id = provider_id
    if parent_id == provider_id:
        raise Invalid(
            f'Unable to create resource provider "{name}", {provider_id}: parent provider UUID cannot be same as UUID.'
        )
    if parent_id is not None:
        root_id = _parent(db, parent_id).root_id
    _refuse_taken_name(db, name, but=None)
    if PROVIDERS.get(db, provider_id) is not None:
        raise Conflict(f"Conflicting resource provider uuid: {provider_id} already exists.", code=DUPLICATE_NAME)
    return PROVIDERS.insert(db, Provider(provider_id, name, 0, parent_id, root_id, host, now, now))


def change_in(db: Db, provider_id: str, name: str, *, now: str, parent_id: str | None, may_move: bool) -> Provider:
    """Rename or move a provider with all that is below it.

    Args:
        may_move: from microversion 1.37 on a parent may be changed or taken away; before it may only be given once.
    """
    known = need(db, provider_id)
    _refuse_taken_name(db, name, but=provider_id)
    root_id = known.root_id
    if parent_id != known.parent_id:
        below = {one.id for one in subtree(db, known)}
        if parent_id is None:
            if not may_move:
                raise Invalid(
                    f"Unable to change the parent of resource provider {provider_id}: un-parenting a provider is not currently allowed."
                )
            root_id = provider_id
        else:
            if known.parent_id is not None and not may_move:
                raise Invalid(
                    f"Unable to change the parent of resource provider {provider_id}: re-parenting a provider is not currently allowed."
                )
            root_id = _parent(db, parent_id).root_id
            if parent_id in below:
                raise Invalid(
                    f"Unable to change the parent of resource provider {provider_id}: creating loop in the provider tree "
                    "is not allowed."
                )
        for one in below:
            PROVIDERS.change(db, one, root_id=root_id, updated_at=now)
    return PROVIDERS.change(db, provider_id, name=name, parent_id=parent_id, root_id=root_id, updated_at=now)


def remove_in(db: Db, provider_id: str) -> None:
    """Remove a provider that nobody uses, with its inventories, traits and aggregates.

    Raises:
        Conflict: it has allocations or children.
    """
    known = PROVIDERS.get(db, provider_id)
    if known is None:
        raise NotFound(f"No resource provider with uuid {provider_id} found for delete")
    if PROVIDERS.first(db, "parent_id = ?", (provider_id,)):
        raise Conflict(
            f"Unable to delete parent resource provider {provider_id}: It has child resource providers.",
            code=HAS_CHILDREN,
        )
    if ALLOCATIONS.first(db, "provider_id = ?", (provider_id,)):
        raise Conflict(
            f"Unable to delete resource provider {provider_id}: Resource provider has allocations.", code=IN_USE
        )
    if known.host:
        raise Conflict(f"Cannot delete resource provider {provider_id}: it is the host of this cloud.")
    INVENTORIES.delete_where(db, "provider_id = ?", (provider_id,))
    db.execute("DELETE FROM placement_provider_traits WHERE provider_id = ?", (provider_id,))
    db.execute("DELETE FROM placement_aggregates WHERE provider_id = ?", (provider_id,))
    PROVIDERS.delete(db, provider_id)


def subtree(db: Db, top: Provider) -> list[Provider]:
    """A provider and everything below it."""
    tree = PROVIDERS.where(db, "root_id = ?", (top.root_id,))
    found, frontier = [top], {top.id}
    while frontier:
        below = [one for one in tree if one.parent_id in frontier]
        found += below
        frontier = {one.id for one in below}
    return found


def aggregates_of(db: Db, provider_id: str) -> list[str]:
    """The aggregates that a provider is in."""
    sql = "SELECT aggregate_id FROM placement_aggregates WHERE provider_id = ? ORDER BY rowid"
    return [row[0] for row in db.execute(sql, (provider_id,))]


def set_aggregates_in(db: Db, provider_id: str, aggregates: Iterable[str], *, now: str, bump: bool) -> None:
    """Put a provider into exactly these aggregates; from 1.19 on that makes it a new generation."""
    db.execute("DELETE FROM placement_aggregates WHERE provider_id = ?", (provider_id,))
    rows = [(provider_id, one) for one in dict.fromkeys(aggregates)]
    db.executemany("INSERT INTO placement_aggregates VALUES (?, ?)", rows)
    if bump:
        bump_in(db, provider_id, now=now)


def _parent(db: Db, parent_id: str) -> Provider:
    found = PROVIDERS.get(db, parent_id)
    if found is None:
        raise Invalid(f"Cannot use the parent {parent_id}: parent provider UUID does not exist.")
    return found


def _refuse_taken_name(db: Db, name: str, *, but: str | None) -> None:
    found = PROVIDERS.first(db, "name = ?", (name,))
    if found is not None and found.id != but:
        raise Conflict(f"Conflicting resource provider name: {name} already exists.", code=DUPLICATE_NAME)
