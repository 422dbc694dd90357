"""Passwords and secrets: Argon2id in a small pool of threads, never on the loop.

A check of a user who does not exist takes as long as one of a user who does. Secrets that we made ourselves are 256
random bits and need no slow hash. Called by `login.py`, `users.py` and `application_credentials.py`.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable
from typing import TypeVar

from argon2.exceptions import InvalidHashError

from minicloud.config import Identity as Options
from minicloud.core.errors import Invalid, Unavailable
from minicloud.identity.argon import Argon

LONGEST = 4096
"""Characters of a password at most; longer ones are refused before they cost anything."""

QUEUE = 256
"""Hashes that may wait; more are turned away."""

QUIET = 10.0
"""Seconds without a hash after which the memory for hashes is given back."""

FAST = "sha256$"
R = TypeVar("R")


class Passwords:
    """The hasher of one daemon."""

    def __init__(self, options: Options) -> None:
        self._argon = Argon(time=options.argon2_time, memory_kib=options.argon2_memory_kib)
        self._pool = concurrent.futures.ThreadPoolExecutor(options.hash_threads, "argon2")
        self._waiting = 0
        self._release: asyncio.TimerHandle | None = None
        self._nobody: str | None = None
        self._rule, self._rule_in_words = _compiled(options.password_regex), options.password_regex_description

    async def hashed(self, password: str) -> str:
        """The hash to keep; raises `Invalid` for a password that is empty or too long."""
        if not password or len(password) > LONGEST:
            raise Invalid(f"Cannot use this password: it must have 1 to {LONGEST} characters.")
        return await self._run(lambda: self._argon.hash(password))

    def require_fit(self, password: str) -> None:
        """Raise `Invalid` for a new password of a user that is not as the operator wants passwords."""
        if self._rule is not None and not self._rule.match(password):
            words = self._rule_in_words or f"it must match {self._rule.pattern}"
            raise Invalid(f"Cannot use this password: {words.rstrip('.')}.")

    async def matches(self, kept: str | None, password: str) -> bool:
        """Whether a password is the one of a hash; None (no such user, no password) takes as long and is False."""
        if len(password) > LONGEST:
            return False
        if kept is not None and kept.startswith(FAST):
            return hmac.compare_digest(kept, fast_hash(password))
        return await self._run(lambda: self._verify(kept, password))

    def is_old(self, kept: str) -> bool:
        """Whether a hash was made with lesser numbers than today's."""
        return not kept.startswith(FAST) and self._argon.is_old(kept)

    def close(self) -> None:
        """Let the threads end."""
        if self._release is not None:
            self._release.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _verify(self, kept: str | None, password: str) -> bool:
        if self._nobody is None:
            self._nobody = self._argon.hash(secrets.token_urlsafe())
        try:
            return self._argon.matches(kept or self._nobody, password) and kept is not None
        except InvalidHashError:
            return False

    async def _run(self, call: Callable[[], R]) -> R:
        if self._waiting >= QUEUE:
            raise Unavailable("Cannot check passwords now: too many are waiting.", retry_after=2)
        self._waiting += 1
        loop = asyncio.get_running_loop()
        if self._release is not None:
            self._release.cancel()
        try:
            return await loop.run_in_executor(self._pool, call)
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._release = loop.call_later(QUIET, self._argon.release)


def _compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(pattern) if pattern else None
    except re.error as error:
        raise Invalid(f"Cannot use identity.password_regex: it is no regular expression: {error}.") from None


def new_secret() -> str:
    """A secret of 512 random bits for a program."""
    return secrets.token_urlsafe(64)


def fast_hash(secret: str) -> str:
    """The hash of a secret that we made."""
    return FAST + hashlib.sha256(secret.encode()).hexdigest()
