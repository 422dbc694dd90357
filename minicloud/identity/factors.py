"""Second factors: codes of an authenticator (TOTP, RFC 6238), and which methods a user has to bring together.

The seed of a user's codes is a credential of the type "totp", base32 as authenticators show it. A code is taken in the half
minute that it is of and in the next one, and once only: what was seen over a shoulder is worth nothing. Which codes were
used is remembered in memory for as long as they would count. Called by `login.py`.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor import InvalidToken
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from minicloud.identity import credentials
from minicloud.identity.tables import User

if TYPE_CHECKING:
    from minicloud.identity import Identity

KIND = "totp"
DIGITS, STEP = 6, 30
METHODS = frozenset({"password", "token", "application_credential", KIND})


def suffice(user: User, methods: tuple[str, ...]) -> bool:
    """Whether these methods are enough for this user: all of one of the user's rules, where the user has rules.

    As in Keystone a rule with a method that is not offered does not count, an application credential stands for itself,
    and a token is as good as the methods that it was made by (they are in `methods`).
    """
    rules = user.options.get("multi_factor_auth_rules") or []
    if user.options.get("multi_factor_auth_enabled") is False or methods == ("application_credential",):
        return True
    offered = [set(rule) for rule in rules if set(rule) <= METHODS]
    return not offered or any(rule <= set(methods) for rule in offered)


def takes_code(identity: Identity, user: User, code: str) -> bool:
    """Whether a code is one of the user's, of now, and was not used before; it is used now."""
    now = identity.clock.now().timestamp()
    identity.used_codes = {key: until for key, until in identity.used_codes.items() if until > now}
    if (user.id, code) in identity.used_codes:
        return False
    for row in credentials.listed(identity, user_id=user.id, kind=KIND):
        if _fits(credentials.opened(identity, row), code, now):
            identity.used_codes[(user.id, code)] = now + 2 * STEP
            return True
    return False


def _fits(seed: str, code: str, now: float) -> bool:
    if not code.isascii() or len(code) != DIGITS:
        return False
    try:
        key = base64.b32decode(seed.strip().upper() + "=" * (-len(seed.strip()) % 8))
        codes = TOTP(key, DIGITS, SHA1(), STEP, enforce_key_length=False)  # noqa: S303 - what authenticators speak
    except (binascii.Error, ValueError):
        return False
    for moment in (now, now - STEP):
        try:
            codes.verify(code.encode(), int(moment))
        except InvalidToken:
            continue
        return True
    return False
