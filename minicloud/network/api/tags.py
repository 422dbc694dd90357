"""Tags on the wire, the same seven operations below each kind of thing that bears them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from minicloud.api.policy import MEMBER, READER
from minicloud.api.route import Call, Reply, Route
from minicloud.api.schema import REQUIRED, Field, Schema
from minicloud.core.errors import Invalid
from minicloud.network import tags
from minicloud.network.api.standard import TAGS

if TYPE_CHECKING:
    from minicloud.network import Network

BODY = Schema("tags", Field("tags", TAGS, create=REQUIRED, update=REQUIRED))
Handler = Callable[[Any, Call], Awaitable[Any]]
LONGEST = 255


def _of(kind: str) -> list[Route]:
    async def list_tags(service: Network, call: Call) -> Reply:
        """List a thing's tags."""
        return Reply({"tags": tags.show(service, call.ctx, kind, call.params["object_id"])})

    async def add_tags(service: Network, call: Call) -> Reply:
        """Add several tags."""
        return await _changed(service, call, lambda had: [*had, *call.body["tags"]])

    async def replace_tags(service: Network, call: Call) -> Reply:
        """Replace all tags."""
        return await _changed(service, call, lambda had: call.body["tags"])

    async def remove_tags(service: Network, call: Call) -> None:
        """Remove all tags."""
        await _changed(service, call, lambda had: [])

    async def show_tag(service: Network, call: Call) -> None:
        """Say whether a thing has a tag."""
        tags.require(service, call.ctx, kind, call.params["object_id"], call.params["tag"])

    async def add_tag(service: Network, call: Call) -> None:
        """Add one tag."""
        tag = call.params["tag"]
        if len(tag) > LONGEST:
            raise Invalid(f"Cannot use a tag of {len(tag)} characters: {LONGEST} is the most.", code="HTTPBadRequest")
        await _changed(service, call, lambda had: [*had, tag])

    async def remove_tag(service: Network, call: Call) -> None:
        """Remove one tag."""
        tag = call.params["tag"]
        tags.require(service, call.ctx, kind, call.params["object_id"], tag)
        await _changed(service, call, lambda had: [one for one in had if one != tag])

    async def _changed(service: Network, call: Call, change: Callable[[list[str]], list[str]]) -> Reply:
        return Reply({"tags": await tags.change(service, call.ctx, kind, call.params["object_id"], change)})

    many, one = f"/{kind}/{{object_id}}/tags", f"/{kind}/{{object_id}}/tags/{{tag}}"
    noun = kind.replace("-", "_")
    return [
        Route("GET", many, list_tags, READER, f"get_{noun}_tags"),
        Route("POST", many, add_tags, MEMBER, f"create_{noun}_tags", body=BODY, envelope=False),
        Route("PUT", many, replace_tags, MEMBER, f"update_{noun}_tags", body=BODY, envelope=False),
        Route("DELETE", many, remove_tags, MEMBER, f"delete_{noun}_tags", 204),
        Route("GET", one, show_tag, READER, f"get_{noun}_tags", 204),
        Route("PUT", one, add_tag, MEMBER, f"update_{noun}_tags", 201),
        Route("DELETE", one, remove_tag, MEMBER, f"delete_{noun}_tags", 204),
    ]


ROUTES = [route for kind in tags.TAGGED for route in _of(kind)]
