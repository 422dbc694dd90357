"""How many images a project may have, and how many bytes of them: the four resources that Glance counts.

Limits are the configuration's (`image.quota_*`), or a project's own rows in the quota table; use is counted from the
images themselves. A stream ends where the project's room does. Called by `images`, `upload`, `refine` and the usage view.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicloud.core.errors import OverQuota, TooLarge
from minicloud.core.quota import UNLIMITED, Quotas
from minicloud.core.store import Db
from minicloud.image.tables import Status

if TYPE_CHECKING:
    from minicloud.config import Image as Settings
    from minicloud.image import Image

MIB = 1024**2
COUNT, UPLOADING, SIZE, STAGE = "image_count_total", "image_count_uploading", "image_size_total", "image_stage_total"
COMING = (Status.SAVING, Status.UPLOADING, Status.IMPORTING)


def quotas(settings: Settings) -> Quotas:
    """The quotas of this service; sizes in MiB, as on the wire."""
    limits = {
        COUNT: settings.quota_images, UPLOADING: settings.quota_uploads, SIZE: settings.quota_mib,
        STAGE: settings.quota_staged_mib,
    }  # fmt: skip
    counters = {COUNT: _count, UPLOADING: _uploading, SIZE: _size, STAGE: _stage}
    return Quotas("image", limits, counters)


def usage(image: Image, project_id: str) -> dict[str, dict[str, int]]:
    """Limit and use of each resource, for the wire."""

    def look(db: Db) -> dict[str, dict[str, int]]:
        limits, used = image.quotas.limits(db, project_id), image.quotas.usage(db, project_id)
        return {name: {"limit": limit, "usage": used[name]} for name, limit in limits.items()}

    return image.store.read(look)


def check_count_in(image: Image, db: Db, project_id: str | None) -> None:
    """Raise `TooLarge` (Glance's 413) if a project has all the images that it may have."""
    if project_id is None:
        return
    try:
        image.quotas.check_in(db, project_id, **{COUNT: 1})
    except OverQuota as error:
        raise TooLarge(error.message) from None


def room(image: Image, project_id: str | None, *, resource: str = SIZE) -> int:
    """How many bytes a stream of a project may have: the limit of one image, or what is left of the project's.

    Raises:
        TooLarge: nothing is left, or too many of its streams come in at once.
    """
    limit = image.config.image.size_limit
    if project_id is None:
        return limit
    told = usage(image, project_id)
    for name in (UPLOADING, resource):
        most, used = told[name]["limit"], told[name]["usage"]
        # the stream that asks counts among those that come in already
        if most != UNLIMITED and (used > most if name == UPLOADING else used >= most):
            raise TooLarge(f"Cannot take the image data: project {project_id} uses {used} of {most} ({name}).")
    most, used = told[resource]["limit"], told[resource]["usage"]
    return limit if most == UNLIMITED else min(limit, (most - used) * MIB)


def _count(db: Db, project_id: str) -> int:
    return _one(db, "SELECT count(*) FROM images WHERE owner = ?", project_id)


def _uploading(db: Db, project_id: str) -> int:
    marks = ", ".join("?" for _ in COMING)
    return _one(db, f"SELECT count(*) FROM images WHERE owner = ? AND status IN ({marks})", project_id, *COMING)


def _size(db: Db, project_id: str) -> int:
    kept = (Status.ACTIVE, Status.DEACTIVATED)
    return _one(db, "SELECT sum(size) FROM images WHERE owner = ? AND status IN (?, ?)", project_id, *kept) // MIB


def _stage(db: Db, project_id: str) -> int:
    waiting = (Status.UPLOADING, Status.IMPORTING)
    return _one(db, "SELECT sum(size) FROM images WHERE owner = ? AND status IN (?, ?)", project_id, *waiting) // MIB


def _one(db: Db, sql: str, *values: str) -> int:
    return int(db.execute(sql, values).fetchone()[0] or 0)
