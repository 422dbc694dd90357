"""`/v3/domains` (identity API v3, "Domains")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicloud.api.policy import ADMIN, ANYONE
from minicloud.api.route import Call, Listed, Route
from minicloud.api.schema import OPTIONAL, REQUIRED, STRICT_BOOLEAN, Field, Schema
from minicloud.identity import domains
from minicloud.identity.api.fields import IMMUTABLE, KEY, NAME64, TAGS, TEXT, links, values_of
from minicloud.identity.api.lists import page
from minicloud.identity.api.rules import NO_DOMAIN, READERS, allow, allow_outside_domains, own_domain
from minicloud.identity.tables import Project

if TYPE_CHECKING:
    from minicloud.identity import Identity

DOMAIN = Schema(
    "domain",
    Field("id", NAME64, out=True),
    Field("explicit_domain_id", KEY, create=OPTIONAL),
    Field("name", NAME64, out=True, create=REQUIRED, update=OPTIONAL),
    Field("description", TEXT, out=True, create=OPTIONAL, update=OPTIONAL),
    Field("enabled", STRICT_BOOLEAN, out=True, create=OPTIONAL, update=OPTIONAL),
    Field("tags", TAGS, attr=lambda row, call: list(row.tags), out=True, create=OPTIONAL, update=OPTIONAL),
    Field("options", IMMUTABLE, out=True, create=OPTIONAL, update=OPTIONAL),
    links("domains"),
    extra=True,
    rest="extra",
)


async def list_domains(identity: Identity, call: Call) -> Listed:
    """Domains that the caller may list."""
    home = own_domain(call)
    rows = [row for row in domains.listed(identity) if home in (None, row.id)]
    return page(call, rows, "id", "name", "enabled", "description")


async def create_domain(identity: Identity, call: Call) -> Project:
    """A new domain."""
    values = values_of(DOMAIN, call.body)
    values["description"] = values.get("description") or ""
    values["domain_id"] = values.pop("explicit_domain_id", None)
    return await domains.create(identity, **values)


async def show_domain(identity: Identity, call: Call) -> Project:
    """One domain; whoever has a token in it may look."""
    domain_id, ctx = call.params["domain_id"], call.ctx
    inside = domain_id == ctx.domain_id or (ctx.project_id is not None and domain_id == ctx.project_domain_id)
    allow(ctx, call.route.rule, domain_id=domain_id, own=inside)
    return domains.need(identity, domain_id)


async def update_domain(identity: Identity, call: Call) -> Project:
    """Change a domain; one that isn't there is not found for anybody, as Keystone has it."""
    domains.need(identity, call.params["domain_id"])
    allow_outside_domains(call.ctx, call.route.rule)
    values = values_of(DOMAIN, call.body)
    if "description" in values:
        values["description"] = values["description"] or ""
    return await domains.update(identity, call.params["domain_id"], values)


async def delete_domain(identity: Identity, call: Call) -> None:
    """Remove a disabled domain with all that is in it."""
    await domains.delete(identity, call.params["domain_id"])


ONE = "/domains/{domain_id}"
ROUTES = [
    Route("GET", "/domains", list_domains, view=DOMAIN, many=True, policy=READERS, rule="identity:list_domains"),
    Route(
        "POST",
        "/domains",
        create_domain,
        body=DOMAIN,
        view=DOMAIN,
        status=201,
        policy=ADMIN,
        rule="identity:create_domain",
        scopes=NO_DOMAIN,
    ),
    Route("GET", ONE, show_domain, view=DOMAIN, policy=ANYONE, rule="identity:get_domain"),
    Route(
        "PATCH",
        ONE,
        update_domain,
        body=DOMAIN,
        view=DOMAIN,
        policy=ANYONE,
        rule="identity:update_domain",
    ),
    Route("DELETE", ONE, delete_domain, status=204, policy=ADMIN, rule="identity:delete_domain", scopes=NO_DOMAIN),
]
