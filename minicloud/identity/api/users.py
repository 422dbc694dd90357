"""`/v3/users` (identity API v3, "Users")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicloud.api.policy import PUBLIC, same_user
from minicloud.api.route import Call, Listed, Route
from minicloud.api.schema import OPTIONAL, REQUIRED, STRICT_BOOLEAN, Field, Schema, Type, nullable, string
from minicloud.identity import projects, scopes, users
from minicloud.identity.api.fields import NAME64, NAME255, links, shown_if_set, values_of
from minicloud.identity.api.groups import GROUP
from minicloud.identity.api.lists import exact, page
from minicloud.identity.api.projects import PROJECT
from minicloud.identity.api.rules import MANAGERS, READERS, allow, in_own_domain, own_domain, reached
from minicloud.identity.tables import User

if TYPE_CHECKING:
    from minicloud.identity import Identity

SWITCHES = (
    "ignore_change_password_upon_first_use",
    "ignore_lockout_failure_attempts",
    "ignore_password_expiry",
    "lock_password",
    "multi_factor_auth_enabled",
)
OPTIONS = Type(
    {
        "type": "object",
        "properties": {
            **{name: {"type": ["boolean", "null"]} for name in SWITCHES},
            "multi_factor_auth_rules": {
                "type": ["array", "null"],
                "maxItems": 16,
                "items": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": 8,
                    "uniqueItems": True,
                    "items": {"type": "string", "minLength": 1, "maxLength": 64},
                },
            },
        },
        "additionalProperties": False,
    }
)
"""The options that mean something here; others are refused rather than kept without effect."""

PASSWORD = string(low=1, high=4096)
USER = Schema(
    "user",
    Field("id", NAME64, out=True),
    Field("name", NAME255, out=True, create=REQUIRED, update=OPTIONAL),
    Field("domain_id", NAME64, out=True, create=OPTIONAL, update=OPTIONAL),
    Field("enabled", STRICT_BOOLEAN, out=True, create=OPTIONAL, update=OPTIONAL),
    Field(
        "default_project_id",
        nullable(NAME64),
        attr=shown_if_set("default_project_id"),
        out=True,
        create=OPTIONAL,
        update=OPTIONAL,
    ),
    Field("password", nullable(PASSWORD), create=OPTIONAL, update=OPTIONAL),
    Field("password_expires_at", nullable(string()), attr=lambda row, call: users.expiry(row), out=True),
    Field("options", OPTIONS, out=True, create=OPTIONAL, update=OPTIONAL),
    links("users"),
    extra=True,
    rest="extra",
)
OWN_PASSWORD = Schema(
    "user", Field("original_password", PASSWORD, create=REQUIRED), Field("password", PASSWORD, create=REQUIRED)
)


async def list_users(identity: Identity, call: Call) -> Listed:
    """Users that the caller may list."""
    names = ("id", "name", "domain_id", "default_project_id")
    rows = await users.USER.matching(identity, own_domain(call), exact(call, *names))
    ends = call.query.get("password_expires_at")
    if ends:
        rows = users.with_passwords_ending(rows, ends)
    return page(call, rows, *names, "enabled")


async def create_user(identity: Identity, call: Call) -> User:
    """A new user; a domain's manager has to name the domain, as in Keystone."""
    values = values_of(USER, call.body)
    allow(call.ctx, call.route.rule, domain_id=values.get("domain_id"), role="manager")
    values["domain_id"] = projects.home_of(call.ctx, values.get("domain_id"))
    return await users.create(identity, **values)


async def show_user(identity: Identity, call: Call) -> User:
    """One user; everybody may look at themselves."""
    return _seen(identity, call)


async def update_user(identity: Identity, call: Call) -> User:
    """Change a user."""
    _managed(identity, call)
    return await users.update(identity, call.params["user_id"], values_of(USER, call.body))


async def delete_user(identity: Identity, call: Call) -> None:
    """Remove a user."""
    _managed(identity, call)
    await users.USER.delete(identity, call.params["user_id"])


async def change_password(identity: Identity, call: Call) -> None:
    """Change one's own password; the old one is the proof."""
    body = call.body
    await users.change_password(
        identity,
        call.params["user_id"],
        original=body["original_password"],
        password=body["password"],
        address=call.request.remote or "",
    )


async def list_user_groups(identity: Identity, call: Call) -> Listed:
    """Groups that a user is in."""
    row = _seen(identity, call)
    return page(call, in_own_domain(call, users.groups_of(identity, row.id)), "name", "domain_id")


async def list_user_projects(identity: Identity, call: Call) -> Listed:
    """Projects in which a user has a role."""
    row = _seen(identity, call)
    return page(call, identity.store.read(scopes.projects_of, row.id), "name", "domain_id", "enabled")


def _seen(identity: Identity, call: Call) -> User:
    return reached(identity, call, users.USER, own=call.ctx.user_id)


def _managed(identity: Identity, call: Call) -> User:
    return reached(identity, call, users.USER, role="manager")


ONE, SEEN = "/users/{user_id}", READERS | same_user()
ROUTES = [
    Route("GET", "/users", list_users, view=USER, many=True, policy=READERS, rule="identity:list_users"),
    Route(
        "POST", "/users", create_user, body=USER, view=USER, status=201, policy=MANAGERS, rule="identity:create_user"
    ),
    Route("GET", ONE, show_user, view=USER, policy=SEEN, rule="identity:get_user"),
    Route("PATCH", ONE, update_user, body=USER, view=USER, policy=MANAGERS, rule="identity:update_user"),
    Route("DELETE", ONE, delete_user, status=204, policy=MANAGERS, rule="identity:delete_user"),
    Route("POST", ONE + "/password", change_password, body=OWN_PASSWORD, status=204, policy=PUBLIC, rule="-"),
    Route(
        "GET",
        ONE + "/groups",
        list_user_groups,
        view=GROUP,
        many=True,
        policy=SEEN,
        rule="identity:list_groups_for_user",
    ),
    Route(
        "GET",
        ONE + "/projects",
        list_user_projects,
        view=PROJECT,
        many=True,
        policy=SEEN,
        rule="identity:list_user_projects",
    ),
]
