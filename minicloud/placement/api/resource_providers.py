"""Resource providers and their aggregates on the wire."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN_OR_SERVICE
from minicloud.api.route import Call, Reply, Route
from minicloud.api.schema import NATURAL, OPTIONAL, REQUIRED, UUID, Field, Schema, Type, array, nullable, string
from minicloud.core.clock import stamp
from minicloud.core.errors import Invalid
from minicloud.core.store import Db
from minicloud.placement import providers
from minicloud.placement.api import queries
from minicloud.placement.api.freshness import fresh
from minicloud.placement.candidates import Forest
from minicloud.placement.tables import PROVIDERS, Provider

if TYPE_CHECKING:
    from minicloud.placement import Placement

PARENT = nullable(UUID)
NAME = string(low=1, high=200)
BODY = Schema(
    "resource_provider",
    Field("name", NAME, create=REQUIRED, update=REQUIRED),
    Field("uuid", UUID, create=OPTIONAL),
    Field("parent_provider_uuid", PARENT, create=OPTIONAL, update=OPTIONAL, since=(1, 14)),
)
AGGREGATE_LIST: Type = array(UUID, unique=True)
AGGREGATES = Schema(
    "aggregates",
    Field("aggregates", AGGREGATE_LIST, update=REQUIRED),
    Field("resource_provider_generation", NATURAL, update=REQUIRED),
)


def shown(call: Call, row: Provider) -> dict[str, Any]:
    """A provider as replies show it."""
    here = f"{call.dialect.prefix}/resource_providers/{row.id}"
    kinds = ["inventories", "usages"]
    kinds += [
        name for name, since in (("aggregates", 1), ("traits", 6), ("allocations", 11)) if call.at_least(1, since)
    ]
    told: dict[str, Any] = {"uuid": row.id, "name": row.name, "generation": row.generation}
    if call.at_least(1, 14):
        told |= {"parent_provider_uuid": row.parent_id, "root_provider_uuid": row.root_id}
    told["links"] = [{"rel": "self", "href": here}, *({"rel": kind, "href": f"{here}/{kind}"} for kind in kinds)]
    return told


async def list_providers(placement: Placement, call: Call) -> Reply:
    """Providers, narrowed by name, aggregates, free resources, tree and traits."""
    rows = placement.store.read(_filtered, call)
    stamps = [row.updated_at for row in rows]
    return fresh(call, placement.clock, {"resource_providers": [shown(call, row) for row in rows]}, *stamps)


def _filtered(db: Db, call: Call) -> list[Provider]:
    query, at = call.query, call.at_least
    gates = {"name": 0, "uuid": 0, "member_of": 3, "resources": 4, "in_tree": 14, "required": 18}
    queries.allow(query, {name for name, since in gates.items() if at(1, since)})
    if len(query.getall("member_of", [])) > 1 and not at(1, 24):
        raise Invalid(queries.MULTIPLE_MEMBER_OF)
    clauses, values = ["1"], []
    if "name" in query:
        clauses.append("name = ?")
        values.append(query["name"])
    if "uuid" in query:
        clauses.append("id = ?")
        values.append(queries.uuid_of(query["uuid"], "uuid"))
    if "in_tree" in query:
        clauses.append("root_id = (SELECT root_id FROM placement_providers WHERE id = ?)")
        values.append(queries.uuid_of(query["in_tree"], "in_tree"))
    wanted, unwanted = queries.member_of(query.getall("member_of", []), forbidding=at(1, 32))
    texts = query.getall("required", []) if at(1, 39) else queries.one_of(query, "required")
    traits, forbidden = queries.required(db, texts, forbidding=at(1, 22), any_of=at(1, 39))
    amounts = queries.resources(db, query["resources"]) if "resources" in query else {}
    rows = PROVIDERS.where(db, " AND ".join(clauses), values, order="rowid")
    if not (wanted or unwanted or traits or forbidden or amounts):
        return rows
    nodes = Forest(db).nodes
    return [
        row
        for row in rows
        if all(nodes[row.id].aggregates & one for one in wanted)
        and not nodes[row.id].aggregates & unwanted
        and all(nodes[row.id].traits & one for one in traits)
        and not nodes[row.id].traits & forbidden
        and all(nodes[row.id].fits(name, amount) for name, amount in amounts.items())
    ]


async def create_provider(placement: Placement, call: Call) -> Reply:
    """Add a provider."""
    body, now = call.body, stamp(placement.clock.now())
    provider_id = str(uuid.UUID(body["uuid"])) if "uuid" in body else str(uuid.uuid4())
    parent = body.get("parent_provider_uuid")
    row = await placement.store.write(
        providers.make_in, provider_id, body["name"], now=now, parent_id=parent and str(uuid.UUID(parent))
    )
    location = f"{call.base}/resource_providers/{row.id}"
    if call.at_least(1, 20):
        return fresh(call, placement.clock, shown(call, row), row.updated_at, status=200, location=location)
    return Reply(None, status=201, headers={"Location": location})


async def show_provider(placement: Placement, call: Call) -> Reply:
    """One provider."""
    row = placement.store.read(providers.need, call.params["provider_id"])
    return fresh(call, placement.clock, shown(call, row), row.updated_at)


async def update_provider(placement: Placement, call: Call) -> Reply:
    """Rename or move a provider."""
    provider_id, body = call.params["provider_id"], call.body

    def change(db: Db) -> Provider:
        known = providers.need(db, provider_id)
        parent = body.get("parent_provider_uuid", known.parent_id)
        return providers.change_in(
            db, provider_id, body["name"], now=stamp(placement.clock.now()),
            parent_id=parent and str(uuid.UUID(parent)), may_move=call.at_least(1, 37),
        )  # fmt: skip

    row = await placement.store.write(change)
    return fresh(call, placement.clock, shown(call, row), row.updated_at)


async def delete_provider(placement: Placement, call: Call) -> None:
    """Remove a provider that nobody uses."""
    await placement.store.write(providers.remove_in, call.params["provider_id"])


def _aggregates(placement: Placement, call: Call, row: Provider) -> Reply:
    body: dict[str, Any] = {"aggregates": placement.store.read(providers.aggregates_of, row.id)}
    if call.at_least(1, 19):
        body["resource_provider_generation"] = row.generation
    return fresh(call, placement.clock, body, row.updated_at)


async def list_aggregates(placement: Placement, call: Call) -> Reply:
    """The aggregates that a provider is in."""
    return _aggregates(placement, call, placement.store.read(providers.need, call.params["provider_id"]))


async def update_aggregates(placement: Placement, call: Call) -> Reply:
    """Put a provider into exactly these aggregates; before 1.19 the body is the bare list."""
    provider_id, body = call.params["provider_id"], call.body
    aggregates = body["aggregates"]  # told as they were sent, with dashes or without
    checked = call.at_least(1, 19)

    def change(db: Db) -> Provider:
        providers.need(db, provider_id)
        if checked:
            providers.expect(db, provider_id, body["resource_provider_generation"])
        providers.set_aggregates_in(db, provider_id, aggregates, now=stamp(placement.clock.now()), bump=checked)
        return providers.need(db, provider_id)

    return _aggregates(placement, call, await placement.store.write(change))


class _BareAggregates(Schema):
    """The list that was the whole body before 1.19."""

    def read(self, body: Any, mode: str, call: Call) -> dict[str, Any]:
        return AGGREGATES.read({"aggregates": body, "resource_provider_generation": 0}, mode, call)


BARE_AGGREGATES = _BareAggregates("aggregates")
ALL, ONE = "/resource_providers", "/resource_providers/{provider_id}"
LIST, RULE = ADMIN_OR_SERVICE, "placement:resource_providers"
ROUTES = [
    Route("GET", ALL, list_providers, policy=LIST, rule=f"{RULE}:list"),
    Route("POST", ALL, create_provider, body=BODY, policy=LIST, rule=f"{RULE}:create"),
    Route("GET", ONE, show_provider, policy=LIST, rule=f"{RULE}:show"),
    Route("PUT", ONE, update_provider, body=BODY, policy=LIST, rule=f"{RULE}:update"),
    Route("DELETE", ONE, delete_provider, status=204, policy=LIST, rule=f"{RULE}:delete"),
    Route("GET", ONE + "/aggregates", list_aggregates, since=(1, 1), policy=LIST, rule=f"{RULE}:aggregates:list"),
    Route(
        "PUT", ONE + "/aggregates", update_aggregates, body=BARE_AGGREGATES, since=(1, 1), until=(1, 18), policy=LIST,
        rule=f"{RULE}:aggregates:update",
    ),
    Route(
        "PUT", ONE + "/aggregates", update_aggregates, body=AGGREGATES, since=(1, 19), policy=LIST,
        rule=f"{RULE}:aggregates:update",
    ),
]  # fmt: skip
