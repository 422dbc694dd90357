"""Logging in by a request that was signed with EC2 keys: how S3 and EC2 front ends (Swift, Ceph's gateway, Heat) ask who
their client is. They see the request, we know the secret. What the keys lend never goes beyond what they were made with: keys
that an application credential or a trust made give that one's rights. Called by `api/signed_requests.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from minicloud.core.clock import stamp
from minicloud.core.errors import NotFound, Unauthenticated
from minicloud.core.store import Db
from minicloud.identity import credentials, login, trusts, users
from minicloud.identity.signatures import REFUSAL
from minicloud.identity.tables import APPLICATION_CREDENTIALS, CREDENTIALS, TRUSTS, USERS, Credential, User
from minicloud.identity.tokens import SIGNED, Token

if TYPE_CHECKING:
    from minicloud.identity import Identity


async def log_in(identity: Identity, access: str, verify: Callable[[str], bool]) -> Token:
    """A token for the owner of EC2 keys, in the keys' project.

    Args:
        access: the access key.
        verify: whether the request was signed with the secret that it is given.

    Raises:
        NotFound: no such access key. Unauthenticated: another signature, or the user, project or lent rights are gone.
    """
    row = identity.store.read(CREDENTIALS.get, credentials.id_of_access(access))
    if row is None or row.type != credentials.EC2:
        raise NotFound("EC2 access key not found.")
    keys = json.loads(credentials.opened(identity, row))
    if not verify(str(keys.get("secret", ""))):
        raise Unauthenticated(REFUSAL)
    if keys.get("trust_id"):
        return await identity.write(_by_trust, identity, row, str(keys["trust_id"]))
    return identity.store.read(_issue, identity, row, keys.get("app_cred_id"))


def _owner(db: Db, row: Credential) -> User:
    user = USERS.get(db, row.user_id)
    if user is None or not users.is_alive(db, user):
        raise Unauthenticated(REFUSAL)
    return user


def _issue(db: Db, identity: Identity, row: Credential, credential_id: str | None) -> Token:
    user, scope = _owner(db, row), {"project": {"id": row.project_id}}
    if credential_id is None:
        return login.issue_in(db, identity, login.Proof(user, (SIGNED,)), scope)
    credential = APPLICATION_CREDENTIALS.get(db, credential_id)
    over = credential is None or (credential.expires_at or "9") <= stamp(identity.clock.now())
    if credential is None or over or (credential.user_id, credential.project_id) != (user.id, row.project_id):
        raise Unauthenticated(REFUSAL)
    return login.issue_in(db, identity, login.Proof(user, (SIGNED,), credential=credential), None)


def _by_trust(db: Db, identity: Identity, row: Credential, trust_id: str) -> Token:
    user, trust = _owner(db, row), TRUSTS.get(db, trust_id)
    if trust is None or trust.project_id != row.project_id or trusts.actor_of(trust) != user.id:
        raise Unauthenticated(REFUSAL)
    trustee = USERS.need(db, trust.trustee_user_id)
    return login.issue_by_trust_in(db, identity, login.Proof(trustee, (SIGNED,)), trust_id)
