"""Placement's wire: every answer is bare JSON, errors are a list, and a generation guards every write."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicloud.api import faults
from minicloud.api.dialect import Dialect, Microversions
from minicloud.api.policy import PUBLIC
from minicloud.api.route import Call, Reply, Route
from minicloud.api.versions import printed
from minicloud.placement.api import (
    allocations,
    candidates,
    inventories,
    phrases,
    resource_classes,
    resource_providers,
    traits,
)
from minicloud.placement.api.freshness import fresh

if TYPE_CHECKING:
    from minicloud.placement import Placement

MICROVERSIONS = Microversions("placement", low=(1, 0), high=(1, 39), default=(1, 0), from_zero=True)


async def show_versions(placement: Placement, call: Call) -> Reply:
    """Which microversions are spoken; without a token."""
    told = {
        "id": "v1.0",
        "min_version": printed(MICROVERSIONS.low),
        "max_version": printed(MICROVERSIONS.high),
        "status": "CURRENT",
        "links": [{"rel": "self", "href": ""}],
    }
    return fresh(call, placement.clock, {"versions": [told]})


DIALECT = Dialect(
    service="placement",
    scopes=("project",),
    root="",
    fault=faults.placement,
    unknown_route=faults.placement,
    envelope=False,
    unfit=phrases.unfit,
    microversions=MICROVERSIONS,
    only_json=True,
    vary="openstack-api-version",
    catalog=(("placement", ""),),
)
ROUTES: list[Route] = [
    Route("GET", "/", show_versions, policy=PUBLIC, rule="-"),
    *resource_providers.ROUTES,
    *inventories.ROUTES,
    *allocations.ROUTES,
    *candidates.ROUTES,
    *traits.ROUTES,
    *resource_classes.ROUTES,
]
