"""`/flavors`: sizes of servers, their extra specs and who may use them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.paging import listed, page_of
from minicloud.api.policy import ADMIN, ANYONE, READER
from minicloud.api.route import Call, Listed, Reply, Route
from minicloud.api.schema import BOOLEAN, OPTIONAL, REQUIRED, Field, Schema, Type, integer, nullable, string
from minicloud.compute import flavors
from minicloud.compute.api.server_view import ANY, links
from minicloud.compute.api.types import NAME
from minicloud.core.errors import Invalid

if TYPE_CHECKING:
    from minicloud.compute import Compute

MOST = 2**31 - 1
_DESCRIPTION = nullable(string(high=65535))
_ID = Type({"anyOf": [{"type": "null"}, {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^(?! )[a-zA-Z0-9. _-]+(?<! )$"},
                      {"type": "integer"}]}, lambda value: None if value is None else str(value))  # fmt: skip
_RXTX = Type(
    {
        "anyOf": [
            {"type": "number", "exclusiveMinimum": 0, "maximum": 3.4e38},
            {"type": "string", "pattern": r"^\d{1,9}(\.\d+)?$"},
        ]
    },
    float,
)
_VALUE = Type({"type": "string", "maxLength": 255})
_KEY_RULES = {"propertyNames": {"pattern": r"^[a-zA-Z0-9\-_:. ]{1,255}$"}}

FLAVOR = Schema(
    "flavor",
    Field("id", _ID, out=True, create=OPTIONAL),
    Field("name", NAME, out=True, create=REQUIRED),
    Field("ram", integer(low=1, high=MOST), attr="ram_mb", out=True, create=REQUIRED),
    Field("disk", integer(low=0, high=MOST), attr="disk_gb", out=True, create=REQUIRED),
    Field("vcpus", integer(low=1, high=MOST), out=True, create=REQUIRED),
    Field("swap", integer(low=0, high=MOST), attr=lambda row, call: _swap(row, call), out=True, create=OPTIONAL),
    Field("OS-FLV-EXT-DATA:ephemeral", integer(low=0, high=MOST), attr="ephemeral_gb", out=True, create=OPTIONAL),
    Field("OS-FLV-DISABLED:disabled", ANY, attr=lambda row, call: False, out=True),
    Field("rxtx_factor", _RXTX, out=True, create=OPTIONAL),
    Field("os-flavor-access:is_public", BOOLEAN, attr="is_public", out=True, create=OPTIONAL),
    Field("links", ANY, attr=lambda row, call: links(call, "flavors", row.id), out=True),
    Field("description", _DESCRIPTION, out=True, create=OPTIONAL, since=(2, 55)),
    Field("extra_specs", ANY, out=True, since=(2, 61)),
)
BRIEF = Schema(
    "flavor",
    Field("id", ANY, out=True),
    Field("name", ANY, out=True),
    Field("links", ANY, attr=lambda row, call: links(call, "flavors", row.id), out=True),
    Field("description", ANY, out=True, since=(2, 55)),
)
CHANGE = Schema("flavor", Field("description", _DESCRIPTION, update=REQUIRED))
SPECS = Schema("extra_specs", extra=_VALUE, rules=_KEY_RULES)
SPEC = Schema("extra_spec", extra=_VALUE, rules={**_KEY_RULES, "minProperties": 1, "maxProperties": 1})
TENANT = Schema("access", Field("tenant", string(low=1), create=REQUIRED))
COLUMNS = {
    "flavorid": "id", "id": "id", "name": "name", "memory_mb": "ram_mb", "vcpus": "vcpus", "root_gb": "disk_gb",
    "ephemeral_gb": "ephemeral_gb", "swap": "swap_mb", "rxtx_factor": "rxtx_factor", "is_public": "is_public",
    "created_at": "created_at", "description": "description",
}  # fmt: skip
QUERY = ("limit", "marker", "sort_key", "sort_dir", "is_public", "minRam", "minDisk")


def _swap(row: Any, call: Call) -> Any:
    return row.swap_mb if row.swap_mb or call.at_least(2, 75) else ""


def _number(call: Call, name: str) -> int | None:
    text = call.query.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Invalid(f"Invalid {name} filter [{text[:40]}].")
    return int(text)


def _is_public(call: Call) -> bool | None:
    text = call.query.get("is_public")
    if text is None:
        return True
    lowered = text.lower()
    if lowered == "none":
        return None
    if lowered in ("1", "true", "t", "yes", "y", "on"):
        return True
    if lowered in ("0", "false", "f", "no", "n", "off"):
        return False
    raise Invalid(f"Invalid is_public filter [{text[:40]}].")


async def list_flavors(compute: Compute, call: Call) -> Listed:
    """`GET /flavors` and `GET /flavors/detail`."""
    page = page_of(call, columns=COLUMNS, default_sort=(("id", True),))
    is_public, min_disk, min_ram = _is_public(call), _number(call, "minDisk"), _number(call, "minRam")
    return listed(
        lambda part: flavors.listed(compute, call.ctx, part, is_public=is_public, min_disk=min_disk, min_ram=min_ram),
        page,
    )


async def show_flavor(compute: Compute, call: Call) -> Any:
    """`GET /flavors/{id}`."""
    return flavors.show(compute, call.ctx, call.params["flavor_id"])


async def create_flavor(compute: Compute, call: Call) -> Any:
    """`POST /flavors`; the id "auto" or none: one is made."""
    body = call.body
    asked = body.get("id")
    return await flavors.create(
        compute, name=body["name"], vcpus=body["vcpus"], ram_mb=body["ram"], disk_gb=body["disk"],
        flavor_id=None if asked in (None, "auto") else asked, ephemeral_gb=body.get("OS-FLV-EXT-DATA:ephemeral", 0),
        swap_mb=body.get("swap", 0), rxtx_factor=body.get("rxtx_factor", 1.0),
        is_public=body.get("os-flavor-access:is_public", True), description=body.get("description"),
    )  # fmt: skip


async def update_flavor(compute: Compute, call: Call) -> Any:
    """`PUT /flavors/{id}`."""
    return await flavors.describe(compute, call.params["flavor_id"], call.body["description"])


async def delete_flavor(compute: Compute, call: Call) -> None:
    """`DELETE /flavors/{id}`."""
    await flavors.delete(compute, call.params["flavor_id"])


async def list_specs(compute: Compute, call: Call) -> Reply:
    """`GET .../os-extra_specs`."""
    return Reply({"extra_specs": flavors.show(compute, call.ctx, call.params["flavor_id"]).extra_specs})


async def create_specs(compute: Compute, call: Call) -> Reply:
    """`POST .../os-extra_specs`."""
    await flavors.set_extra_specs(compute, call.params["flavor_id"], call.body)
    return Reply({"extra_specs": call.body})


async def show_spec(compute: Compute, call: Call) -> Reply:
    """`GET .../os-extra_specs/{key}`."""
    key = call.params["key"]
    return Reply({key: flavors.extra_spec(flavors.show(compute, call.ctx, call.params["flavor_id"]), key)})


async def update_spec(compute: Compute, call: Call) -> Reply:
    """`PUT .../os-extra_specs/{key}`."""
    if call.params["key"] not in call.body:
        raise Invalid("Request body and URI mismatch.")
    await flavors.set_extra_specs(compute, call.params["flavor_id"], call.body)
    return Reply(call.body)


async def delete_spec(compute: Compute, call: Call) -> None:
    """`DELETE .../os-extra_specs/{key}`."""
    await flavors.unset_extra_spec(compute, call.params["flavor_id"], call.params["key"])


async def list_access(compute: Compute, call: Call) -> Reply:
    """`GET .../os-flavor-access`."""
    return Reply({"flavor_access": flavors.access(compute, call.params["flavor_id"])})


async def add_access(compute: Compute, call: Call) -> Reply:
    """`addTenantAccess`."""
    told = await flavors.grant(compute, call.params["flavor_id"], call.body["tenant"], strict=call.at_least(2, 7))
    return Reply({"flavor_access": told})


async def remove_access(compute: Compute, call: Call) -> Reply:
    """`removeTenantAccess`."""
    return Reply({"flavor_access": await flavors.revoke(compute, call.params["flavor_id"], call.body["tenant"])})


_ONE, _SPECS = "/flavors/{flavor_id}", "/flavors/{flavor_id}/os-extra_specs"
_SPEC = _SPECS + "/{key}"
_SPEC_RULE, _ACCESS_RULE = "os_compute_api:os-flavor-extra-specs", "os_compute_api:os-flavor-access"
ROUTES = [
    Route("GET", "/flavors", list_flavors, view=BRIEF, many=True, policy=ANYONE, scopes=(), rule="os_compute_api:flavors", query=QUERY),
    Route("GET", "/flavors/detail", list_flavors, view=FLAVOR, many=True, policy=ANYONE, scopes=(), rule="os_compute_api:flavors", query=QUERY),
    Route("POST", "/flavors", create_flavor, body=FLAVOR, view=FLAVOR, policy=ADMIN, rule="os_compute_api:os-flavor-manage:create"),
    Route("GET", _ONE, show_flavor, view=FLAVOR, policy=ANYONE, scopes=(), rule="os_compute_api:flavors"),
    Route("PUT", _ONE, update_flavor, body=CHANGE, view=FLAVOR, policy=ADMIN, rule="os_compute_api:os-flavor-manage:update",
          since=(2, 55)),
    Route("DELETE", _ONE, delete_flavor, status=202, policy=ADMIN, rule="os_compute_api:os-flavor-manage:delete"),
    Route("GET", _SPECS, list_specs, policy=READER, rule=f"{_SPEC_RULE}:index"),
    Route("POST", _SPECS, create_specs, body=SPECS, policy=ADMIN, rule=f"{_SPEC_RULE}:create"),
    Route("GET", _SPEC, show_spec, policy=READER, rule=f"{_SPEC_RULE}:show"),
    Route("PUT", _SPEC, update_spec, body=SPEC, mode="create", envelope=False, policy=ADMIN, rule=f"{_SPEC_RULE}:update"),
    Route("DELETE", _SPEC, delete_spec, policy=ADMIN, rule=f"{_SPEC_RULE}:delete"),
    Route("GET", _ONE + "/os-flavor-access", list_access, policy=ADMIN, rule=_ACCESS_RULE),
    Route("POST", _ONE + "/action", add_access, action="addTenantAccess", body=TENANT, policy=ADMIN,
          rule=f"{_ACCESS_RULE}:add_tenant_access"),
    Route("POST", _ONE + "/action", remove_access, action="removeTenantAccess", body=TENANT, policy=ADMIN,
          rule=f"{_ACCESS_RULE}:remove_tenant_access"),
]  # fmt: skip
