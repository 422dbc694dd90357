"""A folder of hostile disks, each sent and imported on the real disk drivers: refused, or nothing comes of it."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from minicloud.core.errors import MinicloudError
from minicloud.host.real.disks import RealDisks
from minicloud.image import Image
from tests.door import Door, context, open_door
from tests.image.corpus import CONTENT, HOSTILE, QEMU, SECRET, SIZE, Hostile, plain
from tests.image.test_images import made, send
from tests.image.test_uploads import files

pytestmark = pytest.mark.real


@pytest.fixture
async def real_door(tmp_path: Path) -> AsyncIterator[Door]:
    """A door with this machine's qemu-img behind it."""
    make = lambda foundation, host, config: [Image(foundation, dataclasses.replace(host, disks=RealDisks()), config)]  # noqa: E731
    async with open_door(tmp_path / "state", make) as one:
        yield one


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file of the host."""
    path = tmp_path / "secret"
    path.write_bytes(SECRET.ljust(SIZE, b"\0"))
    return path


def told_nothing(door: Door) -> None:
    """No file of the images holds what the host's file holds."""
    for path in door.config.state.rglob("*"):
        if path.is_file() and not path.name.startswith("minicloud.db"):
            assert SECRET not in path.read_bytes(), path


async def used(door: Door, image_id: str) -> None:
    """Make the base that guests would stand on, as far as one can be made."""
    service = door.services[0]
    assert isinstance(service, Image)
    try:
        await service.local_file(context("alice"), image_id)
    except MinicloudError:
        return


@pytest.mark.parametrize("format", ["raw", "iso", *QEMU])
async def test_a_whole_disk_is_taken(real_door: Door, tmp_path: Path, format: str) -> None:
    alice = real_door.client("alice")
    image = await made(alice, disk_format=format)
    await send(alice, image["id"], await plain(tmp_path, format), expect=204)
    service = real_door.services[0]
    assert isinstance(service, Image)
    base = await service.local_file(context("alice"), image["id"])
    assert base.virtual_size == (SIZE if format != "iso" else base.path.stat().st_size)


@pytest.mark.parametrize("one", HOSTILE, ids=lambda one: f"{one.format}: {one.name}")
async def test_a_hostile_disk_is_refused_or_harmless(
    real_door: Door, tmp_path: Path, secret: Path, one: Hostile
) -> None:
    alice = real_door.client("alice")
    data = one.spoil(await plain(tmp_path, one.format), secret)
    sent = await made(alice, disk_format=one.format)
    answer = await alice.request(
        "PUT", f"/image/v2/images/{sent['id']}/file", data=data, headers={"Content-Type": "application/octet-stream"}
    )
    assert answer.status == 400 if one.refused else answer.status in (204, 400), answer.body
    if answer.status == 204:
        await used(real_door, sent["id"])
    told_nothing(real_door)
    imported = await made(alice, disk_format=one.format)
    path = f"/image/v2/images/{imported['id']}"
    await send(alice, imported["id"], data, to="stage", expect=204)
    await alice.post(path + "/import", {"method": {"name": "glance-direct"}}, expect=202)
    await real_door.operations.all_settled()
    (task,) = (await alice.get(path + "/tasks"))["tasks"]
    assert task["status"] == "failure" if one.refused else task["status"] in ("failure", "success"), task
    if task["status"] == "failure":
        assert task["message"].startswith("Cannot"), task
        assert imported["id"] not in files(real_door)
    told_nothing(real_door)


@pytest.mark.parametrize("format", ["vmdk", "vdi", "vhd", "vhdx"])
async def test_an_import_makes_qcow2_of_other_hypervisors_disks(real_door: Door, tmp_path: Path, format: str) -> None:
    alice = real_door.client("alice")
    image = await made(alice, disk_format=format)
    path = f"/image/v2/images/{image['id']}"
    await send(alice, image["id"], await plain(tmp_path, format), to="stage", expect=204)
    await alice.post(path + "/import", {"method": {"name": "glance-direct"}}, expect=202)
    await real_door.operations.all_settled()
    shown = await alice.get(path)
    told = {key: shown[key] for key in ("status", "disk_format", "container_format", "virtual_size")}
    assert told == {"status": "active", "disk_format": "qcow2", "container_format": "bare", "virtual_size": SIZE}
    assert files(real_door) == [image["id"]]
    service = real_door.services[0]
    assert isinstance(service, Image)
    flat = tmp_path / "flat.raw"
    base = (await service.local_file(context("alice"), image["id"])).path
    await RealDisks().convert(base, flat, source_format="qcow2", target_format="raw")
    assert flat.read_bytes().startswith(CONTENT)
