"""Keystone's wire: its dialect and all its routes, one file per resource."""

from __future__ import annotations

from minicloud.api import faults
from minicloud.api.dialect import Dialect
from minicloud.api.paging import collection_links
from minicloud.identity.api import (
    application_credentials,
    auth,
    credentials,
    domain_configurations,
    domains,
    endpoint_groups,
    endpoints,
    grants,
    group_users,
    groups,
    limits,
    partners,
    policies,
    policy_associations,
    projects,
    regions,
    role_assignments,
    roles,
    services,
    signed_requests,
    trusts,
    users,
    versions,
)

DIALECT = Dialect(
    service="identity",
    root="/v3",
    fault=faults.keystone,
    unknown_route=faults.keystone,
    list_extra=collection_links,
    vary="X-Auth-Token",
    catalog=(("identity", "/v3"),),
)
ROUTES = [
    *versions.ROUTES, *auth.ROUTES, *domains.ROUTES, *projects.ROUTES, *users.ROUTES, *groups.ROUTES,
    *group_users.ROUTES, *roles.ROUTES, *grants.ROUTES, *role_assignments.ROUTES, *regions.ROUTES,
    *services.ROUTES, *endpoints.ROUTES, *application_credentials.ROUTES, *credentials.ROUTES, *trusts.ROUTES,
    *policies.ROUTES, *limits.ROUTES, *partners.ROUTES, *domain_configurations.ROUTES, *endpoint_groups.ROUTES, *policy_associations.ROUTES, *signed_requests.ROUTES,
]  # fmt: skip
