"""The volume service: disks that outlive machines.

Volumes and snapshots are independent files below the state folder; nothing depends on another's file, so deleting a
source never hurts a copy. Compute calls `make`, `ready`, `connect`, `attached`, `release` and `discard`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minicloud.config import Config
from minicloud.core.clock import stamp
from minicloud.core.context import Context
from minicloud.core.foundation import Foundation
from minicloud.core.operations import AfterCrash, undo
from minicloud.core.reconcile import Reconciler
from minicloud.host import Host
from minicloud.volume import attachments, create, delete, extend, reconcile, replace, snapshots, types, upload, volumes
from minicloud.volume.api import DIALECT, ROUTES
from minicloud.volume.create import NewVolume
from minicloud.volume.extend import VolumeExtended
from minicloud.volume.tables import ATTACHMENTS, AttachmentRow, VolumeRow, migrations

if TYPE_CHECKING:
    from minicloud.image import Image

__all__ = ["AttachmentInfo", "DiskSource", "NewVolume", "Volume", "VolumeExtended", "VolumeRow"]


@dataclass(frozen=True, slots=True)
class DiskSource:
    """What a hypervisor needs of a volume: the file, what it holds, its size in bytes, and what the guest reads as serial."""

    volume_id: str
    path: Path
    format: str
    size: int
    serial: str
    shareable: bool
    bootable: bool
    read_only: bool


@dataclass(frozen=True, slots=True)
class AttachmentInfo:
    """A volume that a server holds, and where it shows there ("/dev/vdb")."""

    volume_id: str
    attachment_id: str
    device: str
    status: str


class Volume:
    """Keeps volumes, snapshots and who holds them."""

    name = "volume"
    migrations = migrations
    dialect = DIALECT
    routes = ROUTES

    def __init__(self, foundation: Foundation, host: Host, config: Config, *, image: Image) -> None:
        self.store, self.events, self.operations = foundation.store, foundation.events, foundation.operations
        self.clock, self.tracer = foundation.clock, foundation.tracer
        self.host, self.config, self.image = host, config, image
        self.operations.undo_by(self)
        self._register("volume.create", create.build, AfterCrash.UNDO, create.failed)
        self._register("volume.delete", delete.run, AfterCrash.REDO, delete.failed, interrupts=True)
        self._register("volume.extend", extend.run, AfterCrash.REDO, extend.failed)
        self._register("volume.upload", upload.run, AfterCrash.UNDO, upload.failed)
        self._register("volume.revert", replace.revert, AfterCrash.REDO, replace.revert_failed)
        self._register("volume.reimage", replace.reimage, AfterCrash.REDO, replace.reimage_failed)
        self._register("volume.retype", replace.retype, AfterCrash.UNDO, replace.retype_failed)
        self._register("snapshot.create", snapshots.build, AfterCrash.UNDO, snapshots.build_failed)
        self._register("snapshot.delete", snapshots.remove, AfterCrash.REDO, snapshots.remove_failed, interrupts=True)

    def _register(self, kind: str, run: Any, after_crash: AfterCrash, failed: Any, *, interrupts: bool = False) -> None:
        self.operations.register(
            kind, partial(run, self), after_crash=after_crash, failed=partial(failed, self), interrupts=interrupts
        )

    def now(self) -> str:
        """The present moment as rows keep it."""
        return stamp(self.clock.now())

    def reconcilers(self) -> Sequence[Reconciler]:
        """One that compares rows with files."""
        return [Reconciler("volume", lambda: reconcile.run(self), every=300)]

    async def start(self) -> None:
        """Make the default volume type at the first start."""
        await types.ensure_default(self)

    async def stop(self) -> None:
        """Nothing to end."""

    # --- where things lie ----------------------------------------------------------------------------------------

    @property
    def folder(self) -> Path:
        """The folder of volumes."""
        return self.config.state / "volumes"

    @property
    def snapshot_folder(self) -> Path:
        """The folder of snapshots."""
        return self.config.state / "snapshots"

    def path(self, volume: VolumeRow) -> Path:
        """The file of a volume."""
        return self.folder / f"{volume.id}.{volume.format}"

    def connection_of(self, volume: VolumeRow) -> dict[str, Any]:
        """How this host reaches a volume, as attachments tell it; a file's place is nobody else's business."""
        return {
            "driver_volume_type": "file", "volume_id": volume.id, "format": volume.format, "encrypted": False,
            "access_mode": "ro" if volume.read_only else "rw",
        }  # fmt: skip

    def attachments_of(self, volume_id: str) -> list[AttachmentRow]:
        """Who holds a volume or has it reserved, in the order in which they got it."""
        return self.store.read(ATTACHMENTS.where, "volume_id = ?", (volume_id,), order="created_at, id")

    # --- for other services --------------------------------------------------------------------------------------

    def visible(self, ctx: Context, volume_id: str) -> VolumeRow:
        """The volume, if the caller may know it; else `NotFound`."""
        return volumes.visible(self, ctx, volume_id)

    def require_snapshot(self, ctx: Context, snapshot_id: str) -> None:
        """`NotFound` unless the caller may know the snapshot."""
        snapshots.visible(self, ctx, snapshot_id)

    async def make(
        self,
        ctx: Context,
        *,
        size_gb: int | None,
        image_id: str | None = None,
        snapshot_id: str | None = None,
        source_volume_id: str | None = None,
        name: str | None = None,
        volume_type: str | None = None,
        availability_zone: str | None = None,
        volume_id: str | None = None,
    ) -> VolumeRow:
        """Accept a new volume of at most one source: checks and quota, row and operation in one transaction. It becomes
        available later (`ready`).

        Args:
            size_gb: GiB; None takes the source's. volume_id: minted by the caller, so that an undo can name it.

        Raises:
            Invalid, NotFound, OverQuota: as the API does.
        """
        new = NewVolume(
            size=size_gb, name=name, image_id=image_id, snapshot_id=snapshot_id, source_volume_id=source_volume_id,
            volume_type=volume_type, availability_zone=availability_zone, volume_id=volume_id,
        )  # fmt: skip
        return await create.accept(self, ctx, new)

    async def ready(self, ctx: Context, volume_id: str) -> VolumeRow:
        """Wait until a volume that is being made is available; raises `Conflict` with the cause if it came to nothing."""
        return await create.ready(self, ctx, volume_id)

    async def connect(
        self, ctx: Context, volume_id: str, server_id: str, *, device: str, attachment_id: str
    ) -> DiskSource:
        """Give a volume to a server: it is attaching from now on.

        Raises:
            NotFound: no such volume for the caller.
            Conflict: another holds it, or its status forbids it.
        """
        volume = await attachments.connect(self, ctx, volume_id, server_id, device=device, attachment_id=attachment_id)
        return DiskSource(
            volume_id=volume.id, path=self.path(volume), format=volume.format, size=volume.size * 1024**3,
            serial=volume.id, shareable=volume.multiattach, bootable=volume.bootable, read_only=bool(volume.read_only),
        )  # fmt: skip

    async def attached(self, volume_id: str, server_id: str) -> None:
        """The server has it now: in-use."""
        await attachments.attached(self, volume_id, server_id)

    async def detaching(self, ctx: Context, volume_id: str, server_id: str) -> None:
        """The server is about to let go of it; raises `Conflict` if it isn't in use there."""
        await attachments.detaching(self, ctx, volume_id, server_id)

    @undo
    async def release(self, volume_id: str, server_id: str) -> None:
        """Take a volume from that server, if it has it; available again when nobody else does."""
        await attachments.release(self, volume_id, server_id)

    @undo
    async def discard(self, volume_id: str, server_id: str) -> None:
        """Take a volume from that server and delete it (delete on termination); shrugs at nothing, and spares one that
        somebody else holds."""
        await attachments.release(self, volume_id, server_id)
        await delete.discard(self, volume_id)

    def attached_to(self, server_id: str) -> list[AttachmentInfo]:
        """What a server holds."""
        return [
            AttachmentInfo(one.volume_id, one.id, one.device or "", one.status)
            for one in self.store.read(attachments.of_server, server_id)
        ]

    # --- undo records ------------------------------------------------------------------------------------------

    @undo
    async def remove_file(self, volume_id: str, name: str) -> None:
        """Take back a file that failed work made beside or for a volume; one that the volume lives in is spared."""
        await create.remove_file(self, volume_id, name)

    @undo
    async def remove_snapshot_file(self, snapshot_id: str, name: str) -> None:
        """Take back the file of a snapshot whose making failed."""
        await snapshots.remove_file(self, snapshot_id, name)
