"""Neutron's API v2.0 on the wire: one module a resource, put together here."""

from __future__ import annotations

import dataclasses

from aiohttp import web

from minicloud.api import faults
from minicloud.api.dialect import Dialect
from minicloud.api.paging import both_links
from minicloud.api.policy import kind_of_scope
from minicloud.core.context import Context
from minicloud.core.errors import MinicloudError, NotFound, OverQuota
from minicloud.network.api import (
    agents,
    floatingips,
    networks,
    ports,
    quotas,
    rbac_policies,
    routers,
    security_groups,
    subnetpools,
    subnets,
    tags,
    versions,
)


def _unknown_route(status: int, error: MinicloudError, request: web.BaseRequest, request_id: str) -> tuple[str, str]:
    return faults.neutron(status, NotFound(error.message, code="HTTPNotFound"), request, request_id)


def _narrow(ctx: Context) -> Context:
    """Who may read nothing of their own still lists: what is shared with all, as Neutron thins lists out by its policies."""
    if kind_of_scope(ctx) == "project" and ("reader" in ctx.roles or ctx.is_admin):
        return ctx
    return dataclasses.replace(ctx, project_id=None, roles=frozenset())


DIALECT = Dialect(
    service="network",
    scopes=("project",),
    root="/v2.0",
    fault=faults.neutron,
    unknown_route=_unknown_route,
    statuses={OverQuota: 409},
    list_extra=both_links,
    loose_paths=True,
    narrow=_narrow,
    fields=True,
    catalog=(("network", ""),),
)
ROUTES = [
    *versions.ROUTES, *networks.ROUTES, *subnets.ROUTES, *ports.ROUTES, *security_groups.ROUTES, *routers.ROUTES,
    *floatingips.ROUTES, *subnetpools.ROUTES, *rbac_policies.ROUTES, *quotas.ROUTES, *tags.ROUTES, *agents.ROUTES,
]  # fmt: skip
