"""Policies: texts that services once fetched their rules from. Kept as OpenStack keeps them; no service reads them any more.

`policy_associations.py` says which of them an endpoint would read.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minicloud.core.store import Db
from minicloud.identity.nouns import Noun
from minicloud.identity.tables import POLICIES, StoredPolicy

if TYPE_CHECKING:
    from minicloud.identity import Identity


def _sweep(db: Db, row: StoredPolicy) -> None:
    db.execute("DELETE FROM policy_associations WHERE policy_id = ?", (row.id,))


POLICY = Noun(POLICIES, "policy", sweep=_sweep)


async def create(identity: Identity, *, type: str, blob: Any, extra: Mapping[str, Any] | None = None) -> StoredPolicy:
    """Keep a text."""
    return await identity.write(POLICIES.insert, StoredPolicy(uuid.uuid4().hex, type, blob, dict(extra or {})))
