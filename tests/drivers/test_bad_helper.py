"""A helper program that misbehaves: one plain failure within the deadline, no file half made, no process left behind."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from minicloud.core.errors import HostFailure
from minicloud.host import run
from minicloud.host.real import disks
from minicloud.host.real.disks import RealDisks

Become = Callable[[str], None]
ENDLESS = 'sleep 1000 & echo $! > "$(dirname "$0")/pid"; '
"""Starts a child of its own that would stay, and notes it."""


@pytest.fixture
def become(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Become:
    """Lets qemu-img be a shell script."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setattr(run, "SEARCH_PATH", f"{programs}:{run.SEARCH_PATH}")

    def write(script: str) -> None:
        path = programs / "qemu-img"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return write


def at_work(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    "script",
    [
        "echo trouble >&2; exit 3", "kill -9 $$", "echo no JSON", "echo '[1]'", "echo '{}'", "echo '{\"virtual-size\": []}'",
        "head -c 100000000 /dev/zero", "printf '{\"virtual-size\": 1, \"format-specific\": 5}'", "printf '\\377\\376'",
    ],
)  # fmt: skip
async def test_what_qemu_img_tells_is_understood_or_a_failure(become: Become, folder: Path, script: str) -> None:
    become(script)
    (folder / "disk").write_bytes(bytes(512))
    with pytest.raises(HostFailure, match="Cannot read the disk") as told:
        await RealDisks().inspect(folder / "disk", format="qcow2")
    assert str(folder) not in told.value.message


@pytest.mark.parametrize("script", ["exit 3", 'for last; do :; done; echo half > "$last"; kill -9 $$'])
async def test_a_disk_that_qemu_img_gave_up_is_not_there(become: Become, folder: Path, script: str) -> None:
    become(script)
    (folder / "source").write_bytes(bytes(512))
    with pytest.raises(HostFailure):
        await RealDisks().convert(folder / "source", folder / "disk", source_format="raw", target_format="qcow2")
    assert os.listdir(folder) == ["source"]


@pytest.mark.parametrize("script", [ENDLESS + "sleep 1000", ENDLESS + "exit 0"], ids=["it stays", "its child stays"])
async def test_a_program_without_end_goes_with_all_its_children(
    become: Become, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    become(script)
    monkeypatch.setattr(disks, "INSPECT_SECONDS", 1.5)
    (tmp_path / "disk").write_bytes(bytes(512))
    with pytest.raises(HostFailure, match="did not end within"):
        await RealDisks().inspect(tmp_path / "disk", format="qcow2")
    pid = int((tmp_path / "programs" / "pid").read_text())
    for _ in range(200):  # the kernel needs a moment for what was killed
        if not at_work(pid):
            break
        await asyncio.sleep(0.02)
    assert not at_work(pid)
