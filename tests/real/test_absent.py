"""A host that lacks something: the daemon serves what it can, says what is missing, and works once it is there again."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from minicloud.core.errors import Unavailable
from minicloud.host import run
from tests.conftest import Cloud, running_cloud
from tests.real.town import COMPUTE, IMAGE, Town, difference, real_config, short_folder, sweep, traces, until

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(300)]

TMPFS_MIB = 160
BYTES = {"Content-Type": "application/octet-stream"}


@contextlib.asynccontextmanager
async def started(folder: Path, *, libvirt_uri: str = "qemu:///system") -> AsyncIterator[tuple[Cloud, Town]]:
    """A cloud with its town, whose servers are deleted at the end."""
    config = real_config(folder)
    config = replace(config, compute=replace(config.compute, libvirt_uri=libvirt_uri))
    async with running_cloud(folder, config) as cloud:
        town = Town(cloud.demo, cloud.admin, folder)
        try:
            yield cloud, town
        finally:
            for server in (await town.admin.get(f"{COMPUTE}/servers?all_tenants=1"))["servers"]:
                await town.admin.delete(f"{COMPUTE}/servers/{server['id']}")
            await cloud.daemon.operations.all_settled()
    await sweep(folder)


@contextlib.asynccontextmanager
async def covered(path: str, by: Path) -> AsyncIterator[None]:
    """Something else stands at `path` for a while (in the sandbox's own mount namespace)."""
    await run.run(["mount", "--bind", str(by), path])
    try:
        yield
    finally:
        await run.run(["umount", path])


async def test_without_libvirtd_a_launch_says_so_and_can_be_deleted() -> None:
    with short_folder() as folder:
        async with started(folder, libvirt_uri=f"qemu+unix:///system?socket={folder}/nobody") as (_, town):
            await town.image()
            await town.settle()
            assert (await town.client.get(f"{COMPUTE}/servers"))["servers"] == []
            shown = await town.settled(await town.request("early"))
            assert shown["status"] == "ERROR"
            assert shown["fault"]["message"]
            await town.delete(shown["id"])


async def test_without_dnsmasq_a_launch_says_so_and_works_when_it_is_there(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    nothing.touch(mode=0o644)
    path = shutil.which("dnsmasq", path=run.SEARCH_PATH)
    assert path is not None
    with short_folder() as folder:
        async with started(folder) as (cloud, town):
            await town.image()
            async with covered(path, nothing):
                await town.settle()
                network = (await town.client.get(f"/network/v2.0/networks/{town.network_id}"))["network"]
                assert network["status"] == "DOWN"
                shown = await town.settled(await town.request("early"))
                assert shown["status"] == "ERROR"
                assert "dnsmasq" in shown["fault"]["message"]
            for one in cloud.daemon.reconcilers:
                await one.once()
            network = (await town.client.get(f"/network/v2.0/networks/{town.network_id}"))["network"]
            assert network["status"] == "ACTIVE"
            await town.server("late")
        async with covered(path, nothing):
            with pytest.raises(Unavailable, match="dnsmasq"):
                async with started(folder):
                    pass


@contextlib.asynccontextmanager
async def small_disk(folder: Path) -> AsyncIterator[Path]:
    """The cloud's state lies on a disk of its own, so that it can be filled: by the file whose path this gives."""
    state = folder / "s"
    state.mkdir(mode=0o711)
    await run.run(["mount", "-t", "tmpfs", "-o", f"size={TMPFS_MIB}m,mode=711", "minicloud", str(state)])
    try:
        yield state / "filler"
    finally:
        await run.run(["umount", "-l", str(state)])


async def test_a_full_disk_refuses_what_needs_room_and_nothing_else() -> None:
    with short_folder() as folder:
        async with small_disk(folder) as filler, started(folder) as (cloud, town):
            await town.image()
            await town.settle()
            await town.delete(await town.server("first"))
            before = await traces(folder)
            fill(filler, leave=128 * 1024)
            await refused(town)
            await cloud.daemon.operations.all_settled()
            filler.unlink()
            assert difference(before, await traces(folder)) == {}
            assert (await town.client.get(f"{IMAGE}/images/{town.image_id}"))["status"] == "active"
            await town.server("second")
            volume_id = await town.volume(imageRef=town.image_id)
            await town.client.delete(f"{town.volumes}/volumes/{volume_id}", expect=202)
            await town.gone(f"{town.volumes}/volumes/{volume_id}")


@pytest.mark.parametrize("records", [1, 3, 4])
async def test_a_launch_on_a_disk_that_fills_up_fails_and_can_be_deleted_without_room(records: int) -> None:
    """`records`: how many steps of the launch were begun when the last byte went."""
    with short_folder() as folder:
        async with small_disk(folder) as filler, started(folder) as (cloud, town):
            await town.image()
            await town.settle()
            before = await traces(folder)
            seen: list[str] = []

            def fill_up(point: str) -> None:
                seen.append(point)
                if seen.count("after journal record") == records:
                    cloud.daemon.operations.observer = None
                    fill(filler, leave=0)

            cloud.daemon.operations.observer = fill_up
            server_id = await town.request("unlucky", config_drive=True)
            shown = await town.settled(server_id)
            assert filler.exists()
            assert shown["status"] == "ERROR" and "full" in shown["fault"]["message"], shown
            await town.delete(server_id)
            filler.unlink()
            for one in cloud.daemon.reconcilers:
                await one.once()
            assert difference(before, await traces(folder)) == {}
            await town.server("lucky")


def fill(path: Path, *, leave: int) -> None:
    """Take all room of a file system but some bytes."""
    found = os.statvfs(path.parent)
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, found.f_bavail * found.f_frsize - leave)


async def refused(town: Town) -> None:
    """Each thing that needs room is refused in its service's way."""
    body = {"name": "more", "disk_format": "raw", "container_format": "bare"}
    image_id = (await town.client.post(f"{IMAGE}/images", body, expect=201))["id"]
    answer = await town.client.put(f"{IMAGE}/images/{image_id}/file", data=os.urandom(8 * 1024 * 1024), headers=BYTES)
    assert answer.status in (413, 503), answer
    assert (await town.client.get(f"{IMAGE}/images/{image_id}"))["status"] == "queued"
    await town.client.delete(f"{IMAGE}/images/{image_id}", expect=204)
    shown = await town.settled(await town.request("none", config_drive=True))
    assert shown["status"] == "ERROR", shown
    assert (
        "full" in shown["fault"]["message"]
        or "room" in shown["fault"]["message"]
        or "No valid host" in shown["fault"]["message"]
    )
    await town.delete(shown["id"])
    body = {"volume": {"size": 1, "imageRef": town.image_id}}
    answer = await town.client.post(f"{town.volumes}/volumes", body)
    if answer.status != 202:
        assert answer.status in (413, 503), answer
        return
    volume_id = answer["volume"]["id"]

    async def failed() -> bool:
        return (await town.client.get(f"{town.volumes}/volumes/{volume_id}"))["volume"]["status"] == "error"

    await until("the volume to be in error", failed)
    told = (await town.client.get(f"{town.volumes}/messages", headers={"OpenStack-API-Version": "volume 3.3"}))[
        "messages"
    ]
    assert any(one["resource_uuid"] == volume_id for one in told)
    await town.client.delete(f"{town.volumes}/volumes/{volume_id}", expect=202)
    await town.gone(f"{town.volumes}/volumes/{volume_id}")
