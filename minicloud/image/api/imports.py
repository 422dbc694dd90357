"""Imports and tasks on the wire (API reference: Interoperable image import, Tasks)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.paging import listed, page_of
from minicloud.api.policy import ADMIN, ADMIN_OR_SERVICE, ANYONE, MEMBER, READER
from minicloud.api.route import Call, Listed, Reply, Route
from minicloud.api.schema import (
    ANY,
    LONG_TEXT,
    OPTIONAL,
    REQUIRED,
    STRICT_BOOLEAN,
    Field,
    Schema,
    array,
    seconds_z,
    string,
)
from minicloud.core.errors import Invalid
from minicloud.image import imports, quotas
from minicloud.image.imports import METHODS
from minicloud.image.tables import Task

if TYPE_CHECKING:
    from minicloud.image import Image

METHOD = Schema(
    "method", Field("name", string(low=1), create=REQUIRED), Field("uri", LONG_TEXT, create=OPTIONAL), extra=True
)
IMPORT = Schema(
    "import",
    Field("method", METHOD, create=REQUIRED),
    Field("stores", array(string()), create=OPTIONAL),
    Field("all_stores", STRICT_BOOLEAN, create=OPTIONAL),
    Field("all_stores_must_succeed", STRICT_BOOLEAN, create=OPTIONAL),
)


def _shown(task: Task, *, whole: bool = True) -> dict[str, Any]:
    brief = {
        "id": task.id,
        "type": "api_image_import",
        "status": task.status,
        "owner": task.owner,
        "expires_at": None,
        "created_at": seconds_z(task.created_at),
        "updated_at": seconds_z(task.updated_at),
        "self": f"/v2/tasks/{task.id}",
        "schema": "/v2/schemas/task",
    }
    if not whole:
        return brief
    return {
        **brief,
        "input": task.input,
        "result": task.result or None,
        "message": task.message,
        "image_id": task.image_id,
        "request_id": task.request_id,
        "user_id": task.user_id,
    }


class _Tasks(Schema):
    """The view of a task in a list."""

    def view(self, row: Any, call: Call) -> dict[str, Any]:
        return _shown(row, whole=False)


TASKS_VIEW = _Tasks("task", Field("id", ANY, out=True))


async def import_image(image: Image, call: Call) -> None:
    """Make staged or remote bytes an image's data."""
    request = dict(call.body)
    if (store := call.request.headers.get("X-Image-Meta-Store")) is not None and "stores" not in request:
        request["stores"] = [store]
    if request.get("all_stores") and "stores" in request:
        raise Invalid("Cannot import: stores and all_stores exclude each other.")
    await imports.begin(image, call.ctx, call.params["image_id"], request)


async def show_import_methods(image: Image, call: Call) -> Reply:
    """How images may be imported."""
    value = {"description": "Import methods available.", "type": "array", "value": list(METHODS)}
    return Reply({"import-methods": value})


async def show_stores(image: Image, call: Call) -> Reply:
    """Where data is kept: one place."""
    return Reply({"stores": [{"id": "file", "default": "true"}]})


async def show_stores_detail(image: Image, call: Call) -> Reply:
    """The same for administrators."""
    return Reply({"stores": [{"id": "file", "type": "file", "default": "true", "properties": {}}]})


async def show_usage(image: Image, call: Call) -> Reply:
    """What the caller's project uses of its quotas; sizes in MiB."""
    return Reply({"usage": quotas.usage(image, call.ctx.project_id) if call.ctx.project_id else {}})


async def list_image_tasks(image: Image, call: Call) -> Reply:
    """An image's imports."""
    return Reply({"tasks": [_shown(one) for one in imports.of_image(image, call.ctx, call.params["image_id"])]})


async def list_tasks(image: Image, call: Call) -> Listed:
    """All imports that the caller may see."""
    columns = {name: name for name in ("id", "status", "created_at", "updated_at")}
    page = page_of(call, columns=columns, default_sort=(("created_at", False),), default_limit=25)
    status = call.query.get("status")
    return listed(lambda wanted: imports.listed(image, call.ctx, wanted, status=status), page)


async def show_task(image: Image, call: Call) -> Reply:
    """One import."""
    return Reply(_shown(imports.show(image, call.ctx, call.params["task_id"])))


async def create_task(image: Image, call: Call) -> Reply:
    """Tasks of one's own making were superseded by imports."""
    raise Invalid("Cannot create a task: import an image by POST /v2/images/{image_id}/import instead.")


ROUTES = [
    Route(
        "POST", "/images/{image_id}/import", import_image, body=IMPORT, status=202, policy=MEMBER, rule="upload_image"
    ),
    Route("GET", "/images/{image_id}/tasks", list_image_tasks, policy=READER, rule="tasks_api_access"),
    Route("GET", "/info/import", show_import_methods, policy=ANYONE, scopes=(), rule="-"),
    Route("GET", "/info/stores", show_stores, policy=ANYONE, scopes=(), rule="-"),
    Route("GET", "/info/stores/detail", show_stores_detail, policy=ADMIN_OR_SERVICE, rule="stores_info_detail"),
    Route("GET", "/info/usage", show_usage, policy=ANYONE, scopes=(), rule="-"),
    Route("GET", "/tasks", list_tasks, view=TASKS_VIEW, many=True, policy=ADMIN, rule="tasks_api_access"),
    Route("POST", "/tasks", create_task, policy=ADMIN, rule="tasks_api_access"),
    Route("GET", "/tasks/{task_id}", show_task, policy=ADMIN, rule="tasks_api_access"),
]
