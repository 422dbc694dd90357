"""`/v3/services` (identity API v3, "Service catalog and endpoints")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicloud.api.policy import ADMIN, ADMIN_OR_SYSTEM_READER
from minicloud.api.route import Call, Listed, Route
from minicloud.api.schema import OPTIONAL, REQUIRED, STRICT_BOOLEAN, Field, Schema, string
from minicloud.identity import services
from minicloud.identity.api.fields import NAME64, TEXT, links, values_of
from minicloud.identity.api.lists import page
from minicloud.identity.api.rules import NO_DOMAIN
from minicloud.identity.tables import CatalogService

if TYPE_CHECKING:
    from minicloud.identity import Identity

SERVICE = Schema(
    "service",
    Field("id", NAME64, out=True),
    Field("type", string(low=1, high=255, pattern=r"\S"), out=True, create=REQUIRED, update=OPTIONAL),
    Field("name", string(low=0, high=255), out=True, create=OPTIONAL, update=OPTIONAL),
    Field("description", TEXT, out=True, create=OPTIONAL, update=OPTIONAL),
    Field("enabled", STRICT_BOOLEAN, out=True, create=OPTIONAL, update=OPTIONAL),
    links("services"),
    extra=True,
    rest="extra",
)


async def list_services(identity: Identity, call: Call) -> Listed:
    """All services of the catalogue."""
    return page(call, services.listed(identity), "type", "name")


async def create_service(identity: Identity, call: Call) -> CatalogService:
    """A new service."""
    values = values_of(SERVICE, call.body)
    values["description"] = values.get("description") or ""
    return await services.create(identity, **values)


async def show_service(identity: Identity, call: Call) -> CatalogService:
    """One service."""
    return services.show(identity, call.params["service_id"])


async def update_service(identity: Identity, call: Call) -> CatalogService:
    """Change a service."""
    values = values_of(SERVICE, call.body)
    if "description" in values:
        values["description"] = values["description"] or ""
    return await services.update(identity, call.params["service_id"], values)


async def delete_service(identity: Identity, call: Call) -> None:
    """Remove a service and its endpoints."""
    await services.delete(identity, call.params["service_id"])


ONE, READ = "/services/{service_id}", ADMIN_OR_SYSTEM_READER
ROUTES = [
    Route(
        "GET",
        "/services",
        list_services,
        view=SERVICE,
        many=True,
        policy=READ,
        rule="identity:list_services",
        scopes=NO_DOMAIN,
    ),
    Route(
        "POST",
        "/services",
        create_service,
        body=SERVICE,
        view=SERVICE,
        status=201,
        policy=ADMIN,
        rule="identity:create_service",
        scopes=NO_DOMAIN,
    ),
    Route("GET", ONE, show_service, view=SERVICE, policy=READ, rule="identity:get_service", scopes=NO_DOMAIN),
    Route(
        "PATCH",
        ONE,
        update_service,
        body=SERVICE,
        view=SERVICE,
        policy=ADMIN,
        rule="identity:update_service",
        scopes=NO_DOMAIN,
    ),
    Route("DELETE", ONE, delete_service, status=204, policy=ADMIN, rule="identity:delete_service", scopes=NO_DOMAIN),
]
