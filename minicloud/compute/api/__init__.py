"""Nova's wire: the dialect and every route. One file a resource."""

from __future__ import annotations

from minicloud.api import faults
from minicloud.api.dialect import Dialect, Microversions
from minicloud.api.paging import next_link
from minicloud.compute.api import (
    actions,
    aggregates,
    attachments,
    flavors,
    groups,
    hosts,
    hypervisors,
    images,
    interfaces,
    keypairs,
    limits,
    metadata,
    not_offered,
    security_groups,
    server_actions,
    servers,
    services,
    tags,
    usage,
    versions,
)

DIALECT = Dialect(
    service="compute",
    scopes=("project",),
    root="/v2.1",
    fault=faults.keyed,
    unknown_route=faults.webob,
    microversions=Microversions(
        "compute", low=(2, 1), high=versions.HIGH, default=(2, 1), old_header="X-OpenStack-Nova-API-Version"
    ),
    project_in_path=True,
    wrong_method=404,
    list_extra=next_link,
    strict_query=(2, 75),
    request_id_header="X-Compute-Request-Id",
    catalog=(("compute", "/v2.1"),),
)

ROUTES = [
    *versions.ROUTES,
    *servers.ROUTES,
    *server_actions.ROUTES,
    *not_offered.ROUTES,
    *metadata.ROUTES,
    *tags.ROUTES,
    *interfaces.ROUTES,
    *security_groups.ROUTES,
    *attachments.ROUTES,
    *actions.ROUTES,
    *flavors.ROUTES,
    *keypairs.ROUTES,
    *groups.ROUTES,
    *limits.ROUTES,
    *usage.ROUTES,
    *services.ROUTES,
    *hosts.ROUTES,
    *hypervisors.ROUTES,
    *images.ROUTES,
    *aggregates.ROUTES,
]
