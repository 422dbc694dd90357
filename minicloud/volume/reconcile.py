"""Database against files: what no row explains is removed, what a row promises and is not there is told.

A file that vanished is never replaced by an empty one: the volume says error, and a message says why.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from minicloud.core.context import Context
from minicloud.core.store import Db
from minicloud.volume import messages
from minicloud.volume.tables import SNAPSHOTS, VOLUMES

if TYPE_CHECKING:
    from minicloud.volume import Volume

log = structlog.get_logger(__name__)
OURS = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.(?:qcow2|raw|upload-[0-9a-f-]{36})\Z")
"""Names that this service gives; anything else in its folders is somebody else's."""


async def run(volume: Volume) -> None:
    """Look at both folders once; what an operation is busy with is left alone."""
    await _compare(volume, volume.folder, "volume")
    await _compare(volume, volume.snapshot_folder, "snapshot")


def _expected(db: Db, volume: Volume, noun: str) -> tuple[dict[str, str], set[str]]:
    """File name -> id of its row, and the ids that live operations are about."""
    busy = {
        subject.partition("/")[2] for subject in volume.operations.subjects_in(db) if subject.startswith(noun + "/")
    }
    rows = VOLUMES.where(db) if noun == "volume" else SNAPSHOTS.where(db)
    return {f"{row.id}.{row.format}": row.id for row in rows}, busy


async def _compare(volume: Volume, folder: Path, noun: str) -> None:
    expected, busy_before = volume.store.read(_expected, volume, noun)
    there = await volume.host.disks.actual(folder)
    now_expected, busy = volume.store.read(_expected, volume, noun)
    for name in there - now_expected.keys():
        match = OURS.match(name)
        if match is not None and match[1] not in busy:
            log.warning("a file that nothing explains is removed", file=name)
            await volume.host.disks.remove(folder / name)
    for name, row_id in expected.items():
        if name not in there and row_id not in busy | busy_before and name in now_expected:
            await volume.store.write(_tell_lost, volume, noun, row_id)


def _tell_lost(db: Db, volume: Volume, noun: str, row_id: str) -> None:
    table = VOLUMES if noun == "volume" else SNAPSHOTS
    row = table.get(db, row_id)
    if row is None or row.status in ("error", "error_deleting", "creating", "deleting"):
        return
    table.change(db, row_id, status="error", updated_at=volume.now())
    ctx = Context.internal("reconcile volume", project_id=row.project_id)
    text = f"The file of this {noun} is gone from the host's disk; its contents can't be brought back. Delete it."
    messages.tell_in(
        db, ctx, resource_type=f"VOLUME{'_SNAPSHOT' if noun == 'snapshot' else ''}", resource_id=row_id, text=text
    )
