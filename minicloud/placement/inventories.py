"""Inventories: how much of each resource class a provider has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import os_resource_classes

from minicloud.core.errors import Conflict, Invalid, NotFound
from minicloud.core.store import Db
from minicloud.placement import providers, resource_classes
from minicloud.placement.tables import ALLOCATIONS, INVENTORIES, Inventory

INVENTORY_IN_USE = "placement.inventory.inuse"
MOST = 2147483647
"""Largest amount of anything (a 32-bit number in OpenStack's own tables)."""


def of_provider(db: Db, provider_id: str) -> list[Inventory]:
    """All inventories of a provider, by class."""
    return INVENTORIES.where(db, "provider_id = ?", (provider_id,), order="resource_class")


def of_class(db: Db, provider_id: str, resource_class: str) -> Inventory | None:
    """A provider's inventory of one class."""
    return INVENTORIES.first(db, "provider_id = ? AND resource_class = ?", (provider_id, resource_class))


def need(db: Db, provider_id: str, resource_class: str) -> Inventory:
    """As `of_class`, or `NotFound`."""
    found = of_class(db, provider_id, resource_class)
    if found is None:
        raise NotFound(f"No inventory of class {resource_class} for {provider_id}")
    return found


def used_in(db: Db, provider_id: str, resource_class: str) -> int:
    """How much of one class of a provider is promised."""
    sql = "SELECT coalesce(sum(used), 0) FROM placement_allocations WHERE provider_id = ? AND resource_class = ?"
    return int(db.execute(sql, (provider_id, resource_class)).fetchone()[0])


def usages(db: Db, provider_id: str) -> dict[str, int]:
    """What is promised of each class that the provider has."""
    return {one.resource_class: used_in(db, provider_id, one.resource_class) for one in of_provider(db, provider_id)}


def checked(
    inventory: Inventory, *, reserved_may_equal_total: bool = True, doing: str = "Unable to update"
) -> Inventory:
    """The inventory, if it makes sense.

    Raises:
        Invalid: nothing would be left of it.
    """
    left = inventory.total - inventory.reserved
    relation = "" if reserved_may_equal_total else "or equal to "
    if left < 0 or (left == 0 and not reserved_may_equal_total):
        raise Invalid(
            f"{doing} inventory for resource provider {inventory.provider_id}: Invalid inventory for "
            f"'{inventory.resource_class}': reserved {inventory.reserved} is greater than {relation}total {inventory.total}."
        )
    return inventory


def replace_in(db: Db, provider_id: str, wanted: Sequence[Inventory], *, now: str) -> None:
    """Give a provider exactly these inventories; its generation goes up.

    Raises:
        Conflict: a class that goes away is in use.
        Invalid: an unknown class.
    """
    for one in wanted:
        resource_classes.need(db, one.resource_class)
    gone = {one.resource_class for one in of_provider(db, provider_id)} - {one.resource_class for one in wanted}
    _refuse_in_use(db, provider_id, gone)
    INVENTORIES.delete_where(db, "provider_id = ?", (provider_id,))
    for one in wanted:
        INVENTORIES.insert(db, one)
    providers.bump_in(db, provider_id, now=now)


def set_in(db: Db, inventory: Inventory, *, now: str) -> None:
    """Add or replace one inventory; the provider's generation goes up."""
    resource_classes.need(db, inventory.resource_class)
    _remove(db, inventory.provider_id, inventory.resource_class)
    INVENTORIES.insert(db, inventory)
    providers.bump_in(db, inventory.provider_id, now=now)


def remove_in(db: Db, provider_id: str, resource_class: str, *, now: str) -> None:
    """Take one inventory away.

    Raises:
        NotFound: there is none.
        Conflict: it is in use.
    """
    if of_class(db, provider_id, resource_class) is None:
        raise NotFound(f"No inventory of class {resource_class} found for delete")
    _refuse_in_use(db, provider_id, {resource_class})
    _remove(db, provider_id, resource_class)
    providers.bump_in(db, provider_id, now=now)


def changed(inventory: Inventory, found: Mapping[str, Inventory]) -> bool:
    """Whether an inventory differs from what is there, its time left aside."""
    known = found.get(inventory.resource_class)
    fields = ("total", "reserved", "min_unit", "max_unit", "step_size", "allocation_ratio")
    return known is None or any(getattr(known, name) != getattr(inventory, name) for name in fields)


def _remove(db: Db, provider_id: str, resource_class: str) -> None:
    INVENTORIES.delete_where(db, "provider_id = ? AND resource_class = ?", (provider_id, resource_class))


def _refuse_in_use(db: Db, provider_id: str, classes: set[str]) -> None:
    used = [one for one in os_resource_classes.STANDARDS if one in classes] + sorted(
        classes - set(os_resource_classes.STANDARDS)
    )
    used = [one for one in used if ALLOCATIONS.first(db, "provider_id = ? AND resource_class = ?", (provider_id, one))]
    if used:
        raise Conflict(
            f"Unable to delete inventory: Inventory for '{', '.join(used)}' on resource provider '{provider_id}' in use.",
            code=INVENTORY_IN_USE,
        )
