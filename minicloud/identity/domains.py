"""Domains: the top of everything. A domain is deleted with all that is in it, and only when it is disabled."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minicloud.core.errors import Conflict, Forbidden
from minicloud.core.store import Db
from minicloud.identity import groups, partners, projects, roles, users
from minicloud.identity.nouns import Noun, refuse_immutable
from minicloud.identity.projects import DOMAIN
from minicloud.identity.tables import IDENTITY_PROVIDERS, PROJECTS, Project

if TYPE_CHECKING:
    from minicloud.identity import Identity


def need(identity: Identity, domain_id: str) -> Project:
    """A domain; `NotFound` for none."""
    return identity.store.read(projects.need_domain_in, domain_id)


def seek(identity: Identity, domain_id: str) -> Project | None:
    """A domain, if there is one with this id."""
    return identity.store.read(PROJECTS.first, "id = ? AND is_domain = 1", (domain_id,))


def listed(identity: Identity) -> list[Project]:
    """All domains by name."""
    return identity.store.read(PROJECTS.where, "is_domain = 1", order="name")


async def create(
    identity: Identity,
    *,
    name: str,
    domain_id: str | None = None,
    description: str = "",
    enabled: bool = True,
    tags: tuple[str, ...] = (),
    options: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Project:
    """A new domain, with an id of the caller's choice if one is given; `Conflict` if name or id is taken."""

    def insert(db: Db) -> Project:
        DOMAIN.refuse_taken_in(db, name, None)
        if domain_id is not None and PROJECTS.get(db, domain_id) is not None:
            raise Conflict(f"Cannot create domain {domain_id}: there is one with that id.")
        row = Project(
            domain_id or uuid.uuid4().hex, name, None, None, True, enabled, description, tags, dict(options or {}),
            dict(extra or {}),
        )  # fmt: skip
        return PROJECTS.insert(db, row)

    return await identity.write(insert)


async def update(identity: Identity, domain_id: str, changes: Mapping[str, Any]) -> Project:
    """Change a domain; a disabled one lets nobody in. Raises what changes of projects do."""
    need(identity, domain_id)
    return await DOMAIN.update(identity, domain_id, changes)


async def delete(identity: Identity, domain_id: str) -> None:
    """Remove a domain with its projects, users, groups, roles and identity providers; `Forbidden` while it is enabled."""

    def remove(db: Db) -> None:
        domain = projects.need_domain_in(db, domain_id)
        if domain.enabled:
            raise Forbidden(f"Cannot delete domain {domain_id}: it is enabled; disable it first.")
        refuse_immutable(domain.options, None, f"domain {domain_id}")
        for project in PROJECTS.where(db, "domain_id = ?", (domain_id,)):
            projects.delete_in(identity, db, project.id)
        for provider in IDENTITY_PROVIDERS.where(db, "domain_id = ?", (domain_id,)):
            partners.IDENTITY_PROVIDER.delete_in(db, provider)
        nouns: tuple[Noun[Any], ...] = (users.USER, groups.GROUP, roles.ROLE)
        for noun in nouns:
            for row in noun.table.where(db, "domain_id = ?", (domain_id,)):
                noun.delete_in(db, row)
        projects.delete_in(identity, db, domain_id)

    await identity.write(remove)
