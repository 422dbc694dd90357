"""Sharing on the wire (API reference: Sharing)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicloud.api.policy import MEMBER, READER
from minicloud.api.route import Call, Reply, Route
from minicloud.api.schema import REQUIRED, Field, Schema, string
from minicloud.image import members
from minicloud.image.api.attributes import member_shown

if TYPE_CHECKING:
    from minicloud.image import Image

NEW_MEMBER = Schema("member", Field("member", string(low=1), create=REQUIRED))
ANSWER = Schema(
    "member", Field("status", string(enum=("pending", "accepted", "rejected")), update=REQUIRED), extra=True
)


async def list_members(image: Image, call: Call) -> Reply:
    """Whom an image is shared with."""
    found = members.listed(image, call.ctx, call.params["image_id"])
    return Reply({"members": [member_shown(one) for one in found], "schema": "/v2/schemas/members"})


async def show_member(image: Image, call: Call) -> Reply:
    """One membership."""
    return Reply(member_shown(members.show(image, call.ctx, call.params["image_id"], call.params["member_id"])))


async def add_member(image: Image, call: Call) -> Reply:
    """Share an image with a project."""
    return Reply(member_shown(await members.create(image, call.ctx, call.params["image_id"], call.body["member"])))


async def update_member(image: Image, call: Call) -> Reply:
    """Accept or reject a shared image."""
    image_id, member_id = call.params["image_id"], call.params["member_id"]
    return Reply(member_shown(await members.answer(image, call.ctx, image_id, member_id, call.body["status"])))


async def delete_member(image: Image, call: Call) -> None:
    """Share an image with a project no longer."""
    await members.remove(image, call.ctx, call.params["image_id"], call.params["member_id"])


ALL, ONE = "/images/{image_id}/members", "/images/{image_id}/members/{member_id}"
ROUTES = [
    Route("GET", ALL, list_members, policy=READER, rule="get_members"),
    Route("POST", ALL, add_member, body=NEW_MEMBER, policy=MEMBER, rule="add_member"),
    Route("GET", ONE, show_member, policy=READER, rule="get_member"),
    Route("PUT", ONE, update_member, body=ANSWER, policy=MEMBER, rule="modify_member"),
    Route("DELETE", ONE, delete_member, status=204, policy=MEMBER, rule="delete_member"),
]
