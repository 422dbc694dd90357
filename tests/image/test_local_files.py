"""What other services get from images: flat bases, and images made of their own files."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from minicloud.core.errors import Conflict, NotFound, TooLarge
from minicloud.host import qcow2
from minicloud.image import Image
from tests.door import Door, context
from tests.image.test_images import made, send, uploaded


def service(door: Door) -> Image:
    found = door.services[0]
    assert isinstance(found, Image)
    return found


async def test_a_raw_image_is_its_own_base(door: Door) -> None:
    image = await uploaded(door.client("alice"), b"x" * 4096)
    base = await service(door).local_file(context("alice"), image["id"])
    assert (base.format, base.virtual_size, base.path.read_bytes()) == ("raw", 4096, b"x" * 4096)
    assert base.path.stat().st_mode & 0o777 == 0o444


async def test_a_base_outlives_its_image(door: Door, qcow2_bytes: bytes) -> None:
    alice = door.client("alice")
    image = await uploaded(alice, qcow2_bytes, disk_format="qcow2")
    base = await service(door).local_file(context("alice"), image["id"])
    assert (base.format, base.virtual_size) == ("qcow2", 16 * 1024**2)
    await alice.delete(f"/image/v2/images/{image['id']}", expect=204)
    assert base.path.read_bytes() == qcow2_bytes


async def test_a_deleted_images_id_never_leads_to_its_disk_again(door: Door) -> None:
    alice, bob = door.client("alice"), door.client("bob")
    image = await uploaded(alice, b"a secret of alice")
    await service(door).local_file(context("alice"), image["id"])
    await alice.delete(f"/image/v2/images/{image['id']}", expect=204)
    body = {"id": image["id"].upper(), "disk_format": "raw", "container_format": "bare"}
    await bob.post("/image/v2/images", body, expect=409)


async def test_compressed_images_are_converted_once_for_all_callers(door: Door, qcow2_bytes: bytes) -> None:
    packed, cluster = bytearray(qcow2_bytes), 1 << 16
    packed[3 * cluster : 3 * cluster + 8] = (4 * cluster | 1 << 63).to_bytes(8, "big")
    table = (5 * cluster | 1 << 62).to_bytes(8, "big").ljust(cluster, b"\0")
    image = await uploaded(door.client("alice"), bytes(packed) + table + bytes(512), disk_format="qcow2")
    points: list[str] = []
    door.world.observer = points.append
    ask = [service(door).local_file(context("alice"), image["id"]) for _ in range(3)]
    bases = await asyncio.gather(*ask)
    assert len({base.path for base in bases}) == 1
    assert points.count("before disks.convert") == 1


async def test_images_without_usable_bytes_have_no_base(door: Door) -> None:
    alice = door.client("alice")
    queued = await made(alice)
    with pytest.raises(Conflict):
        await service(door).local_file(context("alice"), queued["id"])
    with pytest.raises(NotFound):
        await service(door).local_file(context("bob"), (await made(alice, visibility="private"))["id"])


async def test_bases_go_only_when_nobody_uses_them_and_the_image_is_gone(door: Door) -> None:
    alice, image = door.client("alice"), service(door)
    kept, gone = await uploaded(alice, b"kept"), await uploaded(alice, b"gone")
    paths = [(await image.local_file(context("alice"), one["id"])).path for one in (kept, gone)]
    for one in (kept, gone):
        await alice.delete(f"/image/v2/images/{one['id']}", expect=204)
    for path in paths:
        os.utime(path, (time.time() - 7200, time.time() - 7200))
    (reconciler,) = image.reconcilers()
    await reconciler.once()
    assert all(path.exists() for path in paths)
    image.keep_bases(lambda: {kept["id"]})
    await reconciler.once()
    assert [path.exists() for path in paths] == [True, False]


async def test_a_file_of_ours_becomes_an_image(door: Door, tmp_path: Path) -> None:
    image, path = service(door), tmp_path / "snapshot.qcow2"
    qcow2.write_blank(path, size=1024**2)
    row = await image.reserve(context("alice"), name="snap", properties={"base_image_ref": "x"}, disk_format="qcow2")
    await image.saving(row.id)
    row = await image.take_in(context("alice"), image_id=row.id, path=path, format="qcow2")
    assert (row.status, row.virtual_size, row.properties) == ("active", 1024**2, {"base_image_ref": "x"})
    assert not path.exists()
    shown = (await door.client("alice").get(f"/image/v2/images/{row.id}")).body
    assert shown["os_hash_value"] is not None
    await image.abandon(row.id)
    await door.client("alice").get(f"/image/v2/images/{row.id}")


def sparse(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


async def test_a_file_of_ours_over_the_limit_becomes_none(door: Door, tmp_path: Path) -> None:
    image, path = service(door), sparse(tmp_path / "huge", door.config.image.size_limit + 512)
    row = await image.reserve(context("alice"), name="snap", properties={}, disk_format="raw")
    with pytest.raises(TooLarge):
        await image.take_in(context("alice"), image_id=row.id, path=path, format="raw")
    assert (await door.client("alice").get(f"/image/v2/images/{row.id}"))["status"] == "queued"
    assert list((door.config.state / "images").iterdir()) == []


async def test_the_hashing_of_a_large_file_is_given_up_at_once(door: Door, tmp_path: Path) -> None:
    image, path = service(door), sparse(tmp_path / "large", door.config.image.size_limit)
    row = await image.reserve(context("alice"), name="snap", properties={}, disk_format="raw")
    work = asyncio.ensure_future(image.take_in(context("alice"), image_id=row.id, path=path, format="raw"))
    while path.exists():
        await asyncio.sleep(0.01)
    work.cancel()
    done, _ = await asyncio.wait([work], timeout=30)
    assert done and work.cancelled()
    assert list((door.config.state / "images").iterdir()) == []


async def test_an_abandoned_image_is_gone_and_twice_is_fine(door: Door) -> None:
    image = service(door)
    row = await image.reserve(context("alice"), name="snap", properties={})
    await image.abandon(row.id)
    await image.abandon(row.id)
    await door.client("alice").get(f"/image/v2/images/{row.id}", expect=404)


async def test_an_image_without_bytes_can_be_whole(door: Door) -> None:
    image = service(door)
    row = await image.reserve(context("alice"), name="snap", properties={"block_device_mapping": "[]"})
    await image.activate_empty(context("alice"), row.id)
    shown = await door.client("alice").get(f"/image/v2/images/{row.id}")
    assert (shown["status"], shown["size"]) == ("active", 0)
    assert (await door.client("alice").get(f"/image/v2/images/{row.id}/file")).body == b""


async def test_deleting_during_an_upload_leaves_no_file(door: Door) -> None:
    alice = door.client("alice")
    image = await made(alice)
    path = f"/image/v2/images/{image['id']}"
    gate = asyncio.Event()

    async def slow():  # type: ignore[no-untyped-def]
        yield b"x" * 2_000_000
        await gate.wait()
        yield b"y"

    upload = asyncio.create_task(send(alice, image["id"], slow(), expect=410))
    while (await alice.get(path))["status"] != "saving":
        await asyncio.sleep(0.01)
    await alice.delete(path, expect=204)
    gate.set()
    await upload
    assert list((door.config.state / "images").iterdir()) == []
