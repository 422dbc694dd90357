"""A server's volumes: `/servers/{id}/os-volume_attachments`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicloud.api.policy import MEMBER, READER
from minicloud.api.route import Call, Route
from minicloud.api.schema import ANY, BOOLEAN, OPTIONAL, REQUIRED, UUID, Field, Schema, nullable, string
from minicloud.compute import attach
from minicloud.compute.api.types import DEVICE_TAG
from minicloud.compute.tables import BlockDevice
from minicloud.core.errors import Invalid, NotFound, NotImplementedHere

if TYPE_CHECKING:
    from minicloud.compute import Compute

ATTACHMENT = Schema(
    "volumeAttachment",
    Field("id", ANY, attr="volume_id", out=True, until=(2, 88)),
    Field("serverId", ANY, attr="server_id", out=True),
    Field("volumeId", UUID, attr="volume_id", out=True, create=REQUIRED),
    Field(
        "device",
        nullable(string(high=255, pattern=r"(^/dev/x{0,1}[a-z]{0,1}d{0,1})([a-z]+)[0-9]*$")),
        out=True,
        create=OPTIONAL,
    ),
    Field("tag", DEVICE_TAG, create=OPTIONAL, since=(2, 49), until=(2, 69)),
    Field("tag", DEVICE_TAG, out=True, create=OPTIONAL, since=(2, 70)),
    Field("delete_on_termination", BOOLEAN, out=True, create=OPTIONAL, since=(2, 79)),
    Field("attachment_id", ANY, out=True, since=(2, 89)),
    Field("bdm_uuid", ANY, attr="id", out=True, since=(2, 89)),
)
CHANGE = Schema(
    "volumeAttachment",
    Field("volumeId", UUID, update=REQUIRED),
    Field("delete_on_termination", BOOLEAN, update=OPTIONAL, since=(2, 85)),
    Field("device", ANY, update=OPTIONAL, since=(2, 85)),
    Field("tag", ANY, update=OPTIONAL, since=(2, 85)),
    Field("id", ANY, update=OPTIONAL, since=(2, 85)),
    Field("serverId", ANY, update=OPTIONAL, since=(2, 85)),
)
RULE = "os_compute_api:os-volumes-attachments"


def _volumes(compute: Compute, call: Call) -> list[BlockDevice]:
    server = compute.server(call.ctx, call.params["server_id"])
    return [one for one in compute.devices_of(server.id) if one.volume_id is not None]


async def list_attachments(compute: Compute, call: Call) -> list[BlockDevice]:
    """`GET .../os-volume_attachments`."""
    found = _volumes(compute, call)
    offset, limit = (_natural(call.query.get(name), name) for name in ("offset", "limit"))
    return found[offset or 0 :][: 1000 if limit is None else limit]


def _natural(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise Invalid(f"Cannot use {name} {text[:40]!r}: it must be a whole number, 0 or more.")
    return min(int(text), 2**31)


async def show_attachment(compute: Compute, call: Call) -> BlockDevice:
    """`GET .../os-volume_attachments/{volume_id}`."""
    for one in _volumes(compute, call):
        if one.volume_id == call.params["volume_id"]:
            return one
    raise NotFound(f"Instance {call.params['server_id']} is not attached to volume {call.params['volume_id']}.")


async def create_attachment(compute: Compute, call: Call) -> BlockDevice:
    """`POST .../os-volume_attachments`."""
    body = call.body
    return await attach.attach_volume(
        compute, call.ctx, call.params["server_id"], body["volumeId"], device=body.get("device"), tag=body.get("tag"),
        delete_on_termination=body.get("delete_on_termination", False),
    )  # fmt: skip


async def update_attachment(compute: Compute, call: Call) -> None:
    """`PUT .../os-volume_attachments/{volume_id}`: delete_on_termination; swapping volumes is not offered."""
    volume_id = call.params["volume_id"]
    one = await show_attachment(compute, call)
    if call.body["volumeId"] != volume_id:
        raise NotImplementedHere("Swapping a volume for another one is not offered by this version of minicloud.")
    for name, known in (("device", one.device), ("tag", one.tag), ("serverId", one.server_id), ("id", one.volume_id)):
        if name in call.body and call.body[name] != known:
            raise Invalid(f"Cannot change {name} of an attachment: only delete_on_termination may change.")
    if "delete_on_termination" in call.body:
        await attach.keep_volume(
            compute, call.ctx, one.server_id, volume_id, delete_on_termination=call.body["delete_on_termination"]
        )


async def delete_attachment(compute: Compute, call: Call) -> None:
    """`DELETE .../os-volume_attachments/{volume_id}`."""
    await attach.detach_volume(compute, call.ctx, call.params["server_id"], call.params["volume_id"])


_ALL, _ONE = "/servers/{server_id}/os-volume_attachments", "/servers/{server_id}/os-volume_attachments/{volume_id}"
ROUTES = [
    Route(
        "GET",
        _ALL,
        list_attachments,
        view=ATTACHMENT,
        many=True,
        policy=READER,
        rule=f"{RULE}:index",
        query=("limit", "offset"),
    ),
    Route("POST", _ALL, create_attachment, body=ATTACHMENT, view=ATTACHMENT, policy=MEMBER, rule=f"{RULE}:create"),
    Route("GET", _ONE, show_attachment, view=ATTACHMENT, policy=READER, rule=f"{RULE}:show"),
    Route("PUT", _ONE, update_attachment, body=CHANGE, status=202, policy=MEMBER, rule=f"{RULE}:update"),
    Route("DELETE", _ONE, delete_attachment, status=202, policy=MEMBER, rule=f"{RULE}:delete"),
]
