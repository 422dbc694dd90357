"""Images as records: making, finding, changing and removing them. Their bytes are the business of `upload` and `bases`."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from minicloud.api.policy import ADMIN, MEMBER, require
from minicloud.core.clock import stamp
from minicloud.core.context import Context
from minicloud.core.errors import Conflict, Failure, Forbidden, Invalid, NotFound, TooLarge
from minicloud.core.store import Db, Page
from minicloud.image import quotas
from minicloud.image.formats import CONTAINER_FORMATS, DISK_FORMATS
from minicloud.image.tables import IMAGES, MEMBERS, ImageRow, Status, Visibility

if TYPE_CHECKING:
    from minicloud.image import Image

log = structlog.get_logger(__name__)
PROPERTIES_LIMIT = 128
TAGS_LIMIT = 128
RESERVED_PREFIX = "os_glance"
"""Names of properties that only the service itself may set."""


@dataclass(frozen=True, slots=True)
class NewImage:
    """What a caller wants an image to be."""

    id: str | None = None
    name: str | None = None
    owner: str | None = None
    visibility: Visibility = Visibility.SHARED
    disk_format: str | None = None
    container_format: str | None = None
    min_disk: int = 0
    min_ram: int = 0
    protected: bool = False
    hidden: bool = False
    properties: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    tags: Sequence[str] = ()


def not_found(image_id: str) -> NotFound:
    """What a caller hears of an image that is not there for them."""
    return NotFound(f"No image found with ID {image_id[:255]}")


def sees(db: Db, ctx: Context, row: ImageRow) -> bool:
    """Whether a caller may know of an image."""
    if ctx.sees(row.owner) or row.visibility in (Visibility.PUBLIC, Visibility.COMMUNITY):
        return True
    if row.visibility is not Visibility.SHARED or ctx.project_id is None:
        return False
    return MEMBERS.first(db, "image_id = ? AND member_id = ?", (row.id, ctx.project_id)) is not None


def visible(image: Image, ctx: Context, image_id: str) -> ImageRow:
    """The image, if the caller may know of it; else `NotFound`."""

    def look(db: Db) -> ImageRow:
        row = IMAGES.get(db, image_id)
        if row is None or not sees(db, ctx, row):
            raise not_found(image_id)
        return row

    return image.store.read(look)


def so_far(image: Image, row: ImageRow) -> ImageRow:
    """The image as clients are shown it: while its bytes come in, their number so far is its size."""
    done = image.under_way.get(row.id)
    return row if done is None or row.status is Status.QUEUED else dataclasses.replace(row, size=done)


def owned(image: Image, ctx: Context, image_id: str, rule: str) -> ImageRow:
    """The image, if the caller may change it. Raises `NotFound`, or `Forbidden` for one that belongs to somebody else."""
    row = visible(image, ctx, image_id)
    if not ctx.is_admin and row.owner != ctx.project_id:
        raise Forbidden(f"You are not authorized to complete {rule} action: image {image_id} is not yours.", code=rule)
    return row


def may_show(ctx: Context, visibility: str) -> None:
    """Whether the caller may make an image that visible: public ones are the administrators' matter."""
    if visibility == Visibility.PUBLIC and not ADMIN.allows(ctx):
        raise Forbidden("You are not authorized to complete publicize_image action.", code="publicize_image")
    if visibility == Visibility.COMMUNITY:
        require(ctx, MEMBER, "communitize_image")


async def create(image: Image, ctx: Context, new: NewImage) -> ImageRow:
    """Make a record that waits for its bytes.

    Raises:
        Forbidden: a public image, or one for another project, by an ordinary user.
        Conflict: the id is taken.
        TooLarge: too many properties, tags, or images in the project.
    """
    may_show(ctx, new.visibility)
    if new.owner is not None and new.owner != ctx.project_id and not ctx.is_admin:
        raise Forbidden("You are not permitted to create images owned by another project.", code="add_image")
    check_formats(new.disk_format, new.container_format)
    check_properties(new.properties)
    tags = unique(new.tags)
    now = stamp(image.clock.now())
    row = ImageRow(
        id=(new.id or str(uuid.uuid4())).lower(), name=new.name, owner=new.owner or ctx.project_id, status=Status.QUEUED,
        visibility=new.visibility, disk_format=new.disk_format, container_format=new.container_format, size=None,
        virtual_size=None, min_disk=new.min_disk, min_ram=new.min_ram, protected=new.protected, hidden=new.hidden,
        checksum=None, hash_value=None, properties=dict(new.properties), tags=tags, created_at=now, updated_at=now,
    )  # fmt: skip

    def insert(db: Db) -> ImageRow:
        if IMAGES.get(db, row.id) is not None:
            raise Conflict(f"Image ID {row.id} already exists.")
        if db.execute("SELECT 1 FROM image_ids_gone WHERE id = ?", (row.id,)).fetchone():
            raise Conflict(f"Image ID {row.id} belonged to an image that was deleted: choose another, or none.")
        quotas.check_count_in(image, db, row.owner)
        return IMAGES.insert(db, row)

    return await image.store.write(insert)


async def change(image: Image, image_id: str, change: Callable[[ImageRow], Mapping[str, Any]]) -> ImageRow:
    """Set columns of an image whose caller was checked: those that `change` gives for the row as it is in the transaction,
    so that of two changes at once none is lost, and no format changes while bytes are looked at by the old one.

    Raises:
        Forbidden: a format of an image that has bytes, or gets them.
        NotFound: it was deleted meanwhile.
    """

    def revise(db: Db) -> ImageRow:
        row = IMAGES.get(db, image_id)
        if row is None:
            raise not_found(image_id)
        values = _checked(row, change(row))
        return IMAGES.change(db, row.id, updated_at=stamp(image.clock.now()), **values) if values else row

    return await image.store.write(revise)


def _checked(row: ImageRow, change: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(change)
    for name in ("disk_format", "container_format"):
        if name in values and values[name] != getattr(row, name) and row.status is not Status.QUEUED:
            raise Forbidden(f"Attribute '{name}' can only be replaced for a queued image.")
    check_formats(values.get("disk_format", row.disk_format), values.get("container_format", row.container_format))
    if "properties" in values:
        check_properties(values["properties"])
    if "tags" in values:
        values["tags"] = unique(values["tags"])
    return values


async def set_status(
    image: Image,
    image_id: str,
    status: Status,
    *,
    expect: Sequence[Status],
    also: Callable[[Db], None] | None = None,
    **values: Any,
) -> ImageRow:
    """Move an image from one of some states to another; `also` is done in the same transaction.

    Raises:
        Conflict: it is in another state. NotFound: it was deleted meanwhile.
    """

    def move(db: Db) -> ImageRow:
        row = IMAGES.get(db, image_id)
        if row is None:
            raise not_found(image_id)
        if row.status not in expect:
            raise Conflict(f"Image status transition from {row.status} to {status} is not allowed.")
        changed = IMAGES.change(db, image_id, status=status, updated_at=stamp(image.clock.now()), **values)
        if also is not None:
            also(db)
        return changed

    return await image.store.write(move)


async def remove(image: Image, ctx: Context, image_id: str) -> None:
    """Delete an image, its shares and its bytes; disks that were made from it live on.

    Raises:
        NotFound, Forbidden: not there, not yours, protected.
    """
    row = owned(image, ctx, image_id, "delete_image")
    if row.protected:
        raise Forbidden(f"Image {image_id} is protected and cannot be deleted.")

    await image.store.write(forget_in, row.id)
    try:
        await image.drop_files(row.id)
    except Failure as error:  # the image is gone all the same; the reconciler removes what no image explains
        log.warning("the files of a deleted image are still there", image=row.id, error=error.message)


def forget_in(db: Db, image_id: str) -> None:
    """Remove an image's record and what hangs on it. Its id is never another's: disks of the old one may still be in use."""
    db.execute("INSERT OR IGNORE INTO image_ids_gone VALUES (?)", (image_id,))
    MEMBERS.delete_where(db, "image_id = ?", (image_id,))
    db.execute("DELETE FROM image_tasks WHERE image_id = ?", (image_id,))
    IMAGES.delete(db, image_id)


async def deactivate(image: Image, ctx: Context, image_id: str) -> None:
    """Keep everybody but administrators from the bytes; done twice is fine."""
    await _switch(image, ctx, image_id, "deactivate", Status.DEACTIVATED)


async def reactivate(image: Image, ctx: Context, image_id: str) -> None:
    """Give the bytes back; done twice is fine."""
    await _switch(image, ctx, image_id, "reactivate", Status.ACTIVE)


async def _switch(image: Image, ctx: Context, image_id: str, rule: str, status: Status) -> None:
    row = owned(image, ctx, image_id, rule)
    if row.status not in (Status.ACTIVE, Status.DEACTIVATED):
        raise Forbidden(f"Not allowed to {rule} image in status '{row.status}': it has no data.")
    if row.status is not status:
        await set_status(image, row.id, status, expect=(Status.ACTIVE, Status.DEACTIVATED))


@dataclass(frozen=True, slots=True)
class Filters:
    """What a list is narrowed to.

    Attributes:
        conditions: SQL conditions with their values, on the table `images`.
        visibility, member_status, hidden: see the API reference of "List images".
    """

    conditions: Sequence[tuple[str, tuple[Any, ...]]] = ()
    visibility: str | None = None
    member_status: str = "accepted"
    hidden: bool = False
    owner: str | None = None


def listed(image: Image, ctx: Context, filters: Filters, page: Page) -> list[ImageRow]:
    """One page of the images that the caller may list."""
    clauses: list[str] = ["hidden = ?"]
    values: list[Any] = [int(filters.hidden)]
    shared = "id IN (SELECT image_id FROM image_members WHERE member_id = ?" + (
        ")" if filters.member_status == "all" else " AND status = ?)"
    )
    shared_values = [ctx.project_id, *([] if filters.member_status == "all" else [filters.member_status])]
    if not ctx.is_admin:
        may = ["owner = ?", "visibility = 'public'", f"(visibility = 'shared' AND {shared})"]
        if filters.visibility == Visibility.COMMUNITY:
            may.append("visibility = 'community'")
        clauses.append("(" + " OR ".join(may) + ")")
        values += [ctx.project_id, *shared_values]
    elif filters.visibility == Visibility.SHARED and filters.member_status != "accepted":
        clauses.append(f"(owner = ? OR {shared})")
        values += [ctx.project_id, *shared_values]
    if filters.visibility not in (None, "all"):
        clauses.append("visibility = ?")
        values.append(filters.visibility)
    if filters.owner is not None:
        clauses.append("owner = ?")
        values.append(filters.owner)
    for condition, more in filters.conditions:
        clauses.append(condition)
        values += more

    def read(db: Db) -> list[ImageRow]:
        if page.marker is not None:
            marked = IMAGES.get(db, page.marker)
            if marked is None or not sees(db, ctx, marked):
                raise Invalid(f"Cannot continue the list: marker {page.marker[:255]} could not be found.")
        return IMAGES.page(db, page, " AND ".join(clauses), values)

    return image.store.read(read)


def check_formats(disk_format: str | None, container_format: str | None) -> None:
    """Raise `Invalid` for amazon formats that don't fit each other."""
    if disk_format is not None and disk_format not in DISK_FORMATS:
        raise Invalid(f"Invalid disk format '{disk_format[:80]}': it is none of {', '.join(DISK_FORMATS)}.")
    if container_format is not None and container_format not in CONTAINER_FORMATS:
        raise Invalid(
            f"Invalid container format '{container_format[:80]}': it is none of {', '.join(CONTAINER_FORMATS)}."
        )
    amazon = {one for one in (disk_format, container_format) if one in ("ami", "ari", "aki")}
    if amazon and disk_format is not None and container_format is not None and disk_format != container_format:
        raise Invalid(
            f"Invalid mix of disk and container formats: {disk_format} and {container_format}; for an Amazon format both "
            "must be the same."
        )


def check_properties(properties: Mapping[str, Any]) -> None:
    """Raise `TooLarge` for too many, `Invalid` for values that are no text."""
    if len(properties) > PROPERTIES_LIMIT:
        raise TooLarge(
            f"The limit on allowed image properties ({PROPERTIES_LIMIT}) has been exceeded: {len(properties)}."
        )
    for name, value in properties.items():
        if not 1 <= len(name) <= 255:
            raise Invalid(f"Cannot use the property {name[:40]!r}: a name has 1 to 255 characters.")
        if value is not None and (not isinstance(value, str) or len(value) > 65535):
            raise Invalid(f"Cannot use the value of property {name}: it must be text of at most 65535 characters.")


def unique(tags: Sequence[str]) -> list[str]:
    """Tags in their order, each once; `TooLarge` if there are too many."""
    found = list(dict.fromkeys(tags))
    if len(found) > TAGS_LIMIT:
        raise TooLarge(f"The limit on allowed image tags ({TAGS_LIMIT}) has been exceeded: {len(found)}.")
    return found
