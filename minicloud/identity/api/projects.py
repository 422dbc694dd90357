"""`/v3/projects` (identity API v3, "Projects")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from minicloud.api.policy import ANYONE
from minicloud.api.route import Call, Listed, Reply, Route
from minicloud.api.schema import OPTIONAL, REQUIRED, STRICT_BOOLEAN, Field, Schema, nullable
from minicloud.identity import domains, projects
from minicloud.identity.api.fields import IMMUTABLE, NAME64, TAGS, TEXT, links, values_of
from minicloud.identity.api.lists import exact, is_true, page
from minicloud.identity.api.rules import MANAGERS, READERS, allow, allow_outside_domains, own_domain, reached
from minicloud.identity.tables import Project

if TYPE_CHECKING:
    from minicloud.identity import Identity

PROJECT = Schema(
    "project",
    Field("id", NAME64, out=True),
    Field("name", NAME64, out=True, create=REQUIRED, update=OPTIONAL),
    Field("domain_id", nullable(NAME64), out=True, create=OPTIONAL, update=OPTIONAL),
    Field("description", TEXT, out=True, create=OPTIONAL, update=OPTIONAL),
    Field("enabled", STRICT_BOOLEAN, out=True, create=OPTIONAL, update=OPTIONAL),
    Field("parent_id", nullable(NAME64), out=True, create=OPTIONAL, update=OPTIONAL),
    Field("is_domain", STRICT_BOOLEAN, out=True, create=OPTIONAL, update=OPTIONAL),
    Field("tags", TAGS, attr=lambda row, call: list(row.tags), out=True, create=OPTIONAL, update=OPTIONAL),
    Field("options", IMMUTABLE, out=True, create=OPTIONAL, update=OPTIONAL),
    links("projects"),
    extra=True,
    rest="extra",
)
TAG_LIST = Schema("tags", Field("tags", TAGS, update=REQUIRED))


async def list_projects(identity: Identity, call: Call) -> Listed:
    """Projects that the caller may list; `is_domain=true` lists the domains instead."""
    home, as_domains = own_domain(call), is_true(call, "is_domain")
    rows = await projects.PROJECT.matching(identity, None, exact(call, "id", "name", "domain_id", "parent_id"))
    rows = [row for row in rows if row.is_domain == as_domains and (home is None or home in (row.domain_id, row.id))]
    return page(call, _with_tags(call, rows), "id", "name", "domain_id", "parent_id", "enabled", "description")


def _with_tags(call: Call, rows: list[Project]) -> list[Project]:
    asked = {
        name: set(filter(None, call.query.get(name, "").split(",")))
        for name in ("tags", "tags-any", "not-tags", "not-tags-any")
    }
    return [
        row
        for row in rows
        if asked["tags"] <= set(row.tags)
        and (not asked["tags-any"] or asked["tags-any"] & set(row.tags))
        and not (asked["not-tags"] and asked["not-tags"] <= set(row.tags))
        and not asked["not-tags-any"] & set(row.tags)
    ]


async def create_project(identity: Identity, call: Call) -> Project:
    """A new project; with `is_domain` a new domain."""
    values = values_of(PROJECT, call.body)
    values["description"] = values.get("description") or ""
    if values.pop("is_domain", False):
        allow_outside_domains(call.ctx, call.route.rule)
        values.pop("domain_id", None)
        values.pop("parent_id", None)
        return await domains.create(identity, **values)
    parent = projects.PROJECT.seek(identity, values["parent_id"]) if values.get("parent_id") else None
    told = values.get("domain_id") or (parent.domain_id or parent.id if parent else None)
    values["domain_id"] = projects.home_of(call.ctx, told)
    allow(call.ctx, call.route.rule, domain_id=values["domain_id"], role="manager")
    return await projects.create(identity, **values)


async def show_project(identity: Identity, call: Call) -> Any:
    """One project, with those above and below it if asked for."""
    row = _seen(identity, call)
    body = PROJECT.view(row, call)
    if is_true(call, "parents_as_list"):
        body["parents"] = [{"project": PROJECT.view(one, call)} for one in projects.above(identity, row)]
    if is_true(call, "subtree_as_list"):
        body["subtree"] = [{"project": PROJECT.view(one, call)} for one in projects.below(identity, row.id)]
    if is_true(call, "parents_as_ids"):
        tree: dict[str, Any] | None = None
        for one in reversed(projects.above(identity, row)):
            tree = {one.id: tree}
        body["parents"] = tree
    if is_true(call, "subtree_as_ids"):
        body["subtree"] = _tree(projects.below(identity, row.id), row.id)
    return {"project": body}


def _tree(rows: list[Project], parent_id: str) -> dict[str, Any] | None:
    return {row.id: _tree(rows, row.id) for row in rows if row.parent_id == parent_id} or None


async def update_project(identity: Identity, call: Call) -> Project:
    """Change a project."""
    _managed(identity, call)
    values = values_of(PROJECT, call.body)
    if "description" in values:
        values["description"] = values["description"] or ""
    return await projects.PROJECT.update(identity, call.params["project_id"], values)


async def delete_project(identity: Identity, call: Call) -> None:
    """Remove a project; a domain on the same terms as at `/domains`."""
    row = _managed(identity, call)
    await (domains if row.is_domain else projects).delete(identity, row.id)


# --- tags ------------------------------------------------------------------------------------------------------------


async def list_tags(identity: Identity, call: Call) -> Any:
    """A project's tags."""
    return {"tags": list(_seen(identity, call).tags), "links": {"self": call.root}}


async def replace_tags(identity: Identity, call: Call) -> Any:
    """Set all tags."""
    _managed(identity, call)
    row = await projects.PROJECT.update(identity, call.params["project_id"], {"tags": tuple(call.body["tags"])})
    return {"tags": list(row.tags), "links": {"self": call.root}}


async def delete_tags(identity: Identity, call: Call) -> None:
    """Take all tags away."""
    _managed(identity, call)
    await projects.PROJECT.update(identity, call.params["project_id"], {"tags": ()})


async def check_tag(identity: Identity, call: Call) -> None:
    """Whether a project has a tag."""
    projects.need_tag(_seen(identity, call), call.params["tag"])


async def add_tag(identity: Identity, call: Call) -> Reply:
    """Add a tag."""
    _managed(identity, call)
    await projects.tag(identity, call.params["project_id"], call.params["tag"])
    place = f"{call.root}/projects/{call.params['project_id']}/tags/{quote(call.params['tag'], safe='')}"
    return Reply(None, headers={"Location": place})


async def delete_tag(identity: Identity, call: Call) -> None:
    """Take a tag away."""
    _managed(identity, call)
    await projects.untag(identity, call.params["project_id"], call.params["tag"])


def _seen(identity: Identity, call: Call) -> Project:
    return reached(identity, call, projects.PROJECT, own=call.ctx.project_id)


def _managed(identity: Identity, call: Call) -> Project:
    """The project, for those who may change it; of a domain these are the same as at `/domains`."""
    row = reached(identity, call, projects.PROJECT, role="manager")
    if row.is_domain:
        allow_outside_domains(call.ctx, call.route.rule)
    return row


ONE, TAGS_OF = "/projects/{project_id}", "/projects/{project_id}/tags"
ROUTES = [
    Route("GET", "/projects", list_projects, view=PROJECT, many=True, policy=READERS, rule="identity:list_projects"),
    Route(
        "POST",
        "/projects",
        create_project,
        body=PROJECT,
        view=PROJECT,
        status=201,
        policy=MANAGERS,
        rule="identity:create_project",
    ),
    Route("GET", ONE, show_project, policy=ANYONE, rule="identity:get_project"),
    Route("PATCH", ONE, update_project, body=PROJECT, view=PROJECT, policy=MANAGERS, rule="identity:update_project"),
    Route("DELETE", ONE, delete_project, status=204, policy=MANAGERS, rule="identity:delete_project"),
    Route("GET", TAGS_OF, list_tags, policy=ANYONE, rule="identity:list_project_tags"),
    Route(
        "PUT",
        TAGS_OF,
        replace_tags,
        body=TAG_LIST,
        envelope=False,
        policy=MANAGERS,
        rule="identity:update_project_tags",
    ),
    Route("DELETE", TAGS_OF, delete_tags, status=204, policy=MANAGERS, rule="identity:delete_project_tags"),
    Route("GET", TAGS_OF + "/{tag}", check_tag, status=204, policy=ANYONE, rule="identity:get_project_tag"),
    Route("PUT", TAGS_OF + "/{tag}", add_tag, status=201, policy=MANAGERS, rule="identity:create_project_tag"),
    Route("DELETE", TAGS_OF + "/{tag}", delete_tag, status=204, policy=MANAGERS, rule="identity:delete_project_tag"),
]
