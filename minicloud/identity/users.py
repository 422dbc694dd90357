"""Users: who can log in. A change of password, or disabling, ends all tokens of the user at once."""

from __future__ import annotations

import dataclasses
import operator
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from minicloud.core.clock import stamp
from minicloud.core.errors import Forbidden, Invalid, Unauthenticated
from minicloud.core.store import Db
from minicloud.identity import projects, trusts
from minicloud.identity.nouns import Noun, merged
from minicloud.identity.tables import GROUPS, PROJECTS, USERS, Group, User
from minicloud.identity.tokens import REFUSAL

if TYPE_CHECKING:
    from minicloud.identity import Identity

COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "lt": operator.lt, "lte": operator.le, "gt": operator.gt, "gte": operator.ge, "eq": operator.eq, "neq": operator.ne,
}  # fmt: skip


def _check(db: Db, row: User, changes: dict[str, Any]) -> None:
    USER.stay_in(db, row, changes)
    if "password_hash" in changes or changes.get("enabled") is False:
        changes["generation"] = row.generation + 1


def _sweep(db: Db, row: User) -> None:
    db.execute("DELETE FROM assignments WHERE actor_kind = 'user' AND actor_id = ?", (row.id,))
    trusts.delete_in(db, "? IN (trustor_user_id, trustee_user_id)", (row.id,))
    for table in ("memberships", "credentials", "application_credentials", "access_rules"):
        db.execute(f"DELETE FROM {table} WHERE user_id = ?", (row.id,))


USER = Noun(USERS, "user", order="name, id", check=_check, sweep=_sweep)


async def create(
    identity: Identity,
    *,
    name: str,
    domain_id: str,
    password: str | None = None,
    enabled: bool = True,
    default_project_id: str | None = None,
    options: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> User:
    """A new user; without a password nobody can log in as them.

    Raises:
        NotFound: no such domain. Invalid: a password that can't be used. Conflict: the name is taken in the domain.
    """
    secret = None if password is None else await _hashed(identity, password)

    def insert(db: Db) -> User:
        home = projects.need_domain_in(db, domain_id)
        USER.refuse_taken_in(db, name, home.id)
        row = User(
            uuid.uuid4().hex, name, home.id, enabled, default_project_id, secret, 1, dict(options or {}), dict(extra or {}),
        )  # fmt: skip
        ends = None if secret is None else _end_of_password(identity, row, own=False)
        return USERS.insert(db, dataclasses.replace(row, password_expires_at=ends))

    return await identity.write(insert)


# --- passwords -------------------------------------------------------------------------------------------------------


async def _hashed(identity: Identity, password: str) -> str:
    identity.passwords.require_fit(password)
    return await identity.passwords.hashed(password)


def _end_of_password(identity: Identity, user: User, *, own: bool) -> str | None:
    """When a password that is set now has to be changed: at once if somebody else set it and the operator wants that."""
    now, options = identity.clock.now(), identity.options
    if (
        not own
        and options.change_password_at_first_use
        and not user.options.get("ignore_change_password_upon_first_use")
    ):
        return stamp(now)
    return stamp(now + timedelta(days=options.password_days)) if options.password_days else None


def expiry(user: User) -> str | None:
    """The moment when a user's password ends, None for one that counts until it is changed."""
    return None if user.options.get("ignore_password_expiry") else user.password_expires_at


def with_passwords_ending(rows: list[User], told: str) -> list[User]:
    """Those whose passwords end before, at or after a moment: "lt:2026-12-01T00:00:00Z" (also lte, gt, gte, eq, neq)."""
    name, _, text = told.partition(":")
    compare = COMPARISONS.get(name, operator.eq)
    try:
        moment = datetime.fromisoformat(text if name in COMPARISONS else told)
        wanted = stamp(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):  # the first and last hours that there are have no UTC
        raise Invalid(f"Cannot filter by password_expires_at: {told[:80]} is no moment.") from None
    return [row for row in rows if (ends := expiry(row)) is not None and compare(ends, wanted)]


def refuse_expired(identity: Identity, user: User) -> None:
    """`Unauthenticated`, for one who has just shown the right password, if it has to be changed first."""
    ends = expiry(user)
    if ends is not None and ends <= stamp(identity.clock.now()):
        raise Unauthenticated(f"The password is expired and needs to be changed for user: {user.id}.")


def is_alive(db: Db, user: User) -> bool:
    """Whether a user and their domain are enabled."""
    domain = PROJECTS.get(db, user.domain_id)
    return user.enabled and domain is not None and domain.enabled


def is_locked_out(identity: Identity, user: User) -> bool:
    """Whether too many wrong passwords have closed the account."""
    return identity.lockout.is_closed(user.id) and not user.options.get("ignore_lockout_failure_attempts")


# --- changes ---------------------------------------------------------------------------------------------------------


async def update(identity: Identity, user_id: str, changes: Mapping[str, Any]) -> User:
    """Change a user; `password` sets a new one, `extra` is merged.

    Raises:
        Invalid: another domain, or a password that can't be used. Conflict: the name is taken.
    """
    values = dict(changes)
    secret = await _hashed(identity, values["password"]) if values.get("password") is not None else None

    def change(db: Db) -> User:
        row = USER.need_in(db, user_id)
        if "password" in values:
            after = dataclasses.replace(row, options=merged(row.options, values.get("options", {})))
            values["password_hash"] = secret
            values["password_expires_at"] = None if secret is None else _end_of_password(identity, after, own=False)
            del values["password"]
        return USER.change_in(db, user_id, values)

    return await identity.write(change)


async def change_password(identity: Identity, user_id: str, *, original: str, password: str, address: str) -> None:
    """A user's own change of password; knowing the old one is the right to do it.

    Raises:
        Unauthenticated: no such user, disabled, or not the old password. Forbidden: the password is locked. RateLimited: too many tries.
    """
    user = USER.seek(identity, user_id)
    identity.throttle.check(user_id[:64], address)
    matched = await identity.passwords.matches(user.password_hash if user else None, original)
    identity.throttle.check(user_id[:64], address)  # of many guesses at once no more count than of one after the other
    if not matched or user is None or not identity.store.read(is_alive, user) or is_locked_out(identity, user):
        identity.throttle.failed(user_id[:64], address)
        identity.lockout.failed(user_id[:64])
        raise Unauthenticated(REFUSAL)
    if user.options.get("lock_password"):
        raise Forbidden(f"Cannot change the password of user {user_id}: it is locked.")
    if password == original:
        raise Invalid("Cannot change the password: the new one is the old one.")
    secret = await _hashed(identity, password)

    def change(db: Db) -> None:
        now = USERS.get(db, user_id)
        if now is None or not is_alive(db, now) or now.password_hash != user.password_hash:  # meanwhile
            raise Unauthenticated(REFUSAL)
        USERS.change(
            db,
            user_id,
            password_hash=secret,
            generation=now.generation + 1,
            password_expires_at=_end_of_password(identity, now, own=True),
        )

    await identity.write(change)
    identity.throttle.passed(user_id[:64], address)
    identity.lockout.passed(user_id[:64])


def groups_of(identity: Identity, user_id: str) -> list[Group]:
    """The groups that a user is in, by name."""
    rest = "JOIN memberships ON group_id = groups.id WHERE user_id = ? ORDER BY name"
    return identity.store.read(GROUPS.joined, rest, (user_id,))
