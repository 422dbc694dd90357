"""`/v3/OS-TRUST/trusts` (identity API v3 extensions, "OS-TRUST")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ANYONE
from minicloud.api.route import Call, Route
from minicloud.api.schema import OPTIONAL, REQUIRED, STRICT_BOOLEAN, Field, Schema, integer, micros_z, nullable
from minicloud.core.errors import Forbidden, NotFound
from minicloud.identity import application_credentials, trusts
from minicloud.identity.api.fields import MOMENT, NAME64, ROLE_REFERENCES
from minicloud.identity.api.lists import page
from minicloud.identity.api.roles import ROLE
from minicloud.identity.api.rules import NO_DOMAIN, PROJECT_ONLY, own_rights, sees_all
from minicloud.identity.tables import Trust
from minicloud.identity.tokens import SIGNED

if TYPE_CHECKING:
    from minicloud.identity import Identity, Rights

TRUST = Schema(
    "trust",
    Field("trustor_user_id", NAME64, create=REQUIRED),
    Field("trustee_user_id", NAME64, create=REQUIRED),
    Field("impersonation", STRICT_BOOLEAN, create=REQUIRED),
    Field("project_id", NAME64, create=REQUIRED),
    Field("roles", ROLE_REFERENCES, create=OPTIONAL, default=()),
    Field("expires_at", MOMENT, create=OPTIONAL, default=None),
    Field("remaining_uses", nullable(integer(low=1, high=2**31)), create=OPTIONAL, default=None),
    Field("allow_redelegation", nullable(STRICT_BOOLEAN), create=OPTIONAL),
    Field("redelegation_count", nullable(integer(low=0, high=100)), create=OPTIONAL),
    Field("redelegated_trust_id", nullable(NAME64), create=OPTIONAL),
    extra=True,
)


async def list_trusts(identity: Identity, call: Call) -> dict[str, Any]:
    """Trusts that the caller gave or took; all for those who read everything."""
    trustor, trustee = call.query.get("trustor_user_id"), call.query.get("trustee_user_id")
    if not sees_all(call.ctx) and call.ctx.user_id not in (trustor, trustee):
        raise Forbidden(
            "You are not authorized to perform the requested action: identity:list_trusts.", code=call.route.rule
        )
    found = page(call, trusts.listed(identity, trustor_id=trustor, trustee_id=trustee))
    rows = [_view(identity, call, row, whole=False) for row in found.rows]
    return {"trusts": rows, **call.dialect.list_extra(call, "trusts", found)}


async def create_trust(identity: Identity, call: Call) -> dict[str, Any]:
    """Lend roles of one's own."""
    body = call.body
    if body["trustor_user_id"] != call.ctx.user_id:
        raise Forbidden("Cannot lend what is another's: trustor_user_id must be the caller.", code=call.route.rule)
    mine = own_rights(identity, call)
    token = mine.token
    if token.trust_id is None or SIGNED in token.methods:
        application_credentials.refuse_lent(identity, token, "create a trust")
    if body.get("redelegated_trust_id") not in (None, token.trust_id):
        raise Forbidden("Cannot lend on from a trust with another token than one that it gave.", code=call.route.rule)
    most = identity.options.trust_redelegations if token.trust_id is None else _left(identity, token.trust_id)
    wanted = most if body.get("redelegation_count") is None else body["redelegation_count"]
    if body.get("allow_redelegation") and token.trust_id is None and wanted > most:
        raise Forbidden(f"Cannot allow a trust to be lent on {wanted} times: {most} is the most.")
    row = await trusts.create(
        identity,
        trustor_id=body["trustor_user_id"],
        trustee_id=body["trustee_user_id"],
        project_id=body["project_id"],
        roles=body["roles"],
        impersonation=body["impersonation"],
        expires_at=body["expires_at"],
        remaining_uses=body["remaining_uses"],
        redelegations=wanted if body.get("allow_redelegation") else 0,
        source_id=token.trust_id,
        only=_lendable(mine, body["project_id"]),
    )
    return {"trust": _view(identity, call, row)}


def _lendable(mine: Rights, project_id: str) -> list[str] | None:
    """The roles that a caller with an application credential may lend: no others than the token has, where it has them."""
    if mine.token.application_credential_id is None:
        return None
    if mine.rules is not None or mine.token.scope.id != project_id:
        raise Forbidden("Cannot lend more than the application credential gives: its own project, and no access rules.")
    return [role.id for role in mine.roles]


def _left(identity: Identity, trust_id: str) -> int:
    """How often what is lent on from a trust may be lent on again."""
    return max(trusts.show(identity, trust_id).redelegation_count - 1, 0)


async def show_trust(identity: Identity, call: Call) -> dict[str, Any]:
    """One trust."""
    return {"trust": _view(identity, call, _reached(identity, call))}


async def delete_trust(identity: Identity, call: Call) -> None:
    """End a trust."""
    row = _reached(identity, call)
    if not call.ctx.is_admin and call.ctx.user_id != row.trustor_user_id:
        raise Forbidden(
            "You are not authorized to perform the requested action: identity:delete_trust.", code=call.route.rule
        )
    await trusts.delete(identity, row.id)


async def list_trust_roles(identity: Identity, call: Call) -> dict[str, Any]:
    """The roles that it lends."""
    roles = trusts.roles_of(identity, _reached(identity, call))
    place = f"{call.root}/OS-TRUST/trusts/{call.params['trust_id']}/roles"
    links = {"self": place, "next": None, "previous": None}
    return {"roles": [ROLE.view(role, call) for role in roles], "links": links}


async def show_trust_role(identity: Identity, call: Call) -> dict[str, Any]:
    """One of them."""
    for role in trusts.roles_of(identity, _reached(identity, call)):
        if role.id == call.params["role_id"]:
            return {"role": ROLE.view(role, call)}
    raise NotFound(f"Could not find role: {call.params['role_id']}.")


def _reached(identity: Identity, call: Call) -> Trust:
    """A trust that the caller gave or took, or any for those who read everything; others' are forbidden, as in Keystone."""
    row = trusts.show(identity, call.params["trust_id"])
    if not sees_all(call.ctx) and call.ctx.user_id not in (row.trustor_user_id, row.trustee_user_id):
        raise Forbidden(
            f"You are not authorized to perform the requested action: {call.route.rule}.", code=call.route.rule
        )
    return row


def _view(identity: Identity, call: Call, row: Trust, *, whole: bool = True) -> dict[str, Any]:
    place = f"{call.root}/OS-TRUST/trusts/{row.id}"
    body: dict[str, Any] = {
        "id": row.id,
        "trustor_user_id": row.trustor_user_id,
        "trustee_user_id": row.trustee_user_id,
        "project_id": row.project_id,
        "impersonation": row.impersonation,
        "expires_at": micros_z(row.expires_at),
        "deleted_at": None,
        "remaining_uses": row.remaining_uses,
        "redelegation_count": row.redelegation_count,
        "redelegated_trust_id": row.redelegated_trust_id,
        "links": {"self": place},
    }
    if whole:
        body["roles"] = [ROLE.view(role, call) for role in trusts.roles_of(identity, row)]
        body["roles_links"] = {"self": f"{place}/roles", "next": None, "previous": None}
    return body


MANY, ONE = "/OS-TRUST/trusts", "/OS-TRUST/trusts/{trust_id}"
ROUTES = [
    Route("GET", MANY, list_trusts, policy=ANYONE, rule="identity:list_trusts", scopes=NO_DOMAIN),
    Route(
        "POST",
        MANY,
        create_trust,
        body=TRUST,
        status=201,
        policy=ANYONE,
        rule="identity:create_trust",
        scopes=PROJECT_ONLY,
    ),
    Route("GET", ONE, show_trust, policy=ANYONE, rule="identity:get_trust", scopes=NO_DOMAIN),
    Route("DELETE", ONE, delete_trust, status=204, policy=ANYONE, rule="identity:delete_trust", scopes=NO_DOMAIN),
    Route(
        "GET", ONE + "/roles", list_trust_roles, policy=ANYONE, rule="identity:list_roles_for_trust", scopes=NO_DOMAIN
    ),
    Route(
        "GET",
        ONE + "/roles/{role_id}",
        show_trust_role,
        policy=ANYONE,
        rule="identity:get_role_for_trust",
        scopes=NO_DOMAIN,
    ),
]
