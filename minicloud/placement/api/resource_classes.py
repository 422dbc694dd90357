"""Resource classes on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN_OR_SERVICE
from minicloud.api.route import Call, Reply, Route
from minicloud.api.schema import REQUIRED, Field, Schema, Type
from minicloud.core.clock import stamp
from minicloud.core.errors import Conflict, Invalid
from minicloud.core.store import Db
from minicloud.placement import resource_classes
from minicloud.placement.api.freshness import fresh

if TYPE_CHECKING:
    from minicloud.placement import Placement

NAME = Type({"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^CUSTOM_[A-Z0-9_]+$"})
BODY = Schema("resource_class", Field("name", NAME, create=REQUIRED, update=REQUIRED))


def _shown(call: Call, name: str) -> dict[str, Any]:
    return {"name": name, "links": [{"rel": "self", "href": f"{call.dialect.prefix}/resource_classes/{name}"}]}


async def list_classes(placement: Placement, call: Call) -> Reply:
    """All resource classes."""
    found = placement.store.read(resource_classes.listed)
    body = {"resource_classes": [_shown(call, name) for name, _ in found]}
    return fresh(call, placement.clock, body, *(at for _, at in found))


async def show_class(placement: Placement, call: Call) -> Reply:
    """One resource class."""
    name = call.params["name"]
    at = placement.store.read(resource_classes.made_at, name)
    return fresh(call, placement.clock, _shown(call, name), at)


async def create_class(placement: Placement, call: Call) -> Reply:
    """Add a custom class."""
    name = call.body["name"]
    if not await placement.store.write(resource_classes.make_in, name, now=stamp(placement.clock.now())):
        raise Conflict(f"Conflicting resource class already exists: {name}.")
    return Reply(None, status=201, headers={"Location": f"{call.base}/resource_classes/{name}"})


async def make_class(placement: Placement, call: Call) -> Reply:
    """Add a custom class; there already is fine."""
    name = call.params["name"]
    if not resource_classes.CUSTOM.match(name):
        raise Invalid(
            f"JSON does not validate: {name[:300]!r} does not match {resource_classes.CUSTOM.pattern!r}: a name is CUSTOM_ and then A-Z, 0-9 and _. Failed validating '{'maxLength' if len(name) > 255 else 'pattern'}'"
        )
    new = await placement.store.write(resource_classes.make_in, name, now=stamp(placement.clock.now()))
    return Reply(None, status=201 if new else 204, headers={"Location": f"{call.base}/resource_classes/{name}"})


async def rename_class(placement: Placement, call: Call) -> Reply:
    """Rename a custom class (before 1.7)."""
    name, new = call.params["name"], call.body["name"]

    def change(db: Db) -> None:
        resource_classes.made_at(db, name)
        resource_classes.rename_in(db, name, new)

    await placement.store.write(change)
    return fresh(call, placement.clock, _shown(call, new))


async def delete_class(placement: Placement, call: Call) -> None:
    """Remove a custom class that no provider has."""
    await placement.store.write(resource_classes.remove_in, call.params["name"])


ALL, ONE = "/resource_classes", "/resource_classes/{name}"
MAY, RULE = ADMIN_OR_SERVICE, "placement:resource_classes"
ROUTES = [
    Route("GET", ALL, list_classes, since=(1, 2), policy=MAY, rule=f"{RULE}:list"),
    Route("POST", ALL, create_class, body=BODY, status=201, since=(1, 2), policy=MAY, rule=f"{RULE}:create"),
    Route("GET", ONE, show_class, since=(1, 2), policy=MAY, rule=f"{RULE}:show"),
    Route("PUT", ONE, rename_class, body=BODY, since=(1, 2), until=(1, 6), policy=MAY, rule=f"{RULE}:update"),
    Route("PUT", ONE, make_class, status=201, since=(1, 7), policy=MAY, rule=f"{RULE}:update"),
    Route("DELETE", ONE, delete_class, status=204, since=(1, 2), policy=MAY, rule=f"{RULE}:delete"),
]
