"""QoS specifications on the wire (block storage API, "qos-specs"): some GETs change things, as the API has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN
from minicloud.api.route import Call, Listed, Route
from minicloud.api.schema import NAME, OPTIONAL, REQUIRED, TEXT, UUID, Field, Schema, array, mapping, string
from minicloud.core.errors import Invalid
from minicloud.volume import qos_specs
from minicloud.volume.api import lists
from minicloud.volume.api.lists import Lists
from minicloud.volume.tables import QOS_SPECS

if TYPE_CHECKING:
    from minicloud.volume import Volume

QOS = Schema(
    "qos_specs",
    Field("id", UUID, out=True),
    Field("name", NAME, out=True, create=REQUIRED),
    Field("consumer", TEXT, out=True, create=OPTIONAL, default="back-end"),
    Field("specs", mapping(string()), out=True),
    plural="qos_specs",
    extra=string(),
)
KEYS = Schema("keys", Field("keys", array(string(low=1)), update=REQUIRED))
VALUES = Schema("qos_specs", extra=string(), rules={"minProperties": 1})
LISTS = Lists(
    QOS_SPECS,
    sorts={"id": "id", "name": "name", "created_at": "created_at"},
    filters={"id": lists.column("id"), "name": lists.column("name"), "consumer": lists.column("consumer")},
    owner="",
)


def _id(call: Call) -> str:
    return call.params["qos_id"]


def _type_of(call: Call) -> str:
    wanted = call.query.get("vol_type_id")
    if not wanted:
        raise Invalid("Cannot find the volume type: the query parameter vol_type_id is missing.")
    return wanted


def _whole(call: Call, row: Any) -> dict[str, Any]:
    return {"qos_specs": QOS.view(row, call), "links": lists.links(call, "qos-specs", row.id)}


async def list_qos(volume: Volume, call: Call) -> Listed:
    """All specifications."""
    return LISTS.rows(volume, call)


async def create_qos(volume: Volume, call: Call) -> dict[str, Any]:
    """A new one; every further key of the body is one of its own."""
    specs = {key: value for key, value in call.body.items() if key not in ("name", "consumer")}
    row = await qos_specs.create(volume, name=call.body["name"].strip(), consumer=call.body["consumer"], specs=specs)
    return _whole(call, row)


async def show_qos(volume: Volume, call: Call) -> dict[str, Any]:
    """One specification."""
    return _whole(call, qos_specs.show(volume, _id(call)))


async def update_qos(volume: Volume, call: Call) -> dict[str, Any]:
    """Add keys, or change their values; tells what was sent."""
    await qos_specs.merge(volume, _id(call), call.body)
    return {"qos_specs": call.body}


async def delete_keys(volume: Volume, call: Call) -> None:
    """Take keys away."""
    await qos_specs.forget_keys(volume, _id(call), call.body["keys"])


async def delete_qos(volume: Volume, call: Call) -> None:
    """Forget one."""
    await qos_specs.delete(volume, _id(call), force=lists.flag(call, "force"))


async def list_associations(volume: Volume, call: Call) -> dict[str, Any]:
    """The types that refer to it."""
    return {
        "qos_associations": [
            {"association_type": "volume_type", "name": kind.name, "id": kind.id}
            for kind in qos_specs.associations(volume, _id(call))
        ]
    }


async def associate(volume: Volume, call: Call) -> None:
    """Let a type refer to it."""
    await qos_specs.associate(volume, _id(call), _type_of(call))


async def disassociate(volume: Volume, call: Call) -> None:
    """Let a type refer to it no more."""
    await qos_specs.disassociate(volume, _id(call), _type_of(call))


async def disassociate_all(volume: Volume, call: Call) -> None:
    """Let no type refer to it any more."""
    await qos_specs.disassociate(volume, _id(call), None)


PLACE, RULE = "/qos-specs/{qos_id}", "volume_extension:qos_specs_manage:"
ROUTES = [
    Route("GET", "/qos-specs", list_qos, policy=ADMIN, rule=RULE + "get_all", view=QOS, many=True),
    Route("POST", "/qos-specs", create_qos, policy=ADMIN, rule=RULE + "create", body=QOS),
    Route("GET", PLACE, show_qos, policy=ADMIN, rule=RULE + "get"),
    Route("PUT", PLACE, update_qos, policy=ADMIN, rule=RULE + "update", body=VALUES),
    Route(
        "PUT",
        PLACE + "/delete_keys",
        delete_keys,
        policy=ADMIN,
        rule=RULE + "delete",
        body=KEYS,
        envelope=False,
        status=202,
    ),
    Route("DELETE", PLACE, delete_qos, policy=ADMIN, rule=RULE + "delete", status=202),
    Route("GET", PLACE + "/associations", list_associations, policy=ADMIN, rule=RULE + "get_all"),
    Route("GET", PLACE + "/associate", associate, policy=ADMIN, rule=RULE + "update", status=202),
    Route("GET", PLACE + "/disassociate", disassociate, policy=ADMIN, rule=RULE + "update", status=202),
    Route("GET", PLACE + "/disassociate_all", disassociate_all, policy=ADMIN, rule=RULE + "update", status=202),
]
