"""Glance's wire: bare bodies, custom properties beside the base ones, errors in webob's form."""

from __future__ import annotations

from minicloud.api import faults, paging
from minicloud.api.dialect import Dialect
from minicloud.api.route import Route
from minicloud.image.api import data, images, imports, members, metadefs, schemas, versions

DIALECT = Dialect(
    service="image",
    scopes=("project",),
    root="/v2",
    fault=faults.webob,
    unknown_route=faults.webob,
    unauthenticated=faults.webob,
    envelope=False,
    slash_matters=True,
    list_extra=paging.relative_links,
    catalog=(("image", ""),),
)
ROUTES: list[Route] = [
    *versions.ROUTES,
    *images.ROUTES,
    *data.ROUTES,
    *members.ROUTES,
    *imports.ROUTES,
    *schemas.ROUTES,
    *metadefs.ROUTES,
]
