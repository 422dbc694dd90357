"""Allocation candidates on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN_OR_SERVICE
from minicloud.api.route import Call, Reply, Route
from minicloud.core.store import Db
from minicloud.placement import candidates
from minicloud.placement.api import queries
from minicloud.placement.api.freshness import fresh
from minicloud.placement.candidates import Candidate, Found, Node, Request

if TYPE_CHECKING:
    from minicloud.placement import Placement


async def list_candidates(placement: Placement, call: Call) -> Reply:
    """Who could give what is asked."""

    def search(db: Db) -> tuple[Request, Found]:
        request = queries.request(db, call)
        return request, candidates.find(db, request)

    request, found = await placement.store.scan(search)
    wanted = {name for group in request.groups for name in group.resources}
    body = {
        "allocation_requests": [_candidate(call, one) for one in found.candidates],
        "provider_summaries": {node.id: _summary(call, node, wanted) for node in found.summaries},
    }
    return fresh(call, placement.clock, body)


def _candidate(call: Call, one: Candidate) -> dict[str, Any]:
    if not call.at_least(1, 12):
        listed = [{"resource_provider": {"uuid": key}, "resources": given} for key, given in one.allocations.items()]
        return {"allocations": listed}
    told: dict[str, Any] = {"allocations": {key: {"resources": given} for key, given in one.allocations.items()}}
    if call.at_least(1, 34):
        told["mappings"] = {suffix: list(ids) for suffix, ids in one.mappings.items()}
    return told


def _summary(call: Call, node: Node, wanted: set[str]) -> dict[str, Any]:
    names = [name for name in node.inventories if call.at_least(1, 27) or name in wanted]
    told: dict[str, Any] = {
        "resources": {name: {"capacity": node.inventories[name].capacity, "used": node.used[name]} for name in names}
    }
    if call.at_least(1, 17):
        told["traits"] = sorted(
            node.traits, key=lambda name: (name.startswith("CUSTOM_"), name)
        )  # OpenStack's own first
    if call.at_least(1, 29):
        told |= {"parent_provider_uuid": node.parent_id, "root_provider_uuid": node.root_id}
    return told


ROUTES = [
    Route(
        "GET", "/allocation_candidates", list_candidates, since=(1, 10), policy=ADMIN_OR_SERVICE,
        rule="placement:allocation_candidates:list",
    ),
]  # fmt: skip
