"""Metadata of volumes and snapshots on the wire: key by key, merged by POST, replaced by PUT.

From 3.15 on answers bear an ETag, and a PUT or POST with another one in If-Match is refused (412).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from minicloud.api.policy import MEMBER, READER, Policy
from minicloud.api.route import Call, Reply, Route
from minicloud.api.schema import METADATA, REQUIRED, Field, Schema
from minicloud.core.errors import Invalid, NotFound, PreconditionFailed
from minicloud.core.store import Db, Table
from minicloud.volume import snapshots, volumes
from minicloud.volume.tables import SNAPSHOTS, VOLUMES, SnapshotRow, VolumeRow

if TYPE_CHECKING:
    from minicloud.volume import Volume

Owner = VolumeRow | SnapshotRow
Change = Callable[[dict[str, str]], dict[str, str]]
WHOLE = Schema("body", Field("metadata", METADATA, create=REQUIRED, update=REQUIRED), extra=True)
ONE = Schema("body", Field("meta", METADATA, update=REQUIRED), extra=True)


def _owner(volume: Volume, call: Call) -> tuple[Table[Any], Owner]:
    if "volume_id" in call.params:
        return VOLUMES, volumes.visible(volume, call.ctx, call.params["volume_id"])
    return SNAPSHOTS, snapshots.visible(volume, call.ctx, call.params["snapshot_id"])


def _tag(metadata: dict[str, str]) -> str:
    return hashlib.md5(json.dumps(metadata, sort_keys=True).encode(), usedforsecurity=False).hexdigest()


def _told(call: Call, metadata: dict[str, str]) -> Reply:
    headers = {"ETag": f'"{_tag(metadata)}"'} if call.at_least(3, 15) else {}
    return Reply({"metadata": metadata}, headers=headers)


async def _change(volume: Volume, call: Call, change: Change) -> dict[str, str]:
    table, owner = _owner(volume, call)
    wanted = call.request.headers.get("If-Match", "*").strip('"') if call.at_least(3, 15) else "*"

    def write(db: Db) -> dict[str, str]:
        known = table.need(db, owner.id).metadata
        if wanted not in ("*", _tag(known)):
            raise PreconditionFailed(
                f"Cannot change the metadata of {owner.id}: they are not what If-Match says any more."
            )
        return dict(table.change(db, owner.id, metadata=change(known), updated_at=volume.now()).metadata)

    return await volume.store.write(write)


async def list_metadata(volume: Volume, call: Call) -> Reply:
    """All pairs."""
    return _told(call, _owner(volume, call)[1].metadata)


async def merge_metadata(volume: Volume, call: Call) -> Reply:
    """Add pairs, or change their values."""
    return _told(call, await _change(volume, call, lambda known: {**known, **call.body["metadata"]}))


async def replace_metadata(volume: Volume, call: Call) -> Reply:
    """These pairs and no others."""
    return _told(call, await _change(volume, call, lambda known: call.body["metadata"]))


async def show_pair(volume: Volume, call: Call) -> dict[str, Any]:
    """One pair; `NotFound` without it."""
    owner, key = _owner(volume, call)[1], call.params["key"]
    return {"meta": {key: _value(owner.metadata, owner, key)}}


async def set_pair(volume: Volume, call: Call) -> dict[str, Any]:
    """One pair, new or changed; the body must hold this key and no other."""
    key, pair = call.params["key"], call.body["meta"]
    if list(pair) != [key]:
        raise Invalid(f"Cannot set the metadata key {key}: the body must hold this key and no other.")
    await _change(volume, call, lambda known: {**known, **pair})
    return {"meta": pair}


async def delete_pair(volume: Volume, call: Call) -> None:
    """Forget one pair; `NotFound` without it."""
    owner, key = _owner(volume, call)[1], call.params["key"]

    def forget(known: dict[str, str]) -> dict[str, str]:
        _value(known, owner, key)
        return {name: value for name, value in known.items() if name != key}

    await _change(volume, call, forget)


def _value(metadata: dict[str, str], owner: Owner, key: str) -> str:
    if key not in metadata:
        raise NotFound(f"{owner.subject.partition('/')[0].capitalize()} {owner.id} has no metadata with key {key}.")
    return metadata[key]


Handler = Callable[[Any, Call], Awaitable[Any]]


def _of(noun: str) -> list[Route]:
    path = f"/{noun}s/{{{noun}_id}}/metadata"
    merging = "create" if noun == "volume" else "update"

    def route(
        method: str, suffix: str, handler: Handler, policy: Policy, verb: str, body: Schema | None = None
    ) -> Route:
        rule = f"volume:{verb}_{noun}_metadata"
        return Route(method, path + suffix, handler, policy=policy, rule=rule, body=body, envelope=False)

    return [
        route("GET", "", list_metadata, READER, "get"),
        route("POST", "", merge_metadata, MEMBER, merging, WHOLE),
        route("PUT", "", replace_metadata, MEMBER, "update", WHOLE),
        route("GET", "/{key}", show_pair, READER, "get"),
        route("PUT", "/{key}", set_pair, MEMBER, "update", ONE),
        route("DELETE", "/{key}", delete_pair, MEMBER, "delete"),
    ]


ROUTES = [*_of("volume"), *_of("snapshot")]
