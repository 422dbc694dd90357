"""Whom an image is shared with. The owner names projects, each project says whether it accepts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicloud.core.clock import stamp
from minicloud.core.context import Context
from minicloud.core.errors import Conflict, Forbidden, NotFound, TooLarge
from minicloud.core.store import Db
from minicloud.image import images
from minicloud.image.tables import MEMBERS, ImageRow, Member, Visibility

if TYPE_CHECKING:
    from minicloud.image import Image

MEMBERS_LIMIT = 128


def listed(image: Image, ctx: Context, image_id: str) -> list[Member]:
    """All members for the owner; a member sees itself only."""
    row = images.visible(image, ctx, image_id)
    if row.visibility is not Visibility.SHARED:
        raise Forbidden(f"Not allowed to list members for image {image_id}: Only shared images have members.")
    found = image.store.read(MEMBERS.where, "image_id = ?", (row.id,), order="created_at, member_id")
    return found if _owns(ctx, row) else [one for one in found if one.member_id == ctx.project_id]


def show(image: Image, ctx: Context, image_id: str, member_id: str) -> Member:
    """One member, for the owner and for itself."""
    row = images.visible(image, ctx, image_id)
    if row.visibility is not Visibility.SHARED:
        raise NotFound(f"Not allowed to show members for image {image_id}: Only shared images have members.")
    found = image.store.read(_get, row.id, member_id)
    if found is None or not (_owns(ctx, row) or member_id == ctx.project_id):
        raise _missing(row.id, member_id)
    return found


async def create(image: Image, ctx: Context, image_id: str, member_id: str) -> Member:
    """Share an image with a project; it is listed there once that project accepted it."""
    row = _managed(image, ctx, image_id)
    now = stamp(image.clock.now())

    def insert(db: Db) -> Member:
        if _get(db, row.id, member_id) is not None:
            raise Conflict(f"Member {member_id} is duplicated for image {row.id}.")
        if MEMBERS.count(db, "image_id = ?", (row.id,)) >= MEMBERS_LIMIT:
            raise TooLarge(f"The limit on allowed image members ({MEMBERS_LIMIT}) has been exceeded for this image.")
        return MEMBERS.insert(db, Member(row.id, member_id, "pending", now, now))

    return await image.store.write(insert)


async def answer(image: Image, ctx: Context, image_id: str, member_id: str, status: str) -> Member:
    """A project accepts, rejects or forgets about an image; the owner can't do that for it."""
    row = images.visible(image, ctx, image_id)
    if row.visibility is not Visibility.SHARED:
        raise Forbidden(f"Not allowed to update members for image {image_id}: Only shared images have members.")
    if not ctx.is_admin and member_id != ctx.project_id:
        if not _owns(ctx, row):
            raise _missing(row.id, member_id)
        raise Forbidden("Only the project that an image is shared with may change the status of its membership.")

    def update(db: Db) -> Member:
        found = _get(db, row.id, member_id)
        if found is None:
            raise _missing(row.id, member_id)
        sql = "UPDATE image_members SET status = ?, updated_at = ? WHERE image_id = ? AND member_id = ?"
        db.execute(sql, (status, stamp(image.clock.now()), row.id, member_id))
        return _get(db, row.id, member_id) or found

    return await image.store.write(update)


async def remove(image: Image, ctx: Context, image_id: str, member_id: str) -> None:
    """Share an image with a project no longer."""
    row = _managed(image, ctx, image_id)
    condition = "image_id = ? AND member_id = ?"
    if not await image.store.write(MEMBERS.delete_where, condition, (row.id, member_id)):
        raise _missing(row.id, member_id)


def _managed(image: Image, ctx: Context, image_id: str) -> ImageRow:
    row = images.owned(image, ctx, image_id, "add_member")
    if row.visibility is not Visibility.SHARED:
        raise Forbidden(f"Only shared images have members: image {image_id} is {row.visibility}.")
    return row


def _owns(ctx: Context, row: ImageRow) -> bool:
    return ctx.sees(row.owner)


def _get(db: Db, image_id: str, member_id: str) -> Member | None:
    return MEMBERS.first(db, "image_id = ? AND member_id = ?", (image_id, member_id))


def _missing(image_id: str, member_id: str) -> NotFound:
    return NotFound(f"{member_id[:255]} not found in the member list of the image {image_id}.")
