"""`/limits`, `/os-quota-sets`, `/os-quota-class-sets`: what a project may have and what it uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN, ANYONE, READER, require
from minicloud.api.route import Call, Reply, Route
from minicloud.api.schema import BOOLEAN, OPTIONAL, Field, Schema, integer
from minicloud.compute import quotas
from minicloud.core.errors import Forbidden, Invalid, NotFound
from minicloud.core.quota import DEFAULT_CLASS, UNLIMITED
from minicloud.core.store import Db

if TYPE_CHECKING:
    from minicloud.compute import Compute

_NETWORK = ("fixed_ips", "floating_ips", "security_groups", "security_group_rules")
_FILES = ("injected_files", "injected_file_content_bytes", "injected_file_path_bytes")
_PLAIN = tuple(name for name in quotas.DEFAULTS if name not in _NETWORK + _FILES)
_LIMIT = integer(low=-1, high=2**31 - 1)
QUOTA_SET = Schema(
    "quota_set",
    *(Field(name, _LIMIT, update=OPTIONAL) for name in _PLAIN),
    *(Field(name, _LIMIT, update=OPTIONAL, until=(2, 35)) for name in _NETWORK),
    *(Field(name, _LIMIT, update=OPTIONAL, until=(2, 56)) for name in _FILES),
    Field("force", BOOLEAN, update=OPTIONAL),
)
QUOTA_CLASS = Schema("quota_class_set", *(one for one in QUOTA_SET.fields if one.name != "force"))
RULE = "os_compute_api:os-quota-sets"


def _names(call: Call) -> list[str]:
    """The quotas that a microversion knows, in their order."""
    hidden = (_NETWORK if call.at_least(2, 36) else ()) + (_FILES if call.at_least(2, 57) else ())
    return sorted(name for name in quotas.DEFAULTS if name not in hidden)


def _project(compute: Compute, call: Call, *, own: bool = True) -> str:
    """The project that the path names; another one than the caller's is for administrators."""
    project_id = call.params["tenant_id"]
    if own and project_id != call.ctx.project_id and not call.ctx.is_admin:
        raise Forbidden(f"Policy doesn't allow {call.route.rule} to be performed.", code=call.route.rule)
    if compute.identity.project(project_id) is None:
        raise Invalid(f"Project ID {project_id} is not a valid project.")
    return project_id


def _shown(call: Call, limits: Mapping[str, Any]) -> dict[str, Any]:
    return {name: limits[name] for name in _names(call)}


async def show_quotas(compute: Compute, call: Call) -> Reply:
    """`GET /os-quota-sets/{id}`."""
    project_id = _project(compute, call)
    return Reply(
        {"quota_set": {"id": project_id, **_shown(call, compute.store.read(compute.quotas.limits, project_id))}}
    )


async def show_defaults(compute: Compute, call: Call) -> Reply:
    """`GET /os-quota-sets/{id}/defaults`."""
    project_id = _project(compute, call, own=False)
    return Reply(
        {"quota_set": {"id": project_id, **_shown(call, compute.store.read(compute.quotas.limits, DEFAULT_CLASS))}}
    )


async def show_details(compute: Compute, call: Call) -> Reply:
    """`GET /os-quota-sets/{id}/detail`."""
    project_id = _project(compute, call)
    limits = compute.store.read(compute.quotas.limits, project_id)
    used = compute.store.read(compute.quotas.usage, project_id)
    told = {name: {"limit": limits[name], "in_use": used.get(name, 0), "reserved": 0} for name in _names(call)}
    return Reply({"quota_set": {"id": project_id, **told}})


async def update_quotas(compute: Compute, call: Call) -> Reply:
    """`PUT /os-quota-sets/{id}`; a limit below what is in use needs `force`."""
    project_id = _project(compute, call)
    values = {name: value for name, value in call.body.items() if name != "force"}

    def change(db: Db) -> dict[str, int]:
        used = compute.quotas.usage(db, project_id)
        for name, value in values.items():
            if value != UNLIMITED and value < used.get(name, 0) and not call.body.get("force"):
                raise Invalid(f"Quota limit {value} for {name} must be greater than or equal to already used and reserved "
                              f"{used[name]}.")  # fmt: skip
        compute.quotas.set_in(db, project_id, values)
        return compute.quotas.limits(db, project_id)

    return Reply({"quota_set": _shown(call, await compute.store.write(change))})


async def delete_quotas(compute: Compute, call: Call) -> None:
    """`DELETE /os-quota-sets/{id}`: back to the defaults."""
    await compute.store.write(compute.quotas.reset_in, call.params["tenant_id"])


async def show_class(compute: Compute, call: Call) -> Reply:
    """`GET /os-quota-class-sets/default`: what a project has that was given nothing of its own."""
    return Reply({"quota_class_set": {"id": call.params["id"], **_class(compute, call)}})


async def update_class(compute: Compute, call: Call) -> Reply:
    """`PUT /os-quota-class-sets/default`."""
    _class(compute, call)
    await compute.store.write(compute.quotas.set_in, DEFAULT_CLASS, call.body)
    return Reply({"quota_class_set": _class(compute, call)})


def _class(compute: Compute, call: Call) -> dict[str, int]:
    if call.params["id"] != "default":
        raise NotFound(f"Quota class {call.params['id']} could not be found.")
    limits = compute.store.read(compute.quotas.limits, DEFAULT_CLASS)
    hidden = () if call.at_least(2, 50) else ("server_groups", "server_group_members")
    return {name: limits[name] for name in _names(call) if name not in hidden}


_ABSOLUTE = {
    "maxTotalInstances": "instances", "maxTotalCores": "cores", "maxTotalRAMSize": "ram", "maxServerMeta": "metadata_items",
    "maxTotalKeypairs": "key_pairs", "maxServerGroups": "server_groups", "maxServerGroupMembers": "server_group_members",
}  # fmt: skip


async def show_limits(compute: Compute, call: Call) -> Reply:
    """`GET /limits`."""
    project_id = call.query.get("tenant_id") or call.ctx.project_id
    if project_id is None:
        raise Invalid("Cannot show limits: the token is for no project; name one with tenant_id.")
    if project_id != call.ctx.project_id:
        require(call.ctx, ADMIN, "os_compute_api:limits:other_project")
    limits = compute.store.read(compute.quotas.limits, project_id)
    used = compute.store.read(compute.quotas.usage, project_id)
    told: dict[str, int] = {name: limits[resource] for name, resource in _ABSOLUTE.items()}
    if not call.at_least(2, 39):
        told["maxImageMeta"] = limits["metadata_items"]
    if not call.at_least(2, 57):
        told |= {
            "maxPersonality": limits["injected_files"],
            "maxPersonalitySize": limits["injected_file_content_bytes"],
        }
    if not call.at_least(2, 36):
        told |= {"maxTotalFloatingIps": -1, "maxSecurityGroups": -1, "maxSecurityGroupRules": -1,
                 "totalFloatingIpsUsed": 0, "totalSecurityGroupsUsed": 0}  # fmt: skip
    told |= {
        "totalRAMUsed": used["ram"], "totalCoresUsed": used["cores"], "totalInstancesUsed": used["instances"],
        "totalServerGroupsUsed": used["server_groups"],
    }  # fmt: skip
    return Reply({"limits": {"rate": [], "absolute": told}})


_SET = "/os-quota-sets/{tenant_id}"
ROUTES = [
    Route("GET", "/limits", show_limits, policy=ANYONE, rule="os_compute_api:limits", query=("tenant_id", "reserved")),
    Route("GET", _SET, show_quotas, policy=READER, rule=f"{RULE}:show", query=("user_id",)),
    Route("PUT", _SET, update_quotas, body=QUOTA_SET, policy=ADMIN, rule=f"{RULE}:update"),
    Route("DELETE", _SET, delete_quotas, status=202, policy=ADMIN, rule=f"{RULE}:delete"),
    Route("GET", _SET + "/defaults", show_defaults, policy=ANYONE, rule=f"{RULE}:defaults"),
    Route("GET", _SET + "/detail", show_details, policy=READER, rule=f"{RULE}:detail", query=("user_id",)),
    Route("GET", "/os-quota-class-sets/{id}", show_class, policy=ADMIN, rule="os_compute_api:os-quota-class-sets:show"),
    Route(
        "PUT",
        "/os-quota-class-sets/{id}",
        update_class,
        body=QUOTA_CLASS,
        policy=ADMIN,
        rule="os_compute_api:os-quota-class-sets:update",
    ),
]
