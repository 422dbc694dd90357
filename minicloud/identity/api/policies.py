"""`/v3/policies` (identity API v3, "Policies", deprecated there)."""

from __future__ import annotations

from minicloud.api.schema import OPTIONAL, REQUIRED, Field, Schema, Type
from minicloud.identity import policies
from minicloud.identity.api.fields import NAME64, NAME255, links
from minicloud.identity.api.resources import Resource

POLICY = Schema(
    "policy",
    Field("id", NAME64, out=True),
    Field("type", NAME255, out=True, create=REQUIRED, update=OPTIONAL),
    Field("blob", Type({"type": ["string", "object"]}), out=True, create=REQUIRED, update=OPTIONAL),
    links("policies"),
    plural="policies",
    extra=True,
    rest="extra",
)
ROUTES = Resource(POLICY, policies.POLICY, policies.create, filters=("type",)).routes()
