"""Volume types: kinds of volumes, and what this host's one backend can promise of them.

A type's extra specs say what its volumes need (`multiattach`, a backend's name). A type that asks for what this backend
isn't can be made, as OpenStack lets an administrator do; volumes of it come to nothing, with a message that says why.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minicloud.core.context import Context
from minicloud.core.errors import Conflict, Invalid, NoCapacity, NotFound
from minicloud.core.store import Db
from minicloud.volume.tables import VOLUME_TYPES, VOLUMES, VolumeType

if TYPE_CHECKING:
    from minicloud.volume import Volume

DEFAULT = "__DEFAULT__"
"""The type of volumes for which none is asked, under the name that Cinder gives its own."""

BACKEND: Mapping[str, str] = {"volume_backend_name": "files", "storage_protocol": "file", "vendor_name": "Open Source"}
"""What the one backend answers to the extra specs that a scheduler would compare."""


async def ensure_default(volume: Volume) -> None:
    """Make the default type at the first start."""

    def ensure(db: Db) -> None:
        if VOLUME_TYPES.first(db, "name = ?", (DEFAULT,)) is None:
            VOLUME_TYPES.insert(db, _row(volume, DEFAULT, "Default Volume Type", is_public=True, extra_specs={}))

    await volume.store.write(ensure)


def _row(
    volume: Volume, name: str, description: str | None, *, is_public: bool, extra_specs: dict[str, str]
) -> VolumeType:
    return VolumeType(
        id=str(uuid.uuid4()), name=name, description=description, is_public=is_public, extra_specs=extra_specs,
        qos_specs_id=None, created_at=volume.now(), updated_at=None,
    )  # fmt: skip


def may_use(db: Db, ctx: Context, kind: VolumeType) -> bool:
    """Whether the caller may know a type: a public one, one given to their project, or any for an admin."""
    if kind.is_public or ctx.is_admin:
        return True
    given = "SELECT 1 FROM volume_type_access WHERE type_id = ? AND project_id = ?"
    return db.execute(given, (kind.id, ctx.project_id)).fetchone() is not None


def visible(volume: Volume, ctx: Context, type_id: str) -> VolumeType:
    """The type with this id, if the caller may know it; else `NotFound`."""
    kind = volume.store.read(VOLUME_TYPES.get, type_id)
    if kind is None or not volume.store.read(may_use, ctx, kind):
        raise NotFound(f"Volume type {type_id} could not be found.")
    return kind


def listed(volume: Volume, ctx: Context) -> list[VolumeType]:
    """All types that the caller may know, the newest first."""
    kinds = volume.store.read(VOLUME_TYPES.where, order="created_at DESC, id DESC")
    return [kind for kind in kinds if volume.store.read(may_use, ctx, kind)]


def chosen(volume: Volume, ctx: Context, asked: str | None) -> VolumeType:
    """The type with this name or id; the project's or the cloud's default for none. `NotFound` if there is none."""
    if not asked:
        return default(volume, ctx)
    kind = volume.store.read(VOLUME_TYPES.first, "id = ? OR name = ?", (asked, asked))
    if kind is None or not volume.store.read(may_use, ctx, kind):
        raise NotFound(f"Volume type with name {asked} could not be found.")
    return kind


def default(volume: Volume, ctx: Context) -> VolumeType:
    """The type of volumes for which none is asked."""

    def find(db: Db) -> VolumeType | None:
        own = db.execute("SELECT type_id FROM default_volume_types WHERE project_id = ?", (ctx.project_id,)).fetchone()
        kind = VOLUME_TYPES.get(db, own[0]) if own else None
        return kind or VOLUME_TYPES.first(db, "name = ?", (DEFAULT,))

    kind = volume.store.read(find)
    if kind is None:
        raise NotFound("Default volume type can not be found.")
    return kind


def is_multiattach(kind: VolumeType) -> bool:
    """Whether several servers may hold a volume of this type."""
    return kind.extra_specs.get("multiattach", "").lower() == "<is> true"


def require_served(kind: VolumeType) -> None:
    """Raise `NoCapacity` if this host's backend isn't what the type asks for."""
    for key, wanted in kind.extra_specs.items():
        name = key.removeprefix("capabilities:")
        if name in BACKEND and wanted.removeprefix("<in> ") != BACKEND[name]:
            raise NoCapacity(
                f"No valid backend was found. The type {kind.name} asks for {name} {wanted}; this host's is {BACKEND[name]}."
            )


async def create(
    volume: Volume, *, name: str, description: str | None, is_public: bool, extra_specs: dict[str, str]
) -> VolumeType:
    """A new type; `Conflict` if the name is taken."""
    kind = _row(volume, name, description, is_public=is_public, extra_specs=extra_specs)

    def insert(db: Db) -> VolumeType:
        _require_free_name(db, name)
        return VOLUME_TYPES.insert(db, kind)

    return await volume.store.write(insert)


async def update(volume: Volume, type_id: str, **values: Any) -> VolumeType:
    """Change name, description or is_public of a type.

    Raises:
        NotFound: no such type. Conflict: the name is taken. Invalid: the default type would vanish.
    """

    def change(db: Db) -> VolumeType:
        kind = VOLUME_TYPES.need(db, type_id)
        if "name" in values and values["name"] != kind.name:
            _require_free_name(db, values["name"])
            _require_not_default(kind, "rename")
        return VOLUME_TYPES.change(db, type_id, updated_at=volume.now(), **values)

    return await volume.store.write(change)


async def set_extra_specs(
    volume: Volume, type_id: str, specs: Mapping[str, str], *, forget: str | None = None
) -> VolumeType:
    """Merge extra specs into a type, or take one key away.

    Raises:
        NotFound: no such type or key. Conflict: `multiattach` can't change while volumes of the type exist.
    """

    def change(db: Db) -> VolumeType:
        kind = VOLUME_TYPES.need(db, type_id)
        if forget is not None and forget not in kind.extra_specs:
            raise NotFound(f"Volume type {type_id} has no extra spec with key {forget}.")
        merged = {key: value for key, value in {**kind.extra_specs, **specs}.items() if key != forget}
        if merged.get("multiattach") != kind.extra_specs.get("multiattach") and VOLUMES.count(
            db, "type_id = ?", (type_id,)
        ):
            raise Invalid(f"Cannot change multiattach of volume type {kind.name}: volumes of this type exist.")
        return VOLUME_TYPES.change(db, type_id, extra_specs=merged, updated_at=volume.now())

    return await volume.store.write(change)


async def delete(volume: Volume, type_id: str) -> None:
    """Forget a type; `Invalid` for the default one and for one that volumes have."""

    def forget(db: Db) -> None:
        kind = VOLUME_TYPES.need(db, type_id)
        _require_not_default(kind, "delete")
        if VOLUMES.count(db, "type_id = ?", (type_id,)):
            raise Invalid(f"Cannot delete volume type {kind.name}: volumes of this type exist.")
        for table in ("volume_type_access", "default_volume_types"):
            db.execute(f"DELETE FROM {table} WHERE type_id = ?", (type_id,))
        VOLUME_TYPES.delete(db, type_id)

    await volume.store.write(forget)


# --- who may use a private type --------------------------------------------------------------------------------------


def projects_of(volume: Volume, type_id: str) -> list[str]:
    """The projects that a private type was given to; `NotFound` for a public one, as Cinder answers."""
    kind = volume.store.read(VOLUME_TYPES.need, type_id)
    if kind.is_public:
        raise NotFound(f"Access list not available for public volume types: {kind.name}.")

    def find(db: Db) -> list[str]:
        rows = db.execute("SELECT project_id FROM volume_type_access WHERE type_id = ? ORDER BY 1", (type_id,))
        return [project for (project,) in rows]

    return volume.store.read(find)


async def give(volume: Volume, type_id: str, project_id: str) -> None:
    """Let a project use a private type; `Conflict` if the type is public or the project may already."""

    def insert(db: Db) -> None:
        kind = VOLUME_TYPES.need(db, type_id)
        if kind.is_public:
            raise Conflict(f"Cannot give volume type {kind.name} to a project: it is public.")
        row = (type_id, project_id)
        if db.execute("SELECT 1 FROM volume_type_access WHERE type_id = ? AND project_id = ?", row).fetchone():
            raise Conflict(f"Cannot give volume type {kind.name} to project {project_id}: it has it.")
        db.execute("INSERT INTO volume_type_access VALUES (?, ?)", row)

    await volume.store.write(insert)


async def take(volume: Volume, type_id: str, project_id: str) -> None:
    """Take a private type from a project; `NotFound` if it doesn't have it."""

    def remove(db: Db) -> None:
        kind = VOLUME_TYPES.need(db, type_id)
        if kind.is_public:
            raise Conflict(f"Cannot take volume type {kind.name} from a project: it is public.")
        gone = db.execute("DELETE FROM volume_type_access WHERE type_id = ? AND project_id = ?", (type_id, project_id))
        if gone.rowcount == 0:
            raise NotFound(f"Volume type {type_id} is not given to project {project_id}.")

    await volume.store.write(remove)


def _require_free_name(db: Db, name: str) -> None:
    if VOLUME_TYPES.first(db, "name = ?", (name,)):
        raise Conflict(f"Volume type {name} already exists.")


def _require_not_default(kind: VolumeType, verb: str) -> None:
    if kind.name == DEFAULT:
        raise Invalid(f"Cannot {verb} volume type {kind.name}: it is the default one.")


# --- a project's own default -----------------------------------------------------------------------------------------


def own_defaults(volume: Volume) -> dict[str, str]:
    """Project -> the type of its volumes for which none is asked, where it has one of its own."""

    def find(db: Db) -> dict[str, str]:
        return dict(db.execute("SELECT project_id, type_id FROM default_volume_types ORDER BY 1").fetchall())

    return volume.store.read(find)


async def set_own_default(volume: Volume, project_id: str, type_id: str | None) -> None:
    """Give a project a default of its own; None takes it away."""

    def change(db: Db) -> None:
        db.execute("DELETE FROM default_volume_types WHERE project_id = ?", (project_id,))
        if type_id is not None:
            db.execute("INSERT INTO default_volume_types VALUES (?, ?)", (project_id, type_id))

    await volume.store.write(change)
