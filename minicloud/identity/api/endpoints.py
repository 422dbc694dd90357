"""`/v3/endpoints` (identity API v3, "Service catalog and endpoints")."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from minicloud.api.route import Call
from minicloud.api.schema import OPTIONAL, REQUIRED, STRICT_BOOLEAN, Field, Schema, nullable, string
from minicloud.identity import endpoints
from minicloud.identity.api.fields import NAME64, links, origin
from minicloud.identity.api.resources import Resource
from minicloud.identity.catalog import INTERFACES, shown_url
from minicloud.identity.tables import Endpoint

if TYPE_CHECKING:
    from minicloud.identity import Identity

REGION = nullable(string(low=1, high=255))
ENDPOINT = Schema(
    "endpoint",
    Field("id", NAME64, out=True),
    Field("interface", string(enum=INTERFACES), out=True, create=REQUIRED, update=OPTIONAL),
    Field("region_id", REGION, out=True, create=OPTIONAL, update=OPTIONAL),
    Field("region", REGION, attr="region_id", out=True, create=OPTIONAL, update=OPTIONAL),
    Field("service_id", NAME64, out=True, create=REQUIRED, update=OPTIONAL),
    Field("url", string(low=1, high=2048, pattern=r"\S"), out=True, create=REQUIRED, update=OPTIONAL),
    Field("enabled", STRICT_BOOLEAN, out=True, create=OPTIONAL, update=OPTIONAL),
    links("endpoints"),
    extra=True,
    rest="extra",
)


def _taken(values: dict[str, Any]) -> dict[str, Any]:
    """`region` is an old name of `region_id`."""
    region = values.pop("region", None)
    return values if region is None else {"region_id": region, **values}


def told(identity: Identity, call: Call, row: Endpoint) -> Endpoint:
    """The cloud's own URLs are told as this client reaches them."""
    return dataclasses.replace(row, url=shown_url(row.url, origin(identity, call)))


ROUTES = Resource(
    ENDPOINT,
    endpoints.ENDPOINT,
    endpoints.create,
    filters=("interface", "service_id", "region_id", "enabled"),
    taken=_taken,
    shown=told,
).routes()
