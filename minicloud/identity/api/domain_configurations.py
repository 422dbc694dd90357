"""`/v3/domains/{id}/config` and `/v3/domains/config/.../default` (identity API v3, "Domain configuration")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN, ADMIN_OR_SYSTEM_READER, ANYONE
from minicloud.api.route import Call, Reply, Route
from minicloud.api.schema import Schema
from minicloud.identity import domain_configurations
from minicloud.identity.api.rules import NO_DOMAIN

if TYPE_CHECKING:
    from minicloud.identity import Identity

CONFIG = Schema("config", extra=True, rules={"minProperties": 1})
"""Its groups and options are the domain's matter: what is wrong with them is forbidden, not malformed."""


def _place(call: Call) -> tuple[str, str | None, str | None]:
    return call.params["domain_id"], call.params.get("group"), call.params.get("option")


async def show_default(identity: Identity, call: Call) -> dict[str, Any]:
    """What counts where a domain has set nothing."""
    return {"config": domain_configurations.default(call.params.get("group"), call.params.get("option"))}


async def show_security_compliance(identity: Identity, call: Call) -> dict[str, Any]:
    """The rules for passwords, told to everybody."""
    rule = call.params.get("rule")
    return {"config": domain_configurations.security_compliance(identity, call.params["domain_id"], rule)}


async def show_config(identity: Identity, call: Call) -> dict[str, Any]:
    """What a domain has set."""
    return {"config": domain_configurations.show(identity, *_place(call))}


async def create_config(identity: Identity, call: Call) -> Reply:
    """Set a domain's configuration, instead of one that is there."""
    told, fresh = await domain_configurations.create(identity, call.params["domain_id"], call.body)
    return Reply({"config": told}, status=201 if fresh else 200)


async def update_config(identity: Identity, call: Call) -> dict[str, Any]:
    """Change some of a domain's options."""
    domain_id, group, option = _place(call)
    return {"config": await domain_configurations.update(identity, domain_id, call.body, group, option)}


async def delete_config(identity: Identity, call: Call) -> None:
    """Forget what a domain has set, or some of it."""
    await domain_configurations.delete(identity, *_place(call))


ONE = "/domains/{domain_id}/config"
PLACES = ("", "/{group}", "/{group}/{option}")
READ: dict[str, Any] = {"policy": ADMIN_OR_SYSTEM_READER, "scopes": NO_DOMAIN}
WRITE: dict[str, Any] = {"policy": ADMIN, "scopes": NO_DOMAIN}
ROUTES = [
    *(
        Route(
            "GET",
            f"{ONE}/security_compliance{rest}",
            show_security_compliance,
            policy=ANYONE,
            rule="identity:get_security_compliance_domain_config",
        )
        for rest in ("", "/{rule}")
    ),
    Route("PUT", ONE, create_config, body=CONFIG, rule="identity:create_domain_config", status=201, **WRITE),
    *(
        Route("GET", f"/domains/config{rest}/default", show_default, rule="identity:get_domain_config_default", **READ)
        for rest in PLACES
    ),
    *(Route("GET", ONE + rest, show_config, rule="identity:get_domain_config", **READ) for rest in PLACES),
    *(
        Route("PATCH", ONE + rest, update_config, body=CONFIG, rule="identity:update_domain_config", **WRITE)
        for rest in PLACES
    ),
    *(
        Route("DELETE", ONE + rest, delete_config, status=204, rule="identity:delete_domain_config", **WRITE)
        for rest in PLACES
    ),
]
