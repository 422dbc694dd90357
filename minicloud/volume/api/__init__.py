"""The block storage API, version 3 (Cinder): its dialect, and all its routes."""

from __future__ import annotations

from minicloud.api import faults
from minicloud.api.dialect import Dialect, Microversions
from minicloud.api.paging import next_link
from minicloud.api.route import Route
from minicloud.core.errors import NoCapacity, OverQuota
from minicloud.volume.api import (
    attachments,
    messages,
    metadata,
    not_offered,
    qos_specs,
    quotas,
    services,
    snapshots,
    transfers,
    types,
    versions,
    volume_actions,
    volumes,
)

DIALECT = Dialect(
    service="volume",
    root="/v3",
    fault=faults.keyed,
    unknown_route=faults.webob,
    microversions=Microversions("volume", low=(3, 0), high=(3, 71), default=(3, 0)),
    project_in_path=True,
    slash_matters=True,
    statuses={OverQuota: 413, NoCapacity: 500},
    wrong_method=404,
    list_extra=next_link,
    request_id_header="X-Compute-Request-Id",
    catalog=(("block-storage", "/v3/%(project_id)s"), ("volumev3", "/v3/%(project_id)s")),
)
ROUTES: list[Route] = [
    *versions.ROUTES,
    *volumes.ROUTES,
    *volume_actions.ROUTES,
    *metadata.ROUTES,
    *snapshots.ROUTES,
    *attachments.ROUTES,
    *messages.ROUTES,
    *types.ROUTES,
    *quotas.ROUTES,
    *qos_specs.ROUTES,
    *transfers.ROUTES,
    *services.ROUTES,
    *not_offered.ROUTES,
]
