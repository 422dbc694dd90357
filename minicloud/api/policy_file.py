"""`policy.yaml`: the operator's own rules, in oslo.policy's syntax, instead of the ones that routes declare.

A file that names a rule replaces the policy of every route with this rule: `"identity:create_project": "role:builder or
rule:admin_required"`. It decides who passes the route; which rows a caller may know is decided where rows are read all the
same, and so are the few conditional rights inside a story (`policy.require`). Scopes of tokens are looked at as before.
The parser is oslo.policy's own, imported only where there is a file. Called by the daemon and by `minicloud policy`.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from minicloud.api.policy import Policy, Target
from minicloud.api.route import Route
from minicloud.core.context import Context
from minicloud.core.errors import Invalid

WELL_KNOWN = {
    "admin_required": "role:admin",
    "context_is_admin": "role:admin",
    "admin_api": "role:admin",
    "admin_only": "role:admin",
    "admin_or_owner": "role:admin or project_id:%(project_id)s",
    "owner": "user_id:%(user_id)s",
    "service_role": "role:service",
    "project_reader_api": "role:reader and project_id:%(project_id)s",
    "project_member_api": "role:member and project_id:%(project_id)s",
    "project_manager_api": "role:manager and project_id:%(project_id)s",
    "project_reader_or_admin": "rule:project_reader_api or rule:admin_api",
    "project_member_or_admin": "rule:project_member_api or rule:admin_api",
    "project_manager_or_admin": "rule:project_manager_api or rule:admin_api",
}
"""Names that operators' files lean on without defining them; a file may define them anew."""


class _Check(Protocol):
    def __call__(
        self, target: Mapping[str, Any], creds: Mapping[str, Any], enforcer: Any, current_rule: str
    ) -> bool: ...


@dataclasses.dataclass(frozen=True)
class _Rules:
    """What a check that names another rule looks it up in."""

    rules: Mapping[str, _Check]


def read(path: Path, known: Sequence[Route]) -> dict[str, Policy]:
    """Rule -> policy, for each rule of the file that is one of a route.

    Args:
        known: the routes of all services; a rule that no route and no other rule of the file has is refused: it is a
            slip of the pen that would leave a door open.

    Raises:
        Invalid: the file cannot be read or understood, or leads to no rule.
    """
    try:
        from oslo_policy import policy as oslo
    except ImportError:
        raise Invalid(
            f"Cannot use {path.name}: its parser is not here; pip install 'minicloud-openstack[policy]'."
        ) from None
    try:
        text = path.read_text()
        told = oslo.Rules.load(text)
        rules: dict[str, Any] = {**dict(oslo.Rules.from_dict(WELL_KNOWN)), **dict(told)}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise Invalid(f"Cannot use {path.name}: {error}") from error
    if re.search(r"\bhttps?:", text):
        raise Invalid(f"Cannot use {path.name}: checks that ask another server (http:, https:) are not offered.")
    named = {name for name in re.findall(r"rule:([\w:.-]+)", "\n".join(map(str, told.values())))}
    offered = {route.rule for route in known}
    if absent := sorted(named - set(rules)):
        raise Invalid(f"Cannot use {path.name}: it leads to rules that are nowhere: {', '.join(absent)}.")
    if unknown := sorted(set(told) - offered - named - set(WELL_KNOWN)):
        raise Invalid(
            f"Cannot use {path.name}: no route has the rules {', '.join(unknown)}; `minicloud routes` lists them."
        )
    broken = sorted(name for name, check in told.items() if str(check) == "!" and not _says_never(text, name))
    if broken:  # oslo.policy turns what it cannot parse into "never"
        raise Invalid(f"Cannot use {path.name}: it cannot be understood what {', '.join(broken)} say.")
    known_rules = _Rules(rules)
    return {name: _policy(name, told[name], known_rules) for name in told if name in offered}


def _says_never(text: str, name: str) -> bool:
    return re.search(rf"{re.escape(name)}['\"]?\s*:\s*['\"]?!", text) is not None


def applied(routes: Sequence[Route], overrides: Mapping[str, Policy]) -> list[Route]:
    """The routes, with the policies of the file where it has one. Routes for which no token is needed stay so."""
    return [
        dataclasses.replace(route, policy=overrides[route.rule])
        if route.rule in overrides and not route.policy.public
        else route
        for route in routes
    ]


def _policy(name: str, check: Any, rules: _Rules) -> Policy:
    def allows(ctx: Context, target: Target) -> bool:
        return bool(check(_target(ctx, target), _credentials(ctx), rules, name))

    return Policy(str(check), allows)


def _target(ctx: Context, target: Target) -> dict[str, Any]:
    """What a rule compares with: the path's parameters; beside them the caller's own, as rows keep strangers away."""
    named = {
        "project_id": ctx.project_id,
        "tenant_id": ctx.project_id,
        "user_id": ctx.user_id,
        "domain_id": ctx.domain_id,
    }
    found = {**named, **target}
    return {**found, **{f"target.{name}": value for name, value in found.items()}}


def _credentials(ctx: Context) -> dict[str, Any]:
    return {
        "roles": sorted(ctx.roles),
        "user_id": ctx.user_id,
        "project_id": ctx.project_id,
        "tenant_id": ctx.project_id,
        "domain_id": ctx.domain_id,
        "user_domain_id": ctx.user_domain_id,
        "project_domain_id": ctx.project_domain_id,
        "system_scope": "all" if ctx.system else None,
        "is_admin": ctx.is_admin,
    }
