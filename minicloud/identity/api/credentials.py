"""`/v3/credentials` and `/v3/users/{id}/credentials/OS-EC2` (identity API v3, "Credentials"; EC2 keys are in no reference).

Secrets are told to their user and to admins.
"""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN, ADMIN_OR_SYSTEM_READER, ANYONE, Policy, same_user
from minicloud.api.route import Call, Reply, Route
from minicloud.api.schema import OPTIONAL, REQUIRED, Field, Schema, Type, nullable
from minicloud.core.errors import Forbidden, NotFound
from minicloud.identity import application_credentials, credentials, factors, users
from minicloud.identity.api.fields import NAME64, NAME255, values_of
from minicloud.identity.api.lists import page
from minicloud.identity.api.rules import NO_DOMAIN, own_rights, sees_all
from minicloud.identity.tables import Credential
from minicloud.identity.tokens import SIGNED

if TYPE_CHECKING:
    from minicloud.identity import Identity, Token

BLOB = Type(
    {"type": ["string", "object"], "maxLength": 65535},
    lambda value: value if isinstance(value, str) else json.dumps(value),
)
CREDENTIAL = Schema(
    "credential",
    Field("type", NAME255, create=REQUIRED, update=OPTIONAL),
    Field("blob", BLOB, create=REQUIRED, update=OPTIONAL),
    Field("user_id", NAME64, create=REQUIRED, update=OPTIONAL),
    Field("project_id", nullable(NAME64), create=OPTIONAL, update=OPTIONAL),
    extra=True,
    rest="extra",
)
EC2 = Schema("ec2", Field("tenant_id", NAME64, create=REQUIRED), extra=True)
KEY, KEYS = CREDENTIAL.name, CREDENTIAL.plural


async def list_credentials(identity: Identity, call: Call) -> dict[str, Any]:
    """The caller's own; all for those who read everything."""
    own = None if sees_all(call.ctx) else call.ctx.user_id
    rows = credentials.listed(identity, user_id=own)
    if own_rights(identity, call).token.delegated:
        rows = [row for row in rows if row.type != factors.KIND]
    found = page(call, rows, "type", "user_id")
    return {KEYS: [_view(identity, call, row) for row in found.rows], **call.dialect.list_extra(call, KEYS, found)}


async def create_credential(identity: Identity, call: Call) -> dict[str, Any]:
    """Keep a secret, one's own unless one is an admin."""
    _refuse(call, own=call.body["user_id"] == call.ctx.user_id)
    token = own_rights(identity, call).token
    application_credentials.refuse_lent(identity, token, "create a credential")
    values = values_of(CREDENTIAL, call.body)
    _refuse_seed(token, values["type"])
    if values["type"] == credentials.EC2:
        values["blob"] = credentials.bound(values["blob"], token)
    return {KEY: _view(identity, call, await credentials.create(identity, **values))}


async def show_credential(identity: Identity, call: Call) -> dict[str, Any]:
    """Show a credential."""
    row = _reached(identity, call, read=True)
    _refuse_seed(own_rights(identity, call).token, row.type)
    return {KEY: _view(identity, call, row)}


async def update_credential(identity: Identity, call: Call) -> dict[str, Any]:
    """Change one."""
    row = _reached(identity, call)
    _refuse(call, own=call.body.get("user_id", row.user_id) == call.ctx.user_id)
    token = own_rights(identity, call).token
    application_credentials.refuse_lent(identity, token, "change a credential")
    _refuse_seed(token, row.type, call.body.get("type"))
    return {KEY: _view(identity, call, await credentials.update(identity, row.id, values_of(CREDENTIAL, call.body)))}


async def delete_credential(identity: Identity, call: Call) -> None:
    """Remove one."""
    await credentials.delete(identity, _reached(identity, call).id)


def _reached(identity: Identity, call: Call, *, read: bool = False) -> Credential:
    row = credentials.show(identity, call.params["credential_id"])
    _refuse(call, own=row is not None and row.user_id == call.ctx.user_id, read=read)
    return credentials.found(row, call.params["credential_id"])


def _refuse(call: Call, *, own: bool, read: bool = False) -> None:
    if not own and not call.ctx.is_admin and not (read and sees_all(call.ctx)):
        rule = call.route.rule
        raise Forbidden(f"You are not authorized to perform the requested action: {rule}.", code=rule)


def _refuse_seed(token: Token, *kinds: str | None) -> None:
    """`Forbidden` for the seed of somebody's codes where rights were lent: a code lets its user in with all that they have."""
    if token.delegated and factors.KIND in kinds:
        raise Forbidden("Cannot reach the seed of one-time codes with a token whose rights were lent.")


def _view(identity: Identity, call: Call, row: Credential) -> dict[str, Any]:
    return {
        **row.extra,
        "id": row.id,
        "user_id": row.user_id,
        "project_id": row.project_id,
        "type": row.type,
        "blob": credentials.opened(identity, row),
        "links": {"self": f"{call.root}/credentials/{row.id}"},
    }


# --- EC2 keys --------------------------------------------------------------------------------------------------------


async def list_ec2(identity: Identity, call: Call) -> dict[str, Any]:
    """A user's EC2 keys."""
    found = page(call, credentials.listed(identity, user_id=call.params["user_id"], kind=credentials.EC2))
    return {KEYS: [_ec2_view(identity, call, row) for row in found.rows], **call.dialect.list_extra(call, KEYS, found)}


async def create_ec2(identity: Identity, call: Call) -> Reply:
    """New EC2 keys for a user in a project; they open nothing while the user has no role there."""
    user_id, project_id = call.params["user_id"], call.body["tenant_id"]
    token = own_rights(identity, call).token
    if token.trust_id is None or SIGNED in token.methods:
        application_credentials.refuse_lent(identity, token, "create EC2 keys")
    if token.delegated and token.scope.id != project_id:
        raise Forbidden("Cannot create EC2 keys in another project than the one that the rights were lent for.")
    users.USER.show(identity, user_id)
    blob = credentials.bound(json.dumps({"access": uuid.uuid4().hex, "secret": uuid.uuid4().hex}), token)
    row = await credentials.create(identity, user_id=user_id, type=credentials.EC2, blob=blob, project_id=project_id)
    return Reply({KEY: _ec2_view(identity, call, row)})


async def show_ec2(identity: Identity, call: Call) -> dict[str, Any]:
    """One pair of keys, by its access key."""
    return {KEY: _ec2_view(identity, call, _ec2_of(identity, call, SEEN))}


async def delete_ec2(identity: Identity, call: Call) -> None:
    """Remove one pair."""
    await credentials.delete(identity, _ec2_of(identity, call, ADMIN | OWN_MEMBER).id)


def _ec2_of(identity: Identity, call: Call, policy: Policy) -> Credential:
    """The keys that the path names, for whom the policy lets; as in Keystone, whoever asks for keys that aren't there is told that
    first, and admins need not know whose keys they are."""
    access, ctx = call.params["access"], call.ctx
    row = credentials.show(identity, credentials.id_of_access(access))
    missing = NotFound(f"Could not find credential: {access}.")
    if row is None or row.type != credentials.EC2:
        raise missing
    if ctx.domain_id is not None or not policy.allows(ctx, call.params):
        raise Forbidden(
            f"You are not authorized to perform the requested action: {call.route.rule}.", code=call.route.rule
        )
    if row.user_id != call.params["user_id"] and not ctx.is_admin:
        raise missing
    return row


def _ec2_view(identity: Identity, call: Call, row: Credential) -> dict[str, Any]:
    keys = json.loads(credentials.opened(identity, row))
    place = f"{call.root}/users/{row.user_id}/credentials/OS-EC2/{keys['access']}"
    return {
        "user_id": row.user_id,
        "tenant_id": row.project_id,
        "access": keys["access"],
        "secret": keys.get("secret", ""),
        "trust_id": keys.get("trust_id"),
        "links": {"self": place},
    }


OWN_MEMBER = Policy(
    "role:member and user_id:%(user_id)s",
    lambda ctx, target: "member" in ctx.roles and target.get("user_id") == ctx.user_id,
)
ONE, MANY_EC2, ONE_EC2 = (
    "/credentials/{credential_id}",
    "/users/{user_id}/credentials/OS-EC2",
    "/users/{user_id}/credentials/OS-EC2/{access}",
)
SEEN = ADMIN_OR_SYSTEM_READER | same_user()
ROUTES = [
    Route("GET", "/credentials", list_credentials, policy=ANYONE, rule="identity:list_credentials"),
    Route(
        "POST",
        "/credentials",
        create_credential,
        body=CREDENTIAL,
        status=201,
        policy=ANYONE,
        rule="identity:create_credential",
    ),
    Route("GET", ONE, show_credential, policy=ANYONE, rule="identity:get_credential"),
    Route("PATCH", ONE, update_credential, body=CREDENTIAL, policy=ANYONE, rule="identity:update_credential"),
    Route("DELETE", ONE, delete_credential, status=204, policy=ANYONE, rule="identity:delete_credential"),
    Route("GET", MANY_EC2, list_ec2, policy=SEEN, rule="identity:ec2_list_credentials", scopes=NO_DOMAIN),
    Route(
        "POST",
        MANY_EC2,
        create_ec2,
        body=EC2,
        envelope=False,
        status=201,
        policy=ADMIN | OWN_MEMBER,
        rule="identity:ec2_create_credential",
        scopes=NO_DOMAIN,
    ),
    Route("GET", ONE_EC2, show_ec2, policy=ANYONE, rule="identity:ec2_get_credential"),
    Route("DELETE", ONE_EC2, delete_ec2, status=204, policy=ANYONE, rule="identity:ec2_delete_credential"),
]
