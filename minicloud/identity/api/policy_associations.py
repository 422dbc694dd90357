"""`/v3/.../OS-ENDPOINT-POLICY` (identity API v3 extensions, "OS-ENDPOINT-POLICY")."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from minicloud.api.policy import ADMIN, ADMIN_OR_SYSTEM_READER
from minicloud.api.route import Call, Listed, Route
from minicloud.core.errors import NotFound
from minicloud.identity import policy_associations
from minicloud.identity.api.endpoints import ENDPOINT, told
from minicloud.identity.api.lists import page
from minicloud.identity.api.policies import POLICY
from minicloud.identity.api.rules import NO_DOMAIN
from minicloud.identity.endpoints import ENDPOINT as ENDPOINT_NOUN
from minicloud.identity.policies import POLICY as POLICY_NOUN
from minicloud.identity.policy_associations import Target
from minicloud.identity.tables import StoredPolicy

if TYPE_CHECKING:
    from minicloud.identity import Identity


def _target(call: Call) -> Target:
    return Target(*(call.params.get(name, "") for name in ("endpoint_id", "service_id", "region_id")))


async def associate(identity: Identity, call: Call) -> None:
    """Say that a policy is for an endpoint, a service, or a service in a region."""
    await policy_associations.associate(identity, call.params["policy_id"], _target(call))


async def check(identity: Identity, call: Call) -> None:
    """Whether a policy is for that."""
    policy_associations.check(identity, call.params["policy_id"], _target(call))


async def dissociate(identity: Identity, call: Call) -> None:
    """Say that a policy is no longer for that."""
    await policy_associations.dissociate(identity, call.params["policy_id"], _target(call))


async def list_policy_endpoints(identity: Identity, call: Call) -> Listed:
    """Endpoints for which a policy counts."""
    row = POLICY_NOUN.show(identity, call.params["policy_id"])
    found = page(call, identity.store.read(policy_associations.endpoints_of, row.id), "interface", "service_id")
    return dataclasses.replace(found, rows=[told(identity, call, one) for one in found.rows])


async def show_endpoint_policy(identity: Identity, call: Call) -> StoredPolicy:
    """The policy that counts for an endpoint."""
    row = ENDPOINT_NOUN.show(identity, call.params["endpoint_id"])
    found = identity.store.read(policy_associations.policy_of, row)
    if found is None:
        raise NotFound(f"Could not find a policy of endpoint {row.id}.")
    return found


def _three(path: str, suffix: str) -> list[Route]:
    """Associate, check and dissociate one kind of target."""
    place = "/policies/{policy_id}/OS-ENDPOINT-POLICY" + path
    return [
        Route(
            method,
            place,
            handler,
            status=204,
            policy=policy,
            rule=f"identity:{verb}_policy_association_for_{suffix}",
            scopes=NO_DOMAIN,
        )
        for method, handler, policy, verb in (
            ("PUT", associate, ADMIN, "create"),
            ("GET", check, ADMIN_OR_SYSTEM_READER, "check"),
            ("DELETE", dissociate, ADMIN, "delete"),
        )
    ]


ROUTES = [
    *_three("/endpoints/{endpoint_id}", "endpoint"),
    *_three("/services/{service_id}", "service"),
    *_three("/services/{service_id}/regions/{region_id}", "region_and_service"),
    Route(
        "GET",
        "/policies/{policy_id}/OS-ENDPOINT-POLICY/endpoints",
        list_policy_endpoints,
        view=ENDPOINT,
        many=True,
        policy=ADMIN_OR_SYSTEM_READER,
        rule="identity:list_endpoints_for_policy",
        scopes=NO_DOMAIN,
    ),
    Route(
        "GET",
        "/endpoints/{endpoint_id}/OS-ENDPOINT-POLICY/policy",
        show_endpoint_policy,
        view=POLICY,
        policy=ADMIN_OR_SYSTEM_READER,
        rule="identity:get_policy_for_endpoint",
        scopes=NO_DOMAIN,
    ),
]
