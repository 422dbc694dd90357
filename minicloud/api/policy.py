"""Who may use a route: the policies that routes declare.

A route can't be made without one. These decide on scope and roles; which *objects* a caller may know is decided where
rows are read (`Context.sees`): what may not be seen is not found. `text` is the same rule in oslo.policy's syntax, for the OpenAPI
document and for people.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from minicloud.core.context import Context
from minicloud.core.errors import Forbidden

Target = Mapping[str, str]
"""What a rule may compare with: the path's parameters."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A rule over caller and target; combine with `|`."""

    text: str
    check: Callable[[Context, Target], bool]
    public: bool = False

    def __or__(self, other: Policy) -> Policy:
        return Policy(
            f"({self.text}) or ({other.text})", lambda ctx, target: self.check(ctx, target) or other.check(ctx, target)
        )

    def allows(self, ctx: Context, target: Target | None = None) -> bool:
        """Whether the caller may."""
        return self.check(ctx, target or {})


def _project_role(role: str) -> Policy:
    return Policy(
        f"role:{role} and project_id:%(project_id)s",
        lambda ctx, target: role in ctx.roles and ctx.project_id is not None,
    )


def role(name: str) -> Policy:
    """Holders of a role in whatever scope."""
    return Policy(f"role:{name}", lambda ctx, target: name in ctx.roles)


def system_role(name: str) -> Policy:
    """Holders of a role on the system."""
    return Policy(f"role:{name} and system_scope:all", lambda ctx, target: ctx.system and name in ctx.roles)


def domain_role(name: str) -> Policy:
    """Holders of a role in a domain's scope; the domain is compared where rows are read."""
    return Policy(
        f"role:{name} and domain_id:%(target.domain_id)s",
        lambda ctx, target: ctx.domain_id is not None and name in ctx.roles,
    )


def same_user(parameter: str = "user_id") -> Policy:
    """The user whom the path names."""
    return Policy(f"user_id:%({parameter})s", lambda ctx, target: target.get(parameter) == ctx.user_id)


PUBLIC = Policy("@", lambda ctx, target: True, public=True)
"""No token needed: version documents, the token request itself."""

ANYONE = Policy("", lambda ctx, target: True)
"""Any valid token."""

ADMIN = Policy("role:admin", lambda ctx, target: "admin" in ctx.roles)
SERVICE = Policy("role:service", lambda ctx, target: "service" in ctx.roles)
READER = ADMIN | _project_role("reader")
"""Readers of the project in scope, and admins."""

MEMBER = ADMIN | _project_role("member")
MANAGER = ADMIN | _project_role("manager")
ADMIN_OR_SERVICE = ADMIN | SERVICE
ADMIN_OR_SYSTEM_READER = ADMIN | system_role("reader")
NOBODY = Policy("!", lambda ctx, target: False)


def kind_of_scope(ctx: Context) -> str:
    """ "system", "domain" or "project", as policies tell scopes apart: a token without one passes for a project's."""
    if ctx.system:
        return "system"
    return "domain" if ctx.domain_id is not None else "project"


def require(ctx: Context, policy: Policy, rule: str) -> None:
    """A conditional right inside a story: raises `Forbidden` naming OpenStack's rule."""
    if not policy.allows(ctx):
        raise Forbidden(f"Policy doesn't allow {rule} to be performed.", code=rule)
