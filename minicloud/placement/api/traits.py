"""Traits on the wire: the names, and those of a provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicloud.api.policy import ADMIN_OR_SERVICE
from minicloud.api.route import Call, Reply, Route
from minicloud.api.schema import REQUIRED, Field, Schema, Type
from minicloud.core.clock import stamp
from minicloud.core.errors import Invalid
from minicloud.core.store import Db
from minicloud.placement import providers, traits
from minicloud.placement.api import queries
from minicloud.placement.api.freshness import fresh

if TYPE_CHECKING:
    from minicloud.placement import Placement

BODY = Schema(
    "traits",
    Field("resource_provider_generation", Type({"type": "integer"}), update=REQUIRED),
    Field(
        "traits",
        Type(
            {
                "type": "array",
                "uniqueItems": True,
                "items": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[A-Z0-9_]+$"},
            }
        ),
        update=REQUIRED,
    ),
)


async def list_traits(placement: Placement, call: Call) -> Reply:
    """All traits, those of some names, or those that are (not) in use."""
    queries.allow(call.query, ("name", "associated"))
    found = placement.store.read(traits.listed)
    if "name" in call.query:
        operator, _, rest = call.query["name"].partition(":")
        if operator == "in" and rest:
            wanted = set(rest.split(","))
            found = [one for one in found if one[0] in wanted]
        elif operator == "startswith":
            found = [one for one in found if one[0].startswith(rest)]
        else:
            raise Invalid(
                'Badly formatted name parameter. Expected name query string parameter in form: ?name=[in|startswith]:[name1,name2|prefix]. Got: "'
                + call.query["name"][:80]
                + '"'
            )
    if "associated" in call.query:
        text = call.query["associated"].lower()
        if text not in ("true", "false"):
            raise Invalid(f'The query parameter "associated" only accepts "true" or "false", not {text[:40]!r}.')
        used = placement.store.read(traits.in_use)
        found = [one for one in found if (one[0] in used) == (text == "true")]
    return fresh(call, placement.clock, {"traits": [name for name, _ in found]}, *(at for _, at in found))


async def show_trait(placement: Placement, call: Call) -> Reply:
    """Whether there is such a trait."""
    at = placement.store.read(traits.made_at, call.params["name"])
    return Reply(None, status=204, headers=fresh(call, placement.clock, None, at).headers)


async def make_trait(placement: Placement, call: Call) -> Reply:
    """Add a custom trait; there already is fine."""
    name = call.params["name"]
    if not traits.CUSTOM.match(name):
        raise Invalid(
            'The trait is invalid. A valid trait must be no longer than 255 characters, start with the prefix "CUSTOM_" and use '
            'following characters: "A"-"Z", "0"-"9" and "_"'
        )
    new = await placement.store.write(traits.make_in, name, now=stamp(placement.clock.now()))
    headers = {"Location": f"{call.base}/traits/{name}", **fresh(call, placement.clock, None).headers}
    return Reply(None, status=201 if new else 204, headers=headers)


async def delete_trait(placement: Placement, call: Call) -> None:
    """Remove a custom trait that no provider has."""
    await placement.store.write(traits.remove_in, call.params["name"])


def _of_provider(placement: Placement, call: Call) -> Reply:
    provider = placement.store.read(providers.need, call.params["provider_id"])
    names = placement.store.read(traits.of_provider, provider.id)
    body = {"traits": names, "resource_provider_generation": provider.generation}
    return fresh(call, placement.clock, body, provider.updated_at)


async def list_provider_traits(placement: Placement, call: Call) -> Reply:
    """What a provider is like."""
    return _of_provider(placement, call)


async def set_provider_traits(placement: Placement, call: Call) -> Reply:
    """Give a provider exactly these traits."""
    provider_id, body = call.params["provider_id"], call.body

    def change(db: Db) -> None:
        providers.expect(db, provider_id, body["resource_provider_generation"])
        traits.need(db, body["traits"])
        traits.assign_in(db, provider_id, body["traits"], now=stamp(placement.clock.now()))

    await placement.store.write(change)
    return _of_provider(placement, call)


async def delete_provider_traits(placement: Placement, call: Call) -> None:
    """Take all traits of a provider away."""
    provider_id = call.params["provider_id"]

    def change(db: Db) -> None:
        providers.need(db, provider_id)
        traits.assign_in(db, provider_id, (), now=stamp(placement.clock.now()))

    await placement.store.write(change)


ONE, OF = "/traits/{name}", "/resource_providers/{provider_id}/traits"
MAY, SINCE, RULE = ADMIN_OR_SERVICE, (1, 6), "placement:resource_providers:traits"
ROUTES = [
    Route("GET", "/traits", list_traits, since=SINCE, policy=MAY, rule="placement:traits:list"),
    Route("GET", ONE, show_trait, status=204, since=SINCE, policy=MAY, rule="placement:traits:show"),
    Route("PUT", ONE, make_trait, status=201, since=SINCE, policy=MAY, rule="placement:traits:update"),
    Route("DELETE", ONE, delete_trait, status=204, since=SINCE, policy=MAY, rule="placement:traits:delete"),
    Route("GET", OF, list_provider_traits, since=SINCE, policy=MAY, rule=f"{RULE}:list"),
    Route("PUT", OF, set_provider_traits, body=BODY, since=SINCE, policy=MAY, rule=f"{RULE}:update"),
    Route("DELETE", OF, delete_provider_traits, status=204, since=SINCE, policy=MAY, rule=f"{RULE}:delete"),
]
