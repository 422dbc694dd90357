"""`/v3/users/{id}/application_credentials` and `/access_rules` (identity API v3, "Application credentials")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN, ADMIN_OR_SYSTEM_READER, same_user, system_role
from minicloud.api.route import Call, Listed, Route
from minicloud.api.schema import (
    OBJECT,
    OPTIONAL,
    REQUIRED,
    STRICT_BOOLEAN,
    Field,
    Schema,
    Type,
    array,
    micros,
    nullable,
    string,
)
from minicloud.identity import access_rules, application_credentials, users
from minicloud.identity.api.fields import MOMENT, NAME64, NAME255, ROLE_REFERENCES, TEXT
from minicloud.identity.api.lists import page
from minicloud.identity.api.rules import NO_DOMAIN, PROJECT_ONLY, own_rights, sees_all
from minicloud.identity.tables import AccessRule, ApplicationCredential

if TYPE_CHECKING:
    from minicloud.identity import Identity

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
WORD = {"type": "string", "minLength": 1, "maxLength": 255}
RULES = Type(
    {
        "anyOf": [
            {"type": "object", "required": ["id"], "properties": {"id": WORD}, "additionalProperties": False},
            {
                "type": "object",
                "required": ["service", "method", "path"],
                "properties": {"service": WORD, "method": {"enum": METHODS}, "path": {**WORD, "pattern": "^/"}},
                "additionalProperties": False,
            },
        ]
    }
)
ACCESS_RULE = Schema(
    "access_rule",
    Field("id", NAME64, out=True),
    Field("service", NAME255, out=True),
    Field("method", NAME64, out=True),
    Field("path", NAME255, out=True),
    Field(
        "links",
        OBJECT,
        attr=lambda row, call: {"self": f"{call.root}/users/{row.user_id}/access_rules/{row.id}"},
        out=True,
    ),
)
APPLICATION_CREDENTIAL = Schema(
    "application_credential",
    Field("name", NAME255, create=REQUIRED),
    Field("description", TEXT, create=OPTIONAL),
    Field("secret", nullable(string(low=1, high=4096)), create=OPTIONAL),
    Field("expires_at", MOMENT, create=OPTIONAL),
    Field("roles", ROLE_REFERENCES, create=OPTIONAL),
    Field("unrestricted", STRICT_BOOLEAN, create=OPTIONAL),
    Field("access_rules", array(RULES, high=100), create=OPTIONAL),
    extra=True,
)
KEY, KEYS = APPLICATION_CREDENTIAL.name, APPLICATION_CREDENTIAL.plural
SETTABLE = ("name", "description", "secret", "expires_at", "roles", "unrestricted", "access_rules")


async def list_application_credentials(identity: Identity, call: Call) -> dict[str, Any]:
    """Those of a user."""
    user_id = call.params["user_id"]
    users.USER.show(identity, user_id)
    found = page(call, application_credentials.listed(identity, user_id), "name")
    return {KEYS: [_view(identity, call, row) for row in found.rows], **call.dialect.list_extra(call, KEYS, found)}


async def create_application_credential(identity: Identity, call: Call) -> dict[str, Any]:
    """A new one for oneself; the only reply that has the secret."""
    mine = own_rights(identity, call)
    application_credentials.refuse_lent(identity, mine.token, "create an application credential")
    values = {name: call.body[name] for name in SETTABLE if name in call.body}
    if mine.rules is not None:
        values["access_rules"] = application_credentials.within(identity, mine.token, values.get("access_rules"))
    row, secret = await application_credentials.create(identity, call.ctx, held=mine.roles, **values)
    return {KEY: {**_view(identity, call, row), "secret": secret}}


async def show_application_credential(identity: Identity, call: Call) -> dict[str, Any]:
    """One of a user's."""
    return {KEY: _view(identity, call, _reached(identity, call))}


async def delete_application_credential(identity: Identity, call: Call) -> None:
    """Remove one; its tokens end."""
    application_credentials.refuse_lent(identity, own_rights(identity, call).token, "delete an application credential")
    await application_credentials.delete(identity, call.params["user_id"], _reached(identity, call).id)


def _reached(identity: Identity, call: Call) -> ApplicationCredential:
    """The one that the path names; another's under one's own path is forbidden, as Keystone has it."""
    user_id, credential_id = call.params["user_id"], call.params["credential_id"]
    if not sees_all(call.ctx):
        application_credentials.refuse_foreign(identity, user_id, credential_id)
    return application_credentials.show(identity, user_id, credential_id)


def _view(identity: Identity, call: Call, row: ApplicationCredential) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "user_id": row.user_id,
        "project_id": row.project_id,
        "system": None,
        "expires_at": micros(row.expires_at),
        "unrestricted": row.unrestricted,
        "roles": [
            {
                "id": role.id,
                "name": role.name,
                "domain_id": role.domain_id,
                "description": role.description,
                "options": role.options,
            }
            for role in application_credentials.roles_of(identity, row)
        ],
        "links": {"self": f"{call.root}/users/{row.user_id}/application_credentials/{row.id}"},
    }
    rules = application_credentials.rules_of(identity, row)
    if rules is not None:
        told = ("id", "service", "method", "path")
        body["access_rules"] = [{name: getattr(rule, name) for name in told} for rule in rules]
    return body


async def list_access_rules(identity: Identity, call: Call) -> Listed:
    """The rules of a user."""
    return page(call, access_rules.listed(identity, call.params["user_id"]), "service", "path", "method")


async def show_access_rule(identity: Identity, call: Call) -> AccessRule:
    """One of them."""
    return access_rules.show(identity, call.params["user_id"], call.params["access_rule_id"])


async def delete_access_rule(identity: Identity, call: Call) -> None:
    """Remove one that is not in use."""
    await access_rules.delete(identity, call.params["user_id"], call.params["access_rule_id"])


MANY, RULES_OF = "/users/{user_id}/application_credentials", "/users/{user_id}/access_rules"
ONE, RULE = MANY + "/{credential_id}", RULES_OF + "/{access_rule_id}"
SEEN, OWN = ADMIN_OR_SYSTEM_READER | same_user(), same_user()
RULE_SEEN = system_role("reader") | OWN
ROUTES = [
    Route("GET", MANY, list_application_credentials, policy=SEEN, rule="identity:list_application_credentials", scopes=NO_DOMAIN),
    Route(
        "POST", MANY, create_application_credential, body=APPLICATION_CREDENTIAL, status=201, policy=OWN,
        rule="identity:create_application_credential", scopes=PROJECT_ONLY,
    ),
    Route("GET", ONE, show_application_credential, policy=SEEN, rule="identity:get_application_credential", scopes=NO_DOMAIN),
    Route("DELETE", ONE, delete_application_credential, status=204, policy=ADMIN | OWN, rule="identity:delete_application_credential", scopes=NO_DOMAIN),
    Route("GET", RULES_OF, list_access_rules, view=ACCESS_RULE, many=True, policy=RULE_SEEN, rule="identity:list_access_rules", scopes=NO_DOMAIN),
    Route("GET", RULE, show_access_rule, view=ACCESS_RULE, policy=RULE_SEEN, rule="identity:get_access_rule", scopes=NO_DOMAIN),
    Route("DELETE", RULE, delete_access_rule, status=204, policy=system_role("admin") | OWN, rule="identity:delete_access_rule", scopes=NO_DOMAIN),
]  # fmt: skip
