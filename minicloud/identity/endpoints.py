"""Endpoints: the URLs of services. They may hold names that a token fills in: project_id, tenant_id and user_id, no others."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minicloud.core.errors import Invalid
from minicloud.core.store import Db
from minicloud.identity.nouns import Noun
from minicloud.identity.tables import ENDPOINTS, REGIONS, SERVICES, Endpoint, Region

if TYPE_CHECKING:
    from minicloud.identity import Identity

SUBSTITUTES = ("project_id", "tenant_id", "user_id")
_NAME = re.compile(r"[$%]\(([^)]*)\)s")


def _check_in(db: Db, values: Mapping[str, Any]) -> None:
    """The things that a new or changed endpoint names exist; a region that doesn't is made, as Keystone does."""
    if "url" in values:
        for name in _NAME.findall(values["url"]):
            if name not in SUBSTITUTES:
                raise Invalid(f"Cannot use the URL: it holds the name {name[:40]}, known are {', '.join(SUBSTITUTES)}.")
    if "service_id" in values and SERVICES.get(db, values["service_id"]) is None:
        raise Invalid(f"Cannot use service_id {values['service_id']}: there is no such service.")
    region_id = values.get("region_id")
    if region_id is not None and REGIONS.get(db, region_id) is None:
        REGIONS.insert(db, Region(region_id, "", None, {}))


def _sweep(db: Db, row: Endpoint) -> None:
    for table in ("project_endpoints", "policy_associations"):
        db.execute(f"DELETE FROM {table} WHERE endpoint_id = ?", (row.id,))


ENDPOINT = Noun(
    ENDPOINTS,
    "endpoint",
    order="service_id, interface, id",
    check=lambda db, row, values: _check_in(db, values),
    sweep=_sweep,
)


async def create(
    identity: Identity,
    *,
    service_id: str,
    interface: str,
    url: str,
    region_id: str | None = None,
    enabled: bool = True,
    extra: Mapping[str, Any] | None = None,
) -> Endpoint:
    """A new endpoint; `Invalid` for no such service or a name in the URL that nobody fills in."""
    row = Endpoint(uuid.uuid4().hex, service_id, region_id, interface, url, enabled, dict(extra or {}))

    def insert(db: Db) -> Endpoint:
        _check_in(db, {"service_id": service_id, "url": url, "region_id": region_id})
        return ENDPOINTS.insert(db, row)

    return await identity.write(insert)
