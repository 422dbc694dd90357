"""THE STORY: how a token comes to be. Somebody proves who they are, asks for a scope, and gets what they may have.

Every failure before the scope is the same 401, after the same time, and is counted (`throttle.py`). A token made of another
one lives no longer than that and shares its chain. Called by `POST /v3/auth/tokens` (identity API v3, "Authentication and
token management").
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from minicloud.core.clock import moment, stamp
from minicloud.core.errors import Forbidden, Invalid, NotFound, Unauthenticated
from minicloud.core.store import Db
from minicloud.identity import factors, rights, trusts, users
from minicloud.identity.tables import (
    APPLICATION_CREDENTIALS,
    PROJECTS,
    USERS,
    ApplicationCredential,
    Project,
    Trust,
    User,
)
from minicloud.identity.tokens import REFUSAL, SYSTEM, UNSCOPED, Scope, Token, new_audit_id

if TYPE_CHECKING:
    from minicloud.identity import Identity

METHODS = ("password", "token", "application_credential", "totp")
"""What is offered; federation is not."""

CREDENTIAL = "application_credential"


@dataclass(frozen=True, slots=True)
class Proof:
    """Who was proven, and by what."""

    user: User
    methods: tuple[str, ...]
    parent: Token | None = None
    credential: ApplicationCredential | None = None


async def log_in(
    identity: Identity, *, proofs: Mapping[str, Any], methods: Sequence[str], scope: Any, address: str
) -> Token:
    """A new token.

    Args:
        proofs: one block per method, as in the request's `identity`.
        scope: the request's `scope`: an object, "unscoped", or None for the user's default.
        address: of the client, for the bound on guessing.

    Raises:
        Invalid: methods or scope are malformed. Unauthenticated: anything about them doesn't hold. NotFound: it is a token that
        doesn't (Keystone's answer). RateLimited: too many tries.
    """
    wanted = list(dict.fromkeys(methods))
    for method in wanted:
        if method not in METHODS:
            raise Unauthenticated(f"Cannot log in by {method[:40]!r}: this cloud offers {', '.join(METHODS)}.")
        if not isinstance(proofs.get(method), Mapping):
            raise Invalid(f"Cannot log in: the block {method} is missing.")
    if not wanted:
        raise Invalid("Cannot log in: no method was given.")
    found = await _proven(identity, {method: proofs[method] for method in wanted}, address)
    proof = Proof(
        found[0].user,
        tuple(dict.fromkeys(method for one in found for method in one.methods)),
        next((one.parent for one in found if one.parent), None),
        next((one.credential for one in found if one.credential), None),
    )
    if not factors.suffice(proof.user, proof.methods):
        raise Unauthenticated(REFUSAL)
    trust_id = trusts.asked_for(scope)
    if trust_id is None:
        token = identity.store.read(issue_in, identity, proof, scope)
    else:
        token = await identity.write(issue_by_trust_in, identity, proof, trust_id)
    if "password" in wanted:  # a block of a method that wasn't asked for was never looked at
        await _remember_better_hash(identity, proof.user, proofs["password"]["user"]["password"])
    return token


# --- who -------------------------------------------------------------------------------------------------------------


async def _proven(identity: Identity, blocks: Mapping[str, Mapping[str, Any]], address: str) -> list[Proof]:
    """What each method proves, of one and the same user. Codes are looked at last: what is known by then bounds their guessing."""
    prove = {"password": _by_password, "token": _by_token, CREDENTIAL: _by_credential}
    found = {
        method: await prove[method](identity, block, address) for method, block in blocks.items() if method in prove
    }
    if "totp" in blocks:
        found["totp"] = _by_code(identity, blocks["totp"], beside=next(iter(found.values()), None))
    if len({one.user.id for one in found.values()}) > 1:
        raise Unauthenticated(REFUSAL)
    return [found[method] for method in blocks]


async def _by_password(identity: Identity, block: Mapping[str, Any], address: str) -> Proof:
    told = block.get("user")
    if not isinstance(told, Mapping):
        raise Invalid("Cannot log in: the password block has no user.")
    password = told.get("password")
    if not isinstance(password, str):
        raise Invalid("Cannot log in: the user's password must be text.")
    account, user = identity.store.read(_named_user, told)
    identity.throttle.check(account, address)
    matched = await identity.passwords.matches(user.password_hash if user else None, password)
    identity.throttle.check(account, address)  # of many guesses at once no more count than of one after the other
    # what is true of the user is looked at after the slow part: they may have been disabled meanwhile
    now = identity.store.read(USERS.get, user.id) if user else None
    good = matched and now is not None and user is not None and now.password_hash == user.password_hash
    if not good or now is None or users.is_locked_out(identity, now) or not identity.store.read(users.is_alive, now):
        identity.throttle.failed(account, address)
        identity.lockout.failed(account)
        raise Unauthenticated(REFUSAL)
    identity.throttle.passed(account, address)
    identity.lockout.passed(account)
    users.refuse_expired(identity, now)
    return Proof(now, ("password",))


async def _by_token(identity: Identity, block: Mapping[str, Any], address: str) -> Proof:
    text = block.get("id")
    if not isinstance(text, str):
        raise Invalid("Cannot log in: the token block has no id.")
    try:
        parent = identity.token_of(text).token
    except Unauthenticated:
        raise NotFound("Could not recognize the token that the new one should be made of.") from None
    if parent.delegated:
        raise Forbidden("Cannot make a token of one that an application credential or a trust gave.")
    user = identity.store.read(USERS.need, parent.user_id)
    return Proof(user, ("token", *parent.methods), parent)


def _by_code(identity: Identity, block: Mapping[str, Any], *, beside: Proof | None) -> Proof:
    """A code has six digits only: its failures count wherever they come from, apart for those who have proven more already."""
    told = block.get("user")
    if not isinstance(told, Mapping) or not isinstance(told.get("passcode"), str):
        raise Invalid("Cannot log in: the totp block needs a user with a passcode.")
    account, user = identity.store.read(_named_user, told)
    if beside is not None and (user is None or user.id != beside.user.id):
        raise Unauthenticated(REFUSAL)
    place = "a code" if beside is None else "a second code"
    identity.throttle.check(account, place)
    matched = user is not None and factors.takes_code(identity, user, told["passcode"])
    if (
        user is None
        or not matched
        or users.is_locked_out(identity, user)
        or not identity.store.read(users.is_alive, user)
    ):
        identity.throttle.failed(account, place)
        raise Unauthenticated(REFUSAL)
    identity.throttle.passed(account, place)
    return Proof(user, ("totp",))


async def _by_credential(identity: Identity, block: Mapping[str, Any], address: str) -> Proof:
    secret = block.get("secret")
    if not isinstance(secret, str):
        raise Invalid("Cannot log in: the application credential's secret must be text.")
    account, credential = identity.store.read(_named_credential, block)
    identity.throttle.check(account, address)
    matched = await identity.passwords.matches(credential.secret_hash if credential else None, secret)
    identity.throttle.check(account, address)
    user = identity.store.read(USERS.get, credential.user_id) if credential else None
    alive = credential is not None and not _is_over(identity, credential)
    if not matched or not alive or user is None or not identity.store.read(users.is_alive, user):
        identity.throttle.failed(account, address)
        raise Unauthenticated(REFUSAL)
    identity.throttle.passed(account, address)
    return Proof(user, (CREDENTIAL,), credential=credential)


def _is_over(identity: Identity, credential: ApplicationCredential) -> bool:
    if identity.store.read(APPLICATION_CREDENTIALS.get, credential.id) is None:
        return True
    return credential.expires_at is not None and credential.expires_at <= stamp(identity.clock.now())


def _named_user(db: Db, told: Mapping[str, Any]) -> tuple[str, User | None]:
    """The user of a block `{"id"}` or `{"name", "domain"}`, and the account that failures are counted for."""
    if isinstance(told.get("id"), str):
        user = USERS.get(db, told["id"])
        return told["id"][:64], user
    name, domain = told.get("name"), told.get("domain")
    if not isinstance(name, str) or not isinstance(domain, Mapping):
        raise Invalid("Cannot log in: the user needs an id, or a name and a domain.")
    found = named_domain(db, domain)
    user = USERS.first(db, "domain_id = ? AND name = ?", (found.id, name)) if found else None
    return (user.id if user else name[:64]), user


def _named_credential(db: Db, block: Mapping[str, Any]) -> tuple[str, ApplicationCredential | None]:
    if isinstance(block.get("id"), str):
        return block["id"][:64], APPLICATION_CREDENTIALS.get(db, block["id"])
    if not isinstance(block.get("name"), str) or not isinstance(block.get("user"), Mapping):
        raise Invalid("Cannot log in: the application credential needs an id, or a name and a user.")
    account, user = _named_user(db, block["user"])
    found = None
    if user is not None:
        found = APPLICATION_CREDENTIALS.first(db, "user_id = ? AND name = ?", (user.id, block["name"]))
    return account, found


def named_domain(db: Db, told: Mapping[str, Any]) -> Project | None:
    """The domain of `{"id"}` or `{"name"}`."""
    if isinstance(told.get("id"), str):
        return PROJECTS.first(db, "id = ? AND is_domain = 1", (told["id"],))
    if isinstance(told.get("name"), str):
        return PROJECTS.first(db, "name = ? AND is_domain = 1", (told["name"],))
    raise Invalid("Cannot log in: a domain needs an id or a name.")


def parties_in(db: Db, trust: Trust | None, now: str) -> User:
    """The one whose rights a trust lends, the first giver of its chain: as long as all of that still stands."""
    chain = trusts.chain_of(db, trust) if trust else [None]
    for one in chain:
        if one is None or (one.expires_at is not None and one.expires_at <= now):
            raise Unauthenticated(REFUSAL)
        for user_id in (one.trustor_user_id, one.trustee_user_id):
            user = USERS.get(db, user_id)
            if user is None or not users.is_alive(db, user):
                raise Unauthenticated(REFUSAL)
    first = chain[-1]
    return USERS.need(db, first.trustor_user_id if first else None)


# --- for what --------------------------------------------------------------------------------------------------------


def issue_in(db: Db, identity: Identity, proof: Proof, told: Any, trust: Trust | None = None) -> Token:
    """A token for one who was proven, in the scope that they ask for."""
    now = identity.clock.now().replace(microsecond=0)
    expires = now + timedelta(seconds=identity.options.token_seconds)
    audit_ids: tuple[str, ...] = (new_audit_id(),)
    if trust is not None and trust.expires_at is not None:
        expires = min(expires, moment(trust.expires_at).replace(microsecond=0))
    if proof.parent is not None:
        expires = min(expires, moment(proof.parent.expires_at))
        audit_ids = (audit_ids[0], proof.parent.audit_ids[-1])
    if proof.credential is not None:
        if told is not None:
            raise Unauthenticated(
                "Error authenticating with application credential: it has its own scope, ask for none."
            )
        if proof.credential.expires_at is not None:
            expires = min(expires, moment(proof.credential.expires_at).replace(microsecond=0))
        scope = Scope("project", proof.credential.project_id)
    else:
        scope = _default_scope(db, proof) if told is None else _scope_of(db, told)
    token = Token(
        proof.user.id, scope, proof.methods, audit_ids, stamp(now), stamp(expires), proof.user.generation,
        proof.credential.id if proof.credential else None, trust.id if trust else None,
    )  # fmt: skip
    identity.rights_of(db, token)  # refuses a scope that the user has no role in
    return token


def issue_by_trust_in(db: Db, identity: Identity, proof: Proof, trust_id: str) -> Token:
    """A token with what a trust lends; one of its uses is gone with it."""
    if proof.credential is not None or (proof.parent is not None and proof.parent.delegated):
        raise Forbidden("Cannot use a trust with rights that were lent themselves.")
    trust = trusts.consume_in(db, trust_id, proof.user.id, stamp(identity.clock.now()))
    owner = USERS.need(db, trust.trustor_user_id if trust.impersonation else trust.trustee_user_id)
    told = Proof(owner, proof.methods, proof.parent)
    return issue_in(db, identity, told, {"project": {"id": trust.project_id}}, trust)


def _default_scope(db: Db, proof: Proof) -> Scope:
    """Without a scope: the default project if the user may still work there, else none."""
    project = PROJECTS.get(db, proof.user.default_project_id)
    if proof.parent is not None or project is None or not is_open(db, project):
        return UNSCOPED
    scope = Scope("project", project.id)
    return scope if rights.effective(db, proof.user.id, scope) else UNSCOPED


def _scope_of(db: Db, told: Any) -> Scope:
    if told == "unscoped":
        return UNSCOPED
    if not isinstance(told, Mapping) or len(told) != 1:
        raise Invalid("Cannot read the scope: it must be one of project, domain, system, OS-TRUST:trust or unscoped.")
    (kind, inner), *_ = told.items()
    if kind == "unscoped":
        return UNSCOPED
    if not isinstance(inner, Mapping):
        raise Invalid("Cannot read the scope: it must be one of project, domain, system, OS-TRUST:trust or unscoped.")
    if kind == "system" and inner.get("all") is True:
        return SYSTEM
    if kind == "domain":
        domain = named_domain(db, inner)
        if domain is None:
            raise Unauthenticated(REFUSAL)
        return Scope("domain", domain.id)
    if kind == "project":
        return Scope("project", _named_project(db, inner).id)
    raise Invalid("Cannot read the scope: it must be one of project, domain, system, OS-TRUST:trust or unscoped.")


def _named_project(db: Db, told: Mapping[str, Any]) -> Project:
    project: Project | None
    if isinstance(told.get("id"), str):
        project = PROJECTS.get(db, told["id"])
    elif isinstance(told.get("name"), str) and isinstance(told.get("domain"), Mapping):
        domain = named_domain(db, told["domain"])
        project = PROJECTS.first(db, "domain_id = ? AND name = ?", (domain.id, told["name"])) if domain else None
    else:
        raise Invalid("Cannot read the scope: a project needs an id, or a name and a domain.")
    if project is None:
        raise Unauthenticated(REFUSAL)
    return project


def is_open(db: Db, project: Project) -> bool:
    """Whether a project (or domain) and the domain above it are enabled."""
    domain = project if project.is_domain else PROJECTS.get(db, project.domain_id)
    return project.enabled and domain is not None and domain.enabled


async def _remember_better_hash(identity: Identity, user: User, password: str) -> None:
    """Hash a password that was just proven again with today's numbers, when they are others; the one moment when it is at hand."""
    if user.password_hash is None or not identity.passwords.is_old(user.password_hash):
        return
    better = await identity.passwords.hashed(password)

    def keep(db: Db) -> None:
        now = USERS.get(db, user.id)
        if now is not None and now.password_hash == user.password_hash:
            USERS.change(db, user.id, password_hash=better)

    await identity.write(keep)
