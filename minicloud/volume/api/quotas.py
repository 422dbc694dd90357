"""Quotas and limits on the wire (`os-quota-sets`, `os-quota-class-sets`, `limits`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN, READER
from minicloud.api.route import Call, Route
from minicloud.api.schema import Schema, integer
from minicloud.core.errors import Forbidden, Invalid
from minicloud.core.quota import Quotas
from minicloud.core.store import Db
from minicloud.volume import quotas
from minicloud.volume.api import lists

if TYPE_CHECKING:
    from minicloud.volume import Volume

QUOTA_SET = Schema("quota_set", extra=integer())
QUOTA_CLASS_SET = Schema("quota_class_set", extra=integer())
KEPT_OUT = ("tenant_id", "project_id", "id", "class_name", "skip_validation")
MOST = 2**31 - 1


def _numbers(body: dict[str, Any], known: Quotas) -> dict[str, int]:
    """The limits of a body; `Invalid` for a resource that isn't known or a number that is no limit."""
    wanted = {key: value for key, value in body.items() if key not in KEPT_OUT}
    unknown = sorted(wanted.keys() - known.defaults.keys())
    if unknown:
        raise Invalid(f"Cannot set quotas of {', '.join(unknown)[:200]}: there are no such resources.")
    numbers = {key: int(value) for key, value in wanted.items()}
    for key, value in numbers.items():
        if not -1 <= value <= MOST:
            raise Invalid(f"{key} must be >= -1 and <= {MOST}.")
    return numbers


def _whose(call: Call) -> str:
    project = call.params["target_id"]
    if not call.ctx.sees(project):
        raise Forbidden(
            "Policy doesn't allow volume_extension:quotas:show to be performed.", code="volume_extension:quotas:show"
        )
    return project


async def show_quotas(volume: Volume, call: Call) -> dict[str, Any]:
    """A project's limits, with `usage=True` what it uses."""
    project, usage = _whose(call), lists.flag(call, "usage")

    def read(db: Db) -> dict[str, Any]:
        now = quotas.of_now(db)
        limits = now.limits(db, project)
        if not usage:
            return {key: limits[key] for key in now.defaults}
        used = now.usage(db, project)
        return {key: {"limit": limits[key], "in_use": used.get(key, 0), "reserved": 0} for key in now.defaults}

    return {"quota_set": {**volume.store.read(read), "id": project}}


async def show_defaults(volume: Volume, call: Call) -> dict[str, Any]:
    """What holds where a project has no limit of its own."""
    return {"quota_set": {**volume.store.read(quotas.of_now).defaults, "id": _whose(call)}}


async def update_quotas(volume: Volume, call: Call) -> dict[str, Any]:
    """Give a project limits of its own."""
    project = call.params["target_id"]

    def change(db: Db) -> dict[str, int]:
        now = quotas.of_now(db)
        now.set_in(db, project, _numbers(call.body, now))
        limits = now.limits(db, project)
        return {key: limits[key] for key in now.defaults}

    return {"quota_set": await volume.store.write(change)}


async def delete_quotas(volume: Volume, call: Call) -> None:
    """Back to the defaults."""
    await volume.store.write(lambda db: quotas.of_now(db).reset_in(db, call.params["target_id"]))


async def show_class(volume: Volume, call: Call) -> dict[str, Any]:
    """The defaults of all projects: the class `default` is the only one."""
    return {"quota_class_set": {**volume.store.read(quotas.of_now).defaults, "id": call.params["name"]}}


async def update_class(volume: Volume, call: Call) -> dict[str, Any]:
    """Change the defaults of all projects."""
    if call.params["name"] != "default":
        raise Invalid(f"Cannot update the quota class {call.params['name']}: there is only the class default.")

    def change(db: Db) -> dict[str, int]:
        now = quotas.of_now(db)
        now.set_in(db, quotas.CLASS, _numbers(call.body, now))
        return quotas.of_now(db).defaults

    return {"quota_class_set": await volume.store.write(change)}


async def show_limits(volume: Volume, call: Call) -> dict[str, Any]:
    """A project's limits and use under the names that `limits` has for them; an admin may ask for another's (3.39)."""
    project = call.ctx.project_id or ""
    if call.ctx.is_admin and call.at_least(3, 39):
        project = call.query.get("project_id") or project

    def read(db: Db) -> tuple[dict[str, int], dict[str, int]]:
        now = quotas.of_now(db)
        return now.limits(db, project), now.usage(db, project)

    limits, used = volume.store.read(read)
    absolute = {
        "maxTotalVolumes": limits["volumes"], "maxTotalSnapshots": limits["snapshots"],
        "maxTotalVolumeGigabytes": limits["gigabytes"], "maxTotalBackups": limits["backups"],
        "maxTotalBackupGigabytes": limits["backup_gigabytes"], "totalVolumesUsed": used["volumes"],
        "totalGigabytesUsed": used["gigabytes"], "totalSnapshotsUsed": used["snapshots"], "totalBackupsUsed": 0,
        "totalBackupGigabytesUsed": 0,
    }  # fmt: skip
    return {"limits": {"rate": [], "absolute": absolute}}


SETS, CLASSES = "/os-quota-sets/{target_id}", "/os-quota-class-sets/{name}"
RULE, CLASS_RULE = "volume_extension:quotas:", "volume_extension:quota_classes:"
ROUTES = [
    Route("GET", SETS, show_quotas, policy=READER, rule=RULE + "show"),
    Route("GET", SETS + "/defaults", show_defaults, policy=READER, rule=RULE + "show"),
    Route("PUT", SETS, update_quotas, policy=ADMIN, rule=RULE + "update", body=QUOTA_SET),
    Route("DELETE", SETS, delete_quotas, policy=ADMIN, rule=RULE + "delete"),
    Route("GET", CLASSES, show_class, policy=ADMIN, rule=CLASS_RULE + "get"),
    Route("PUT", CLASSES, update_class, policy=ADMIN, rule=CLASS_RULE + "update", body=QUOTA_CLASS_SET),
    Route("GET", "/limits", show_limits, policy=READER, rule="limits_extension:used_limits"),
]
