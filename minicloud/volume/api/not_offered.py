"""Kinds of things that this cloud does not make (yet): their lists are truthfully empty, since clients that clean up a project
look into them, and making one answers 501 with the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicloud.api.policy import MEMBER, READER
from minicloud.api.route import Call, Handler, Reply, Route
from minicloud.api.schema import Schema
from minicloud.api.versions import Version
from minicloud.core.errors import NotFound, NotImplementedHere

if TYPE_CHECKING:
    from minicloud.volume import Volume

KINDS: tuple[tuple[str, str, str, Version | None, tuple[str, str, str]], ...] = (
    ("backup", "backups", "Backups of volumes are", None, ("backup:get_all", "backup:get", "backup:create")),
    ("group", "groups", "Groups of volumes are", (3, 13), ("group:get_all", "group:get", "group:create")),
    ("group_snapshot", "group_snapshots", "Snapshots of groups are", (3, 14),
     ("group:get_all_group_snapshots", "group:get_group_snapshot", "group:create_group_snapshot")),
)  # fmt: skip
"""(noun, path, who is sorry, since, OpenStack's rules of list, show and create)."""


def _nothing(plural: str) -> Handler:
    async def list_none(volume: Volume, call: Call) -> Reply:
        """None can have been made."""
        return Reply({plural: []})

    return list_none


def _missing(noun: str) -> Handler:
    async def show_none(volume: Volume, call: Call) -> None:
        """None can have been made."""
        raise NotFound(f"{noun.replace('_', ' ').capitalize()} {call.params['id'][:80]} could not be found.")

    return show_none


def _refusal(what: str) -> Handler:
    async def refuse(volume: Volume, call: Call) -> None:
        """Say that none can be made."""
        raise NotImplementedHere(f"{what} not offered by this version of minicloud.")

    return refuse


ROUTES = [
    route
    for noun, plural, what, since, (listing, showing, making) in KINDS
    for route in (
        Route("GET", f"/{plural}", _nothing(plural), policy=READER, rule=listing, since=since),
        Route("GET", f"/{plural}/detail", _nothing(plural), policy=READER, rule=listing, since=since),
        Route("GET", f"/{plural}/{{id}}", _missing(noun), policy=READER, rule=showing, since=since),
        Route("POST", f"/{plural}", _refusal(what), policy=MEMBER, rule=making, since=since, status=202,
              body=Schema(noun, extra=True)),
    )
]  # fmt: skip
