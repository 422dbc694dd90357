"""Policies: texts that services once fetched their rules from. Kept as OpenStack keeps them; no service reads them any more."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minicloud.core.errors import NotFound
from minicloud.core.store import Db
from minicloud.identity.tables import POLICIES, StoredPolicy

if TYPE_CHECKING:
    from minicloud.identity import Identity


def listed(identity: Identity) -> list[StoredPolicy]:
    """All of them."""
    return identity.store.read(POLICIES.where, order="id")


def _need_in(db: Db, policy_id: str) -> StoredPolicy:
    row = POLICIES.get(db, policy_id)
    if row is None:
        raise NotFound(f"Could not find policy: {policy_id}.")
    return row


def show(identity: Identity, policy_id: str) -> StoredPolicy:
    """One; `NotFound` for none."""
    return identity.store.read(_need_in, policy_id)


async def create(identity: Identity, *, type: str, blob: Any, extra: Mapping[str, Any] | None = None) -> StoredPolicy:
    """Keep a text."""
    return await identity.write(POLICIES.insert, StoredPolicy(uuid.uuid4().hex, type, blob, dict(extra or {})))


async def update(identity: Identity, policy_id: str, changes: Mapping[str, Any]) -> StoredPolicy:
    """Change one."""

    def change(db: Db) -> StoredPolicy:
        row, values = _need_in(db, policy_id), dict(changes)
        if "extra" in values:
            values["extra"] = {**row.extra, **values["extra"]}
        return POLICIES.change(db, policy_id, **values)

    return await identity.write(change)


async def delete(identity: Identity, policy_id: str) -> None:
    """Remove one."""
    show(identity, policy_id)
    await identity.write(POLICIES.delete, policy_id)
