"""Version documents: what clients read first (discovery)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import PUBLIC
from minicloud.api.route import Call, Reply, Route
from minicloud.api.versions import printed

if TYPE_CHECKING:
    from minicloud.volume import Volume

UPDATED = "2024-03-01T00:00:00Z"


def _document(call: Call) -> dict[str, Any]:
    spoken = call.dialect.microversions
    assert spoken is not None
    return {
        "id": "v3.0",
        "status": "CURRENT",
        "version": printed(spoken.high),
        "min_version": printed(spoken.low),
        "updated": UPDATED,
        "links": [
            {"rel": "describedby", "type": "text/html", "href": "https://docs.openstack.org/"},
            {"rel": "self", "href": f"{call.root}/"},
        ],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.volume+json;version=3"}],
    }


async def list_versions(volume: Volume, call: Call) -> Reply:
    """All versions there are: one."""
    return Reply({"versions": [_document(call)]}, status=300)


async def show_version(volume: Volume, call: Call) -> Any:
    """The same list: Cinder keeps the plural here."""
    return {"versions": [_document(call)]}


ROUTES = [
    Route("GET", "//", list_versions, policy=PUBLIC, rule="-", status=300, summary="List All Api Versions"),
    Route("GET", "/", show_version, policy=PUBLIC, rule="-", summary="Show API v3 details"),
]
