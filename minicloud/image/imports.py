"""Imports: bytes that were staged before, or that this cloud downloads, become an image's data in the background.

`uploading` or `queued -> importing -> active`; a failed or killed import leaves the image queued, no file, and a task
that tells why. One import is one operation of the journal and one task on the wire.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from minicloud.core.clock import stamp
from minicloud.core.context import Context
from minicloud.core.errors import Conflict, Invalid, MinicloudError, NotFound
from minicloud.core.operations import AfterCrash, Operation
from minicloud.core.store import Db, Page
from minicloud.image import blobs, fetch, images, refine, upload
from minicloud.image.tables import IMAGES, TASKS, ImageRow, Status, Task

if TYPE_CHECKING:
    from minicloud.image import Image

METHODS = ("glance-direct", "web-download", "copy-image")
KIND = "image.import"
STORE = "file"
"""The one place where data is kept."""
IMPORTING, FAILED = "os_glance_importing_to_stores", "os_glance_failed_import"
"""Properties by which clients follow an import."""


def register(image: Image) -> None:
    """Make imports known to the journal."""

    async def carry_out(operation: Operation) -> None:
        await run(image, operation)

    def fail(db: Db, operation: Operation, error: MinicloudError) -> None:
        failed(db, operation, error, now=stamp(image.clock.now()))

    image.operations.register(KIND, carry_out, after_crash=AfterCrash.UNDO, failed=fail)


async def begin(image: Image, ctx: Context, image_id: str, request: Mapping[str, Any]) -> Task | None:
    """Accept an import; None if there is nothing to do (a copy to all stores, which are the one that has it).

    Args:
        request: the body: `{"method": {"name": "web-download", "uri": ...}}`.

    Raises:
        Invalid: an unknown method, a URL that can't be.
        Conflict: nothing is staged, the image has its data, formats are not set, an unknown store.
    """
    method = request["method"]
    if method["name"] not in METHODS:
        raise Invalid(f"Unknown import method name '{str(method['name'])[:80]}'.")
    row = images.owned(image, ctx, image_id, "upload_image")
    if any(store != STORE for store in request.get("stores", ())):
        raise Conflict("Cannot import: this cloud has the one store 'file'.")
    if method["name"] == "copy-image":
        refuse_copy(row, everywhere=bool(request.get("all_stores")))
        return None
    expected = Status.UPLOADING if method["name"] == "glance-direct" else Status.QUEUED
    if row.status is not expected:
        raise Conflict(
            f"Image needs to be in '{expected}' state to use the {method['name']} method; it is {row.status}."
        )
    try:
        upload.need_formats(row)
    except Invalid as error:  # an upload's 400 is an import's 409
        raise Conflict(error.message) from None
    if method["name"] == "web-download":
        if not isinstance(method.get("uri"), str):
            raise Invalid("Cannot import by web-download: the method needs a 'uri'.")
        fetch.check(method["uri"], image.config.image.import_networks)
    now = stamp(image.clock.now())
    task = Task(
        id=str(uuid.uuid4()), image_id=row.id, owner=row.owner, user_id=ctx.user_id, request_id=ctx.request_id,
        status="pending", input={"image_id": row.id, "import_req": dict(request)}, result={}, message="", created_at=now,
        updated_at=now,
    )  # fmt: skip

    def accept(db: Db) -> None:
        properties = {**IMAGES.need(db, row.id).properties, IMPORTING: STORE, FAILED: ""}
        IMAGES.change(
            db, row.id, expect={"status": expected}, status=Status.IMPORTING, properties=properties, updated_at=now
        )
        TASKS.insert(db, task)
        image.operations.enlist_in(db, ctx, KIND, f"image/{row.id}", task_id=task.id)

    await image.store.write(accept)
    return task


def refuse_copy(row: ImageRow, *, everywhere: bool) -> None:
    """A copy goes to other stores, of which there are none: only one to all stores is fine, and done."""
    if row.status is not Status.ACTIVE:
        raise Conflict(
            f"Cannot copy image {row.id}: only an image with status active can be copied; it is {row.status}."
        )
    if not everywhere:
        raise Invalid(f"Cannot copy image {row.id}: it is already present at store '{STORE}', the only one.")


async def run(image: Image, operation: Operation) -> None:
    """Carry out one import."""
    task = image.store.read(TASKS.need, operation.arguments["task_id"])
    row = image.store.read(IMAGES.need, task.image_id)
    await image.store.write(TASKS.change, task.id, status="processing", updated_at=stamp(image.clock.now()))
    await operation.on_failure(image.drop_import, row.id)
    method = task.input["import_req"]["method"]
    if method["name"] == "glance-direct":
        source = blobs.of_file(image.staged(row.id))
    else:
        settings = image.config.image
        source = fetch.stream(method["uri"], settings.import_networks, seconds=settings.import_seconds)
    with image.coming_in(row.id):
        row, blob = await refine.taken_in(image, row, source)
    formats = {"disk_format": row.disk_format, "container_format": row.container_format}

    def succeed(db: Db) -> None:
        _succeed(db, task, now=stamp(image.clock.now()))

    await upload.activate(image, row.id, blob, expect=Status.IMPORTING, also=succeed, **formats)
    await image.drop_work(row.id)


def _succeed(db: Db, task: Task, *, now: str) -> None:
    if TASKS.get(db, task.id) is not None:
        TASKS.change(db, task.id, status="success", result={"image_id": task.image_id}, updated_at=now)
        row = IMAGES.need(db, task.image_id)
        IMAGES.change(db, row.id, properties={**row.properties, IMPORTING: "", FAILED: ""})


def failed(db: Db, operation: Operation, error: MinicloudError, *, now: str) -> None:
    """What the records say after a failed import."""
    task = TASKS.get(db, operation.arguments["task_id"])
    if task is None or task.status == "success":  # what failed or was killed was the sweeping after it
        return
    TASKS.change(db, task.id, status="failure", message=error.message, updated_at=now)
    row = IMAGES.get(db, task.image_id)
    if row is not None and row.status is Status.IMPORTING:
        properties = {**row.properties, IMPORTING: "", FAILED: STORE}
        IMAGES.change(db, row.id, status=Status.QUEUED, size=None, properties=properties, updated_at=now)


def of_image(image: Image, ctx: Context, image_id: str) -> list[Task]:
    """An image's imports, newest first, for whoever may see the image."""
    row = images.visible(image, ctx, image_id)
    return [
        _told(image, one) for one in image.store.read(TASKS.where, "image_id = ?", (row.id,), order="created_at DESC")
    ]


def listed(image: Image, ctx: Context, page: Page, *, status: str | None) -> Sequence[Task]:
    """One page of all imports that the caller may see."""
    clauses: list[str] = [] if ctx.is_admin else ["owner = ?"]
    values: list[str | None] = [] if ctx.is_admin else [ctx.project_id]
    if status is not None:
        clauses.append("status = ?")
        values.append(status)
    return [_told(image, one) for one in image.store.read(TASKS.page, page, " AND ".join(clauses), values)]


def show(image: Image, ctx: Context, task_id: str) -> Task:
    """One import."""
    found = image.store.read(TASKS.get, task_id)
    if found is None or not ctx.sees(found.owner):
        raise NotFound(f"No task found with ID {task_id[:255]}")
    return _told(image, found)


def _told(image: Image, task: Task) -> Task:
    """A running import tells in its message how far it is, as Glance's do."""
    done = image.under_way.get(task.image_id)
    if task.status != "processing" or done is None:
        return task
    return dataclasses.replace(task, message=f"Copied {done // 1024**2} MiB")
