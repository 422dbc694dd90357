"""Transfers: a volume is handed from one project to another that knows the key.

The key is told once, to the giver; here only a salted hash of it stays. Accepting moves the volume, with its snapshots
unless the giver said otherwise, into the taker's project and quota in one transaction.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import uuid
from typing import TYPE_CHECKING

from minicloud.core.context import Context
from minicloud.core.errors import Invalid, NotFound
from minicloud.core.store import Db
from minicloud.volume import attachments, quotas, types, volumes
from minicloud.volume.tables import SNAPSHOTS, TRANSFERS, VOLUME_TYPES, VOLUMES, Transfer

if TYPE_CHECKING:
    from minicloud.volume import Volume

WAITING = "awaiting-transfer"
"""Status of a volume that is offered."""


def visible(volume: Volume, ctx: Context, transfer_id: str) -> Transfer:
    """The transfer, if the caller's project gives (or gave) the volume; else `NotFound`."""
    row = volume.store.read(TRANSFERS.get, transfer_id)
    if row is None or not ctx.sees(row.source_project_id):
        raise NotFound(f"Transfer {transfer_id} could not be found.")
    return row


def _hashed(salt: str, key: str) -> str:
    return hashlib.sha256((salt + key).encode()).hexdigest()


async def offer(
    volume: Volume, ctx: Context, volume_id: str, *, name: str | None, no_snapshots: bool
) -> tuple[Transfer, str]:
    """Offer a volume; the transfer and its key.

    Raises:
        NotFound. Invalid: the volume isn't available.
    """
    row, key, salt = volumes.visible(volume, ctx, volume_id), secrets.token_hex(8), secrets.token_hex(8)
    transfer = Transfer(
        id=str(uuid.uuid4()), volume_id=row.id, name=name, salt=salt, key_hash=_hashed(salt, key),
        source_project_id=row.project_id, destination_project_id=None, accepted=False, no_snapshots=no_snapshots,
        created_at=volume.now(),
    )  # fmt: skip

    def insert(db: Db) -> None:
        volumes.require_status(VOLUMES.need(db, row.id), "transfer", "available")
        volumes.require_quiet_in(db, row.id, "transfer")
        VOLUMES.change(db, row.id, status=WAITING, updated_at=volume.now())
        TRANSFERS.insert(db, transfer)

    await volume.store.write(insert)
    return transfer, key


async def withdraw(volume: Volume, ctx: Context, transfer_id: str) -> None:
    """Take an offer back."""
    transfer = visible(volume, ctx, transfer_id)

    def forget(db: Db) -> None:
        if not TRANSFERS.delete(db, transfer.id):
            raise NotFound(f"Transfer {transfer.id} could not be found.")
        row = VOLUMES.get(db, transfer.volume_id)
        if row is not None and row.status == WAITING:
            VOLUMES.change(db, row.id, status=attachments.resting_in(db, row.id), updated_at=volume.now())

    await volume.store.write(forget)


async def accept(volume: Volume, ctx: Context, transfer_id: str, key: str) -> Transfer:
    """Take a volume over into the caller's project.

    Raises:
        NotFound: no such offer. Invalid: the wrong key, a type that isn't for this project. OverQuota.
    """
    if ctx.project_id is None:
        raise Invalid("Cannot accept a transfer: the token has no project.")
    project_id = ctx.project_id

    def take(db: Db) -> Transfer:
        transfer = TRANSFERS.need(db, transfer_id)
        if not hmac.compare_digest(transfer.key_hash, _hashed(transfer.salt, key)):
            raise Invalid(f"Invalid auth key: Attempt to transfer {transfer_id} with invalid auth key.")
        row = VOLUMES.need(db, transfer.volume_id)
        volumes.require_status(row, "take over", WAITING)
        kind = VOLUME_TYPES.need(db, row.type_id)
        if not types.may_use(db, ctx, kind):
            raise Invalid(f"Cannot take over volume {row.id}: its type {kind.name} is not for this project.")
        quotas.check_volume_in(db, project_id, kind.name, row.size)
        VOLUMES.change(
            db, row.id, project_id=project_id, user_id=ctx.user_id, status="available", updated_at=volume.now()
        )
        for snapshot in [] if transfer.no_snapshots else SNAPSHOTS.where(db, "volume_id = ?", (row.id,)):
            quotas.check_snapshot_in(db, project_id, kind.name, snapshot.size)
            SNAPSHOTS.change(db, snapshot.id, project_id=project_id, user_id=ctx.user_id, updated_at=volume.now())
        TRANSFERS.delete(db, transfer.id)
        return transfer

    return await volume.store.write(take)
