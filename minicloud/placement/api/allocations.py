"""Allocations, usages and the reshaper on the wire."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN_OR_SERVICE, READER, SERVICE
from minicloud.api.route import Call, Reply, Route
from minicloud.api.schema import OPTIONAL, REQUIRED, Field, Schema, Type, string
from minicloud.api.versions import Version
from minicloud.core.clock import stamp
from minicloud.core.errors import Forbidden, Invalid, NotFound
from minicloud.core.store import Db
from minicloud.placement import allocations, inventories, providers, usages
from minicloud.placement.allocations import UNNAMED, Claim
from minicloud.placement.api import queries
from minicloud.placement.api.freshness import fresh
from minicloud.placement.api.inventories import ALL_BODY, CLASS_NAME, read
from minicloud.placement.tables import CONSUMERS, PROVIDERS, Allocation

if TYPE_CHECKING:
    from minicloud.placement import Placement

UUID_KEY = "^[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}$"
RESOURCES: dict[str, Any] = {
    "type": "object",
    "minProperties": 1,
    "patternProperties": {CLASS_NAME: {"type": "integer", "minimum": 1}},
    "additionalProperties": False,
}
KIND = string(low=1, pattern=r"^[A-Z0-9_]+$")
GENERATION = Type({"type": ["integer", "null"]})
MAPPINGS = Type(
    {
        "type": "object",
        "minProperties": 1,
        "patternProperties": {
            r"^[a-zA-Z0-9_-]{0,64}$": {"type": "array", "minItems": 1, "items": {"type": "string", "format": "uuid"}}
        },
        "additionalProperties": False,
    }
)


def _by_provider(*, least: int) -> Type:
    entry = {
        "type": "object",
        "properties": {"generation": {"type": "integer"}, "resources": RESOURCES},
        "required": ["resources"],
        "additionalProperties": False,
    }
    return Type(
        {
            "type": "object",
            "minProperties": least,
            "patternProperties": {UUID_KEY: entry},
            "additionalProperties": False,
        }
    )


_LISTED = Type(
    {
        "type": "array",
        "minItems": 1,
        "items": {
            "type": "object",
            "properties": {
                "resource_provider": {
                    "type": "object",
                    "properties": {"uuid": {"type": "string", "format": "uuid"}},
                    "required": ["uuid"],
                    "additionalProperties": False,
                },
                "resources": RESOURCES,
            },
            "required": ["resource_provider", "resources"],
            "additionalProperties": False,
        },
    }
)


def _newest(body: dict[str, Any], version: Version) -> dict[str, Any]:
    """Before 1.12 allocations were a list."""
    if version >= (1, 12):
        return body
    listed = {one["resource_provider"]["uuid"]: {"resources": one["resources"]} for one in body["allocations"]}
    return {**body, "allocations": listed}


_OWNER = (
    Field("project_id", string(low=1), create=REQUIRED, update=REQUIRED, since=(1, 8)),
    Field("user_id", string(low=1), create=REQUIRED, update=REQUIRED, since=(1, 8)),
    Field("consumer_generation", GENERATION, create=REQUIRED, update=REQUIRED, since=(1, 28)),
    Field("consumer_type", KIND, create=REQUIRED, update=REQUIRED, since=(1, 38)),
    Field("mappings", MAPPINGS, create=OPTIONAL, update=OPTIONAL, since=(1, 34)),
)
BODY = Schema(
    "allocations",
    Field("allocations", _LISTED, update=REQUIRED, until=(1, 11)),
    Field("allocations", _by_provider(least=1), update=REQUIRED, since=(1, 12), until=(1, 27)),
    Field("allocations", _by_provider(least=0), update=REQUIRED, since=(1, 28)),
    *_OWNER,
    upgrade=_newest,
)
ENTRY = Schema("allocations", Field("allocations", _by_provider(least=0), create=REQUIRED), *_OWNER)


class _Several(Schema):
    """An object of consumers, each with allocations as `PUT` takes them."""

    def read(self, body: Any, mode: str, call: Call) -> dict[str, Any]:
        if not isinstance(body, dict) or not body:
            raise Invalid("Cannot read the body: JSON does not validate: it must be an object of consumers.")
        return {_consumer(one): ENTRY.read(entry, "create", call) for one, entry in body.items()}


class _Reshape(Schema):
    """Inventories by provider and allocations by consumer."""

    def read(self, body: Any, mode: str, call: Call) -> dict[str, Any]:
        if not isinstance(body, dict) or set(body) != {"inventories", "allocations"}:
            raise Invalid("Cannot read the body: JSON does not validate: it must have inventories and allocations.")
        if not isinstance(body["inventories"], dict) or not isinstance(body["allocations"], dict):
            raise Invalid("Cannot read the body: JSON does not validate: inventories and allocations must be objects.")
        return {
            "inventories": {
                queries.uuid_of(one, "uuid"): ALL_BODY.read(entry, "update", call)
                for one, entry in body["inventories"].items()
            },
            "allocations": {
                _consumer(one): ENTRY.read(entry, "create", call) for one, entry in body["allocations"].items()
            },
        }


SEVERAL, RESHAPE = _Several("allocations"), _Reshape("reshaper")


def _consumer(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise Invalid(f"Malformed consumer_uuid: {text[:80]!r} is no uuid, so JSON does not validate.") from None


def _claim(call: Call, consumer_id: str, body: Mapping[str, Any]) -> Claim:
    return Claim(
        consumer_id=consumer_id,
        wanted={str(uuid.UUID(one)): entry["resources"] for one, entry in body["allocations"].items()},
        project_id=body.get("project_id", UNNAMED),
        user_id=body.get("user_id", UNNAMED),
        kind=body.get("consumer_type"),
        generation=body.get("consumer_generation"),
        checked=call.at_least(1, 28),
    )


def _by_consumer(rows: Sequence[Allocation]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for row in rows:
        found[row.consumer_id][row.resource_class] = row.used
    return found


async def show_allocations(placement: Placement, call: Call) -> Reply:
    """All that a consumer has."""
    consumer_id = call.params["consumer_id"]
    rows = placement.store.read(allocations.of_consumer, consumer_id)
    if not rows:
        return fresh(call, placement.clock, {"allocations": {}})
    told: dict[str, dict[str, Any]] = {}
    for row in rows:
        generation = placement.store.read(providers.need, row.provider_id).generation
        told.setdefault(row.provider_id, {"generation": generation, "resources": {}})["resources"][
            row.resource_class
        ] = row.used
    body: dict[str, Any] = {"allocations": told}
    consumer = placement.store.read(CONSUMERS.need, consumer_id)
    if call.at_least(1, 12):
        body |= {"project_id": consumer.project_id, "user_id": consumer.user_id}
    if call.at_least(1, 28):
        body["consumer_generation"] = consumer.generation
    if call.at_least(1, 38):
        body["consumer_type"] = consumer.kind or usages.UNKNOWN
    return fresh(call, placement.clock, body, *(row.updated_at for row in rows))


async def set_allocations(placement: Placement, call: Call) -> None:
    """Set all that a consumer has."""
    claim = _claim(call, _consumer(call.params["consumer_id"]), call.body)
    await placement.store.write(allocations.replace_in, [claim], now=stamp(placement.clock.now()))


async def set_several(placement: Placement, call: Call) -> None:
    """Set all that several consumers have, or nothing."""
    claims = [_claim(call, one, entry) for one, entry in call.body.items()]
    await placement.store.write(allocations.replace_in, claims, now=stamp(placement.clock.now()))


async def delete_allocations(placement: Placement, call: Call) -> None:
    """Let go of all that a consumer has."""
    consumer_id = call.params["consumer_id"]
    if not await placement.store.write(allocations.release_in, consumer_id):
        raise NotFound(f"No allocations for consumer '{consumer_id}'.")


async def show_provider_allocations(placement: Placement, call: Call) -> Reply:
    """Everybody who has something of a provider."""
    provider = placement.store.read(providers.need, call.params["provider_id"])
    rows = placement.store.read(allocations.of_provider, provider.id)
    told: dict[str, dict[str, Any]] = {one: {"resources": parts} for one, parts in _by_consumer(rows).items()}
    if call.at_least(1, 28):
        for consumer_id, entry in told.items():
            entry["consumer_generation"] = placement.store.read(CONSUMERS.need, consumer_id).generation
    body = {"allocations": told, "resource_provider_generation": provider.generation}
    return fresh(call, placement.clock, body, *(row.updated_at for row in rows))


async def show_usages(placement: Placement, call: Call) -> Reply:
    """What a project (or one of its users) uses; from 1.38 on by type of consumer."""
    query = call.query
    queries.allow(query, ("project_id", "user_id", *(("consumer_type",) if call.at_least(1, 38) else ())))
    project_id, kind = query.get("project_id", ""), query.get("consumer_type")
    if "project_id" not in query:
        raise Invalid("Invalid query string parameters: 'project_id' is a required property.")
    for name in ("project_id", "user_id"):
        if not 1 <= len(query.get(name, "x")) <= 255:
            rule = "maxLength" if query[name] else "minLength"
            raise Invalid(
                f"Invalid query string parameters: {name} has 1 to 255 characters. Failed validating '{rule}'."
            )
    user_id = query.get("user_id")
    if kind is not None and kind not in ("all", usages.UNKNOWN) and not kind.replace("_", "A").isalnum():
        raise Invalid(f"Invalid query string parameters: consumer_type {kind[:80]!r} is no type.")
    if kind is not None and kind not in ("all", usages.UNKNOWN) and kind != kind.upper():
        raise Invalid(f"Invalid query string parameters: consumer_type {kind[:80]!r} does not match.")
    if not ADMIN_OR_SERVICE.allows(call.ctx) and call.ctx.project_id != project_id:
        raise Forbidden("Policy doesn't allow placement:usages to be performed.", code="placement:usages")
    found = placement.store.read(usages.of_project, project_id, user_id=user_id, kind=None if kind == "all" else kind)
    if not call.at_least(1, 38) or kind == "all":
        total: dict[str, int] = defaultdict(int)
        for one in found:
            for name, amount in one.resources.items():
                total[name] += amount
        if not call.at_least(1, 38):
            return fresh(call, placement.clock, {"usages": total})
        merged = {"all": {"consumer_count": sum(one.consumers for one in found), **total}} if found else {}
        return fresh(call, placement.clock, {"usages": merged})
    told = {one.kind: {"consumer_count": one.consumers, **one.resources} for one in found}
    return fresh(call, placement.clock, {"usages": told})


async def reshape(placement: Placement, call: Call) -> None:
    """Move inventories and allocations together, so that nobody loses anything in between."""
    body, now = call.body, stamp(placement.clock.now())
    claims = [_claim(call, one, entry) for one, entry in body["allocations"].items()]

    def change(db: Db) -> None:
        wanted = {}
        for provider_id, entry in body["inventories"].items():
            known = PROVIDERS.get(db, provider_id)
            if known is None:
                raise Invalid(
                    f"Resource provider {provider_id} in inventories does not exist.", code=allocations.NO_PROVIDER
                )
            providers.expect(db, provider_id, entry["resource_provider_generation"])
            wanted[provider_id] = [
                read(provider_id, name, one, call, now) for name, one in entry["inventories"].items()
            ]
        # first all that is old and new at once, so that allocations may move; then only what is new
        for provider_id, rows in wanted.items():
            kept = {one.resource_class for one in rows}
            old = [one for one in inventories.of_provider(db, provider_id) if one.resource_class not in kept]
            inventories.replace_in(db, provider_id, [*rows, *old], now=now)
        allocations.replace_in(db, claims, now=now)
        for provider_id, rows in wanted.items():
            inventories.replace_in(db, provider_id, rows, now=now)

    await placement.store.write(change)


ONE = "/allocations/{consumer_id}"
MAY, RULE = ADMIN_OR_SERVICE, "placement:allocations"
ROUTES = [
    Route("GET", ONE, show_allocations, policy=MAY, rule=f"{RULE}:list"),
    Route("PUT", ONE, set_allocations, body=BODY, status=204, policy=MAY, rule=f"{RULE}:update"),
    Route("DELETE", ONE, delete_allocations, status=204, policy=MAY, rule=f"{RULE}:delete"),
    Route("POST", "/allocations", set_several, body=SEVERAL, status=204, since=(1, 13), policy=MAY, rule=f"{RULE}:manage"),
    Route(
        "GET", "/resource_providers/{provider_id}/allocations", show_provider_allocations, policy=MAY,
        rule="placement:resource_providers:allocations:list",
    ),
    Route("GET", "/usages", show_usages, since=(1, 9), policy=ADMIN_OR_SERVICE | READER, rule="placement:usages"),
    Route("POST", "/reshaper", reshape, body=RESHAPE, status=204, since=(1, 30), policy=SERVICE, rule="placement:reshaper:reshape"),
]  # fmt: skip
