"""`/v3/ec2tokens` and `/v3/s3tokens`: who signed a request (in no reference; the shapes are those that Swift's, Ceph's and Heat's
front ends send). Only services and admins may ask: the answer to a request that somebody saw would be a token otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN_OR_SERVICE
from minicloud.api.route import Call, Reply, Route
from minicloud.api.schema import OPTIONAL, REQUIRED, Field, Schema, mapping, string
from minicloud.core.errors import Invalid, Unauthenticated
from minicloud.identity import signatures, signed
from minicloud.identity.api.auth import token_text
from minicloud.identity.tokens import Token

if TYPE_CHECKING:
    from minicloud.identity import Identity

WORD = string(high=4096)
WORDS = mapping(WORD, key=r"^[\s\S]{0,1024}$", high=1000)
KEYS = Field("access", string(high=1024), create=OPTIONAL)
SIGNATURE = Field("signature", WORD, create=OPTIONAL)
REQUEST = Schema(
    "ec2Credentials",
    KEYS,
    SIGNATURE,
    *(Field(name, WORD, create=OPTIONAL) for name in ("host", "verb", "path", "body_hash")),
    Field("params", WORDS, create=OPTIONAL),
    Field("headers", WORDS, create=OPTIONAL),
    extra=True,
)
TEXT = Schema("credentials", KEYS, SIGNATURE, Field("token", string(high=65535), create=REQUIRED), extra=True)
NAMES = ("credentials", "credential", "ec2Credentials")
"""Any of these keys; front ends differ."""


def _body(inner: Schema) -> Schema:
    return Schema(inner.name, *(Field(name, inner, create=OPTIONAL) for name in NAMES), extra=True)


async def check_request(identity: Identity, call: Call) -> Reply:
    """Log in the one who signed a request in EC2's manner."""
    told = _told(call)

    def verify(secret: str) -> bool:
        signatures.require_fresh(told, identity.clock.now())
        return signatures.of_request(secret, told)

    token = await signed.log_in(identity, told["access"], verify)
    return _reply(identity, call, token, headers={"X-Subject-Token": identity.text_of(token)})


async def check_text(identity: Identity, call: Call) -> Reply:
    """Tell who signed a text in S3's manner; the token itself is not told, as the text may be one that was seen before."""
    told = _told(call)
    token = await signed.log_in(
        identity, told["access"], lambda secret: signatures.of_text(secret, told["token"], told["signature"])
    )
    return _reply(identity, call, token)


def _told(call: Call) -> dict[str, Any]:
    found: dict[str, Any] | None = next((call.body[name] for name in NAMES if name in call.body), None)
    if found is None:
        raise Invalid("Cannot check a signature: the key credentials is missing.")
    if not found.get("access") or not found.get("signature"):
        raise Unauthenticated("Cannot check a signature: the request has none, or no access key.")
    return found


def _reply(identity: Identity, call: Call, token: Token, headers: dict[str, str] | None = None) -> Reply:
    rights = identity.store.read(identity.rights_of, token)
    return Reply(token_text(identity, call, rights), headers=headers or {})


ROUTES = [
    Route(
        "POST",
        "/ec2tokens",
        check_request,
        body=_body(REQUEST),
        envelope=False,
        policy=ADMIN_OR_SERVICE,
        rule="identity:ec2tokens_validate",
    ),
    Route(
        "POST",
        "/s3tokens",
        check_text,
        body=_body(TEXT),
        envelope=False,
        policy=ADMIN_OR_SERVICE,
        rule="identity:s3tokens_validate",
    ),
]
