"""The Debian image: its recipe, and that it is built once. `debian_boot.py` (`make debian`) boots it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from minicloud.core.errors import Forbidden
from minicloud.guest import bookworm, debian
from minicloud.host.run import Finished, run


async def test_the_recipes_script_is_valid_shell_and_its_configuration_valid_yaml() -> None:
    await run(["sh", "-n", str(bookworm.FOLDER / "customize")])
    told = yaml.safe_load((bookworm.OVERLAY / "etc/cloud/cloud.cfg.d/10_image.cfg").read_text())
    assert {"ConfigDrive", "OpenStack"} <= set(told["datasource_list"])
    assert {"cloud-init", "openssh-server", "linux-image-cloud-amd64"} <= set(bookworm.packages())


@pytest.fixture
def apt(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What apt's programs answer, by name."""
    answers = {
        "apt-get": "http://mirror/debian/ bookworm main\nhttp://mirror/debian/ bookworm contrib\n"
        "http://mirror/sec/ bookworm-security main\nhttp://mirror/debian/ trixie main\n",
        "apt-cache": "Package: cloud-init\nVersion: 22.4.2-1\nSection: admin\n",
    }

    async def answer(argv: Sequence[str], **options: object) -> Finished:
        return Finished(tuple(argv), 0, answers[argv[0]].encode(), b"")

    monkeypatch.setattr(bookworm, "run", answer)
    return answers


async def test_packages_come_from_where_this_machine_gets_its_own(apt: dict[str, str]) -> None:
    mirrored = ["deb http://mirror/debian/ bookworm main", "deb http://mirror/sec/ bookworm-security main"]
    assert await bookworm.apt_sources() == mirrored
    apt["apt-get"] = "http://mirror/debian/ trixie main\n"
    assert await bookworm.apt_sources() == list(bookworm.OFFICIAL)


async def test_an_image_is_built_once_and_anew_for_newer_packages(
    apt: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Path] = []

    async def build(target: Path, *, progress: object) -> None:
        built.append(target)
        target.write_bytes(b"image")

    monkeypatch.setattr(bookworm, "build", build)
    first = await debian(tmp_path, progress=print)
    assert await debian(tmp_path, progress=print) == first
    apt["apt-cache"] = "Package: cloud-init\nVersion: 22.4.2-2\n"
    second = await debian(tmp_path, progress=print)
    assert built == [first, second]
    assert first != second


async def test_who_is_not_root_is_told_so_before_anything_is_downloaded(
    apt: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Forbidden, match="only root"):
        await bookworm.build(tmp_path / "debian.qcow2", progress=print)
    assert list(tmp_path.iterdir()) == []
