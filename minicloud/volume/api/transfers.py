"""Transfers on the wire: `os-volume-transfer` at any version, `volume-transfers` from 3.55 on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import MEMBER, READER
from minicloud.api.route import Call, Listed, Route
from minicloud.api.schema import (
    BOOLEAN,
    OPTIONAL,
    REQUIRED,
    TEXT,
    UUID,
    Field,
    Schema,
    micros,
    nullable,
    string,
)
from minicloud.api.versions import Version
from minicloud.volume import transfers
from minicloud.volume.api import lists
from minicloud.volume.api.lists import Lists
from minicloud.volume.tables import TRANSFERS, Transfer

if TYPE_CHECKING:
    from minicloud.volume import Volume

NEW: Version = (3, 55)


def _links(row: Any, call: Call) -> list[dict[str, str]]:
    collection = "volume-transfers" if "/volume-transfers" in call.route.path else "os-volume-transfer"
    return lists.links(call, collection, row["id"] if isinstance(row, dict) else row.id)


SUMMARY_FIELDS = (
    Field("id", UUID, out=True),
    Field("name", nullable(TEXT), out=True, create=OPTIONAL),
    Field("volume_id", UUID, out=True, create=REQUIRED),
    Field("links", TEXT, _links, out=True),
)
SUMMARY = Schema("transfer", *SUMMARY_FIELDS)
TRANSFER = Schema(
    "transfer",
    *SUMMARY_FIELDS,
    Field("created_at", TEXT, lambda row, call: micros(row.created_at), out=True),
    Field("no_snapshots", BOOLEAN, out=True, create=OPTIONAL, since=NEW),
    Field("source_project_id", TEXT, out=True, since=(3, 57)),
    Field("destination_project_id", TEXT, out=True, since=(3, 57)),
    Field("accepted", BOOLEAN, out=True, since=(3, 57)),
)
ACCEPT = Schema("accept", Field("auth_key", string(low=1), create=REQUIRED))
LISTS = Lists(
    TRANSFERS,
    sorts={"id": "id", "name": "name", "created_at": "created_at", "volume_id": "volume_id"},
    filters={"name": lists.column("name"), "volume_id": lists.column("volume_id"), "id": lists.column("id")},
    owner="source_project_id",
)


def _id(call: Call) -> str:
    return call.params["transfer_id"]


async def create_transfer(volume: Volume, call: Call) -> dict[str, Any]:
    """Offer a volume; the only answer that holds the key."""
    body = call.body
    transfer, key = await transfers.offer(
        volume, call.ctx, body["volume_id"], name=body.get("name"), no_snapshots=bool(body.get("no_snapshots"))
    )
    return {"transfer": {**TRANSFER.view(transfer, call), "auth_key": key}}


async def list_transfers(volume: Volume, call: Call) -> Listed:
    """Offers of the project, the newest first."""
    return LISTS.rows(volume, call)


async def show_transfer(volume: Volume, call: Call) -> Transfer:
    """One offer."""
    return transfers.visible(volume, call.ctx, _id(call))


async def delete_transfer(volume: Volume, call: Call) -> None:
    """Take an offer back."""
    await transfers.withdraw(volume, call.ctx, _id(call))


async def accept_transfer(volume: Volume, call: Call) -> dict[str, Any]:
    """Take a volume over."""
    transfer = await transfers.accept(volume, call.ctx, _id(call), call.body["auth_key"])
    return {"transfer": SUMMARY.view(transfer, call)}


def _of(root: str, since: Version | None) -> list[Route]:
    place = root + "/{transfer_id}"
    return [
        Route("POST", root, create_transfer, policy=MEMBER, rule="volume:create_transfer", body=TRANSFER, status=202, since=since),
        Route("GET", root, list_transfers, policy=READER, rule="volume:get_all_transfers", view=SUMMARY, many=True, since=since),
        Route("GET", root + "/detail", list_transfers, policy=READER, rule="volume:get_all_transfers", view=TRANSFER, many=True, since=since),
        Route("GET", place, show_transfer, policy=READER, rule="volume:get_transfer", view=TRANSFER, since=since),
        Route("DELETE", place, delete_transfer, policy=MEMBER, rule="volume:delete_transfer", status=202, since=since),
        Route(
            "POST", place + "/accept", accept_transfer, policy=MEMBER, rule="volume:accept_transfer", body=ACCEPT,
            status=202, since=since,
        ),
    ]  # fmt: skip


ROUTES = [*_of("/os-volume-transfer", None), *_of("/volume-transfers", NEW)]
