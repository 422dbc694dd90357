"""The accelerator probe: its sector must run where anything runs, and its answer must be kept."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from minicloud.host.real import probe
from minicloud.host.run import program, run

pytestmark = pytest.mark.skipif(shutil.which(probe.EMULATOR) is None, reason="needs QEMU; no privileges")


async def test_the_sector_runs_to_its_end_under_tcg(tmp_path: Path) -> None:
    image = tmp_path / "sector"
    image.write_bytes(probe.SECTOR)
    done = await run(probe.command(program(probe.EMULATOR), image, "tcg"), timeout=60, check=False)
    assert done.code == probe.EXIT_CODE, done.err


async def test_the_answer_is_one_of_two_and_is_kept(tmp_path: Path) -> None:
    found = await probe.accelerator(tmp_path)
    assert found.domain_type in ("kvm", "qemu")
    assert found.note.startswith("KVM ")
    assert await probe.accelerator(tmp_path) == found
