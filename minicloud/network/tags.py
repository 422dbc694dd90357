"""Tags: words that users put on things to find them by.

Called by `api/tags.py`. Source: Networking API v2.0 reference, "Standard attributes tag".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from minicloud.core.context import Context
from minicloud.core.errors import Invalid, NotFound
from minicloud.core.store import Db, Table
from minicloud.network import ports, standing, subnets
from minicloud.network.tables import FLOATINGIPS, NETWORKS, PORTS, ROUTERS, SECURITY_GROUPS, SUBNETPOOLS, SUBNETS

if TYPE_CHECKING:
    from minicloud.network import Network

MOST_TAGS = 50
TAGGED: dict[str, tuple[Table[Any], str]] = {
    "networks": (NETWORKS, "NetworkNotFound"),
    "subnets": (SUBNETS, "SubnetNotFound"),
    "ports": (PORTS, "PortNotFound"),
    "routers": (ROUTERS, "RouterNotFound"),
    "floatingips": (FLOATINGIPS, "FloatingIPNotFound"),
    "security-groups": (SECURITY_GROUPS, "SecurityGroupNotFound"),
    "subnetpools": (SUBNETPOOLS, "SubnetPoolNotFound"),
}


def show(service: Network, ctx: Context, kind: str, object_id: str) -> list[str]:
    """The tags of a thing."""

    def read(db: Db) -> list[str]:
        return list(_visible_in(db, ctx, kind, object_id).tags)

    return service.store.read(read)


def require(service: Network, ctx: Context, kind: str, object_id: str, tag: str) -> None:
    """Raise `NotFound` unless a thing has this tag."""
    if tag not in show(service, ctx, kind, object_id):
        raise NotFound(f"Tag {tag} could not be found.", code="TagNotFound")


async def change(
    service: Network, ctx: Context, kind: str, object_id: str, change: Callable[[list[str]], Sequence[str]]
) -> list[str]:
    """Have a thing bear the tags that `change` makes of those that it has."""

    def write(db: Db) -> list[str]:
        table, code = TAGGED[kind]
        _visible_in(db, ctx, kind, object_id)
        row = standing.owned_in(db, ctx, table, object_id, code)
        tags = sorted(set(change(list(row.tags))))
        if len(tags) > MOST_TAGS:
            raise Invalid(f"Cannot put more than {MOST_TAGS} tags on {object_id}.", code="HTTPBadRequest")
        if tags != row.tags:
            standing.changed_in(db, service.clock, table, row, {"tags": tags})
        return tags

    return await service.store.write(write)


def _visible_in(db: Db, ctx: Context, kind: str, object_id: str) -> Any:
    if kind == "ports":
        return ports.visible_in(db, ctx, object_id)
    if kind == "subnets":
        return subnets.visible_in(db, ctx, object_id)
    table, code = TAGGED[kind]
    return standing.visible_in(db, ctx, table, object_id, code)
