"""What the placement service remembers: providers, their inventories, and who was promised how much of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from minicloud.core.migrations import Migrations
from minicloud.core.store import Table

if TYPE_CHECKING:
    from sqlite_utils import Database

migrations = Migrations("placement")


@migrations()
def m001_providers(db: Database) -> None:
    db["placement_providers"].create(
        {
            "id": str, "name": str, "generation": int, "parent_id": str, "root_id": str, "host": int, "created_at": str,
            "updated_at": str,
        },
        pk="id",
    )  # fmt: skip
    db["placement_providers"].create_index(["name"], unique=True)
    db["placement_providers"].create_index(["root_id"])
    db["placement_providers"].create_index(["parent_id"])
    db["placement_inventories"].create(
        {
            "provider_id": str, "resource_class": str, "total": int, "reserved": int, "min_unit": int, "max_unit": int,
            "step_size": int, "allocation_ratio": float, "updated_at": str,
        },
        pk=("provider_id", "resource_class"),
        foreign_keys=[("provider_id", "placement_providers", "id")],
    )  # fmt: skip
    db["placement_consumers"].create(
        {
            "id": str, "generation": int, "project_id": str, "user_id": str, "kind": str, "created_at": str,
            "updated_at": str,
        },
        pk="id",
    )  # fmt: skip
    db["placement_consumers"].create_index(["project_id"])
    db["placement_allocations"].create(
        {"consumer_id": str, "provider_id": str, "resource_class": str, "used": int, "updated_at": str},
        pk=("consumer_id", "provider_id", "resource_class"),
        foreign_keys=[("provider_id", "placement_providers", "id"), ("consumer_id", "placement_consumers", "id")],
    )
    db["placement_allocations"].create_index(["provider_id", "resource_class"])
    db["placement_provider_traits"].create({"provider_id": str, "trait": str}, pk=("provider_id", "trait"))
    db["placement_provider_traits"].create_index(["trait"])
    db["placement_aggregates"].create({"provider_id": str, "aggregate_id": str}, pk=("provider_id", "aggregate_id"))
    db["placement_aggregates"].create_index(["aggregate_id"])
    db["placement_custom_traits"].create({"name": str, "updated_at": str}, pk="name")
    db["placement_custom_classes"].create({"name": str, "updated_at": str}, pk="name")


@dataclass(frozen=True, slots=True)
class Provider:
    """Something that has resources. `host` marks the one that stands for this machine; a root is its own root."""

    id: str
    name: str
    generation: int
    parent_id: str | None
    root_id: str
    host: bool
    created_at: str
    updated_at: str


@dataclass(frozen=True, slots=True)
class Inventory:
    """How much of one resource class a provider has, and in which portions it gives it away."""

    provider_id: str
    resource_class: str
    total: int
    reserved: int
    min_unit: int
    max_unit: int
    step_size: int
    allocation_ratio: float
    updated_at: str

    @property
    def capacity(self) -> int:
        """What may be promised in all."""
        return int((self.total - self.reserved) * self.allocation_ratio)


@dataclass(frozen=True, slots=True)
class Consumer:
    """Who uses resources: a server. `kind` is its type, None for one that no client ever named."""

    id: str
    generation: int
    project_id: str
    user_id: str
    kind: str | None
    created_at: str
    updated_at: str


@dataclass(frozen=True, slots=True)
class Allocation:
    """So much of one class of one provider is promised to a consumer."""

    consumer_id: str
    provider_id: str
    resource_class: str
    used: int
    updated_at: str


PROVIDERS = Table("placement_providers", Provider, noun="Resource provider")
INVENTORIES = Table("placement_inventories", Inventory, key="provider_id", noun="Inventory")
CONSUMERS = Table("placement_consumers", Consumer, noun="Consumer")
ALLOCATIONS = Table("placement_allocations", Allocation, key="consumer_id", noun="Allocation")
