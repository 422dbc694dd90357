"""Unified limits: defaults registered for resources of services, and other limits for single projects and domains.

A register that services outside may read (oslo.limit) and that the image service obeys; the quotas of the other services
are theirs. The model is flat.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from minicloud.core.errors import Conflict, Forbidden, Invalid, NotFound
from minicloud.core.store import Db
from minicloud.identity.tables import LIMITS, PROJECTS, REGIONS, REGISTERED_LIMITS, SERVICES, Limit, RegisteredLimit

if TYPE_CHECKING:
    from minicloud.identity import Identity

RESOURCE = "service_id = ? AND coalesce(region_id, '') = ? AND resource_name = ?"


def _resource(told: Mapping[str, Any]) -> tuple[str, str, str]:
    return told["service_id"], told.get("region_id") or "", told["resource_name"]


IN_FORCE = """
    SELECT r.resource_name, coalesce(l.resource_limit, r.default_limit)
    FROM registered_limits r
    JOIN services s ON s.id = r.service_id AND s.type = ?
    LEFT JOIN limits l ON l.service_id = r.service_id AND coalesce(l.region_id, '') = coalesce(r.region_id, '')
        AND l.resource_name = r.resource_name AND l.project_id = ?
    ORDER BY r.region_id IS NOT NULL
"""
"""A resource that is registered for the region, too, counts as there: there is one region."""


def in_force_in(db: Db, service_type: str, project_id: str) -> dict[str, int]:
    """Each resource of a service that has a registered limit, and what a project may have of it; -1 is no limit."""
    return dict(db.execute(IN_FORCE, (service_type, project_id)).fetchall())


def registered(identity: Identity) -> list[RegisteredLimit]:
    """All defaults."""
    return identity.store.read(REGISTERED_LIMITS.where, order="service_id, resource_name, id")


def show_registered(identity: Identity, limit_id: str) -> RegisteredLimit:
    """One default; `NotFound` for none."""
    return identity.store.read(_need_registered_in, limit_id)


def _need_registered_in(db: Db, limit_id: str) -> RegisteredLimit:
    row = REGISTERED_LIMITS.get(db, limit_id)
    if row is None:
        raise NotFound(f"Could not find registered limit: {limit_id}.")
    return row


def _check_place_in(db: Db, told: Mapping[str, Any]) -> None:
    if SERVICES.get(db, told["service_id"]) is None:
        raise Invalid(f"Cannot use service_id {told['service_id']}: there is no such service.")
    if told.get("region_id") is not None and REGIONS.get(db, told["region_id"]) is None:
        raise Invalid(f"Cannot use region_id {told['region_id']}: there is no such region.")


async def register(identity: Identity, many: Sequence[Mapping[str, Any]]) -> list[RegisteredLimit]:
    """New defaults, all or none; `Invalid` for no such service or region, `Conflict` for a resource that has one."""

    def insert(db: Db) -> list[RegisteredLimit]:
        made = []
        for told in many:
            _check_place_in(db, told)
            if REGISTERED_LIMITS.count(db, RESOURCE, _resource(told)):
                raise Conflict(f"Cannot register {told['resource_name']}: it has a limit there already.")
            row = RegisteredLimit(
                uuid.uuid4().hex, told["service_id"], told.get("region_id"), told["resource_name"], told.get("description"),
                told["default_limit"],
            )  # fmt: skip
            made.append(REGISTERED_LIMITS.insert(db, row))
        return made

    return await identity.write(insert)


async def update_registered(identity: Identity, limit_id: str, changes: Mapping[str, Any]) -> RegisteredLimit:
    """Change a default; `Forbidden` to move one that limits hang on to another resource."""

    def change(db: Db) -> RegisteredLimit:
        row = _need_registered_in(db, limit_id)
        told = {name: getattr(row, name) for name in ("service_id", "region_id", "resource_name")}
        if {**told, **changes} != {**changes, **told}:
            _check_place_in(db, {**told, **changes})
            _refuse_in_use_in(db, row)
            if REGISTERED_LIMITS.count(db, RESOURCE, _resource({**told, **changes})):
                raise Conflict(f"Cannot move registered limit {limit_id}: there is one for that resource.")
        return REGISTERED_LIMITS.change(db, limit_id, **changes)

    return await identity.write(change)


def _refuse_in_use_in(db: Db, row: RegisteredLimit) -> None:
    if LIMITS.count(db, RESOURCE, (row.service_id, row.region_id or "", row.resource_name)):
        raise Forbidden(f"Cannot change registered limit {row.id}: there are limits of projects or domains for it.")


async def unregister(identity: Identity, limit_id: str) -> None:
    """Remove a default; `Forbidden` while limits hang on it."""

    def remove(db: Db) -> None:
        _refuse_in_use_in(db, _need_registered_in(db, limit_id))
        REGISTERED_LIMITS.delete(db, limit_id)

    await identity.write(remove)


def listed(identity: Identity) -> list[Limit]:
    """All limits of projects and domains."""
    return identity.store.read(LIMITS.where, order="service_id, resource_name, id")


def show(identity: Identity, limit_id: str) -> Limit:
    """One limit; `NotFound` for none."""
    return identity.store.read(_need_in, limit_id)


def _need_in(db: Db, limit_id: str) -> Limit:
    row = LIMITS.get(db, limit_id)
    if row is None:
        raise NotFound(f"Could not find limit: {limit_id}.")
    return row


async def create(identity: Identity, many: Sequence[Mapping[str, Any]]) -> list[Limit]:
    """New limits, all or none.

    Raises:
        Invalid: for neither or both of project and domain, or no such one. Forbidden: the resource isn't registered. Conflict: there is one.
    """

    def insert(db: Db) -> list[Limit]:
        return [LIMITS.insert(db, _new_in(db, told)) for told in many]

    return await identity.write(insert)


def _new_in(db: Db, told: Mapping[str, Any]) -> Limit:
    project_id, domain_id = told.get("project_id"), told.get("domain_id")
    if (project_id is None) == (domain_id is None):
        raise Invalid("Cannot create the limit: it needs a project_id or a domain_id, and not both.")
    if PROJECTS.first(db, "id = ? AND is_domain = ?", (project_id or domain_id, project_id is None)) is None:
        raise Invalid(f"Cannot create the limit: there is no project or domain {project_id or domain_id}.")
    if not REGISTERED_LIMITS.count(db, RESOURCE, _resource(told)):
        raise Forbidden(f"Cannot create the limit: {told['resource_name']} is not registered there.")
    same = f"{RESOURCE} AND coalesce(project_id, '') = ? AND coalesce(domain_id, '') = ?"
    if LIMITS.count(db, same, (*_resource(told), project_id or "", domain_id or "")):
        raise Conflict(
            f"Cannot create the limit: there is one of {told['resource_name']} for {project_id or domain_id}."
        )
    return Limit(
        uuid.uuid4().hex, told["service_id"], told.get("region_id"), told["resource_name"], told.get("description"),
        project_id, domain_id, told["resource_limit"],
    )  # fmt: skip


async def update(identity: Identity, limit_id: str, changes: Mapping[str, Any]) -> Limit:
    """Change a limit's number or description."""
    show(identity, limit_id)
    return await identity.write(lambda db: LIMITS.change(db, limit_id, **changes))


async def delete(identity: Identity, limit_id: str) -> None:
    """Remove a limit."""
    show(identity, limit_id)
    await identity.write(LIMITS.delete, limit_id)
