"""How many images a project may have, and how many bytes of them: the four resources that Glance counts.

Use is counted from the images themselves. A limit is Keystone's, if one is registered for the resource, and then means what
it means to Glance with `use_keystone_limits`: who is not over it may begin one more stream, of any length. Otherwise
it is the configuration's (`image.quota_*`), and a stream ends where the project's room does. Called by `images`, `upload`
and the usage view.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minicloud.core.errors import TooLarge
from minicloud.core.quota import UNLIMITED, Quotas
from minicloud.core.store import Db
from minicloud.image.tables import Status

if TYPE_CHECKING:
    from minicloud.config import Image as Settings
    from minicloud.image import Image

Registered = Callable[[Db, str], Mapping[str, int]]
"""Limits that are kept elsewhere: database and project -> resource -> number."""
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


def nothing_registered(db: Db, project_id: str) -> Mapping[str, int]:
    """Where no service keeps limits."""
    return {}


@dataclass(frozen=True, slots=True)
class _Limit:
    """How much there may be, whether a stream is cut off there, and how much there is."""

    most: int
    cuts: bool
    used: int


def _limits_in(db: Db, image: Image, project_id: str) -> dict[str, _Limit]:
    configured, registered = image.quotas.limits(db, project_id), image.registered(db, project_id)
    used = image.quotas.usage(db, project_id)
    return {
        name: _Limit(registered.get(name, most), name not in registered, used[name])
        for name, most in configured.items()
    }


def usage(image: Image, project_id: str) -> dict[str, dict[str, int]]:
    """Limit and use of each resource, for the wire."""
    limits = image.store.read(_limits_in, image, project_id)
    return {name: {"limit": one.most, "usage": one.used} for name, one in limits.items()}


def check_count_in(image: Image, db: Db, project_id: str | None) -> None:
    """Raise `TooLarge` (Glance's 413) if a project has all the images that it may have."""
    if project_id is None:
        return
    limit = _limits_in(db, image, project_id)[COUNT]
    if limit.most != UNLIMITED and limit.used >= limit.most:
        raise TooLarge(f"Cannot make the image: project {project_id} has {limit.used} of {limit.most} ({COUNT}).")


def room(image: Image, project_id: str | None, *, resource: str = SIZE) -> int:
    """How many bytes a stream of a project may have: the limit of one image, or what is left of the project's.

    Raises:
        TooLarge: nothing is left, or too many of its streams come in at once.
    """
    limit = image.config.image.size_limit
    if project_id is None:
        return limit
    limits = image.store.read(_limits_in, image, project_id)
    for name in (UPLOADING, resource):
        one = limits[name]
        # the stream that asks counts among those that come in already
        full = one.used >= one.most if one.cuts and name != UPLOADING else one.used > one.most
        if one.most != UNLIMITED and full:
            raise TooLarge(f"Cannot take the image data: project {project_id} uses {one.used} of {one.most} ({name}).")
    one = limits[resource]
    return min(limit, (one.most - one.used) * MIB) if one.cuts and one.most != UNLIMITED else limit


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
