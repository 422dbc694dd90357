"""Tokens on the wire: `/v3/auth/*` (identity API v3, "Authentication and token management").

The subject of validation and revocation is the token in `X-Subject-Token`; a bad one is 404, a bad own one 401.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.outgoing import encoded
from minicloud.api.policy import ADMIN, ADMIN_OR_SERVICE, ADMIN_OR_SYSTEM_READER, ANYONE, PUBLIC, Policy
from minicloud.api.route import Call, Listed, Reply, Route
from minicloud.api.schema import ANY, OBJECT, OPTIONAL, REQUIRED, Field, Schema, array, micros_z, string
from minicloud.core.errors import Forbidden, NotFound, Unauthenticated
from minicloud.core.store import Page
from minicloud.identity import login, scopes, users
from minicloud.identity.api import domains, projects
from minicloud.identity.api.fields import origin
from minicloud.identity.api.lists import is_true

if TYPE_CHECKING:
    from minicloud.identity import Identity, Rights

PROOFS = Schema(
    "identity",
    Field("methods", array(string(high=64), low=1, high=16), create=REQUIRED),
    Field("password", OBJECT, create=OPTIONAL),
    Field("token", OBJECT, create=OPTIONAL),
    Field("application_credential", OBJECT, create=OPTIONAL),
    Field("totp", OBJECT, create=OPTIONAL),
    extra=True,
)
AUTH = Schema("auth", Field("identity", PROOFS, create=REQUIRED), Field("scope", ANY, create=OPTIONAL), extra=True)


async def create_token(identity: Identity, call: Call) -> Reply:
    """Log in."""
    proofs = call.body["identity"]
    token = await login.log_in(
        identity,
        proofs=proofs,
        methods=proofs["methods"],
        scope=call.body.get("scope"),
        address=call.request.remote or "",
    )
    text = identity.text_of(token)
    return Reply(token_text(identity, call, identity.token_of(text)), headers={"X-Subject-Token": text})


async def show_token(identity: Identity, call: Call) -> Reply:
    """Validate a token and say what it gives."""
    expired = is_true(call, "allow_expired")
    found = _subject(
        identity, call, ADMIN_OR_SYSTEM_READER | ADMIN_OR_SERVICE, "identity:validate_token", expired=expired
    )
    text = call.request.headers["X-Subject-Token"]
    return Reply(token_text(identity, call, found), headers={"X-Subject-Token": text})


async def delete_token(identity: Identity, call: Call) -> None:
    """Revoke a token, and those that were made of it."""
    found = _subject(identity, call, ADMIN, "identity:revoke_token")
    await identity.revoke(found.token)


async def show_catalog(identity: Identity, call: Call) -> dict[str, Any]:
    """The catalogue as one's own token would tell it."""
    token = identity.token_of(call.request.headers["X-Auth-Token"]).token
    if token.scope.kind == "unscoped":
        raise Forbidden("Cannot show a catalogue: the token has no scope.")
    listing = identity.catalogue(token, origin=origin(identity, call))
    return {"catalog": listing.entries, "links": {"next": None, "self": f"{call.root}/auth/catalog", "previous": None}}


async def list_auth_projects(identity: Identity, call: Call) -> Listed:
    """Projects that the caller could ask a token for."""
    return Listed(identity.store.read(scopes.projects_of, call.ctx.user_id), Page())


async def list_auth_domains(identity: Identity, call: Call) -> Listed:
    """Domains that the caller could ask a token for."""
    return Listed(identity.store.read(scopes.domains_of, call.ctx.user_id), Page())


async def show_auth_system(identity: Identity, call: Call) -> dict[str, Any]:
    """Whether the caller could ask a token for the system."""
    scope = [{"all": True}] if identity.store.read(scopes.has_system, call.ctx.user_id) else []
    return {"system": scope, "links": {"next": None, "self": f"{call.root}/auth/system", "previous": None}}


def _subject(identity: Identity, call: Call, policy: Policy, rule: str, *, expired: bool = False) -> Rights:
    """The token that a request is about; its own holder may always look at and end it."""
    text = call.request.headers.get("X-Subject-Token", "")
    if not text:
        raise NotFound("No token in the request")
    try:
        found = identity.token_of(text, allow_expired=expired)
    except Unauthenticated:
        raise NotFound("Could not recognize the token in X-Subject-Token.") from None
    if found.user.id != call.ctx.user_id and not policy.allows(call.ctx):
        raise Forbidden(f"You are not authorized to perform the requested action: {rule}.", code=rule)
    return found


def token_text(identity: Identity, call: Call, found: Rights) -> str:
    """The answer in JSON: the catalogue, nine tenths of it, is the same for every token of a scope and encoded once."""
    text = encoded(_token_body(identity, found)).decode()
    if found.token.scope.kind != "unscoped" and not is_true(call, "nocatalog"):
        listing = identity.catalogue(found.token, origin=origin(identity, call))
        text = f"{text[:-1]},{listing.text}}}"
    return f'{{"token":{text}}}'


def _token_body(identity: Identity, found: Rights) -> dict[str, Any]:
    token, user = found.token, found.user
    person = {
        "domain": {"id": found.home.id, "name": found.home.name},
        "id": user.id,
        "name": user.name,
        "password_expires_at": users.expiry(user),
    }
    body: dict[str, Any] = {
        "methods": list(token.methods),
        "user": person,
        "audit_ids": list(token.audit_ids),
        "expires_at": micros_z(token.expires_at),
        "issued_at": micros_z(token.issued_at),
    }
    if found.scope is not None and token.scope.kind == "project":
        domain = {"id": found.over.id, "name": found.over.name} if found.over else None
        body["project"] = {"domain": domain, "id": found.scope.id, "name": found.scope.name}
        body["is_domain"] = found.scope.is_domain
    elif found.scope is not None:
        body["domain"] = {"id": found.scope.id, "name": found.scope.name}
    elif token.scope.kind == "system":
        body["system"] = {"all": True}
    if token.scope.kind != "unscoped":
        body["roles"] = [{"id": role.id, "name": role.name} for role in found.roles]
    if found.trust is not None:
        body["OS-TRUST:trust"] = {
            "id": found.trust.id,
            "trustor_user": {"id": found.trust.trustor_user_id},
            "trustee_user": {"id": found.trust.trustee_user_id},
            "impersonation": found.trust.impersonation,
        }
    if token.application_credential_id is not None:
        body["application_credential"] = identity.store.read(scopes.credential_summary, token.application_credential_id)
    return body


ROUTES = [
    Route("POST", "/auth/tokens", create_token, body=AUTH, status=201, policy=PUBLIC, rule="-", summary="Log in"),
    Route("GET", "/auth/tokens", show_token, policy=ANYONE, rule="identity:validate_token", summary="Validate a token"),
    Route("DELETE", "/auth/tokens", delete_token, status=204, policy=ANYONE, rule="identity:revoke_token"),
    Route("GET", "/auth/catalog", show_catalog, policy=ANYONE, rule="identity:get_auth_catalog"),
    Route(
        "GET",
        "/auth/projects",
        list_auth_projects,
        view=projects.PROJECT,
        many=True,
        policy=ANYONE,
        rule="identity:get_auth_projects",
    ),
    Route(
        "GET",
        "/auth/domains",
        list_auth_domains,
        view=domains.DOMAIN,
        many=True,
        policy=ANYONE,
        rule="identity:get_auth_domains",
    ),
    Route("GET", "/auth/system", show_auth_system, policy=ANYONE, rule="identity:get_auth_system"),
]
