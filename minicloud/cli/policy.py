"""`minicloud policy`: who may what, and why: the rules that routes declare, and those of the operator's `policy.yaml`."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import click

from minicloud.api import policy_file
from minicloud.api.dialect import Dialect
from minicloud.api.policy import Policy
from minicloud.api.route import Route
from minicloud.cli.options import config_of, configured
from minicloud.config import Config
from minicloud.core.context import Context
from minicloud.core.errors import NotFound

IMPLIED = {"admin": ("manager", "member", "reader"), "manager": ("member", "reader"), "member": ("reader",)}
"""What a new cloud's roles imply."""


@click.group()
def policy() -> None:
    """Explain who may do what."""


@policy.command()
@configured
@click.option(
    "--scope",
    type=click.Choice(["project", "domain", "system", "none"]),
    default="project",
    help="The kind of scope of the token.",
)
@click.argument("roles")
@click.argument("rule")
def check(file: Path | None, state: Path | None, fake: bool, scope: str, roles: str, rule: str) -> None:
    """Say whether a holder of ROLES (a name, or several with commas) passes the routes of RULE, and by which text."""
    config = config_of(file, state, fake=fake)
    found = [(route, dialect) for route, dialect in _routes() if route.rule == rule]
    if not found:
        raise NotFound(f"Cannot check {rule}: no route has this rule; `minicloud routes` lists them.")
    overrides: dict[str, Policy] = {}
    if config.api.policy_file or config.policy_file.exists():
        overrides = policy_file.read(config.policy_file, [route for route, _ in _routes()])
    ctx = _caller(roles, scope)
    for route, dialect in found:
        (route,) = policy_file.applied([route], overrides)
        fits = route.takes(ctx, dialect)
        verdict = "allowed" if fits and route.policy.allows(ctx) else "refused"
        action = f" {{{route.action}}}" if route.action else ""
        click.secho(f"{verdict}  {route.method} {dialect.prefix}{dialect.root}{route.path}{action}", bold=True)
        click.echo(f"  rule   {route.policy.text or 'any token'}")
        click.echo(f"  from   {config.policy_file if rule in overrides else route.source}")
        click.echo(f"  roles  {', '.join(sorted(ctx.roles)) or 'none'}")
        if not fits:
            click.echo(f"  A token with the scope {scope} is not taken here, whatever its roles.")


def _caller(roles: str, scope: str) -> Context:
    named = {role.strip() for role in roles.split(",") if role.strip()}
    held = named | {implied for role in named for implied in IMPLIED.get(role, ())}
    return Context(
        "somebody",
        "",
        project_id="some-project" if scope == "project" else None,
        domain_id="some-domain" if scope == "domain" else None,
        system=scope == "system",
        roles=frozenset(held),
    )


def _routes() -> list[tuple[Route, Dialect]]:
    from minicloud.daemon import Daemon
    from minicloud.host.fake import fake_host

    with tempfile.TemporaryDirectory() as folder:
        config = Config(fake=True)
        config = replace(config, paths=replace(config.paths, state=folder, cache=folder, run=folder))
        services = Daemon(config, fake_host(None)[0]).services
        return [(route, one.dialect) for one in services if one.dialect is not None for route in one.routes]
