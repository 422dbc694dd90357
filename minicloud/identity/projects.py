"""Projects: who owns what. And domains, which are projects that act as domains (`domains.py` has what is special there)."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minicloud.core.context import Context
from minicloud.core.errors import Forbidden, Invalid, NotFound
from minicloud.core.store import Db
from minicloud.identity import rights
from minicloud.identity.nouns import Noun, refuse_immutable
from minicloud.identity.tables import DEFAULT_DOMAIN, PROJECTS, Project

if TYPE_CHECKING:
    from minicloud.identity import Identity

MOST_TAGS = 80
DEEPEST = 5
"""Levels of projects below a domain (Keystone's default)."""


@dataclass(frozen=True, slots=True)
class ProjectDeleted:
    """A fact: the project is gone; whatever others keep for it has lost its owner."""

    project_id: str


def home_of(ctx: Context, told: str | None) -> str:
    """The domain of a new thing: the one told, else that of the caller's scope."""
    return told or ctx.domain_id or (ctx.project_domain_id if ctx.project_id else "") or DEFAULT_DOMAIN


def need_domain_in(db: Db, domain_id: str) -> Project:
    """The domain that a new thing names; `NotFound` if there is none."""
    domain = PROJECTS.first(db, "id = ? AND is_domain = 1", (domain_id,))
    if domain is None:
        raise NotFound(f"Could not find domain: {domain_id}.")
    return domain


def _check(db: Db, row: Project, changes: dict[str, Any]) -> None:
    """Refuse another domain or parent, what is immutable, and disabling above or enabling below what is otherwise."""
    if changes.pop("parent_id", row.parent_id) != row.parent_id:
        raise Forbidden(f"Cannot move project {row.id} below another parent.")
    if changes.pop("is_domain", row.is_domain) != row.is_domain:
        raise Invalid(f"Cannot turn project {row.id} into a domain, or back.")
    refuse_immutable(row.options, changes, f"project {row.id}")
    (DOMAIN if row.is_domain else PROJECT).stay_in(db, row, changes)
    if row.id == DEFAULT_DOMAIN and changes.get("enabled") is False:
        raise Forbidden("Cannot disable the domain default: nobody could log in any more.")
    closing = changes.get("enabled") is False and not row.is_domain
    if closing and PROJECTS.first(db, "parent_id = ? AND enabled = 1", (row.id,)):
        raise Forbidden(f"Cannot disable project {row.id}: projects below it are enabled.")
    parent = PROJECTS.get(db, row.parent_id)
    if changes.get("enabled") is True and parent is not None and not parent.enabled:
        raise Forbidden(f"Cannot enable project {row.id}: the one above it is disabled.")


PROJECT = Noun(PROJECTS, "project", order="name, id", check=_check)
DOMAIN = Noun(PROJECTS, "domain", order="name", check=_check)
"""The same rows; messages tell them apart."""


async def create(
    identity: Identity,
    *,
    name: str,
    domain_id: str,
    parent_id: str | None = None,
    description: str = "",
    enabled: bool = True,
    tags: tuple[str, ...] = (),
    options: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Project:
    """A new project below a parent (its domain by default).

    Raises:
        Invalid: no such domain or parent, a parent in another domain, too deep. Forbidden: the parent is disabled. Conflict: the name is taken.
    """

    def insert(db: Db) -> Project:
        try:  # what the body names wrongly makes the body wrong; other nouns answer 404 here, as Keystone's do
            home = need_domain_in(db, domain_id)
        except NotFound as error:
            raise Invalid(error.message) from None
        parent = PROJECTS.get(db, parent_id) if parent_id else home
        if parent is None:
            raise Invalid(f"Could not find project: {parent_id}.")
        if (parent.id if parent.is_domain else parent.domain_id) != home.id:
            raise Invalid(f"Cannot create a project in domain {home.id} below {parent.id}, which is in another domain.")
        if not parent.enabled:
            raise Forbidden(f"Cannot create a project below {parent.id}: that is disabled.")
        if len(rights.ancestors(db, parent)) >= DEEPEST:
            raise Forbidden(f"Cannot create a project below {parent.id}: there may be {DEEPEST} levels at most.")
        PROJECT.refuse_taken_in(db, name, home.id)
        row = Project(
            uuid.uuid4().hex,
            name,
            home.id,
            parent.id,
            False,
            enabled,
            description,
            tags,
            dict(options or {}),
            dict(extra or {}),
        )
        return PROJECTS.insert(db, row)

    return await identity.write(insert)


async def delete(identity: Identity, project_id: str) -> None:
    """Remove a project and who may what in it.

    Raises:
        Forbidden: it is immutable, or there are projects below it.
    """

    def remove(db: Db) -> None:
        row = PROJECT.need_in(db, project_id)
        refuse_immutable(row.options, None, f"project {project_id}")
        if PROJECTS.first(db, "parent_id = ?", (project_id,)):
            raise Forbidden(f"Cannot delete project {project_id}: there are projects below it.")
        delete_in(identity, db, project_id)

    await identity.write(remove)


def delete_in(identity: Identity, db: Db, project_id: str) -> None:
    """Remove a project's row and all of identity's that hangs on it."""
    PROJECTS.delete(db, project_id)
    db.execute("DELETE FROM assignments WHERE target_kind IN ('project', 'domain') AND target_id = ?", (project_id,))
    db.execute("DELETE FROM limits WHERE ? IN (project_id, domain_id)", (project_id,))
    db.execute("DELETE FROM domain_configurations WHERE id = ?", (project_id,))
    holders = ("application_credentials", "credentials", "trusts", "project_endpoints", "project_endpoint_groups")
    for table in holders:
        db.execute(f"DELETE FROM {table} WHERE project_id = ?", (project_id,))
    db.execute("UPDATE users SET default_project_id = NULL WHERE default_project_id = ?", (project_id,))
    identity.events.publish_in(db, ProjectDeleted(project_id))


def above(identity: Identity, project: Project) -> list[Project]:
    """The projects above one, its domain left out."""
    return [one for one in identity.store.read(rights.ancestors, project) if not one.is_domain]


def below(identity: Identity, project_id: str) -> list[Project]:
    """All projects below one, each after its parent."""

    def walk(db: Db) -> list[Project]:
        reached, fresh = [], PROJECTS.where(db, "parent_id = ?", (project_id,), order="name")
        while fresh:
            reached += fresh
            fresh = [row for one in fresh for row in PROJECTS.where(db, "parent_id = ?", (one.id,), order="name")]
        return reached

    return identity.store.read(walk)


# --- tags ------------------------------------------------------------------------------------------------------------


def need_tag(project: Project, tag: str) -> None:
    """`NotFound` unless the project has the tag."""
    if tag not in project.tags:
        raise NotFound(f"Could not find project tag: {tag[:255]}.")


async def tag(identity: Identity, project_id: str, name: str) -> None:
    """Add a tag; nothing happens if it is there. `Invalid` for one too many or of a bad form."""
    if not 1 <= len(name) <= 255 or "/" in name or "," in name:
        raise Invalid("Cannot add the tag: it must have 1 to 255 characters, none of them a comma or slash.")

    def add(db: Db) -> None:
        row = PROJECT.need_in(db, project_id)
        if name in row.tags:
            return
        if len(row.tags) >= MOST_TAGS:
            raise Invalid(f"Cannot add the tag {name}: project {project_id} has {MOST_TAGS} already.")
        refuse_immutable(row.options, {"tags": ()}, f"project {project_id}")
        PROJECTS.change(db, project_id, tags=(*row.tags, name))

    await identity.write(add)


async def untag(identity: Identity, project_id: str, name: str) -> None:
    """Take a tag away; `NotFound` if it isn't there."""

    def take(db: Db) -> None:
        row = PROJECT.need_in(db, project_id)
        need_tag(row, name)
        refuse_immutable(row.options, {"tags": ()}, f"project {project_id}")
        PROJECTS.change(db, project_id, tags=tuple(one for one in row.tags if one != name))

    await identity.write(take)
