"""`/v3/groups` (identity API v3, "Groups")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ANYONE
from minicloud.api.route import Call, Listed, Route
from minicloud.api.schema import OPTIONAL, REQUIRED, Field, Schema
from minicloud.core.errors import NotFound
from minicloud.identity import groups, projects
from minicloud.identity.api.fields import NAME64, TEXT, links, values_of
from minicloud.identity.api.lists import exact, page
from minicloud.identity.api.rules import MANAGERS, READERS, allow, in_own_domain, own_domain, reached
from minicloud.identity.groups import GROUP as GROUPS
from minicloud.identity.tables import Group
from minicloud.identity.users import USER

if TYPE_CHECKING:
    from minicloud.identity import Identity

GROUP = Schema(
    "group",
    Field("id", NAME64, out=True),
    Field("name", NAME64, out=True, create=REQUIRED, update=OPTIONAL),
    Field("domain_id", NAME64, out=True, create=OPTIONAL, update=OPTIONAL),
    Field("description", TEXT, out=True, create=OPTIONAL, update=OPTIONAL),
    links("groups"),
    extra=True,
    rest="extra",
)


async def list_groups(identity: Identity, call: Call) -> Listed:
    """Groups that the caller may list."""
    rows = await GROUPS.matching(identity, own_domain(call), exact(call, "id", "name", "domain_id"))
    return page(call, rows, "id", "name", "domain_id")


async def create_group(identity: Identity, call: Call) -> Group:
    """A new group."""
    values = values_of(GROUP, call.body)
    values["domain_id"] = projects.home_of(call.ctx, values.get("domain_id"))
    values["description"] = values.get("description") or ""
    allow(call.ctx, call.route.rule, domain_id=values["domain_id"], role="manager")
    return await groups.create(identity, **values)


async def show_group(identity: Identity, call: Call) -> Group:
    """One group."""
    return _reached(identity, call, "reader")


async def update_group(identity: Identity, call: Call) -> Group:
    """Change a group."""
    _reached(identity, call, "manager")
    values = values_of(GROUP, call.body)
    if "description" in values:
        values["description"] = values["description"] or ""
    return await GROUPS.update(identity, call.params["group_id"], values)


async def delete_group(identity: Identity, call: Call) -> None:
    """Remove a group; one that isn't there is not found for anybody, as Keystone has it."""
    row = GROUPS.show(identity, call.params["group_id"])
    allow(call.ctx, call.route.rule, domain_id=row.domain_id, role="manager")
    await GROUPS.delete(identity, call.params["group_id"])


async def list_group_users(identity: Identity, call: Call) -> Any:
    """Users in a group."""
    row = _reached(identity, call, "reader")
    return page(call, in_own_domain(call, groups.users_of(identity, row.id)), "name", "domain_id", "enabled")


async def check_member(identity: Identity, call: Call) -> None:
    """Whether a user is in a group."""
    _both_reached(identity, call, "reader")
    if not groups.is_in(identity, call.params["group_id"], call.params["user_id"]):
        raise NotFound(f"Could not find user {call.params['user_id']} in group {call.params['group_id']}.")


async def add_member(identity: Identity, call: Call) -> None:
    """Put a user into a group."""
    _both_reached(identity, call, "manager")
    await groups.add(identity, call.params["group_id"], call.params["user_id"])


async def remove_member(identity: Identity, call: Call) -> None:
    """Take a user out of a group."""
    _both_reached(identity, call, "manager")
    await groups.take_out(identity, call.params["group_id"], call.params["user_id"])


def _reached(identity: Identity, call: Call, role: str) -> Group:
    return reached(identity, call, GROUPS, role=role)


def _both_reached(identity: Identity, call: Call, role: str) -> None:
    """A domain's manager or reader may only when group and user are both in the domain."""
    _reached(identity, call, role)
    reached(identity, call, USER, role=role)


ONE, MEMBER = "/groups/{group_id}", "/groups/{group_id}/users/{user_id}"
ROUTES = [
    Route("GET", "/groups", list_groups, view=GROUP, many=True, policy=READERS, rule="identity:list_groups"),
    Route(
        "POST",
        "/groups",
        create_group,
        body=GROUP,
        view=GROUP,
        status=201,
        policy=MANAGERS,
        rule="identity:create_group",
    ),
    Route("GET", ONE, show_group, view=GROUP, policy=READERS, rule="identity:get_group"),
    Route("PATCH", ONE, update_group, body=GROUP, view=GROUP, policy=MANAGERS, rule="identity:update_group"),
    Route("DELETE", ONE, delete_group, status=204, policy=ANYONE, rule="identity:delete_group"),
    Route("GET", MEMBER, check_member, status=204, policy=READERS, rule="identity:check_user_in_group"),
    Route("PUT", MEMBER, add_member, status=204, policy=MANAGERS, rule="identity:add_user_to_group"),
    Route("DELETE", MEMBER, remove_member, status=204, policy=MANAGERS, rule="identity:remove_user_from_group"),
]
