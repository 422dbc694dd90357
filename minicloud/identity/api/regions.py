"""`/v3/regions` (identity API v3, "Regions")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicloud.api.policy import ADMIN, ANYONE
from minicloud.api.route import Call, Listed, Route
from minicloud.api.schema import OPTIONAL, Field, Schema, nullable, string
from minicloud.core.errors import Invalid
from minicloud.identity import regions
from minicloud.identity.api.fields import TEXT, links, values_of
from minicloud.identity.api.lists import page
from minicloud.identity.api.rules import NO_DOMAIN
from minicloud.identity.tables import Region

if TYPE_CHECKING:
    from minicloud.identity import Identity

REGION_ID = string(low=0, high=255)
REGION = Schema(
    "region",
    Field("id", nullable(REGION_ID), out=True, create=OPTIONAL),
    Field("description", TEXT, out=True, create=OPTIONAL, update=OPTIONAL),
    Field("parent_region_id", nullable(string(high=255)), out=True, create=OPTIONAL, update=OPTIONAL),
    links("regions"),
    extra=True,
    rest="extra",
)


async def list_regions(identity: Identity, call: Call) -> Listed:
    """All regions."""
    return page(call, regions.listed(identity), "parent_region_id")


async def create_region(identity: Identity, call: Call) -> Region:
    """A new region."""
    return await _create(identity, call, call.body.get("id") or None)


async def create_region_at(identity: Identity, call: Call) -> Region:
    """A new region with the id in the path."""
    if call.body.get("id", call.params["region_id"]) != call.params["region_id"]:
        raise Invalid("Cannot create the region: the id in the body is not the one in the path.")
    return await _create(identity, call, call.params["region_id"])


async def _create(identity: Identity, call: Call, region_id: str | None) -> Region:
    values = values_of(REGION, call.body)
    values["description"] = values.get("description") or ""
    return await regions.create(identity, region_id=region_id, **values)


async def show_region(identity: Identity, call: Call) -> Region:
    """One region."""
    return regions.show(identity, call.params["region_id"])


async def update_region(identity: Identity, call: Call) -> Region:
    """Change a region."""
    values = values_of(REGION, call.body)
    if "description" in values:
        values["description"] = values["description"] or ""
    return await regions.update(identity, call.params["region_id"], values)


async def delete_region(identity: Identity, call: Call) -> None:
    """Remove an empty region."""
    await regions.delete(identity, call.params["region_id"])


ONE = "/regions/{region_id}"
ROUTES = [
    Route("GET", "/regions", list_regions, view=REGION, many=True, policy=ANYONE, rule="identity:list_regions"),
    Route(
        "POST",
        "/regions",
        create_region,
        body=REGION,
        view=REGION,
        status=201,
        policy=ADMIN,
        rule="identity:create_region",
        scopes=NO_DOMAIN,
    ),
    Route(
        "PUT",
        ONE,
        create_region_at,
        body=REGION,
        mode="create",
        view=REGION,
        status=201,
        policy=ADMIN,
        rule="identity:create_region",
        scopes=NO_DOMAIN,
    ),
    Route("GET", ONE, show_region, view=REGION, policy=ANYONE, rule="identity:get_region"),
    Route(
        "PATCH",
        ONE,
        update_region,
        body=REGION,
        view=REGION,
        policy=ADMIN,
        rule="identity:update_region",
        scopes=NO_DOMAIN,
    ),
    Route("DELETE", ONE, delete_region, status=204, policy=ADMIN, rule="identity:delete_region", scopes=NO_DOMAIN),
]
