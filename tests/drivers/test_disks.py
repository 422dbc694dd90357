"""What every `Disks` promises."""

from __future__ import annotations

import os
from pathlib import Path

import pycdlib
import pytest

from minicloud.core.errors import HostFailure
from minicloud.host import filesystem
from minicloud.host.disks import Disks
from minicloud.host.fake.disks import FakeDisks
from minicloud.host.fake.world import World

MIB = 1024 * 1024


@pytest.fixture
def disks(kind: str) -> Disks:
    """The driver that is asked."""
    if kind == "fake":
        return FakeDisks(World())
    from minicloud.host.real.disks import RealDisks

    return RealDisks()


@pytest.mark.parametrize("format", ["raw", "qcow2"])
async def test_a_new_disk_has_its_size_and_takes_no_room(disks: Disks, folder: Path, format: str) -> None:
    await disks.create(folder / "deep" / "disk", format=format, size=64 * MIB)
    seen = await disks.inspect(folder / "deep" / "disk", format=format)
    assert (seen.format, seen.virtual_size, seen.backing_file) == (format, 64 * MIB, None)
    assert seen.actual_size < MIB


async def test_an_overlay_shows_its_base_and_its_own_size(disks: Disks, folder: Path) -> None:
    await disks.create(folder / "base", format="raw", size=16 * MIB)
    await disks.overlay(folder / "over", base=folder / "base", base_format="raw", size=32 * MIB)
    seen = await disks.inspect(folder / "over", format="qcow2")
    assert seen.virtual_size == 32 * MIB
    assert seen.backing_file == str(folder / "base")


async def test_an_overlay_smaller_than_its_base_is_refused_and_leaves_nothing(disks: Disks, folder: Path) -> None:
    await disks.create(folder / "base", format="qcow2", size=16 * MIB)
    with pytest.raises(HostFailure):
        await disks.overlay(folder / "over", base=folder / "base", base_format="qcow2", size=8 * MIB)
    assert os.listdir(folder) == ["base"]


async def test_a_copy_holds_the_same_bytes_and_stays_sparse(disks: Disks, folder: Path) -> None:
    source = folder / "source"
    with source.open("wb") as file:
        file.truncate(64 * MIB)
        file.seek(10 * MIB)
        file.write(b"in the middle")
    await disks.copy(source, folder / "copy")
    assert (folder / "copy").read_bytes() == source.read_bytes()
    assert (await disks.inspect(folder / "copy", format="raw")).actual_size < MIB


async def test_a_conversion_is_flat_and_of_the_same_size(disks: Disks, folder: Path) -> None:
    await disks.create(folder / "base", format="raw", size=16 * MIB)
    await disks.overlay(folder / "over", base=folder / "base", base_format="raw", size=32 * MIB)
    await disks.convert(folder / "over", folder / "flat", source_format="qcow2", target_format="qcow2")
    await disks.convert(folder / "over", folder / "plain", source_format="qcow2", target_format="raw")
    flat = await disks.inspect(folder / "flat", format="qcow2")
    assert (flat.virtual_size, flat.backing_file) == (32 * MIB, None)
    assert (await disks.inspect(folder / "plain", format="raw")).virtual_size == 32 * MIB


@pytest.mark.parametrize("format", ["raw", "qcow2"])
async def test_a_disk_grows_and_never_shrinks(disks: Disks, folder: Path, format: str) -> None:
    await disks.create(folder / "disk", format=format, size=8 * MIB)
    await disks.resize(folder / "disk", format=format, size=24 * MIB)
    assert (await disks.inspect(folder / "disk", format=format)).virtual_size == 24 * MIB
    with pytest.raises(HostFailure):
        await disks.resize(folder / "disk", format=format, size=16 * MIB)
    assert (await disks.inspect(folder / "disk", format=format)).virtual_size == 24 * MIB


async def test_a_file_of_another_format_is_refused(disks: Disks, folder: Path) -> None:
    (folder / "text").write_bytes(b"no image at all\n" * 1000)
    for format in ("qcow2", "vmdk"):
        with pytest.raises(HostFailure):
            await disks.inspect(folder / "text", format=format)


async def test_a_raw_disk_that_looks_like_qcow2_is_read_as_bytes(disks: Disks, folder: Path) -> None:
    await disks.create(folder / "trap", format="qcow2", size=1024 * MIB)
    length = (folder / "trap").stat().st_size
    assert (await disks.inspect(folder / "trap", format="raw")).virtual_size == length
    await disks.convert(folder / "trap", folder / "plain", source_format="raw", target_format="raw")
    assert length <= (folder / "plain").stat().st_size < length + 512


async def test_a_missing_file_is_a_failure_without_the_path_in_its_message(disks: Disks, folder: Path) -> None:
    for format in ("raw", "qcow2"):
        with pytest.raises(HostFailure) as caught:
            await disks.inspect(folder / "nowhere", format=format)
        assert str(folder) not in caught.value.message


async def test_the_finished_disk_is_private(disks: Disks, folder: Path) -> None:
    await disks.create(folder / "disk", format="qcow2", size=MIB)
    assert (folder / "disk").stat().st_mode & 0o777 == 0o600


async def test_removing_takes_files_and_folders_and_minds_nothing_that_is_gone(disks: Disks, folder: Path) -> None:
    await disks.create(folder / "server" / "disk", format="raw", size=MIB)
    await disks.create(folder / "other", format="raw", size=MIB)
    for _ in range(2):
        await disks.remove(folder / "server")
        await disks.remove(folder / "other")
    assert await disks.actual(folder) == frozenset()
    assert await disks.actual(folder / "server") == frozenset()


async def test_old_drafts_are_removed_and_never_listed(disks: Disks, folder: Path) -> None:
    old, fresh = folder / ".disk.0.new", folder / ".disk.1.new"
    for path in (old, fresh, folder / "disk"):
        path.write_bytes(b"")
    os.utime(old, (0, 0))
    assert await disks.actual(folder) == {"disk"}
    assert sorted(os.listdir(folder)) == [".disk.1.new", "disk"]


async def test_a_config_drive_is_found_by_label_and_holds_its_files(disks: Disks, folder: Path) -> None:
    content = {
        "openstack/latest/meta_data.json": b"{}",
        "openstack/latest/user_data": b"#!/bin/sh\n" * 9000,
        "openstack/2018-08-27/network_data.json": b"",
        "ec2/latest/meta-data.json": b"{1}",
    }
    await disks.config_drive(folder / "drive", content)
    image = pycdlib.PyCdlib()
    image.open(str(folder / "drive"))
    assert image.pvd.volume_identifier.decode().strip() == "config-2"
    for name, wanted in content.items():
        for where in ({"rr_path": f"/{name}"}, {"joliet_path": f"/{name}"}):
            with image.open_file_from_iso(**where) as file:
                assert file.read() == wanted
    image.close()


async def test_the_space_is_that_of_the_file_system(disks: Disks, folder: Path) -> None:
    space = await disks.space(folder)
    assert 0 < space.free < space.total


async def test_a_sparse_copy_without_reflink_keeps_holes_and_bytes(folder: Path) -> None:
    source = folder / "source"
    with source.open("wb") as file:
        file.write(b"a" * 5000)
        file.seek(3 * MIB)
        file.write(b"b" * 5000)
        file.truncate(5 * MIB)
    await filesystem.in_thread(filesystem.copy, source, folder / "target")
    assert (folder / "target").read_bytes() == source.read_bytes()
    assert (folder / "target").stat().st_blocks * 512 < MIB
