"""Key material that somebody else could read or replace is not used; the start says which file and what is wanted."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from minicloud.config import Identity
from minicloud.core.errors import Invalid, Unavailable
from minicloud.identity.keys import KeyRing
from tests.conftest import Cloud, plain_config

SOMEBODY = 12_345


@pytest.fixture
async def stopped(cloud: Cloud) -> Cloud:
    await cloud.stop()
    return cloud


async def refusal(cloud: Cloud) -> str:
    """What the start says; it never gets as far as the door."""
    with pytest.raises(Unavailable) as refused:
        await cloud.start()
    return refused.value.message


@pytest.mark.parametrize(
    ("name", "mode", "wanted"), [("tokens", 0o755, 0o700), ("tokens/1", 0o640, 0o600), ("seals/1", 0o604, 0o600)]
)
async def test_keys_that_others_can_read_refuse_the_start(stopped: Cloud, name: str, mode: int, wanted: int) -> None:
    path = Path(stopped.config.paths.state) / "keys" / name
    right = path.stat().st_mode
    path.chmod(mode)
    said = await refusal(stopped)
    assert str(path) in said and f"{mode:o}" in said and f"wanted are {wanted:o}" in said
    path.chmod(right)
    await stopped.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("name", ["keys/tokens", "minicloud.db"])
async def test_files_of_somebody_else_refuse_the_start(stopped: Cloud, name: str) -> None:
    path = Path(stopped.config.paths.state) / name
    os.chown(path, SOMEBODY, -1)
    said = await refusal(stopped)
    assert str(path) in said and str(SOMEBODY) in said
    os.chown(path, os.geteuid(), -1)
    await stopped.start()


async def test_the_database_and_its_log_are_nobody_elses_to_read(stopped: Cloud) -> None:
    state = Path(stopped.config.paths.state)
    (state / "minicloud.db").chmod(0o644)
    await stopped.start()
    await stopped.as_demo()
    assert {(state / name).stat().st_mode & 0o777 for name in ("minicloud.db", "minicloud.db-wal")} == {0o600}


def test_a_file_that_is_no_key_is_told(tmp_path: Path) -> None:
    KeyRing(tmp_path / "ring", kept=3).open()
    (tmp_path / "ring" / "2").write_bytes(b"")
    (tmp_path / "ring" / "2").chmod(0o600)
    with pytest.raises(Unavailable, match="it holds no key"):
        KeyRing(tmp_path / "ring", kept=3).open()


@pytest.mark.parametrize("options", [{"token_seconds": 200_000}, {"keys_kept": 1}, {"key_rotation_seconds": 7_199}])
async def test_tokens_that_would_outlive_their_keys_refuse_the_start(tmp_path: Path, options: dict[str, int]) -> None:
    cloud = Cloud(tmp_path, dataclasses.replace(plain_config(tmp_path), identity=Identity(**options)))
    with pytest.raises(Invalid, match="tokens would outlive their keys"):
        await cloud.start()
    await cloud.session.close()
