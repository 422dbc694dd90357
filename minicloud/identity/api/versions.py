"""Version documents: what clients read first (discovery), at the service's own path and at `/v3`, with and without a slash."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import PUBLIC
from minicloud.api.route import Call, Reply, Route

if TYPE_CHECKING:
    from minicloud.identity import Identity

UPDATED = "2020-04-07T00:00:00Z"
RELATION = "https://docs.openstack.org/api/openstack-identity/3/rel/"
HOME = "application/json-home"


def _document(call: Call) -> dict[str, Any]:
    return {
        "id": "v3.14",
        "status": "stable",
        "updated": UPDATED,
        "links": [{"rel": "self", "href": f"{call.root}/"}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
    }


async def list_versions(identity: Identity, call: Call) -> Reply:
    """All versions there are: one."""
    return Reply({"versions": {"values": [_document(call)]}}, status=300, headers={"Location": f"{call.root}/"})


async def show_version(identity: Identity, call: Call) -> Any:
    """The version, or where its resources are for those who ask for JSON Home."""
    if HOME in call.request.headers.get("Accept", ""):
        names = (
            "auth_tokens",
            "auth_catalog",
            "auth_projects",
            "auth_domains",
            "auth_system",
            "users",
            "projects",
            "domains",
        )
        resources = {RELATION + name: {"href": "/" + name.replace("auth_", "auth/")} for name in names}
        return Reply({"resources": resources}, headers={"Content-Type": HOME})
    return {"version": _document(call)}


ROUTES = [
    Route("GET", "//", list_versions, policy=PUBLIC, rule="-", status=300, summary="List the API versions"),
    Route("GET", "/", show_version, policy=PUBLIC, rule="-", summary="Show the API version"),
]
