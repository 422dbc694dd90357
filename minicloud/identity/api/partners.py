"""`/v3/OS-FEDERATION/{identity_providers,mappings,service_providers}` and `/v3/OS-OAUTH1/consumers` (identity API v3 extensions,
"OS-FEDERATION" and "OS-OAUTH1"): those that are set up. Logging in by them is not offered.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN, ADMIN_OR_SYSTEM_READER
from minicloud.api.route import Call, Handler, Listed, Route
from minicloud.api.schema import (
    MISSING,
    OBJECT,
    OPTIONAL,
    REQUIRED,
    STRICT_BOOLEAN,
    Field,
    Schema,
    Type,
    array,
    integer,
    nullable,
    string,
)
from minicloud.identity import partners
from minicloud.identity.api.fields import NAME64, NAME255, TEXT, values_of
from minicloud.identity.api.lists import page
from minicloud.identity.api.resources import Resource
from minicloud.identity.api.rules import NO_DOMAIN
from minicloud.identity.partners import IDENTITY_PROVIDER, PROTOCOL, key_of
from minicloud.identity.tables import Consumer, IdentityProvider, Mapping, Protocol, ServiceProvider

if TYPE_CHECKING:
    from minicloud.identity import Identity

FEDERATION = "/OS-FEDERATION"
PROVIDERS, CONSUMERS = f"{FEDERATION}/identity_providers", "/OS-OAUTH1/consumers"
URL = string(low=1, high=225, pattern=r"^https?://[^\s/.?#]\S*$")
RULES = array(
    Type(
        {
            "type": "object",
            "required": ["local", "remote"],
            "properties": {
                "local": {"type": "array", "items": {"type": "object"}},
                "remote": {
                    "type": "array",
                    "minItems": 1,
                    "items": {"type": "object", "required": ["type"], "properties": {"type": NAME255.schema}},
                },
            },
            "additionalProperties": False,
        }
    ),
    low=1,
    high=200,
)


def _links(place: str) -> Field:
    return Field("links", OBJECT, attr=lambda row, call: {"self": f"{call.root}{place}/{row.id}"}, out=True)


def _provider_links(row: Any, call: Call) -> dict[str, str]:
    own = f"{call.root}{PROVIDERS}/{row.id}"
    return {"self": own, "protocols": f"{own}/protocols"}


IDENTITY_PROVIDER_SCHEMA = Schema(
    "identity_provider",
    Field("id", NAME64, out=True, create=OPTIONAL),
    Field("description", TEXT, out=True, create=OPTIONAL, update=OPTIONAL),
    Field("enabled", STRICT_BOOLEAN, out=True, create=OPTIONAL, update=OPTIONAL),
    Field("domain_id", NAME64, out=True, create=OPTIONAL, update=OPTIONAL),
    Field(
        "remote_ids",
        array(string(low=1), high=100, unique=True),
        attr=lambda row, call: list(row.remote_ids),
        out=True,
        create=OPTIONAL,
        update=OPTIONAL,
    ),
    Field("authorization_ttl", nullable(integer(low=0, high=2**31)), out=True, create=OPTIONAL, update=OPTIONAL),
    Field("links", OBJECT, attr=_provider_links, out=True),
)
MAPPING_SCHEMA = Schema(
    "mapping",
    Field("id", NAME64, out=True, create=OPTIONAL),
    Field("rules", RULES, attr=lambda row, call: list(row.rules), out=True, create=REQUIRED, update=REQUIRED),
    Field("schema_version", nullable(string(enum=("1.0", "2.0"))), out=True, create=OPTIONAL, update=OPTIONAL),
    _links(f"{FEDERATION}/mappings"),
)
SERVICE_PROVIDER_SCHEMA = Schema(
    "service_provider",
    Field("id", NAME64, out=True, create=OPTIONAL),
    Field("auth_url", URL, out=True, create=REQUIRED, update=OPTIONAL),
    Field("sp_url", URL, out=True, create=REQUIRED, update=OPTIONAL),
    Field("description", TEXT, out=True, create=OPTIONAL, update=OPTIONAL),
    Field("enabled", STRICT_BOOLEAN, out=True, create=OPTIONAL, update=OPTIONAL),
    Field("relay_state_prefix", string(high=256), out=True, create=OPTIONAL, update=OPTIONAL),
    _links(f"{FEDERATION}/service_providers"),
)
PROTOCOL_SCHEMA = Schema(
    "protocol",
    Field("id", NAME64, out=True, create=OPTIONAL),
    Field("mapping_id", NAME64, out=True, create=REQUIRED, update=REQUIRED),
    Field(
        "links",
        OBJECT,
        attr=lambda row, call: {
            "self": f"{call.root}{PROVIDERS}/{row.provider_id}/protocols/{row.id}",
            "identity_provider": f"{call.root}{PROVIDERS}/{row.provider_id}",
        },
        out=True,
    ),
)
CONSUMER_SCHEMA = Schema(
    "consumer",
    Field("id", NAME64, out=True, create=OPTIONAL),
    Field("description", TEXT, out=True, create=OPTIONAL, update=OPTIONAL),
    Field("secret", TEXT, attr=lambda row, call: row.sealed if call.request.method == "POST" else MISSING, out=True),
    _links(CONSUMERS),
    extra=Type({"type": ["string", "number", "boolean", "null", "object", "array"]}),
    rest="extra",
)


async def create_identity_provider(identity: Identity, call: Call) -> IdentityProvider:
    """Make one identity provider known."""
    return await partners.create_identity_provider(
        identity, provider_id=call.params["idp_id"], **values_of(IDENTITY_PROVIDER_SCHEMA, call.body)
    )


async def create_mapping(identity: Identity, call: Call) -> Mapping:
    """Keep one mapping."""
    return await partners.create_mapping(
        identity, mapping_id=call.params["mapping_id"], **values_of(MAPPING_SCHEMA, call.body)
    )


async def create_service_provider(identity: Identity, call: Call) -> ServiceProvider:
    """Make one other cloud known."""
    return await partners.create_service_provider(
        identity, provider_id=call.params["service_provider_id"], **values_of(SERVICE_PROVIDER_SCHEMA, call.body)
    )


# --- protocols -------------------------------------------------------------------------------------------------------


def _key(call: Call) -> str:
    return key_of(call.params["idp_id"], call.params["protocol_id"])


async def list_protocols(identity: Identity, call: Call) -> Listed:
    """List the protocols of an identity provider."""
    row = IDENTITY_PROVIDER.show(identity, call.params["idp_id"])
    return page(call, PROTOCOL.listed(identity, "provider_id = ?", (row.id,)), "id", "mapping_id")


async def create_protocol(identity: Identity, call: Call) -> Protocol:
    """Give an identity provider a protocol."""
    provider_id, protocol_id = call.params["idp_id"], call.params["protocol_id"]
    return await partners.create_protocol(
        identity, provider_id=provider_id, protocol_id=protocol_id, mapping_id=call.body["mapping_id"]
    )


async def show_protocol(identity: Identity, call: Call) -> Protocol:
    """Show a protocol of an identity provider."""
    return PROTOCOL.show(identity, _key(call))


async def update_protocol(identity: Identity, call: Call) -> Protocol:
    """Have a protocol use another mapping."""
    return await PROTOCOL.update(identity, _key(call), values_of(PROTOCOL_SCHEMA, call.body))


async def delete_protocol(identity: Identity, call: Call) -> None:
    """Take a protocol from an identity provider."""
    await PROTOCOL.delete(identity, _key(call))


def _route(method: str, path: str, handler: Handler, rule: str, **more: Any) -> Route:
    policy = ADMIN_OR_SYSTEM_READER if method == "GET" else ADMIN
    return Route(method, path, handler, policy=policy, rule=f"identity:{rule}", scopes=NO_DOMAIN, **more)


def _opened(identity: Identity, call: Call, row: Consumer) -> Consumer:
    return dataclasses.replace(row, sealed=partners.secret_of(identity, row))


MANY, ONE = f"{PROVIDERS}/{{idp_id}}/protocols", f"{PROVIDERS}/{{idp_id}}/protocols/{{protocol_id}}"
WHOLE: dict[str, Any] = {"body": PROTOCOL_SCHEMA, "view": PROTOCOL_SCHEMA}
ROUTES = [
    *Resource(
        IDENTITY_PROVIDER_SCHEMA,
        IDENTITY_PROVIDER,
        partners.create_identity_provider,
        filters=("id", "enabled"),
        path=PROVIDERS,
        parameter="idp_id",
    ).routes(create_at=create_identity_provider),
    _route("GET", MANY, list_protocols, "list_protocols", view=PROTOCOL_SCHEMA, many=True),
    _route("PUT", ONE, create_protocol, "create_protocol", status=201, mode="create", **WHOLE),
    _route("GET", ONE, show_protocol, "get_protocol", view=PROTOCOL_SCHEMA),
    _route("PATCH", ONE, update_protocol, "update_protocol", **WHOLE),
    _route("DELETE", ONE, delete_protocol, "delete_protocol", status=204),
    *Resource(MAPPING_SCHEMA, partners.MAPPING, partners.create_mapping, path=f"{FEDERATION}/mappings").routes(
        create_at=create_mapping
    ),
    *Resource(
        SERVICE_PROVIDER_SCHEMA,
        partners.SERVICE_PROVIDER,
        partners.create_service_provider,
        filters=("id", "enabled"),
        path=f"{FEDERATION}/service_providers",
    ).routes(create_at=create_service_provider),
    *Resource(CONSUMER_SCHEMA, partners.CONSUMER, partners.create_consumer, path=CONSUMERS, shown=_opened).routes(),
]
