"""Attachments on the wire (block storage API, "Attachments", 3.27): reserve, connect, complete, end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import MEMBER, READER
from minicloud.api.route import Call, Listed, Route
from minicloud.api.schema import (
    OBJECT,
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
from minicloud.core.errors import Invalid
from minicloud.volume import attachments
from minicloud.volume.api import lists
from minicloud.volume.api.lists import Condition, Lists
from minicloud.volume.tables import ATTACHMENTS, VOLUMES, AttachmentRow

if TYPE_CHECKING:
    from minicloud.volume import Volume

SUMMARY_FIELDS = (
    Field("id", UUID, out=True),
    Field("status", TEXT, out=True),
    Field("instance", TEXT, "server_id", out=True),
    Field("volume_id", UUID, out=True),
)
SUMMARY = Schema("attachment", *SUMMARY_FIELDS)
ATTACHMENT = Schema(
    "attachment",
    *SUMMARY_FIELDS,
    Field("attached_at", TEXT, lambda one, call: micros(one["row"].attached_at) or "", out=True),
    Field("detached_at", TEXT, lambda one, call: "", out=True),
    Field("attach_mode", TEXT, lambda one, call: one["row"].mode, out=True),
    Field("connection_info", OBJECT, out=True),
    Field("volume_uuid", UUID, create=REQUIRED),
    Field("instance_uuid", nullable(UUID), create=OPTIONAL),
    Field("connector", nullable(OBJECT), create=OPTIONAL, update=REQUIRED),
    Field("mode", nullable(string(enum=("rw", "ro"))), create=OPTIONAL, since=(3, 54)),
)
LISTS = Lists(
    ATTACHMENTS,
    sorts={"id": "id", "created_at": "created_at", "attach_status": "status", "status": "status", "volume_id": "volume_id"},
    filters={
        "volume_id": lists.column("volume_id"), "status": lists.column("status"), "attach_status": lists.column("status"),
        "instance_id": lists.column("server_id"), "attachment_id": lists.column("id"), "id": lists.column("id"),
    },
    owner="",
)  # fmt: skip
LOOSE = Schema("none", extra=True)


def _whole(volume: Volume, row: AttachmentRow) -> dict[str, Any]:
    connected = row.connector is not None or row.status in attachments.HELD
    owner = volume.store.read(VOLUMES.need, row.volume_id)
    info = volume.connection_of(owner) | {"attachment_id": row.id} if connected else {}
    return {
        "id": row.id, "status": row.status, "server_id": row.server_id, "volume_id": row.volume_id, "row": row,
        "connection_info": info,
    }  # fmt: skip


def _mine(call: Call) -> list[Condition]:
    if call.ctx.is_admin and lists.flag(call, "all_tenants"):
        return []
    return [("volume_id IN (SELECT id FROM volumes WHERE project_id = ?)", (call.ctx.project_id,))]


def _id(call: Call) -> str:
    return call.params["attachment_id"]


async def create_attachment(volume: Volume, call: Call) -> dict[str, Any]:
    """Reserve a volume; with a connector, connect it."""
    body = call.body
    row = await attachments.reserve(
        volume, call.ctx, body["volume_uuid"], body.get("instance_uuid"), mode=body.get("mode"),
        connector=body.get("connector") or None,
    )  # fmt: skip
    return _whole(volume, row)


async def list_attachments(volume: Volume, call: Call) -> Listed:
    """Attachments of the project's volumes."""
    return LISTS.rows(volume, call, extra=_mine(call))


async def list_attachments_with_details(volume: Volume, call: Call) -> Listed:
    """The same, whole."""
    found = LISTS.rows(volume, call, extra=_mine(call))
    return Listed([_whole(volume, row) for row in found.rows], found.page, found.more, found.extra)


async def show_attachment(volume: Volume, call: Call) -> dict[str, Any]:
    """One attachment."""
    return _whole(volume, attachments.visible(volume, call.ctx, _id(call)))


async def update_attachment(volume: Volume, call: Call) -> dict[str, Any]:
    """Connect a reserved volume."""
    if not call.body["connector"]:
        raise Invalid("Cannot update the attachment: its connector is empty.")
    return _whole(volume, await attachments.update(volume, call.ctx, _id(call), call.body["connector"]))


async def complete_attachment(volume: Volume, call: Call) -> None:
    """The host has it."""
    await attachments.complete(volume, call.ctx, _id(call))


async def delete_attachment(volume: Volume, call: Call) -> dict[str, Any]:
    """End an attachment; tells those that are left on the volume."""
    left = await attachments.remove(volume, call.ctx, _id(call))
    return {"attachments": [SUMMARY.view(row, call) for row in left]}


PLACE = "/attachments/{attachment_id}"
NEW = (3, 27)
ROUTES = [
    Route("POST", "/attachments", create_attachment, policy=MEMBER, rule="volume:attachment_create", body=ATTACHMENT, view=ATTACHMENT, since=NEW),
    Route("GET", "/attachments", list_attachments, policy=READER, rule="volume:attachments", view=SUMMARY, many=True, since=NEW),
    Route("GET", "/attachments/detail", list_attachments_with_details, policy=READER, rule="volume:attachments", view=ATTACHMENT, many=True, since=NEW),
    Route("GET", PLACE, show_attachment, policy=READER, rule="volume:attachments", view=ATTACHMENT, since=NEW),
    Route("PUT", PLACE, update_attachment, policy=MEMBER, rule="volume:attachment_update", body=ATTACHMENT, view=ATTACHMENT, since=NEW),
    Route("DELETE", PLACE, delete_attachment, policy=MEMBER, rule="volume:attachment_delete", since=NEW),
    Route("POST", PLACE + "/action", complete_attachment, action="os-complete", body=LOOSE, policy=MEMBER, rule="volume:attachment_complete", status=204, since=(3, 44)),
]  # fmt: skip
