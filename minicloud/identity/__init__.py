"""Identity (Keystone's API): who is asking, what they may, and where the services are.

Other services use little of it: `authenticate` at each request, `project` and `user` for names. Rights are read from rows
after every change and kept in memory until the next one, so a removed role counts from the next request on.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Concatenate, ParamSpec, TypeVar

from minicloud.api.dialect import Dialect
from minicloud.api.route import Route
from minicloud.config import Config
from minicloud.core.clock import moment, stamp
from minicloud.core.context import Context
from minicloud.core.errors import Invalid, Unauthenticated
from minicloud.core.foundation import Foundation
from minicloud.core.reconcile import Reconciler
from minicloud.core.store import Db
from minicloud.identity import access_rules, bootstrap, catalog, limits, login, partners, rights, tables, trusts, users
from minicloud.identity.access_rules import Rule
from minicloud.identity.api import DIALECT, ROUTES
from minicloud.identity.keys import KeyRing
from minicloud.identity.passwords import Passwords
from minicloud.identity.tables import APPLICATION_CREDENTIALS, PROJECTS, TRUSTS, USERS, Project, Role, Trust, User
from minicloud.identity.throttle import Lockout, Throttle
from minicloud.identity.tokens import LOOKED_BACK, REFUSAL, Scope, Token, seal, unseal

__all__ = ["Identity", "Project", "Role", "Scope", "Token", "User"]

P = ParamSpec("P")
R = TypeVar("R")
REMEMBERED = 10_000
"""Tokens whose rights are kept in memory."""

CATALOGUES = 1_000
"""Catalogues kept in memory: one per scope, user and origin."""

HOURLY = 3600.0
FORGOTTEN = LOOKED_BACK + timedelta(hours=1)
"""For how long what ended a token, or ended itself, is remembered after its end: as long as anybody could still ask."""


@dataclass(frozen=True, slots=True)
class Rights:
    """All that rows say about a token at one moment: `home` is the user's domain, `scope` the project or domain with
    `over` the domain that it is in (or is); `rules` None is any request."""

    token: Token
    user: User
    home: Project
    roles: tuple[Role, ...]
    role_names: frozenset[str]
    scope: Project | None
    over: Project | None
    rules: tuple[Rule, ...] | None
    trust: Trust | None
    ends: datetime


@dataclass(frozen=True, slots=True)
class Catalogue:
    """What there is for a token's scope; `text` is the same in JSON, as most of what every validation answers, with the other
    clouds that tokens tell of."""

    entries: list[dict[str, Any]]
    text: str


def token_keys(config: Config) -> KeyRing:
    """The keys that tokens are sealed with."""
    return KeyRing(config.state / "keys" / "tokens", kept=config.identity.keys_kept)


class Identity:
    """The identity service."""

    name = "identity"
    migrations = tables.migrations
    dialect: Dialect = DIALECT
    routes: Sequence[Route] = ROUTES

    def __init__(self, foundation: Foundation, config: Config) -> None:
        self.store, self.clock, self.events = foundation.store, foundation.clock, foundation.events
        self.options = config.identity
        self.region = config.api.region
        self.public_url = config.api.public_url.rstrip("/")
        if self.options.token_seconds > self.options.key_rotation_seconds * (self.options.keys_kept - 1):
            raise Invalid(
                f"Cannot use identity.token_seconds = {self.options.token_seconds}: tokens would outlive their keys, of which "
                f"{self.options.keys_kept} are kept and each is in use for {self.options.key_rotation_seconds} seconds."
            )
        self._token_keys = token_keys(config)
        self.seal_keys = KeyRing(config.state / "keys" / "seals", kept=1_000_000)
        self.passwords = Passwords(self.options)
        self.throttle = Throttle(
            self.clock, failures=self.options.login_failures, window=self.options.login_window_seconds
        )
        self.lockout = Lockout(self.clock, failures=self.options.lockout_failures, seconds=self.options.lockout_seconds)
        self.used_codes: dict[tuple[str, str], float] = {}
        self._known: OrderedDict[str, Rights] = OrderedDict()
        self._known_by = 0
        self._catalogues: dict[tuple[Scope, str, str], Catalogue] = {}

    # --- life ----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Read the keys; they are made at the first start."""
        self._token_keys.open()
        self.seal_keys.open()

    async def stop(self) -> None:
        """Let the hashing threads go."""
        self.passwords.close()

    def reconcilers(self) -> list[Reconciler]:
        """Key rotation, and forgetting what has expired."""
        return [Reconciler("identity", self._keep_house, every=HOURLY)]

    async def bootstrap(self, *, password: str | None, dialects: Sequence[Dialect]) -> str | None:
        """Make the administrator and what they need, and the catalogue; returns a password if it had to make one."""
        return await bootstrap.bootstrap(self, password=password, dialects=dialects)

    def rotate(self) -> None:
        """Use a new token key from now on; tokens of the last few stay good."""
        self._token_keys.rotate()

    async def _keep_house(self) -> None:
        now = self.clock.now()
        age = self._token_keys.newest_seconds(now.timestamp())
        # a key from the future came while the clock was wrong: it would be in use until then
        if age >= self.options.key_rotation_seconds or age < -HOURLY:
            self.rotate()
        over = stamp(now - FORGOTTEN)

        def forget(db: Db) -> None:
            db.execute("DELETE FROM revocations WHERE expires_at < ?", (over,))
            trusts.delete_in(db, "expires_at < ?", (over,))

        await self.store.write(forget)

    # --- what the other services use -----------------------------------------------------------------------------

    def authenticate(self, token: str, *, request_id: str, service: str, method: str, path: str) -> Context:
        """The caller behind a token. Microseconds, unless something in here changed since the token was seen.

        Raises:
            Unauthenticated: it is none of ours, expired or revoked; its user or scope is gone or disabled, or has no role.
            Forbidden: it comes from an application credential that may not make this request.
        """
        found = self.token_of(token)
        if found.rules is not None:
            access_rules.require(found.rules, service=service, method=method, path=path)
        return _context(found, request_id)

    def project(self, project_id: str) -> Project | None:
        """A project or domain by id."""
        return self.store.read(PROJECTS.get, project_id)

    def limits_in(self, db: Db, service_type: str, project_id: str) -> dict[str, int]:
        """The unified limits that are in force for a project of a service ("image"): resource -> number, -1 is no limit."""
        return limits.in_force_in(db, service_type, project_id)

    def user(self, user_id: str) -> User | None:
        """A user by id."""
        return self.store.read(USERS.get, user_id)

    def catalogue(self, token: Token, *, origin: str) -> Catalogue:
        """The catalogue as a token tells it; `origin` is where the client finds the cloud."""
        key = (token.scope, token.user_id, origin)
        found = self._catalogues.get(key)
        if found is None:
            if len(self._catalogues) >= CATALOGUES:
                self._catalogues.clear()
            entries = self.store.read(catalog.catalogue, token.scope, token.user_id, origin=origin)
            text = f'"catalog": {json.dumps(entries)}'
            others = self.store.read(partners.told_in_tokens)
            text += f', "service_providers": {json.dumps(others)}' if others else ""
            found = self._catalogues[key] = Catalogue(entries, text)
        return found

    # --- tokens --------------------------------------------------------------------------------------------------

    def token_of(self, text: str, *, allow_expired: bool = False) -> Rights:
        """What a token's text gives now; raises like `authenticate`. `allow_expired`: also some time after its end, to those who
        only want to know (`LOOKED_BACK`)."""
        if self._known_by != self._token_keys.generation:
            self._known.clear()
            self._known_by = self._token_keys.generation
        found = self._known.get(text)
        if found is None:
            token = unseal(self._token_keys.cipher, text)
            self._refuse_ended(moment(token.expires_at), allow_expired=allow_expired)
            found = self.store.read(self.rights_of, token)
            self._known[text] = found
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        else:
            self._refuse_ended(found.ends, allow_expired=allow_expired)
        return found

    def _refuse_ended(self, ends: datetime, *, allow_expired: bool) -> None:
        if ends + (LOOKED_BACK if allow_expired else timedelta()) <= self.clock.now():
            raise Unauthenticated(REFUSAL)

    def rights_of(self, db: Db, token: Token) -> Rights:
        """What rows say about a token; raises `Unauthenticated` if they say no."""
        user, scope, credential, trust, only = USERS.get(db, token.user_id), token.scope, None, None, None
        home = PROJECTS.get(db, user.domain_id) if user is not None else None
        if user is None or home is None or user.generation != token.generation or not users.is_alive(db, user):
            raise Unauthenticated(REFUSAL)
        marks = ", ".join("?" for _ in token.audit_ids)
        if db.execute(f"SELECT 1 FROM revocations WHERE audit_id IN ({marks})", token.audit_ids).fetchone():
            raise Unauthenticated(REFUSAL)
        if token.application_credential_id is not None:
            credential = APPLICATION_CREDENTIALS.get(db, token.application_credential_id)
            if credential is None or (credential.expires_at or "9") <= stamp(self.clock.now()):
                raise Unauthenticated(REFUSAL)
            only = credential.role_ids
        giver = user
        if token.trust_id is not None:
            trust = TRUSTS.get(db, token.trust_id)
            giver = login.parties_in(db, trust, stamp(self.clock.now()))
            only = trust.role_ids if trust else ()
        place = PROJECTS.get(db, scope.id) if scope.kind in ("project", "domain") else None
        if scope.kind in ("project", "domain") and (place is None or not login.is_open(db, place)):
            raise Unauthenticated(REFUSAL)
        roles = tuple(rights.effective(db, giver.id, scope, only=only))
        if scope.kind != "unscoped" and not roles:
            raise Unauthenticated(REFUSAL)
        rules = None
        if credential is not None and credential.access_rule_ids is not None:
            rules = access_rules.rules_of(db, credential.access_rule_ids)
        over = PROJECTS.get(db, place.domain_id or place.id) if place is not None else None
        return Rights(
            token,
            user,
            home,
            roles,
            frozenset(role.name for role in roles),
            place,
            over,
            rules,
            trust,
            moment(token.expires_at),
        )

    def text_of(self, token: Token) -> str:
        """The text that goes to the client."""
        return seal(self._token_keys.cipher, token)

    async def revoke(self, token: Token) -> None:
        """End a token, and with it all that were made of it."""
        await self.write(
            lambda db: db.execute(
                "INSERT OR IGNORE INTO revocations VALUES (?, ?)", (token.audit_ids[0], token.expires_at)
            )
        )

    async def write(self, fn: Callable[Concatenate[Db, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """A transaction that changes who may what; what memory knew of it is forgotten before it is answered."""

        def run(db: Db) -> R:
            db.after_commit(self._forget)
            return fn(db, *args, **kwargs)

        return await self.store.write(run)

    def _forget(self) -> None:
        self._known.clear()
        self._catalogues.clear()


def _context(found: Rights, request_id: str) -> Context:
    token, user, scope = found.token, found.user, found.scope
    kind = token.scope.kind
    return Context(
        user_id=user.id,
        request_id=request_id,
        user_name=user.name,
        user_domain_id=user.domain_id,
        project_id=token.scope.id if kind == "project" else None,
        project_name=scope.name if scope is not None and kind == "project" else "",
        project_domain_id=(scope.domain_id or scope.id) if scope is not None and kind == "project" else "",
        domain_id=token.scope.id if kind == "domain" else None,
        system=kind == "system",
        roles=found.role_names,
        audit_id=token.audit_ids[0],
    )
