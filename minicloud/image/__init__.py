"""The image service: what guests boot from.

It exists to take bytes from strangers and give disks to machines, so it looks at what the bytes are. Compute and volume
use `visible`, `require_active`, `local_file`, and for images made here `reserve`, `take_in` and `abandon`; clients speak
the wire in `api/`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from minicloud.config import Config
from minicloud.core.context import Context
from minicloud.core.errors import Conflict
from minicloud.core.foundation import Foundation
from minicloud.core.operations import undo
from minicloud.core.reconcile import Reconciler
from minicloud.core.store import Db, Page, Store
from minicloud.host import Host
from minicloud.image import bases, images, imports, quotas, reconcile, takein, verify
from minicloud.image.api import DIALECT, ROUTES
from minicloud.image.bases import LocalFile
from minicloud.image.images import NewImage
from minicloud.image.tables import IMAGES, ImageRow, Status, Visibility, migrations

FOLDER = "images"
WORK = ("ova", "vmdk", "foreign")
"""Kinds of files between an import's source and its result."""

__all__ = ["Image", "ImageRow", "LocalFile", "NewImage", "Status", "Visibility"]


class Image:
    """Keeps images and the flat disks made of them.

    Attributes:
        under_way: images whose bytes are coming in now and how many came so far; the reconciler leaves them alone.
    """

    name = "image"
    migrations = migrations
    dialect = DIALECT
    routes = ROUTES

    def __init__(self, foundation: Foundation, host: Host, config: Config) -> None:
        self.store, self.clock, self.host, self.config = foundation.store, foundation.clock, host, config
        self.operations, self.quotas = foundation.operations, quotas.quotas(config.image)
        self.under_way: dict[str, int] = {}
        self.base_locks: dict[str, asyncio.Lock] = {}
        self.base_sizes: dict[str, int] = {}
        self.base_users: list[Callable[[], Set[str]]] = []
        self.registered: quotas.Registered = quotas.nothing_registered
        self.operations.undo_by(self)
        imports.register(self)

    def reconcilers(self) -> Sequence[Reconciler]:
        """One that brings files and records together."""
        return [Reconciler("image", lambda: reconcile.run(self))]

    async def start(self) -> None:
        """Nothing lives as long as the daemon here."""

    async def stop(self) -> None:
        """Nothing to end."""

    # --- where things lie ----------------------------------------------------------------------------------------

    @property
    def blobs(self) -> Path:
        """Folder of the images' own bytes."""
        return self.config.state / FOLDER

    @property
    def staging(self) -> Path:
        """Folder of bytes that wait for an import."""
        return self.config.state / "staging"

    @property
    def bases(self) -> Path:
        """Folder of the flat disks."""
        return self.config.state / "bases"

    def blob(self, image_id: str) -> Path:
        """The file of an image."""
        return self.blobs / image_id

    def staged(self, image_id: str) -> Path:
        """The file that waits for an image's import."""
        return self.staging / image_id

    def in_work(self, image_id: str, kind: str) -> Path:
        """A file that an import needs on its way: "ova", "vmdk" (the disk out of it), "foreign" (a disk to convert)."""
        return self.staging / f"{image_id}.{kind}"

    async def drop_work(self, image_id: str) -> None:
        """Remove what an import leaves behind, not the image's bytes."""
        for path in (self.staged(image_id), *(self.in_work(image_id, kind) for kind in WORK)):
            await self.host.disks.remove(path)

    async def drop_files(self, image_id: str) -> None:
        """Remove an image's own files, not its base."""
        await self.host.disks.remove(self.blob(image_id))
        await self.drop_work(image_id)

    @contextlib.contextmanager
    def coming_in(self, image_id: str) -> Iterator[None]:
        """Bytes of an image come in during the body. One stream at a time: two would write into one file, and the end of
        the one that is refused would look like the end of the other.

        Raises:
            Conflict: others come in now, perhaps those of an image that was deleted meanwhile.
        """
        if image_id in self.under_way:
            raise Conflict(f"Cannot take data for image {image_id}: other data of it is coming in.")
        self.under_way[image_id] = 0
        try:
            yield
        finally:
            self.under_way.pop(image_id, None)

    # --- for the operator's commands, without a running service --------------------------------------------------

    @staticmethod
    def recorded(store: Store) -> list[ImageRow]:
        """All images of a store, oldest first."""
        return verify.recorded(store)

    @staticmethod
    def verified(store: Store, state: Path) -> Iterator[tuple[ImageRow, str | None]]:
        """Each image with bytes and what is wrong with them, None if nothing; reads them all. `state`: the state folder."""
        return verify.verified(store, state / FOLDER)

    # --- for other services --------------------------------------------------------------------------------------

    def visible(self, ctx: Context, image_id: str) -> ImageRow:
        """The image, if the caller may know of it; `NotFound` otherwise."""
        return images.visible(self, ctx, image_id)

    def listed(self, ctx: Context) -> list[ImageRow]:
        """All images that the caller may list, the newest first."""
        return images.listed(self, ctx, images.Filters(), Page(sorts=(("created_at", False),)))

    async def describe(self, ctx: Context, image_id: str, properties: Mapping[str, Any]) -> ImageRow:
        """Set all properties of an image as its owner would. Raises `NotFound`, `Forbidden` or `TooLarge`."""
        row = images.owned(self, ctx, image_id, "modify_image")
        return await images.change(self, row.id, lambda _: {"properties": dict(properties)})

    def require_active(self, ctx: Context, image_id: str) -> ImageRow:
        """The image, if the caller may use its bytes.

        Raises:
            NotFound: it is not there for the caller.
            Conflict: it has no bytes (yet), or is deactivated.
        """
        row = images.visible(self, ctx, image_id)
        if row.status is not Status.ACTIVE:
            raise Conflict(f"Image {image_id} is not active: it is {row.status}.")
        return row

    async def local_file(self, ctx: Context, image_id: str) -> LocalFile:
        """The flat base of an image for overlays and copies: made once, raw or qcow2, mode 0444, never modified.

        Raises:
            NotFound, Conflict: as `require_active`. Invalid: it is no disk. HostFailure, Unavailable: it can't be made.
        """
        return await bases.local_file(self, self.require_active(ctx, image_id))

    def obey(self, registered: quotas.Registered) -> None:
        """Let limits that are registered elsewhere (Keystone's unified limits) stand before the configuration's:
        `registered(db, project_id)` gives resource -> number."""
        self.registered = registered

    def keep_bases(self, users: Callable[[], Set[str]]) -> None:
        """Let a service say which images' bases its disks stand on: `users()` gives image ids. Called before each
        eviction; without any such service no base is ever removed."""
        self.base_users.append(users)

    async def reserve(
        self,
        ctx: Context,
        *,
        name: str | None,
        properties: Mapping[str, Any],
        disk_format: str = "qcow2",
        container_format: str = "bare",
        visibility: str = Visibility.PRIVATE,
        min_disk: int = 0,
        min_ram: int = 0,
        protected: bool = False,
        image_id: str | None = None,
    ) -> ImageRow:
        """A queued image of the caller's project that one of our own services will fill by `take_in`."""
        new = NewImage(
            id=image_id, name=name, visibility=Visibility(visibility), disk_format=disk_format,
            container_format=container_format, min_disk=min_disk, min_ram=min_ram, protected=protected,
            properties={key: str(value) for key, value in properties.items() if value is not None},
        )  # fmt: skip
        return await images.create(self, ctx, new)

    async def saving(self, image_id: str) -> None:
        """A reserved image's bytes are being made now (a snapshot is under way)."""
        await images.set_status(self, image_id, Status.SAVING, expect=(Status.QUEUED, Status.SAVING))

    async def take_in(self, ctx: Context, *, image_id: str, path: Path, format: str) -> ImageRow:
        """Make a file of ours the bytes of a reserved image and activate it; the file is moved, or converted and removed.

        Args:
            format: of the file, as its maker knows it; converted if the image's disk_format is another.
        """
        return await takein.run(self, image_id=image_id, path=path, format=format)

    async def activate_empty(self, ctx: Context, image_id: str) -> ImageRow:
        """Activate a reserved image without bytes: that of a server booted from a volume, whose properties name snapshots."""
        return await takein.activate_empty(self, image_id)

    @undo
    async def abandon(self, image_id: str) -> None:
        """Remove a reserved image that never got its bytes; an active one stays. Shrugs at nothing."""

        def forget(db: Db) -> bool:
            row = IMAGES.get(db, image_id)
            if row is None or row.status in (Status.ACTIVE, Status.DEACTIVATED):
                return False
            images.forget_in(db, image_id)
            return True

        if await self.store.write(forget):
            await self.drop_files(image_id)

    @undo
    async def drop_import(self, image_id: str) -> None:
        """Remove the files of an import that failed; an image that became active meanwhile keeps its own."""
        row = self.store.read(IMAGES.get, image_id)
        if row is None or row.status not in (Status.ACTIVE, Status.DEACTIVATED):
            await self.drop_files(image_id)
        else:
            await self.drop_work(image_id)

    async def delete(self, ctx: Context, image_id: str) -> None:
        """Delete an image as its owner would (rotation of backups, shelved servers)."""
        await images.remove(self, ctx, image_id)
