"""What a token says, and its text: Fernet over a small JSON list.

A token names its user and scope; it bears no roles: those are read at each request (`rights.py`). Two tokens of one chain
share the last audit id. Fernet's base64 has several spellings of the same bytes, so nothing may ever hang on the text of
a token; revocation hangs on the audit id.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from dataclasses import dataclass
from datetime import timedelta

from cryptography.fernet import InvalidToken, MultiFernet

from minicloud.core.errors import Unauthenticated

TEXT_LIMIT = 2048
"""Characters of a token at most; longer ones are not even looked at."""

LOOKED_BACK = timedelta(hours=48)
"""For how long after its end a token can still be validated by those who ask for that (`allow_expired`; Keystone's default)."""

FORM = 1
REFUSAL = "The request you have made requires authentication."
"""The one answer to every failed authentication, in the words that clients know."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a token is for: kind "project", "domain", "system" (id "all") or "unscoped" (id "")."""

    kind: str = "unscoped"
    id: str = ""


SIGNED = "ec2credential"
"""The method of tokens that a request signed with EC2 keys gave."""

UNSCOPED = Scope()
SYSTEM = Scope("system", "all")


@dataclass(frozen=True, slots=True)
class Token:
    """What a token says.

    Attributes:
        methods: how the user proved who they are, newest first.
        audit_ids: its own, and for one made of another token that of the first of the chain.
        issued_at, expires_at: as rows keep moments, whole seconds.
        generation: the user's at the time of issue.
    """

    user_id: str
    scope: Scope
    methods: tuple[str, ...]
    audit_ids: tuple[str, ...]
    issued_at: str
    expires_at: str
    generation: int
    application_credential_id: str | None = None
    trust_id: str | None = None

    @property
    def delegated(self) -> bool:
        """Made by an application credential, a trust or EC2 keys: rights that somebody lent out, not to be lent on."""
        lent = self.application_credential_id is not None or self.trust_id is not None
        return lent or SIGNED in self.methods


def new_audit_id() -> str:
    """16 random bytes, as Keystone prints them."""
    return base64.urlsafe_b64encode(secrets.token_bytes(16)).rstrip(b"=").decode()


def seal(cipher: MultiFernet, token: Token) -> str:
    """The text of a token."""
    said = [
        FORM, token.user_id, token.scope.kind, token.scope.id, token.methods, token.audit_ids, token.issued_at,
        token.expires_at, token.generation, token.application_credential_id, token.trust_id,
    ]  # fmt: skip
    return cipher.encrypt(json.dumps(said, separators=(",", ":")).encode()).decode()


def unseal(cipher: MultiFernet, text: str) -> Token:
    """What a text says.

    Raises:
        Unauthenticated: we didn't write this, or its key is gone.
    """
    if len(text) > TEXT_LIMIT or not text.isascii():
        raise Unauthenticated(REFUSAL)
    try:
        said = json.loads(cipher.decrypt(text))
    except (InvalidToken, ValueError, TypeError, binascii.Error):
        raise Unauthenticated(REFUSAL) from None
    if said[0] != FORM:
        raise Unauthenticated(REFUSAL)
    _, user_id, kind, scope_id, methods, audit_ids, issued, expires, generation, credential_id, trust_id = said
    return Token(
        user_id, Scope(kind, scope_id), tuple(methods), tuple(audit_ids), issued, expires, generation,
        credential_id, trust_id,
    )  # fmt: skip
