"""Which policy an endpoint would read: its own, else that of its service in its region (or one above), else its service's
(OS-ENDPOINT-POLICY). Told to whoever asks; like the policies themselves, no service of this cloud reads them.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

from minicloud.core.errors import NotFound
from minicloud.core.store import Db
from minicloud.identity.endpoints import ENDPOINT
from minicloud.identity.policies import POLICY
from minicloud.identity.regions import REGION
from minicloud.identity.services import SERVICE
from minicloud.identity.tables import ENDPOINTS, POLICIES, REGIONS, Endpoint, StoredPolicy

if TYPE_CHECKING:
    from minicloud.identity import Identity

WHERE = "endpoint_id = ? AND service_id = ? AND region_id = ?"


@dataclass(frozen=True, slots=True)
class Target:
    """What a policy is for: an endpoint, a service, or a service in a region; "" is none."""

    endpoint_id: str = ""
    service_id: str = ""
    region_id: str = ""


def _need_all_in(db: Db, policy_id: str, target: Target) -> None:
    POLICY.need_in(db, policy_id)
    if target.endpoint_id:
        ENDPOINT.need_in(db, target.endpoint_id)
    if target.service_id:
        SERVICE.need_in(db, target.service_id)
    if target.region_id:
        REGION.need_in(db, target.region_id)


async def associate(identity: Identity, policy_id: str, target: Target) -> None:
    """Give a target this policy instead of another one; `NotFound` names what there isn't."""

    def insert(db: Db) -> None:
        _need_all_in(db, policy_id, target)
        db.execute("INSERT OR REPLACE INTO policy_associations VALUES (?, ?, ?, ?)", (policy_id, *astuple(target)))

    await identity.write(insert)


def check(identity: Identity, policy_id: str, target: Target) -> None:
    """`NotFound` unless the target has this policy."""

    def read(db: Db) -> None:
        _need_all_in(db, policy_id, target)
        if _policy_in(db, target) != policy_id:
            raise _missing(policy_id)

    identity.store.read(read)


async def dissociate(identity: Identity, policy_id: str, target: Target) -> None:
    """Take the policy from a target; `NotFound` if it hasn't got it."""

    def remove(db: Db) -> None:
        _need_all_in(db, policy_id, target)
        sql = f"DELETE FROM policy_associations WHERE policy_id = ? AND {WHERE}"
        if not db.execute(sql, (policy_id, *astuple(target))).rowcount:
            raise _missing(policy_id)

    await identity.write(remove)


def _missing(policy_id: str) -> NotFound:
    return NotFound(f"Could not find such an association of policy {policy_id}.")


def _policy_in(db: Db, target: Target) -> str | None:
    sql = f"SELECT policy_id FROM policy_associations WHERE {WHERE}"
    found = db.execute(sql, astuple(target)).fetchone()
    return None if found is None else str(found[0])


def policy_of(db: Db, endpoint: Endpoint) -> StoredPolicy | None:
    """The policy that counts for an endpoint."""
    targets, region_id = [Target(endpoint.id)], endpoint.region_id
    while region_id is not None:
        targets.append(Target("", endpoint.service_id, region_id))
        region = REGIONS.get(db, region_id)
        region_id = region.parent_region_id if region else None
    targets.append(Target("", endpoint.service_id))
    found = next((policy_id for policy_id in (_policy_in(db, one) for one in targets) if policy_id), None)
    return POLICIES.get(db, found)


def endpoints_of(db: Db, policy_id: str) -> list[Endpoint]:
    """The endpoints for which a policy counts."""
    rows = ENDPOINTS.where(db, order=ENDPOINT.order)
    return [row for row in rows if getattr(policy_of(db, row), "id", None) == policy_id]
