"""The image service behind a door of its own, and disks to send to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from minicloud.host import qcow2
from minicloud.image import Image
from tests.door import Door, open_door


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    """A fresh one."""
    async with open_door(tmp_path / "state", lambda *built: [Image(*built)]) as one:
        yield one


@pytest.fixture
def qcow2_bytes(tmp_path: Path) -> bytes:
    """A blank qcow2 of 16 MiB."""
    path = tmp_path / "blank.qcow2"
    qcow2.write_blank(path, size=16 * 1024**2)
    return path.read_bytes()
