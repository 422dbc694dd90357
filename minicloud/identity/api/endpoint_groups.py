"""`/v3/OS-EP-FILTER` (identity API v3 extensions, "OS-EP-FILTER"): endpoint groups, and what projects' catalogues are bound to."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN, ADMIN_OR_SYSTEM_READER
from minicloud.api.route import Call, Handler, Listed, Reply, Route
from minicloud.api.schema import OBJECT, OPTIONAL, REQUIRED, Field, Schema, nullable
from minicloud.identity import endpoint_groups, projects
from minicloud.identity.api.endpoints import ENDPOINT, told
from minicloud.identity.api.fields import NAME64, NAME255, TEXT
from minicloud.identity.api.lists import page
from minicloud.identity.api.projects import PROJECT
from minicloud.identity.api.resources import Resource
from minicloud.identity.api.rules import NO_DOMAIN
from minicloud.identity.endpoints import ENDPOINT as ENDPOINT_NOUN
from minicloud.identity.tables import Endpoint

if TYPE_CHECKING:
    from minicloud.identity import Identity

ROOT = "/OS-EP-FILTER"
MANY = f"{ROOT}/endpoint_groups"
FILTERS = nullable(OBJECT)
"""Null changes nothing: the stock client sends it with every change."""

ENDPOINT_GROUP = Schema(
    "endpoint_group",
    Field("id", NAME64, out=True),
    Field("name", NAME255, out=True, create=REQUIRED, update=OPTIONAL),
    Field("description", TEXT, out=True, create=OPTIONAL, update=OPTIONAL),
    Field("filters", FILTERS, out=True, create=REQUIRED, update=OPTIONAL),
    Field("links", OBJECT, attr=lambda row, call: {"self": f"{call.root}{MANY}/{row.id}"}, out=True),
    extra=True,
    rest="extra",
)
NOUN = endpoint_groups.ENDPOINT_GROUP


async def list_group_endpoints(identity: Identity, call: Call) -> Listed:
    """Endpoints that a group's filters match."""
    row = NOUN.show(identity, call.params["endpoint_group_id"])
    return _told(identity, call, identity.store.read(endpoint_groups.endpoints_in, row))


async def list_group_projects(identity: Identity, call: Call) -> Listed:
    """Projects that have a group."""
    row = NOUN.show(identity, call.params["endpoint_group_id"])
    return page(call, identity.store.read(endpoint_groups.projects_of_group, row.id))


async def list_project_groups(identity: Identity, call: Call) -> Listed:
    """Groups of a project."""
    project_id = call.params["project_id"]
    projects.PROJECT.show(identity, project_id)
    return page(call, identity.store.read(endpoint_groups.groups_of, project_id), "name")


async def list_project_endpoints(identity: Identity, call: Call) -> Listed:
    """Endpoints of a project, by itself or by its groups."""
    project_id = call.params["project_id"]
    projects.PROJECT.show(identity, project_id)
    return _told(identity, call, identity.store.read(endpoint_groups.endpoints_of, project_id))


async def list_endpoint_projects(identity: Identity, call: Call) -> Listed:
    """Projects that have an endpoint by itself."""
    row = ENDPOINT_NOUN.show(identity, call.params["endpoint_id"])
    return page(call, identity.store.read(endpoint_groups.projects_of_endpoint, row.id))


def _told(identity: Identity, call: Call, rows: list[Endpoint]) -> Listed:
    found = page(call, rows, "interface", "service_id", "region_id")
    return dataclasses.replace(found, rows=[told(identity, call, row) for row in found.rows])


async def show_project_group(identity: Identity, call: Call) -> Reply:
    """Whether a project has a group."""
    project_id, group_id = call.params["project_id"], call.params["endpoint_group_id"]
    endpoint_groups.check(identity, project_id, "endpoint_group", group_id)
    return Reply({"project_endpoint_group": {"endpoint_group_id": group_id, "project_id": project_id}})


async def add_project_group(identity: Identity, call: Call) -> None:
    """Give a project a group."""
    await endpoint_groups.give(identity, call.params["project_id"], "endpoint_group", call.params["endpoint_group_id"])


async def remove_project_group(identity: Identity, call: Call) -> None:
    """Take a group from a project."""
    await endpoint_groups.take(identity, call.params["project_id"], "endpoint_group", call.params["endpoint_group_id"])


async def check_project_endpoint(identity: Identity, call: Call) -> None:
    """Whether a project has an endpoint by itself."""
    endpoint_groups.check(identity, call.params["project_id"], "endpoint", call.params["endpoint_id"])


async def add_project_endpoint(identity: Identity, call: Call) -> None:
    """Give a project an endpoint."""
    await endpoint_groups.give(identity, call.params["project_id"], "endpoint", call.params["endpoint_id"])


async def remove_project_endpoint(identity: Identity, call: Call) -> None:
    """Take an endpoint from a project."""
    await endpoint_groups.take(identity, call.params["project_id"], "endpoint", call.params["endpoint_id"])


def _route(method: str, path: str, handler: Handler, rule: str, **more: Any) -> Route:
    policy = ADMIN_OR_SYSTEM_READER if method == "GET" else ADMIN
    return Route(method, ROOT + path, handler, policy=policy, rule=f"identity:{rule}", scopes=NO_DOMAIN, **more)


GROUP, PROJECT_PATH = "/endpoint_groups/{endpoint_group_id}", "/projects/{project_id}"
GIVEN_GROUP, GIVEN_ENDPOINT = GROUP + PROJECT_PATH, PROJECT_PATH + "/endpoints/{endpoint_id}"
ENDPOINTS: dict[str, Any] = {"view": ENDPOINT, "many": True}
PROJECTS: dict[str, Any] = {"view": PROJECT, "many": True}
ROUTES = [
    *Resource(ENDPOINT_GROUP, NOUN, endpoint_groups.create, filters=("name",), path=MANY).routes(),
    _route(
        "GET",
        GROUP + "/endpoints",
        list_group_endpoints,
        "list_endpoints_associated_with_endpoint_group",
        **ENDPOINTS,
    ),
    _route("GET", GROUP + "/projects", list_group_projects, "list_projects_associated_with_endpoint_group", **PROJECTS),
    _route("GET", GIVEN_GROUP, show_project_group, "get_endpoint_group_in_project"),
    _route("PUT", GIVEN_GROUP, add_project_group, "add_endpoint_group_to_project", status=204),
    _route("DELETE", GIVEN_GROUP, remove_project_group, "remove_endpoint_group_from_project", status=204),
    _route(
        "GET",
        PROJECT_PATH + "/endpoint_groups",
        list_project_groups,
        "list_endpoint_groups_for_project",
        view=ENDPOINT_GROUP,
        many=True,
    ),
    _route("GET", PROJECT_PATH + "/endpoints", list_project_endpoints, "list_endpoints_for_project", **ENDPOINTS),
    _route("GET", GIVEN_ENDPOINT, check_project_endpoint, "check_endpoint_in_project", status=204),
    _route("PUT", GIVEN_ENDPOINT, add_project_endpoint, "add_endpoint_to_project", status=204),
    _route("DELETE", GIVEN_ENDPOINT, remove_project_endpoint, "remove_endpoint_from_project", status=204),
    _route(
        "GET", "/endpoints/{endpoint_id}/projects", list_endpoint_projects, "list_projects_for_endpoint", **PROJECTS
    ),
]
