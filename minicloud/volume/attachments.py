"""Attachments: who holds a volume, from the reservation to the release.

The volume's status follows from its attachments (`settle_in`), so the two can't disagree. Nothing here touches the
host: compute plugs the disk. Called by the volume service's interface (for compute) and by `api/attachments.py`.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from minicloud.core.context import Context
from minicloud.core.errors import Conflict, Invalid, NotFound
from minicloud.core.store import Db
from minicloud.volume import volumes
from minicloud.volume.tables import ATTACHMENTS, VOLUMES, AttachmentRow, VolumeRow

if TYPE_CHECKING:
    from minicloud.volume import Volume

HELD = ("attached", "detaching")
"""Statuses of attachments in which a server has the disk."""

FOLLOWING = ("available", "reserved", "attaching", "in-use", "detaching")
"""Statuses of volumes that follow from attachments; all others (extending, error) stand for themselves."""


def of_server(db: Db, server_id: str) -> list[AttachmentRow]:
    """What a server holds or is about to."""
    return ATTACHMENTS.where(db, "server_id = ?", (server_id,), order="created_at, id")


def resting_in(db: Db, volume_id: str) -> str:
    """The status that follows from a volume's attachments."""
    found = {one.status for one in ATTACHMENTS.where(db, "volume_id = ?", (volume_id,))}
    for status, told in (
        ("attached", "in-use"),
        ("detaching", "detaching"),
        ("attaching", "attaching"),
        ("reserved", "reserved"),
    ):
        if status in found:
            return told
    return "available"


def settle_in(db: Db, volume_id: str, *, now: str) -> None:
    """Bring the volume's status in line with its attachments."""
    row = VOLUMES.get(db, volume_id)
    if row is not None and row.status in FOLLOWING:
        VOLUMES.change(db, volume_id, status=resting_in(db, volume_id), updated_at=now)


def claim_in(db: Db, row: VolumeRow, attachment: AttachmentRow, *, now: str) -> None:
    """Give the volume to one more holder.

    Raises:
        Conflict: its status forbids it, somebody else holds it, or it is being copied.
    """
    others = ATTACHMENTS.where(db, "volume_id = ?", (row.id,))
    allowed = ("available", "in-use", "reserved", "attaching") if row.multiattach else ("available",)
    if row.status not in allowed or (others and not row.multiattach):
        raise Conflict(f"Cannot attach volume {row.id}: its status is {row.status}, it must be {' or '.join(allowed)}.")
    if attachment.server_id is not None and any(one.server_id == attachment.server_id for one in others):
        raise Conflict(f"Cannot attach volume {row.id}: server {attachment.server_id} has it already.")
    volumes.require_quiet_in(db, row.id, "attach")
    ATTACHMENTS.insert(db, attachment)
    settle_in(db, row.id, now=now)


# --- for compute -----------------------------------------------------------------------------------------------------


async def connect(
    volume: Volume, ctx: Context, volume_id: str, server_id: str, *, device: str, attachment_id: str
) -> VolumeRow:
    """A server is about to get the volume: attaching. One that is reserved for this server already is taken over; a second
    call with the same attachment changes nothing."""
    row = volumes.visible(volume, ctx, volume_id)

    def claim(db: Db) -> VolumeRow:
        now, current = volume.now(), VOLUMES.need(db, row.id)
        own = ATTACHMENTS.first(db, "volume_id = ? AND server_id = ?", (row.id, server_id))
        if own is not None and own.id == attachment_id and own.status in ("attaching", "attached"):
            return current
        if own is not None and own.status == "reserved":
            ATTACHMENTS.delete(db, own.id)
            ATTACHMENTS.insert(db, _new(volume, current, server_id, "attaching", device=device, id=attachment_id))
            settle_in(db, row.id, now=now)
        else:
            claim_in(
                db, current, _new(volume, current, server_id, "attaching", device=device, id=attachment_id), now=now
            )
        return VOLUMES.need(db, row.id)

    return await volume.store.write(claim)


async def attached(volume: Volume, volume_id: str, server_id: str) -> None:
    """The server has the disk; `Conflict` if the volume was never given to it."""

    def settle(db: Db) -> None:
        own = ATTACHMENTS.first(db, "volume_id = ? AND server_id = ?", (volume_id, server_id))
        if own is None:
            raise Conflict(f"Cannot mark volume {volume_id} as attached: it is not given to server {server_id}.")
        _hold_in(db, own, now=volume.now())

    await volume.store.write(settle)


async def detaching(volume: Volume, ctx: Context, volume_id: str, server_id: str) -> None:
    """The server is about to let go of it; `Conflict` if it doesn't hold it. `attached` takes it back."""
    row = volumes.visible(volume, ctx, volume_id)

    def begin(db: Db) -> None:
        own = ATTACHMENTS.first(db, "volume_id = ? AND server_id = ?", (row.id, server_id))
        if own is None or own.status != "attached" or VOLUMES.need(db, row.id).status not in FOLLOWING:
            status = VOLUMES.need(db, row.id).status
            raise Conflict(f"Cannot detach volume {row.id} from server {server_id}: its status is {status}.")
        ATTACHMENTS.change(db, own.id, status="detaching")
        settle_in(db, row.id, now=volume.now())

    await volume.store.write(begin)


async def release(volume: Volume, volume_id: str, server_id: str) -> None:
    """Take the volume from that server; shrugs at nothing."""

    def let_go(db: Db) -> None:
        if ATTACHMENTS.delete_where(db, "volume_id = ? AND server_id = ?", (volume_id, server_id)):
            settle_in(db, volume_id, now=volume.now())

    await volume.store.write(let_go)


# --- for the attachments API -----------------------------------------------------------------------------------------


def visible(volume: Volume, ctx: Context, attachment_id: str) -> AttachmentRow:
    """The attachment, if the caller may know its volume; else `NotFound`."""
    row = volume.store.read(ATTACHMENTS.get, attachment_id)
    owner = None if row is None else volume.store.read(VOLUMES.get, row.volume_id)
    if row is None or owner is None or not ctx.sees(owner.project_id):
        raise NotFound(f"Volume attachment could not be found with filter: attachment_id = {attachment_id}.")
    return row


async def reserve(
    volume: Volume,
    ctx: Context,
    volume_id: str,
    server_id: str | None,
    *,
    mode: str | None,
    connector: dict[str, Any] | None,
) -> AttachmentRow:
    """Reserve a volume for a server; with a connector it is attaching at once.

    Raises:
        NotFound: no such volume for the caller. Invalid: its status forbids it (Cinder's 400).
    """
    row = volumes.visible(volume, ctx, volume_id)

    def claim(db: Db) -> AttachmentRow:
        current = VOLUMES.need(db, row.id)
        status = "reserved" if connector is None else "attaching"
        new = _new(volume, current, server_id, status, device=_mountpoint(connector), mode=mode, connector=connector)
        try:
            claim_in(db, current, new, now=volume.now())
        except Conflict as refused:
            raise Invalid(refused.message) from None
        return new

    return await volume.store.write(claim)


async def update(volume: Volume, ctx: Context, attachment_id: str, connector: dict[str, Any]) -> AttachmentRow:
    """The host tells how it connects: attaching. `Invalid` if it is attached already."""
    row = visible(volume, ctx, attachment_id)

    def change(db: Db) -> AttachmentRow:
        now = ATTACHMENTS.need(db, row.id)
        if now.status not in ("reserved", "attaching"):
            raise Invalid(f"Cannot update attachment {row.id}: its status is {now.status}.")
        values = {"connector": connector, "host": connector.get("host"), "status": "attaching"}
        changed = ATTACHMENTS.change(db, row.id, device=_mountpoint(connector) or now.device, **values)
        settle_in(db, row.volume_id, now=volume.now())
        return changed

    return await volume.store.write(change)


async def complete(volume: Volume, ctx: Context, attachment_id: str) -> None:
    """The host has it: in-use. `Invalid` if no connector was told before."""
    row = visible(volume, ctx, attachment_id)

    def change(db: Db) -> None:
        now = ATTACHMENTS.need(db, row.id)
        if now.status not in ("attaching", "attached"):
            raise Invalid(f"Cannot complete attachment {row.id}: its status is {now.status}, it must be attaching.")
        _hold_in(db, now, now=volume.now())

    await volume.store.write(change)


async def remove(volume: Volume, ctx: Context, attachment_id: str) -> list[AttachmentRow]:
    """End an attachment and return those that are left on its volume.

    Raises:
        Conflict: a server of this cloud really has the disk: only compute can take it out.
    """
    row = visible(volume, ctx, attachment_id)
    await require_not_plugged(volume, row)

    def forget(db: Db) -> list[AttachmentRow]:
        ATTACHMENTS.delete(db, row.id)
        settle_in(db, row.volume_id, now=volume.now())
        return ATTACHMENTS.where(db, "volume_id = ?", (row.volume_id,), order="created_at, id")

    return await volume.store.write(forget)


async def require_not_plugged(volume: Volume, row: AttachmentRow) -> None:
    """Raise `Conflict` if the server's machine really has this disk: letting go of it here would let two have it."""
    if row.server_id is None:
        return
    seen = (await volume.host.hypervisor.actual()).get(row.server_id)
    if seen is not None and row.volume_id in seen.disks:
        raise Conflict(
            f"Cannot end the attachment of volume {row.volume_id}: server {row.server_id} has the disk; "
            "detach it through the compute service."
        )


def _hold_in(db: Db, row: AttachmentRow, *, now: str) -> None:
    ATTACHMENTS.change(db, row.id, status="attached", attached_at=row.attached_at or now)
    settle_in(db, row.volume_id, now=now)


def _mountpoint(connector: dict[str, Any] | None) -> str | None:
    found = (connector or {}).get("mountpoint")
    return None if found is None else str(found)


def _new(
    volume: Volume,
    row: VolumeRow,
    server_id: str | None,
    status: str,
    *,
    device: str | None,
    id: str | None = None,
    mode: str | None = None,
    connector: dict[str, Any] | None = None,
) -> AttachmentRow:
    host = (connector or {}).get("host") or volume.host.hypervisor.host_name()
    return AttachmentRow(
        id=id or str(uuid.uuid4()), volume_id=row.id, server_id=server_id, status=status,
        mode="ro" if row.read_only else mode or "rw", device=device, host=str(host), connector=connector,
        attached_at=None, created_at=volume.now(),
    )  # fmt: skip


# --- the older way, by actions on the volume -------------------------------------------------------------------------


async def hold(volume: Volume, ctx: Context, volume_id: str) -> None:
    """`os-reserve`: nobody else may have it from now on. `Invalid` unless it is free."""
    await _step(volume, ctx, volume_id, "reserve", ("available",), "attaching")


async def unhold(volume: Volume, ctx: Context, volume_id: str) -> None:
    """`os-unreserve`: the step before, taken back."""
    await _step(volume, ctx, volume_id, "unreserve", ("attaching", "available"), None)


async def begin_detaching(volume: Volume, ctx: Context, volume_id: str) -> None:
    """`os-begin_detaching`: a server is about to let go of it."""
    await _step(volume, ctx, volume_id, "begin to detach", ("in-use",), "detaching")


async def roll_detaching(volume: Volume, ctx: Context, volume_id: str) -> None:
    """`os-roll_detaching`: the step before, taken back."""
    await _step(volume, ctx, volume_id, "roll back the detaching of", ("detaching", "in-use"), "in-use")


async def _step(
    volume: Volume, ctx: Context, volume_id: str, action: str, allowed: tuple[str, ...], status: str | None
) -> None:
    row = volumes.visible(volume, ctx, volume_id)

    def change(db: Db) -> None:
        volumes.require_status(VOLUMES.need(db, row.id), action, *allowed)
        volumes.require_quiet_in(db, row.id, action)
        VOLUMES.change(db, row.id, status=status or resting_in(db, row.id), updated_at=volume.now())

    await volume.store.write(change)


async def attach(
    volume: Volume, ctx: Context, volume_id: str, server_id: str | None, *, host: str | None, device: str, mode: str
) -> None:
    """`os-attach`: somebody who attaches by means of their own notes it here.

    Raises:
        NotFound. Invalid: its status forbids it, or it is read-only and the mode isn't.
    """
    row = volumes.visible(volume, ctx, volume_id)

    def claim(db: Db) -> None:
        now = VOLUMES.need(db, row.id)
        volumes.require_status(now, "attach", "available", "attaching", *(["in-use"] if now.multiattach else []))
        if ATTACHMENTS.count(db, "volume_id = ?", (row.id,)) and not now.multiattach:
            raise Invalid(f"Cannot attach volume {row.id}: it is given to somebody already.")
        if now.read_only and mode == "rw":
            raise Invalid(f"Cannot attach volume {row.id} as {mode}: it is read-only.")
        connector = None if host is None else {"host": host}
        new = _new(volume, now, server_id, "attached", device=device, mode=mode, connector=connector)
        ATTACHMENTS.insert(db, new)
        VOLUMES.change(db, row.id, status="in-use", updated_at=volume.now())
        ATTACHMENTS.change(db, new.id, attached_at=volume.now())

    await volume.store.write(claim)


async def detach(
    volume: Volume, ctx: Context, volume_id: str, attachment_id: str | None, *, force: bool = False
) -> None:
    """`os-detach`, `os-force_detach`: end one attachment, or the only one; a volume without any is available again.
    `force`: also one whose status is another matter (error).

    Raises:
        NotFound. Invalid: which of several isn't told. Conflict: a server really has the disk.
    """
    row = volumes.visible(volume, ctx, volume_id)
    held = volume.store.read(ATTACHMENTS.where, "volume_id = ?", (row.id,))
    ending = [one for one in held if attachment_id in (None, one.id)]
    if len(ending) > 1:
        raise Invalid(f"Cannot detach volume {row.id}: it has several attachments; name one.")
    if attachment_id is not None and not ending:
        raise NotFound(f"Volume attachment could not be found with filter: attachment_id = {attachment_id}.")
    for one in ending:
        await require_not_plugged(volume, one)

    def forget(db: Db) -> None:
        for one in ending:
            ATTACHMENTS.delete(db, one.id)
        if force and not volume.operations.live_in(db, row.subject):
            VOLUMES.change(db, row.id, status=resting_in(db, row.id), updated_at=volume.now())
            return
        volumes.require_status(VOLUMES.need(db, row.id), "detach", *FOLLOWING)
        settle_in(db, row.id, now=volume.now())

    await volume.store.write(forget)


async def forget_all(volume: Volume, volume_id: str) -> None:
    """An admin says that nobody has it; `Conflict` if a server really does."""
    held = volume.store.read(ATTACHMENTS.where, "volume_id = ?", (volume_id,))
    for one in held:
        await require_not_plugged(volume, one)
    await volume.store.write(ATTACHMENTS.delete_where, "volume_id = ?", (volume_id,))
