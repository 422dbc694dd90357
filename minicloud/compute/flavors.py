"""Flavors: the sizes of servers, who may see them, and their extra specs. Called by the API and by `launch.py`."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING

from minicloud.compute.tables import FLAVORS, Flavor
from minicloud.core.clock import stamp
from minicloud.core.context import Context
from minicloud.core.errors import Conflict, Invalid, NotFound
from minicloud.core.store import Db, Page

if TYPE_CHECKING:
    from minicloud.compute import Compute


def _visible_condition(ctx: Context, is_public: bool | None) -> tuple[str, tuple[object, ...]]:
    """SQL for what a caller may list; `is_public` None means all, for administrators."""
    if ctx.is_admin:
        return ("", ()) if is_public is None else ("is_public = ?", (int(is_public),))
    shared = "id IN (SELECT flavor_id FROM flavor_access WHERE project_id = ?)"
    return f"(is_public = 1 OR {shared})", (ctx.project_id,)


def visible_in(db: Db, ctx: Context, flavor_id: str) -> Flavor:
    """One flavor; `NotFound` also for one that the caller's project has no access to."""
    flavor = FLAVORS.need(db, flavor_id)
    if flavor.is_public or ctx.is_admin:
        return flavor
    granted = db.execute(
        "SELECT 1 FROM flavor_access WHERE flavor_id = ? AND project_id = ?", (flavor_id, ctx.project_id)
    ).fetchone()
    if granted is None:
        raise NotFound(f"Flavor {flavor_id} could not be found.")
    return flavor


def show(compute: Compute, ctx: Context, flavor_id: str) -> Flavor:
    """One flavor that the caller may see."""
    return compute.store.read(visible_in, ctx, flavor_id)


def listed(
    compute: Compute,
    ctx: Context,
    page: Page,
    *,
    is_public: bool | None = True,
    min_disk: int | None = None,
    min_ram: int | None = None,
    name: str | None = None,
) -> list[Flavor]:
    """One page of the flavors that the caller may see. Sizes: GiB of disk, MiB of RAM at least."""
    condition, params = _visible_condition(ctx, is_public)
    clauses, values = ([condition] if condition else []), list(params)
    for clause, value in (("disk_gb >= ?", min_disk), ("ram_mb >= ?", min_ram), ("name = ?", name)):
        if value is not None:
            clauses.append(clause)
            values.append(value)
    return compute.store.read(FLAVORS.page, page, " AND ".join(clauses), values)


async def create(
    compute: Compute,
    *,
    name: str,
    vcpus: int,
    ram_mb: int,
    disk_gb: int,
    flavor_id: str | None = None,
    ephemeral_gb: int = 0,
    swap_mb: int = 0,
    rxtx_factor: float = 1.0,
    is_public: bool = True,
    description: str | None = None,
) -> Flavor:
    """A new flavor. Raises `Conflict` if its name or id is taken."""
    flavor = Flavor(
        id=flavor_id or str(uuid.uuid4()), name=name, vcpus=vcpus, ram_mb=ram_mb, disk_gb=disk_gb,
        ephemeral_gb=ephemeral_gb, swap_mb=swap_mb, rxtx_factor=rxtx_factor, is_public=is_public,
        description=description, extra_specs={}, created_at=stamp(compute.clock.now()),
    )  # fmt: skip

    def add(db: Db) -> Flavor:
        if FLAVORS.first(db, "name = ?", (name,)) is not None:
            raise Conflict(f"Flavor with name {name} already exists.")
        if FLAVORS.get(db, flavor.id) is not None:
            raise Conflict(f"Flavor with ID {flavor.id} already exists.")
        return FLAVORS.insert(db, flavor)

    return await compute.store.write(add)


async def describe(compute: Compute, flavor_id: str, description: str | None) -> Flavor:
    """Change the one attribute of a flavor that may change."""
    return await compute.store.write(FLAVORS.change, flavor_id, description=description)


async def delete(compute: Compute, flavor_id: str) -> None:
    """Remove a flavor; servers keep what they were made with."""

    def remove(db: Db) -> None:
        FLAVORS.need(db, flavor_id)
        db.execute("DELETE FROM flavor_access WHERE flavor_id = ?", (flavor_id,))
        FLAVORS.delete(db, flavor_id)

    await compute.store.write(remove)


async def set_extra_specs(compute: Compute, flavor_id: str, specs: Mapping[str, str]) -> Flavor:
    """Add or replace extra specs."""

    def change(db: Db) -> Flavor:
        flavor = FLAVORS.need(db, flavor_id)
        return FLAVORS.change(db, flavor_id, extra_specs={**flavor.extra_specs, **specs})

    return await compute.store.write(change)


def extra_spec(flavor: Flavor, key: str) -> str:
    """One extra spec; `NotFound` without it."""
    if key not in flavor.extra_specs:
        raise NotFound(f"Flavor {flavor.id} has no extra specs with key {key}.")
    return flavor.extra_specs[key]


async def unset_extra_spec(compute: Compute, flavor_id: str, key: str) -> None:
    """Remove one extra spec; `NotFound` without it."""

    def change(db: Db) -> None:
        flavor = FLAVORS.need(db, flavor_id)
        extra_spec(flavor, key)
        FLAVORS.change(db, flavor_id, extra_specs={k: v for k, v in flavor.extra_specs.items() if k != key})

    await compute.store.write(change)


def access(compute: Compute, flavor_id: str) -> list[dict[str, str]]:
    """The projects that may use a private flavor; `NotFound` for a public one, which has no such list."""

    def read(db: Db) -> list[dict[str, str]]:
        flavor = FLAVORS.need(db, flavor_id)
        if flavor.is_public:
            raise NotFound("Access list not available for public flavors.")
        return _access_in(db, flavor_id)

    return compute.store.read(read)


def _access_in(db: Db, flavor_id: str) -> list[dict[str, str]]:
    found = db.execute("SELECT project_id FROM flavor_access WHERE flavor_id = ? ORDER BY project_id", (flavor_id,))
    return [{"flavor_id": flavor_id, "tenant_id": project_id} for (project_id,) in found]


async def grant(compute: Compute, flavor_id: str, project_id: str, *, strict: bool) -> list[dict[str, str]]:
    """Let a project use a flavor. `strict` (2.7) refuses public flavors.

    Raises:
        Invalid: no such project. Conflict: it has access already, or (strict) the flavor is public.
    """
    _require_project(compute, project_id)

    def add(db: Db) -> list[dict[str, str]]:
        flavor = FLAVORS.need(db, flavor_id)
        if strict and flavor.is_public:
            raise Conflict("Cannot give access to a public flavor: everyone has it.")
        if {"flavor_id": flavor_id, "tenant_id": project_id} in _access_in(db, flavor_id):
            raise Conflict(f"Flavor access already exists for flavor {flavor_id} and project {project_id} combination.")
        db.execute("INSERT INTO flavor_access VALUES (?, ?)", (flavor_id, project_id))
        return _access_in(db, flavor_id)

    return await compute.store.write(add)


async def revoke(compute: Compute, flavor_id: str, project_id: str) -> list[dict[str, str]]:
    """Take a project's access away; `NotFound` if it has none."""
    _require_project(compute, project_id)

    def remove(db: Db) -> list[dict[str, str]]:
        FLAVORS.need(db, flavor_id)
        gone = db.execute("DELETE FROM flavor_access WHERE flavor_id = ? AND project_id = ?", (flavor_id, project_id))
        if gone.rowcount == 0:
            raise NotFound(f"Flavor access not found for {flavor_id} / {project_id} combination.")
        return _access_in(db, flavor_id)

    return await compute.store.write(remove)


def _require_project(compute: Compute, project_id: str) -> None:
    if compute.identity.project(project_id) is None:
        raise Invalid(f"Project ID {project_id} is not a valid project.")
