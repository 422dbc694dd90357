"""The catalogue: which services there are and where, as tokens tell it.

The cloud's own services are rows like any other, but their URLs begin with a mark that is filled in when they are read,
by the configured public URL or else by the one that the client used. Called by `bootstrap.py` and by the token's views.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from minicloud.api.dialect import Dialect
from minicloud.core.store import Db
from minicloud.identity import endpoint_groups
from minicloud.identity.tables import ENDPOINTS, REGIONS, SERVICES, CatalogService, Endpoint, Region
from minicloud.identity.tokens import Scope

HERE = "$(public_url)s"
INTERFACES = ("public", "internal", "admin")
NAMES = {"identity": "keystone", "image": "glance", "compute": "nova", "network": "neutron", "volume": "cinder"}
"""How clients know the services; others go by their own name."""


def own_id(*parts: str) -> str:
    """The same id for the same thing of ours at each start."""
    return uuid.uuid5(uuid.NAMESPACE_URL, "/".join(("minicloud", *parts))).hex


def settle_in(db: Db, dialects: Sequence[Dialect], *, region: str) -> None:
    """Write down the cloud's own region, services and endpoints where they are missing or were elsewhere before."""
    if REGIONS.get(db, region) is None:
        REGIONS.insert(db, Region(region, "", None, {}))
    for dialect in dialects:
        for kind, suffix in dialect.catalog:
            _settle_service(db, dialect, kind, suffix, region)


def _settle_service(db: Db, dialect: Dialect, kind: str, suffix: str, region: str) -> None:
    service_id = own_id("service", kind)
    if SERVICES.get(db, service_id) is None:
        name = NAMES.get(dialect.service, dialect.service)
        SERVICES.insert(db, CatalogService(service_id, kind, name, "", True, {}))
    url = f"{HERE}{dialect.prefix}{suffix}"
    for interface in INTERFACES:
        endpoint_id = own_id("endpoint", kind, interface)
        found = ENDPOINTS.get(db, endpoint_id)
        if found is None:
            ENDPOINTS.insert(db, Endpoint(endpoint_id, service_id, region, interface, url, True, {}))
        elif found.url.startswith(HERE):
            ENDPOINTS.change(db, endpoint_id, url=url, region_id=region)


def shown_url(url: str, origin: str) -> str:
    """An endpoint's URL for people: ours filled in, other names left as they are."""
    return origin + url.removeprefix(HERE) if url.startswith(HERE) else url


def filled(url: str, names: dict[str, str]) -> str | None:
    """A URL with its names filled in, None if one of them isn't known (an unscoped token has no project)."""
    for name in ("project_id", "tenant_id", "user_id"):
        for form in (f"$({name})s", f"%({name})s"):
            if form in url:
                if name not in names:
                    return None
                url = url.replace(form, names[name])
    return url


def catalogue(db: Db, scope: Scope, user_id: str, *, origin: str) -> list[dict[str, Any]]:
    """Enabled services and endpoints for a token of this scope, as it stands in replies.

    Endpoints that can't be filled are left out, as are those that the project's filters (`endpoint_groups.py`) don't name; an
    unscoped token has none at all. `origin`: of the cloud's own URLs, without a slash at the end.
    """
    if scope.kind == "unscoped":
        return []
    names = {"user_id": user_id}
    bound = endpoint_groups.seen_by(db, scope.id) if scope.kind == "project" else None
    if scope.kind == "project":
        names |= {"project_id": scope.id, "tenant_id": scope.id}
    places: dict[str, list[dict[str, Any]]] = {}
    for one in ENDPOINTS.where(db, "enabled = 1", order="interface, id"):
        url = filled(shown_url(one.url, origin), names)
        if url is not None and (bound is None or one.id in bound):
            place = {
                "id": one.id,
                "interface": one.interface,
                "region_id": one.region_id,
                "url": url,
                "region": one.region_id,
            }
            places.setdefault(one.service_id, []).append(place)
    return [
        {"endpoints": places.get(service.id, []), "id": service.id, "type": service.type, "name": service.name}
        for service in SERVICES.where(db, "enabled = 1", order="type")
        if bound is None or service.id in places
    ]
