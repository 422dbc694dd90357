"""Messages on the wire (block storage API, "Messages", 3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicloud.api.policy import MEMBER, READER
from minicloud.api.route import Call, Listed, Route
from minicloud.api.schema import TEXT, UUID, Field, Schema, micros
from minicloud.volume import messages
from minicloud.volume.api import lists
from minicloud.volume.api.lists import Lists
from minicloud.volume.tables import MESSAGES, Message

if TYPE_CHECKING:
    from minicloud.volume import Volume

MESSAGE = Schema(
    "message",
    Field("id", UUID, out=True),
    Field("event_id", TEXT, out=True),
    Field("user_message", TEXT, out=True),
    Field("message_level", TEXT, "level", out=True),
    Field("created_at", TEXT, lambda row, call: micros(row.created_at), out=True),
    Field("guaranteed_until", TEXT, lambda row, call: micros(row.guaranteed_until), out=True),
    Field("request_id", TEXT, out=True),
    Field("resource_type", TEXT, out=True),
    Field("resource_uuid", TEXT, "resource_id", out=True),
    Field("links", TEXT, lambda row, call: lists.links(call, "messages", row.id), out=True),
)
LISTS = Lists(
    MESSAGES,
    sorts={
        "id": "id", "created_at": "created_at", "guaranteed_until": "guaranteed_until", "event_id": "event_id",
        "resource_type": "resource_type", "resource_uuid": "resource_id", "request_id": "request_id",
        "message_level": "level",
    },
    filters={
        "event_id": lists.column("event_id"), "resource_type": lists.column("resource_type"),
        "resource_uuid": lists.column("resource_id"), "request_id": lists.column("request_id"),
        "message_level": lists.column("level"),
    },
)  # fmt: skip


async def list_messages(volume: Volume, call: Call) -> Listed:
    """The project's messages, the newest first."""
    return LISTS.rows(volume, call)


async def show_message(volume: Volume, call: Call) -> Message:
    """One message."""
    return messages.visible(volume, call.ctx, call.params["message_id"])


async def delete_message(volume: Volume, call: Call) -> None:
    """Forget a message."""
    await messages.delete(volume, call.ctx, call.params["message_id"])


ROUTES = [
    Route(
        "GET", "/messages", list_messages, policy=READER, rule="message:get_all", view=MESSAGE, many=True, since=(3, 3)
    ),
    Route("GET", "/messages/{message_id}", show_message, policy=READER, rule="message:get", view=MESSAGE, since=(3, 3)),
    Route(
        "DELETE",
        "/messages/{message_id}",
        delete_message,
        policy=MEMBER,
        rule="message:delete",
        status=204,
        since=(3, 3),
    ),
]
