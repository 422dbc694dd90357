"""Messages: why something that was accepted failed later (block storage API, "Messages", 3.3)."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from minicloud.core.clock import stamp
from minicloud.core.context import Context
from minicloud.core.errors import NotFound
from minicloud.core.store import Db
from minicloud.volume.tables import MESSAGES, Message

if TYPE_CHECKING:
    from minicloud.volume import Volume

KEPT = timedelta(days=30)


def tell_in(db: Db, ctx: Context, *, resource_type: str, resource_id: str, text: str) -> None:
    """Keep a message for the project of the caller; those whose time has passed go."""
    now = datetime.now(UTC)
    MESSAGES.delete_where(db, "guaranteed_until < ?", (stamp(now),))
    MESSAGES.insert(
        db,
        Message(
            id=str(uuid.uuid4()), project_id=ctx.project_id or "", request_id=ctx.request_id, resource_type=resource_type,
            resource_id=resource_id, user_message=text, event_id=f"VOLUME_{resource_type}_000_001", level="ERROR",
            created_at=stamp(now), guaranteed_until=stamp(now + KEPT),
        ),
    )  # fmt: skip


def visible(volume: Volume, ctx: Context, message_id: str) -> Message:
    """The message, if it is the caller's project's; else `NotFound`."""
    row = volume.store.read(MESSAGES.get, message_id)
    if row is None or not ctx.sees(row.project_id):
        raise NotFound(f"Message {message_id} could not be found.")
    return row


async def delete(volume: Volume, ctx: Context, message_id: str) -> None:
    """Forget a message of the caller's project."""
    row = visible(volume, ctx, message_id)
    await volume.store.write(MESSAGES.delete, row.id)
