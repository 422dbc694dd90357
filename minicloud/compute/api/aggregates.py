"""`/os-aggregates`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN
from minicloud.api.route import Call, Reply, Route
from minicloud.api.schema import OPTIONAL, REQUIRED, Field, Schema, Type, nullable, string
from minicloud.compute import aggregates
from minicloud.compute.api.types import NAME
from minicloud.compute.tables import Aggregate

if TYPE_CHECKING:
    from minicloud.compute import Compute

RULE = "os_compute_api:os-aggregates"
_ZONE = nullable(string(low=1, high=255, pattern=r"^[^:]+$"))
_VALUES = Type(
    {
        "type": "object",
        "propertyNames": {"pattern": r"^[a-zA-Z0-9\-_:. ]{1,255}$"},
        "additionalProperties": {"anyOf": [{"type": "null"}, {"type": "string", "maxLength": 255}]},
    }
)
NEW = Schema("aggregate", Field("name", NAME, create=REQUIRED), Field("availability_zone", _ZONE, create=OPTIONAL))
CHANGE = Schema(
    "aggregate", Field("name", NAME, update=OPTIONAL), Field("availability_zone", _ZONE, update=OPTIONAL),
    rules={"minProperties": 1},
)  # fmt: skip
HOST = Schema("host", Field("host", string(low=1, high=255), create=REQUIRED))
VALUES = Schema("metadata", Field("metadata", _VALUES, create=REQUIRED))
_ACTION = "/os-aggregates/{aggregate_id}/action"


def _view(call: Call, row: Aggregate, *, short: bool = False) -> dict[str, Any]:
    told: dict[str, Any] = {
        "id": row.id, "name": row.name, "created_at": row.created_at, "updated_at": row.updated_at, "deleted_at": None,
        "deleted": False, "availability_zone": row.metadata.get(aggregates.ZONE),
    }  # fmt: skip
    if call.at_least(2, 41):
        told["uuid"] = row.uuid
    return told if short else told | {"hosts": row.hosts, "metadata": row.metadata}


async def list_aggregates(compute: Compute, call: Call) -> Reply:
    """`GET /os-aggregates`."""
    return Reply({"aggregates": [_view(call, row) for row in aggregates.listed(compute)]})


async def show_aggregate(compute: Compute, call: Call) -> Reply:
    """`GET /os-aggregates/{id}`."""
    return Reply({"aggregate": _view(call, aggregates.show(compute, call.params["aggregate_id"]))})


async def create_aggregate(compute: Compute, call: Call) -> Reply:
    """`POST /os-aggregates`."""
    row = await aggregates.create(compute, name=call.body["name"], zone=call.body.get("availability_zone"))
    return Reply({"aggregate": _view(call, row, short=True)})


async def update_aggregate(compute: Compute, call: Call) -> Reply:
    """`PUT /os-aggregates/{id}`."""
    row = await aggregates.update(
        compute, call.params["aggregate_id"], name=call.body.get("name"), zone=call.body.get("availability_zone")
    )
    return Reply({"aggregate": _view(call, row)})


async def delete_aggregate(compute: Compute, call: Call) -> None:
    """`DELETE /os-aggregates/{id}`."""
    await aggregates.delete(compute, call.params["aggregate_id"])


async def add_host(compute: Compute, call: Call) -> Reply:
    """`add_host`."""
    return Reply(
        {"aggregate": _view(call, await aggregates.add_host(compute, call.params["aggregate_id"], call.body["host"]))}
    )


async def remove_host(compute: Compute, call: Call) -> Reply:
    """`remove_host`."""
    return Reply(
        {
            "aggregate": _view(
                call, await aggregates.remove_host(compute, call.params["aggregate_id"], call.body["host"])
            )
        }
    )


async def set_metadata(compute: Compute, call: Call) -> Reply:
    """`set_metadata`."""
    row = await aggregates.set_metadata(compute, call.params["aggregate_id"], call.body["metadata"])
    return Reply({"aggregate": _view(call, row)})


_ONE = "/os-aggregates/{aggregate_id}"
ROUTES = [
    Route("GET", "/os-aggregates", list_aggregates, policy=ADMIN, rule=f"{RULE}:index"),
    Route("POST", "/os-aggregates", create_aggregate, body=NEW, policy=ADMIN, rule=f"{RULE}:create"),
    Route("GET", _ONE, show_aggregate, policy=ADMIN, rule=f"{RULE}:show"),
    Route("PUT", _ONE, update_aggregate, body=CHANGE, policy=ADMIN, rule=f"{RULE}:update"),
    Route("DELETE", _ONE, delete_aggregate, policy=ADMIN, rule=f"{RULE}:delete"),
    Route("POST", _ACTION, add_host, action="add_host", body=HOST, policy=ADMIN, rule=f"{RULE}:add_host"),
    Route("POST", _ACTION, remove_host, action="remove_host", body=HOST, policy=ADMIN, rule=f"{RULE}:remove_host"),
    Route("POST", _ACTION, set_metadata, action="set_metadata", body=VALUES, policy=ADMIN, rule=f"{RULE}:set_metadata"),
]
