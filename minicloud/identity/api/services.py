"""`/v3/services` (identity API v3, "Service catalog and endpoints")."""

from __future__ import annotations

from minicloud.api.schema import OPTIONAL, REQUIRED, STRICT_BOOLEAN, Field, Schema, string
from minicloud.identity import services
from minicloud.identity.api.fields import NAME64, TEXT, links
from minicloud.identity.api.resources import Resource

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
ROUTES = Resource(SERVICE, services.SERVICE, services.create, filters=("type", "name"), texts=("description",)).routes()
