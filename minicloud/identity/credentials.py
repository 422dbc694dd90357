"""Credentials: secrets that users keep here, sealed with a key that is not in the database. EC2 keys are one type of them:
requests signed with those are logins of their user (`signed.py`).
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minicloud.core.errors import Conflict, Invalid, NotFound
from minicloud.core.store import Db
from minicloud.identity.tables import CREDENTIALS, PROJECTS, USERS, Credential

if TYPE_CHECKING:
    from minicloud.identity import Identity, Token

EC2 = "ec2"
TIES = ("trust_id", "app_cred_id")
"""Keys of a blob that say whose rights EC2 keys lend; users may not set them."""


def opened(identity: Identity, row: Credential) -> str:
    """The secret text."""
    return identity.seal_keys.cipher.decrypt(row.sealed.encode()).decode()


def listed(identity: Identity, *, user_id: str | None, kind: str | None = None) -> list[Credential]:
    """Those of a user, or all, of a type or any."""
    wanted = {name: value for name, value in (("user_id", user_id), ("type", kind)) if value is not None}
    condition = " AND ".join(f"{column} = ?" for column in wanted)
    return identity.store.read(CREDENTIALS.where, condition, tuple(wanted.values()), order="id")


def show(identity: Identity, credential_id: str) -> Credential | None:
    """One, if there is one with this id."""
    return identity.store.read(CREDENTIALS.get, credential_id)


def found(row: Credential | None, credential_id: str) -> Credential:
    """That one; `NotFound` for none."""
    if row is None:
        raise NotFound(f"Could not find credential: {credential_id}.")
    return row


def id_for(kind: str, blob: str) -> str:
    """EC2 keys are found by their access key, as Keystone does: the id is its hash. Others have an id of their own."""
    if kind != EC2:
        return uuid.uuid4().hex
    return id_of_access(str(_keys_in(blob)["access"]))


def id_of_access(access: str) -> str:
    """The id of the EC2 keys with this access key."""
    return hashlib.sha256(access.encode()).hexdigest()


def _keys_in(blob: str) -> dict[str, Any]:
    """What the blob of EC2 keys holds."""
    try:
        keys = json.loads(blob)
    except ValueError:
        keys = None
    if not isinstance(keys, dict) or "access" not in keys:
        raise Invalid("Cannot keep the EC2 credential: its blob must be JSON with access and secret.")
    return keys


def bound(blob: str, token: Token) -> str:
    """The blob of EC2 keys that a caller with this token makes: tied to the trust or application credential that the token came
    by, whatever the caller says of these themselves."""
    keys = {name: value for name, value in _keys_in(blob).items() if name not in TIES}
    ties = zip(TIES, (token.trust_id, token.application_credential_id), strict=True)
    return json.dumps({**keys, **{name: value for name, value in ties if value is not None}})


async def create(
    identity: Identity,
    *,
    user_id: str,
    type: str,
    blob: str,
    project_id: str | None = None,
    extra: Mapping[str, Any] | None = None,
) -> Credential:
    """Keep a secret.

    Raises:
        Invalid: an EC2 one without a project or a readable blob. NotFound: no such user or project. Conflict: the EC2 access key is known.
    """
    if type == EC2 and project_id is None:
        raise Invalid("Cannot keep the EC2 credential: it needs a project_id.")
    sealed = identity.seal_keys.cipher.encrypt(blob.encode()).decode()
    row = Credential(id_for(type, blob), user_id, project_id, type, sealed, dict(extra or {}))

    def insert(db: Db) -> Credential:
        if USERS.get(db, user_id) is None:
            raise NotFound(f"Could not find user: {user_id}.")
        if project_id is not None and PROJECTS.get(db, project_id) is None:
            raise NotFound(f"Could not find project: {project_id}.")
        if CREDENTIALS.get(db, row.id) is not None:
            raise Conflict(f"Cannot keep the credential: there is one with id {row.id}.")
        return CREDENTIALS.insert(db, row)

    return await identity.write(insert)


async def update(identity: Identity, credential_id: str, changes: Mapping[str, Any]) -> Credential:
    """Change one; its id stays, also when an EC2 one gets another access key."""
    values = dict(changes)
    blob = values.pop("blob", None)
    if blob is not None:
        values["sealed"] = identity.seal_keys.cipher.encrypt(blob.encode()).decode()

    def change(db: Db) -> Credential:
        row = found(CREDENTIALS.get(db, credential_id), credential_id)
        kind = values.get("type", row.type)
        if kind == EC2:
            before = opened(identity, row)
            _refuse_untied(before if blob is None else blob, before if row.type == EC2 else "{}")
        if kind == EC2 and values.get("project_id", row.project_id) is None:
            raise Invalid(f"Cannot change credential {credential_id}: an EC2 one needs a project_id.")
        for name, table in (("user_id", USERS), ("project_id", PROJECTS)):
            wanted = values.get(name)
            if (
                wanted is not None
                and db.execute(f"SELECT 1 FROM {table.name} WHERE id = ?", (wanted,)).fetchone() is None
            ):
                raise NotFound(f"Could not find {name.removesuffix('_id')}: {wanted}.")
        if "extra" in values:
            values["extra"] = {**row.extra, **values["extra"]}
        return CREDENTIALS.change(db, credential_id, **values)

    return await identity.write(change)


def _refuse_untied(blob: str, before: str) -> None:
    """`Invalid` for a blob that would lend other rights than the keys did until now."""
    keys, kept = _keys_in(blob), json.loads(before)
    for name in TIES:
        if keys.get(name) != kept.get(name):
            raise Invalid(f"Cannot change {name} of EC2 keys: it says whose rights they lend.")


async def delete(identity: Identity, credential_id: str) -> None:
    """Remove one."""
    found(show(identity, credential_id), credential_id)
    await identity.write(CREDENTIALS.delete, credential_id)
