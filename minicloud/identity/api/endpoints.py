"""`/v3/endpoints` (identity API v3, "Service catalog and endpoints")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN, ADMIN_OR_SYSTEM_READER
from minicloud.api.route import Call, Route
from minicloud.api.schema import OPTIONAL, REQUIRED, STRICT_BOOLEAN, Field, Schema, nullable, string
from minicloud.identity import endpoints
from minicloud.identity.api.fields import NAME64, links, origin, values_of
from minicloud.identity.api.lists import page
from minicloud.identity.api.rules import NO_DOMAIN
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
VIEW_KEY, LIST_KEY = ENDPOINT.name, ENDPOINT.plural


def _told(identity: Identity, call: Call, row: Endpoint) -> dict[str, Any]:
    """The cloud's own URLs are told as this client reaches them."""
    return {**ENDPOINT.view(row, call), "url": shown_url(row.url, origin(identity, call))}


def _values(call: Call) -> dict[str, Any]:
    """`region` is an old name of `region_id`."""
    values = values_of(ENDPOINT, call.body)
    region = values.pop("region", None)
    if region is not None:
        values.setdefault("region_id", region)
    return values


async def list_endpoints(identity: Identity, call: Call) -> dict[str, Any]:
    """All endpoints."""
    found = page(call, endpoints.listed(identity), "interface", "service_id", "region_id", "enabled")
    rows = [_told(identity, call, row) for row in found.rows]
    return {LIST_KEY: rows, **call.dialect.list_extra(call, LIST_KEY, found)}


async def create_endpoint(identity: Identity, call: Call) -> dict[str, Any]:
    """A new endpoint."""
    return {VIEW_KEY: _told(identity, call, await endpoints.create(identity, **_values(call)))}


async def show_endpoint(identity: Identity, call: Call) -> dict[str, Any]:
    """One endpoint."""
    return {VIEW_KEY: _told(identity, call, endpoints.show(identity, call.params["endpoint_id"]))}


async def update_endpoint(identity: Identity, call: Call) -> dict[str, Any]:
    """Change an endpoint."""
    return {
        VIEW_KEY: _told(identity, call, await endpoints.update(identity, call.params["endpoint_id"], _values(call)))
    }


async def delete_endpoint(identity: Identity, call: Call) -> None:
    """Remove an endpoint."""
    await endpoints.delete(identity, call.params["endpoint_id"])


ONE, READ = "/endpoints/{endpoint_id}", ADMIN_OR_SYSTEM_READER
ROUTES = [
    Route("GET", "/endpoints", list_endpoints, policy=READ, rule="identity:list_endpoints", scopes=NO_DOMAIN),
    Route(
        "POST",
        "/endpoints",
        create_endpoint,
        body=ENDPOINT,
        status=201,
        policy=ADMIN,
        rule="identity:create_endpoint",
        scopes=NO_DOMAIN,
    ),
    Route("GET", ONE, show_endpoint, policy=READ, rule="identity:get_endpoint", scopes=NO_DOMAIN),
    Route(
        "PATCH", ONE, update_endpoint, body=ENDPOINT, policy=ADMIN, rule="identity:update_endpoint", scopes=NO_DOMAIN
    ),
    Route("DELETE", ONE, delete_endpoint, status=204, policy=ADMIN, rule="identity:delete_endpoint", scopes=NO_DOMAIN),
]
