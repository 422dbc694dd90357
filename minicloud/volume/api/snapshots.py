"""Snapshots on the wire (block storage API, "Volume snapshots")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN, MEMBER, READER
from minicloud.api.route import Call, Listed, Route
from minicloud.api.schema import (
    BOOLEAN,
    METADATA,
    OPTIONAL,
    REQUIRED,
    TEXT,
    UUID,
    Field,
    Schema,
    micros,
    nullable,
    string,
)
from minicloud.api.versions import Version
from minicloud.core.errors import Invalid
from minicloud.volume import snapshots
from minicloud.volume.api import lists
from minicloud.volume.api.lists import Lists
from minicloud.volume.snapshots import NewSnapshot
from minicloud.volume.tables import SNAPSHOTS, SnapshotRow

if TYPE_CHECKING:
    from minicloud.volume import Volume

IN_USE_BY_ITSELF: Version = (3, 66)
"""From here on a volume in use needs no `force`, and `force: false` makes no sense any more."""
STATUSES = ("creating", "available", "deleting", "error", "error_deleting")


def _upgrade(body: dict[str, Any], version: Version) -> dict[str, Any]:
    newest = dict(body)
    for old, new in (("display_name", "name"), ("display_description", "description")):
        if old in newest:
            newest.setdefault(new, newest.pop(old))
    if version >= IN_USE_BY_ITSELF:
        if newest.get("force") is False:
            raise Invalid(
                "Cannot snapshot with force false: from 3.66 on a volume in use is always taken; leave force out."
            )
        newest["force"] = True
    return newest


NULLABLE_TEXT = nullable(TEXT)
SNAPSHOT_FIELDS = (
    Field("id", UUID, out=True),
    Field("created_at", TEXT, lambda row, call: micros(row.created_at), out=True),
    Field("updated_at", TEXT, lambda row, call: micros(row.updated_at), out=True),
    Field("name", NULLABLE_TEXT, out=True, create=OPTIONAL, update=OPTIONAL),
    Field("description", NULLABLE_TEXT, out=True, create=OPTIONAL, update=OPTIONAL),
    Field("display_name", NULLABLE_TEXT, create=OPTIONAL, update=OPTIONAL),
    Field("display_description", NULLABLE_TEXT, create=OPTIONAL, update=OPTIONAL),
    Field("volume_id", nullable(UUID), out=True, create=REQUIRED),
    Field("force", nullable(BOOLEAN), create=OPTIONAL),
    Field("status", TEXT, out=True),
    Field("size", TEXT, out=True),
    Field("metadata", nullable(METADATA), out=True, create=OPTIONAL),
    Field("user_id", TEXT, out=True, since=(3, 41)),
    Field("consumes_quota", BOOLEAN, lambda row, call: True, out=True, since=(3, 65)),
)
SUMMARY = Schema("snapshot", *SNAPSHOT_FIELDS, upgrade=_upgrade, extra=False)
SNAPSHOT = Schema(
    "snapshot",
    *SNAPSHOT_FIELDS,
    Field("os-extended-snapshot-attributes:project_id", TEXT, "project_id", out=True),
    Field(
        "os-extended-snapshot-attributes:progress", TEXT, out=True,
        attr=lambda row, call: "100%" if row.status == "available" else row.progress or "0%",
    ),
)  # fmt: skip
LISTS = Lists(
    SNAPSHOTS,
    sorts={
        "id": "id", "name": "name", "display_name": "name", "created_at": "created_at", "updated_at": "updated_at",
        "status": "status", "volume_id": "volume_id", "volume_size": "size", "user_id": "user_id", "project_id": "project_id",
    },
    filters={
        "name": lists.column("name"), "display_name": lists.column("name"), "status": lists.column("status"),
        "id": lists.column("id"), "volume_id": lists.column("volume_id"), "user_id": lists.column("user_id"),
        "description": lists.column("description"), "metadata": lists.pairs("metadata"),
        "volume_size": lists.number("size"), "created_at": lists.moment("created_at"),
        "updated_at": lists.moment("updated_at"), "availability_zone": lambda value, like: ("? = 'nova'", (value,)),
        "consumes_quota": lambda value, like: ("1" if value.lower() in lists.TRUE else "0", ()),
    },
)  # fmt: skip
LOOSE = Schema("none", extra=True)
RESET = Schema("os-reset_status", Field("status", string(enum=STATUSES), create=REQUIRED))
PROGRESS = Schema(
    "os-update_snapshot_status",
    Field("status", string(enum=STATUSES), create=REQUIRED),
    Field("progress", string(pattern=r"^\d{1,3}%$"), create=OPTIONAL),
)


def _id(call: Call) -> str:
    return call.params["snapshot_id"]


async def create_snapshot(volume: Volume, call: Call) -> SnapshotRow:
    """Begin to make a snapshot of a volume."""
    body = call.body
    new = NewSnapshot(
        volume_id=body["volume_id"] or "", name=body.get("name"), description=body.get("description"),
        metadata=body.get("metadata") or {}, in_use=bool(body.get("force")),
    )  # fmt: skip
    return await snapshots.accept(volume, call.ctx, new)


async def list_snapshots(volume: Volume, call: Call) -> Listed:
    """The project's snapshots, the newest first."""
    return LISTS.rows(volume, call)


async def show_snapshot(volume: Volume, call: Call) -> SnapshotRow:
    """One snapshot."""
    return snapshots.visible(volume, call.ctx, _id(call))


async def update_snapshot(volume: Volume, call: Call) -> SnapshotRow:
    """Rename or describe a snapshot."""
    values = {key: value for key, value in call.body.items() if key in ("name", "description")}
    if not values:
        raise Invalid("Cannot update the snapshot: the body holds no attribute to change.")
    return await snapshots.change(volume, call.ctx, _id(call), **values)


async def delete_snapshot(volume: Volume, call: Call) -> None:
    """Begin to delete a snapshot."""
    await snapshots.accept_deletion(volume, call.ctx, _id(call))


async def force_delete(volume: Volume, call: Call) -> None:
    """Delete whatever the status says."""
    await snapshots.accept_deletion(volume, call.ctx, _id(call), force=True)


async def report_status(volume: Volume, call: Call) -> None:
    """Somebody who makes or removes it by means of their own says how far that is."""
    body = call.body
    await snapshots.report(volume, call.ctx, _id(call), body["status"], body.get("progress"))


async def reset_status(volume: Volume, call: Call) -> None:
    """Say what the status is, as an admin who has looked."""
    await snapshots.reset_status(volume, call.ctx, _id(call), call.body["status"])


PLACE, ACTION = "/snapshots/{snapshot_id}", "/snapshots/{snapshot_id}/action"
ADMINS = "volume_extension:snapshot_admin_actions:"
ROUTES = [
    Route("POST", "/snapshots", create_snapshot, policy=MEMBER, rule="volume:create_snapshot", body=SUMMARY, view=SUMMARY, status=202),
    Route("GET", "/snapshots", list_snapshots, policy=READER, rule="volume:get_all_snapshots", view=SUMMARY, many=True),
    Route("GET", "/snapshots/detail", list_snapshots, policy=READER, rule="volume:get_all_snapshots", view=SNAPSHOT, many=True),
    Route("GET", PLACE, show_snapshot, policy=READER, rule="volume:get_snapshot", view=SNAPSHOT),
    Route("PUT", PLACE, update_snapshot, policy=MEMBER, rule="volume:update_snapshot", body=SUMMARY, view=SUMMARY),
    Route("DELETE", PLACE, delete_snapshot, policy=MEMBER, rule="volume:delete_snapshot", status=202),
    Route("POST", ACTION, force_delete, action="os-force_delete", body=LOOSE, policy=ADMIN, rule=ADMINS + "force_delete", status=202),
    Route("POST", ACTION, reset_status, action="os-reset_status", body=RESET, policy=ADMIN, rule=ADMINS + "reset_status", status=202),
    Route(
        "POST", ACTION, report_status, action="os-update_snapshot_status", body=PROGRESS, policy=MEMBER,
        rule="snapshot_extension:snapshot_actions:update_snapshot_status", status=202,
    ),
]  # fmt: skip
