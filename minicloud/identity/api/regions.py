"""`/v3/regions` (identity API v3, "Regions"). Everybody may look; one is made by POST, or by PUT at an id of one's choice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN, ANYONE
from minicloud.api.route import Call, Route
from minicloud.api.schema import OPTIONAL, Field, Schema, nullable, string
from minicloud.core.errors import Invalid
from minicloud.identity import regions
from minicloud.identity.api.fields import TEXT, links
from minicloud.identity.api.resources import Resource
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


async def create_region(identity: Identity, call: Call) -> Region:
    """A new region."""
    return await regions.create(identity, region_id=call.body.get("id") or None, **RESOURCE.values(call))


async def create_region_at(identity: Identity, call: Call) -> Region:
    """A new region with the id in the path."""
    if call.body.get("id", RESOURCE.key(call)) != RESOURCE.key(call):
        raise Invalid("Cannot create the region: the id in the body is not the one in the path.")
    return await regions.create(identity, region_id=RESOURCE.key(call), **RESOURCE.values(call))


RESOURCE = Resource(
    REGION,
    regions.REGION,
    regions.create,
    filters=("parent_region_id",),
    texts=("description",),
    read=ANYONE,
    read_scopes=None,
)
MADE: dict[str, Any] = {"body": REGION, "view": REGION, "status": 201, "policy": ADMIN, "scopes": NO_DOMAIN}
ROUTES = [
    *RESOURCE.routes(create_at=create_region_at),
    Route("POST", "/regions", create_region, rule="identity:create_region", **MADE),
]
