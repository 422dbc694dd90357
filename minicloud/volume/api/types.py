"""Volume types, their extra specs, who may use private ones, and projects' defaults, on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN, READER
from minicloud.api.route import Call, Listed, Route
from minicloud.api.schema import (
    BOOLEAN,
    ID,
    MISSING,
    NAME,
    OPTIONAL,
    REQUIRED,
    TEXT,
    UUID,
    Field,
    Schema,
    mapping,
    nullable,
    string,
)
from minicloud.core.errors import Invalid, NotFound, NotImplementedHere
from minicloud.volume import types
from minicloud.volume.api import lists
from minicloud.volume.api.lists import Condition, Lists
from minicloud.volume.tables import VOLUME_TYPES, VolumeType

if TYPE_CHECKING:
    from minicloud.volume import Volume

SPECS = mapping(nullable(string()), key=r"^[a-zA-Z0-9\-_:.]{1,255}$")
OPEN_SPECS = ("multiattach", "RESKEY:availability_zones", "replication_enabled")
"""Extra specs that everybody may read; the others describe the backend and are an admin's."""


def _specs(row: VolumeType, call: Call) -> dict[str, str]:
    if call.ctx.is_admin:
        return row.extra_specs
    return {key: value for key, value in row.extra_specs.items() if key in OPEN_SPECS}


TYPE = Schema(
    "volume_type",
    Field("id", UUID, out=True),
    Field("name", NAME, out=True, create=REQUIRED, update=OPTIONAL),
    Field("is_public", BOOLEAN, out=True, update=OPTIONAL),
    Field("description", nullable(TEXT), out=True, create=OPTIONAL, update=OPTIONAL),
    Field("extra_specs", SPECS, _specs, out=True, create=OPTIONAL),
    Field("qos_specs_id", TEXT, lambda row, call: row.qos_specs_id if call.request.method == "GET" else MISSING, out=True, show=ADMIN),
    Field(
        "os-volume-type-access:is_public", BOOLEAN, out=True, create=OPTIONAL, default=True,
        attr=lambda row, call: MISSING if call.request.method == "PUT" else row.is_public,
    ),
    extra=False,
)  # fmt: skip
LISTS = Lists(
    VOLUME_TYPES,
    sorts={"id": "id", "name": "name", "created_at": "created_at", "updated_at": "updated_at"},
    filters={
        "is_public": lambda value, like: ("1", ()) if value.lower() == "none" else lists.truth("is_public")(value, like),
        "name": lists.column("name"), "description": lists.column("description"), "id": lists.column("id"),
        "extra_specs": lists.pairs("extra_specs"),
    },
    owner="",
)  # fmt: skip
EXTRA_SPECS = Schema("body", Field("extra_specs", SPECS, create=REQUIRED), extra=True)
ONE_SPEC = Schema("body", extra=nullable(string()))
ACCESS = Schema("access", Field("project", ID, create=REQUIRED))
DEFAULT_TYPE = Schema("default_type", Field("volume_type", ID, create=REQUIRED, update=REQUIRED))


def _id(call: Call) -> str:
    return call.params["type_id"]


def _visible_to(call: Call) -> list[Condition]:
    if call.ctx.is_admin:
        return []
    given = "id IN (SELECT type_id FROM volume_type_access WHERE project_id = ?)"
    return [(f"is_public = 1 OR {given}", (call.ctx.project_id,))]


async def list_types(volume: Volume, call: Call) -> Listed:
    """Types that the caller may use; an admin sees public ones unless `is_public` says otherwise."""
    extra = _visible_to(call)
    if call.ctx.is_admin and "is_public" not in call.query:
        extra = [("is_public = 1", ())]
    return LISTS.rows(volume, call, extra=extra)


async def create_type(volume: Volume, call: Call) -> VolumeType:
    """A new type."""
    body = call.body
    return await types.create(
        volume, name=body["name"].strip(), description=body.get("description"),
        is_public=body["os-volume-type-access:is_public"], extra_specs=body.get("extra_specs") or {},
    )  # fmt: skip


async def show_default_type(volume: Volume, call: Call) -> VolumeType:
    """The type of volumes for which none is asked."""
    return types.default(volume, call.ctx)


async def show_type(volume: Volume, call: Call) -> VolumeType:
    """One type."""
    return types.visible(volume, call.ctx, _id(call))


async def update_type(volume: Volume, call: Call) -> VolumeType:
    """Rename, describe, publish or hide a type."""
    if not call.body:
        raise Invalid("Cannot update the volume type: the body holds no attribute to change.")
    return await types.update(volume, _id(call), **call.body)


async def delete_type(volume: Volume, call: Call) -> None:
    """Forget a type that no volume has."""
    await types.delete(volume, _id(call))


async def show_encryption(volume: Volume, call: Call) -> dict[str, Any]:
    """No type here is encrypted."""
    types.visible(volume, call.ctx, _id(call))
    return {}


async def refuse_encryption(volume: Volume, call: Call) -> None:
    """Encrypted volumes need a key manager, which this cloud has not."""
    raise NotImplementedHere("Cannot encrypt volumes of a type: this cloud has no key manager.")


# --- extra specs -----------------------------------------------------------------------------------------------------


async def list_specs(volume: Volume, call: Call) -> dict[str, Any]:
    """All pairs that the caller may read."""
    return {"extra_specs": _specs(types.visible(volume, call.ctx, _id(call)), call)}


async def merge_specs(volume: Volume, call: Call) -> dict[str, Any]:
    """Add pairs, or change their values."""
    await types.set_extra_specs(volume, _id(call), call.body["extra_specs"])
    return {"extra_specs": call.body["extra_specs"]}


async def show_spec(volume: Volume, call: Call) -> dict[str, Any]:
    """One pair."""
    key, specs = call.params["key"], _specs(types.visible(volume, call.ctx, _id(call)), call)
    if key not in specs:
        raise NotFound(f"Volume type {_id(call)} has no extra spec with key {key}.")
    return {key: specs[key]}


async def set_spec(volume: Volume, call: Call) -> dict[str, Any]:
    """One pair that is there already gets another value; the body must hold this key and no other."""
    if list(call.body) != [call.params["key"]]:
        raise Invalid(f"Cannot set the extra spec {call.params['key']}: the body must hold this key and no other.")
    types.visible(volume, call.ctx, _id(call))
    await types.set_extra_specs(volume, _id(call), call.body)
    return dict(call.body)


async def delete_spec(volume: Volume, call: Call) -> None:
    """Forget one pair."""
    await types.set_extra_specs(volume, _id(call), {}, forget=call.params["key"])


# --- private types ---------------------------------------------------------------------------------------------------


async def list_access(volume: Volume, call: Call) -> dict[str, Any]:
    """The projects that may use a private type."""
    projects = types.projects_of(volume, _id(call))
    return {"volume_type_access": [{"volume_type_id": _id(call), "project_id": one} for one in projects]}


async def add_access(volume: Volume, call: Call) -> None:
    """Let a project use a private type."""
    await types.give(volume, _id(call), call.body["project"])


async def remove_access(volume: Volume, call: Call) -> None:
    """Take a private type from a project."""
    await types.take(volume, _id(call), call.body["project"])


# --- a project's own default -----------------------------------------------------------------------------------------


async def list_default_types(volume: Volume, call: Call) -> dict[str, Any]:
    """Every project that has a default of its own."""
    found = types.own_defaults(volume)
    return {"default_types": [{"project_id": project, "volume_type_id": kind} for project, kind in found.items()]}


async def show_project_default(volume: Volume, call: Call) -> dict[str, Any]:
    """One project's."""
    project = call.params["target_id"]
    found = types.own_defaults(volume)
    if project not in found:
        raise NotFound(f"Default type for project {project} could not be found.")
    return {"default_type": {"project_id": project, "volume_type_id": found[project]}}


async def set_project_default(volume: Volume, call: Call) -> dict[str, Any]:
    """Give a project a default of its own."""
    kind = types.chosen(volume, call.ctx, call.body["volume_type"])
    await types.set_own_default(volume, call.params["target_id"], kind.id)
    return {"default_type": {"project_id": call.params["target_id"], "volume_type_id": kind.id}}


async def forget_project_default(volume: Volume, call: Call) -> None:
    """Back to the cloud's default."""
    await types.set_own_default(volume, call.params["target_id"], None)


PLACE, KEY, DEFAULTS = "/types/{type_id}", "/types/{type_id}/extra_specs/{key}", "/default-types/{target_id}"
RULE, SPEC, GIVE = (
    "volume_extension:type_",
    "volume_extension:types_extra_specs:",
    "volume_extension:volume_type_access:",
)
NEW = (3, 62)
ROUTES = [
    Route("GET", "/types", list_types, policy=READER, rule=RULE + "get_all", view=TYPE, many=True),
    Route("POST", "/types", create_type, policy=ADMIN, rule=RULE + "create", body=TYPE, view=TYPE),
    Route("GET", "/types/default", show_default_type, policy=READER, rule=RULE + "get", view=TYPE),
    Route("GET", PLACE, show_type, policy=READER, rule=RULE + "get", view=TYPE),
    Route("PUT", PLACE, update_type, policy=ADMIN, rule=RULE + "update", body=TYPE, view=TYPE),
    Route("DELETE", PLACE, delete_type, policy=ADMIN, rule=RULE + "delete", status=202),
    Route("GET", PLACE + "/encryption", show_encryption, policy=ADMIN, rule="volume_extension:volume_type_encryption:get"),
    Route("POST", PLACE + "/encryption", refuse_encryption, policy=ADMIN, rule="volume_extension:volume_type_encryption:create"),
    Route("GET", PLACE + "/extra_specs", list_specs, policy=READER, rule=SPEC + "index"),
    Route("POST", PLACE + "/extra_specs", merge_specs, policy=ADMIN, rule=SPEC + "create", body=EXTRA_SPECS, envelope=False),
    Route("GET", KEY, show_spec, policy=READER, rule=SPEC + "show"),
    Route("PUT", KEY, set_spec, policy=ADMIN, rule=SPEC + "update", body=ONE_SPEC, envelope=False),
    Route("DELETE", KEY, delete_spec, policy=ADMIN, rule=SPEC + "delete", status=202),
    Route("GET", PLACE + "/os-volume-type-access", list_access, policy=ADMIN, rule=GIVE + "get_all_for_type"),
    Route("POST", PLACE + "/action", add_access, action="addProjectAccess", body=ACCESS, policy=ADMIN, rule=GIVE + "addProjectAccess", status=202),
    Route("POST", PLACE + "/action", remove_access, action="removeProjectAccess", body=ACCESS, policy=ADMIN, rule=GIVE + "removeProjectAccess", status=202),
    Route("GET", "/default-types", list_default_types, policy=ADMIN, rule="volume_extension:default_get_all", since=NEW),
    Route("GET", DEFAULTS, show_project_default, policy=ADMIN, rule="volume_extension:default_get", since=NEW),
    Route("PUT", DEFAULTS, set_project_default, policy=ADMIN, rule="volume_extension:default_set_or_update", body=DEFAULT_TYPE, since=NEW),
    Route("DELETE", DEFAULTS, forget_project_default, policy=ADMIN, rule="volume_extension:default_unset", status=204, since=NEW),
]  # fmt: skip
