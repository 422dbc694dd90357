"""Inventories and usages of a provider on the wire."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN_OR_SERVICE
from minicloud.api.route import Call, Reply, Route
from minicloud.api.schema import OPTIONAL, REQUIRED, Field, Schema, Type, mapping
from minicloud.core.clock import stamp
from minicloud.core.errors import Conflict, Invalid
from minicloud.core.store import Db
from minicloud.placement import inventories, providers, resource_classes
from minicloud.placement.allocations import CONCURRENT_UPDATE
from minicloud.placement.api import queries
from minicloud.placement.api.freshness import fresh
from minicloud.placement.inventories import MOST
from minicloud.placement.tables import Inventory

if TYPE_CHECKING:
    from minicloud.placement import Placement

GENERATION = Type({"type": "integer"})
CLASS_NAME = r"^[A-Z0-9_]{1,255}$"
_POSITIVE = Type({"type": "integer", "minimum": 1, "maximum": MOST})
AMOUNTS = tuple(
    Field(name, kind, create=need, update=need)
    for name, kind, need in (
        ("total", _POSITIVE, REQUIRED),
        ("reserved", Type({"type": "integer", "minimum": 0, "maximum": MOST}), OPTIONAL),
        ("min_unit", _POSITIVE, OPTIONAL),
        ("max_unit", _POSITIVE, OPTIONAL),
        ("step_size", _POSITIVE, OPTIONAL),
        ("allocation_ratio", Type({"type": "number", "minimum": 0, "maximum": 3.40282e38}), OPTIONAL),
    )
)
ENTRY = Schema("inventory", *AMOUNTS)
ONE_BODY = Schema("inventory", Field("resource_provider_generation", GENERATION, update=REQUIRED), *AMOUNTS)
POST_BODY = Schema(
    "inventory",
    Field("resource_class", Type({"type": "string", "pattern": CLASS_NAME}), create=REQUIRED),
    Field("resource_provider_generation", GENERATION, create=OPTIONAL),
    *AMOUNTS,
)
ALL_BODY = Schema(
    "inventories",
    Field("resource_provider_generation", GENERATION, create=REQUIRED, update=REQUIRED),
    Field("inventories", mapping(ENTRY.as_type(), key=CLASS_NAME), create=REQUIRED, update=REQUIRED),
)


def read(
    provider_id: str,
    resource_class: str,
    body: Mapping[str, Any],
    call: Call,
    now: str,
    doing: str = "Unable to update",
) -> Inventory:
    """An inventory of a checked body, with what OpenStack assumes of the rest."""
    return inventories.checked(
        Inventory(
            provider_id, resource_class, body["total"], body.get("reserved", 0), body.get("min_unit", 1),
            body.get("max_unit", MOST), body.get("step_size", 1), float(body.get("allocation_ratio", 1.0)), now,
        ),
        reserved_may_equal_total=call.at_least(1, 26),
        doing=doing,
    )  # fmt: skip


def shown(row: Inventory) -> dict[str, Any]:
    """An inventory as replies show it."""
    names = ("total", "reserved", "min_unit", "max_unit", "step_size", "allocation_ratio")
    return {name: getattr(row, name) for name in names}


def _whole(placement: Placement, call: Call) -> Reply:
    provider_id = call.params["provider_id"]
    provider = placement.store.read(providers.need, provider_id)
    rows = placement.store.read(inventories.of_provider, provider_id)
    body = {
        "resource_provider_generation": provider.generation,
        "inventories": {row.resource_class: shown(row) for row in rows},
    }
    return fresh(call, placement.clock, body, *(row.updated_at for row in rows))


def _single(placement: Placement, call: Call, resource_class: str, *, status: int | None = None) -> Reply:
    provider_id = call.params["provider_id"]
    provider = placement.store.read(providers.need, provider_id)
    row = placement.store.read(inventories.need, provider_id, resource_class)
    body = {"resource_provider_generation": provider.generation, **shown(row)}
    location = f"{call.base}/resource_providers/{provider_id}/inventories/{resource_class}" if status == 201 else None
    return fresh(call, placement.clock, body, row.updated_at, status=status, location=location)


async def list_inventories(placement: Placement, call: Call) -> Reply:
    """All inventories of a provider."""
    return _whole(placement, call)


async def show_inventory(placement: Placement, call: Call) -> Reply:
    """One inventory."""
    return _single(placement, call, call.params["resource_class"])


async def replace_inventories(placement: Placement, call: Call) -> Reply:
    """Give a provider exactly these inventories."""
    provider_id, body, now = call.params["provider_id"], call.body, stamp(placement.clock.now())

    def change(db: Db) -> None:
        providers.expect(db, provider_id, body["resource_provider_generation"])
        for name in body["inventories"]:
            if not resource_classes.exists(db, name):
                raise Invalid(
                    f"Unknown resource class in inventory for resource provider {provider_id}: No such resource class {name}."
                )
        wanted = [read(provider_id, name, entry, call, now) for name, entry in body["inventories"].items()]
        inventories.replace_in(db, provider_id, wanted, now=now)

    await placement.store.write(change)
    return _whole(placement, call)


async def create_inventory(placement: Placement, call: Call) -> Reply:
    """Add one inventory."""
    provider_id, body, now = call.params["provider_id"], call.body, stamp(placement.clock.now())
    resource_class = body["resource_class"]

    def change(db: Db) -> None:
        known = providers.need(db, provider_id)
        if "resource_provider_generation" in body:
            providers.expect(db, known.id, body["resource_provider_generation"])
        resource_classes.need(db, resource_class)
        if inventories.of_class(db, provider_id, resource_class) is not None:
            raise Conflict(
                f"Update conflict: provider {provider_id} has an inventory of {resource_class} already.",
                code=CONCURRENT_UPDATE,
            )
        inventories.set_in(db, read(provider_id, resource_class, body, call, now, "Unable to create"), now=now)

    await placement.store.write(change)
    return _single(placement, call, resource_class, status=201)


async def update_inventory(placement: Placement, call: Call) -> Reply:
    """Change one inventory."""
    provider_id, body, now = call.params["provider_id"], call.body, stamp(placement.clock.now())
    resource_class = call.params["resource_class"]

    def change(db: Db) -> None:
        providers.expect(db, provider_id, body["resource_provider_generation"])
        if inventories.of_class(db, provider_id, resource_class) is None:
            raise Invalid(
                f"Unable to update inventory for resource provider {provider_id}: No inventory record with resource class "
                f"{resource_class}."
            )
        inventories.set_in(db, read(provider_id, resource_class, body, call, now), now=now)

    await placement.store.write(change)
    return _single(placement, call, resource_class)


async def delete_inventory(placement: Placement, call: Call) -> None:
    """Take one inventory away."""
    provider_id, resource_class = call.params["provider_id"], call.params["resource_class"]

    def change(db: Db) -> None:
        providers.need(db, provider_id)
        inventories.remove_in(db, provider_id, resource_class, now=stamp(placement.clock.now()))

    await placement.store.write(change)


async def delete_inventories(placement: Placement, call: Call) -> None:
    """Take all inventories away."""
    provider_id = call.params["provider_id"]

    def change(db: Db) -> None:
        providers.need(db, provider_id)
        inventories.replace_in(db, provider_id, [], now=stamp(placement.clock.now()))

    await placement.store.write(change)


async def show_usages(placement: Placement, call: Call) -> Reply:
    """What is promised of a provider."""
    queries.allow(call.query, ())
    provider = placement.store.read(providers.need, call.params["provider_id"])
    usages = placement.store.read(inventories.usages, provider.id)
    body = {"resource_provider_generation": provider.generation, "usages": usages}
    return fresh(call, placement.clock, body, provider.updated_at)


ALL = "/resource_providers/{provider_id}/inventories"
ONE = ALL + "/{resource_class}"
MAY, RULE = ADMIN_OR_SERVICE, "placement:resource_providers:inventories"
ROUTES = [
    Route("GET", ALL, list_inventories, policy=MAY, rule=f"{RULE}:list"),
    Route("POST", ALL, create_inventory, body=POST_BODY, status=201, policy=MAY, rule=f"{RULE}:create"),
    Route("PUT", ALL, replace_inventories, body=ALL_BODY, policy=MAY, rule=f"{RULE}:update"),
    Route("DELETE", ALL, delete_inventories, status=204, since=(1, 5), policy=MAY, rule=f"{RULE}:delete"),
    Route("GET", ONE, show_inventory, policy=MAY, rule=f"{RULE}:show"),
    Route("PUT", ONE, update_inventory, body=ONE_BODY, policy=MAY, rule=f"{RULE}:update"),
    Route("DELETE", ONE, delete_inventory, status=204, policy=MAY, rule=f"{RULE}:delete"),
    Route(
        "GET", "/resource_providers/{provider_id}/usages", show_usages, policy=MAY,
        rule="placement:resource_providers:usages",
    ),
]  # fmt: skip
