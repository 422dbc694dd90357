"""The JSON Schemas that clients check their requests with (API reference: Image schemas)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ANYONE
from minicloud.api.route import Call, Reply, Route
from minicloud.image.api.attributes import MEMBER_PROPERTIES, image_schema

if TYPE_CHECKING:
    from minicloud.image import Image

_LINKS = [
    {"rel": "first", "href": "{first}"},
    {"rel": "next", "href": "{next}"},
    {"rel": "describedby", "href": "{schema}"},
]
_STRING = {"type": "string"}
TASK: dict[str, Any] = {
    "name": "task",
    "properties": {
        "id": _STRING,
        "type": {"type": "string", "enum": ["api_image_import"]},
        "status": {"type": "string", "enum": ["pending", "processing", "success", "failure"]},
        "input": {"type": ["null", "object"]},
        "result": {"type": ["null", "object"]},
        "owner": _STRING,
        "message": _STRING,
        "expires_at": {"type": ["null", "string"]},
        "created_at": _STRING,
        "updated_at": _STRING,
        "self": {"type": "string", "readOnly": True},
        "schema": {"type": "string", "readOnly": True},
    },
}


def _many(plural: str, one: dict[str, Any], *, paged: bool = True) -> dict[str, Any]:
    paths = {"first": _STRING, "next": _STRING} if paged else {}
    return {
        "name": plural,
        "properties": {plural: {"type": "array", "items": one}, **paths, "schema": _STRING},
        "links": _LINKS if paged else _LINKS[2:],
    }


def _member() -> dict[str, Any]:
    return {"name": "member", "properties": dict(MEMBER_PROPERTIES)}


async def show_image(image: Image, call: Call) -> Reply:
    """Of an image."""
    return Reply(image_schema())


async def show_images(image: Image, call: Call) -> Reply:
    """Of a list of images."""
    return Reply(_many("images", image_schema()))


async def show_member(image: Image, call: Call) -> Reply:
    """Of a membership."""
    return Reply(_member())


async def show_members(image: Image, call: Call) -> Reply:
    """Of a list of memberships."""
    return Reply(_many("members", _member(), paged=False))


async def show_task(image: Image, call: Call) -> Reply:
    """Of a task."""
    return Reply(TASK)


async def show_tasks(image: Image, call: Call) -> Reply:
    """Of a list of tasks."""
    return Reply(_many("tasks", TASK))


ROUTES = [
    Route("GET", "/schemas/image", show_image, policy=ANYONE, scopes=(), rule="-"),
    Route("GET", "/schemas/images", show_images, policy=ANYONE, scopes=(), rule="-"),
    Route("GET", "/schemas/member", show_member, policy=ANYONE, scopes=(), rule="-"),
    Route("GET", "/schemas/members", show_members, policy=ANYONE, scopes=(), rule="-"),
    Route("GET", "/schemas/task", show_task, policy=ANYONE, scopes=(), rule="-"),
    Route("GET", "/schemas/tasks", show_tasks, policy=ANYONE, scopes=(), rule="-"),
]
