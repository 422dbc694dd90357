"""Discovery: the versions of the API that this service speaks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import PUBLIC
from minicloud.api.route import Call, Reply, Route

if TYPE_CHECKING:
    from minicloud.image import Image

CURRENT = 16
"""v2.16: without the minors of caching (14) and of locations by clients (17), which are not offered; clients look for
those of stores and tasks (8 to 13) by name."""
SPOKEN = (CURRENT, 15, *range(13, -1, -1))


def _versions(call: Call) -> dict[str, Any]:
    links = [{"rel": "self", "href": f"{call.base}/v2/"}]
    return {
        "versions": [
            {"id": f"v2.{minor}", "status": "CURRENT" if minor == CURRENT else "SUPPORTED", "links": links}
            for minor in SPOKEN
        ]
    }


async def choose_version(image: Image, call: Call) -> Reply:
    """The root offers a choice (API reference: List API versions)."""
    return Reply(_versions(call), status=300)


async def list_versions(image: Image, call: Call) -> Reply:
    """The same, as an ordinary answer."""
    return Reply(_versions(call))


ROUTES = [
    Route("GET", "//", choose_version, policy=PUBLIC, rule="-", status=300),
    Route("GET", "//versions", list_versions, policy=PUBLIC, rule="-"),
]
