"""What the bytes are decides: hostile and broken uploads leave the image queued and no file behind."""

from __future__ import annotations

import asyncio
import hashlib
import os
import struct
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from minicloud.config import Config, Paths
from minicloud.config import Image as ImageConfig
from minicloud.host import qcow2
from minicloud.image import Image
from tests.door import Door, open_door
from tests.image.test_images import changed, made, send, uploaded


def files(door: Door) -> list[str]:
    """Everything that lies in the folders of images."""
    folders = [door.config.state / name for name in ("images", "staging")]
    return sorted(one.name for folder in folders if folder.exists() for one in folder.iterdir())


async def refused(door: Door, data: bytes, disk_format: str) -> str:
    alice = door.client("alice")
    image = await made(alice, disk_format=disk_format)
    answer = await send(alice, image["id"], data, expect=400)
    assert (await alice.get(f"/image/v2/images/{image['id']}"))["status"] == "queued"
    assert files(door) == []
    return str(answer.body["message"])


async def test_a_qcow2_is_taken_with_the_size_of_its_disk(door: Door, qcow2_bytes: bytes) -> None:
    image = await uploaded(door.client("alice"), qcow2_bytes, disk_format="qcow2")
    assert (image["size"], image["virtual_size"]) == (len(qcow2_bytes), 16 * 1024**2)


async def test_a_qcow2_that_says_it_is_raw_is_refused(door: Door, qcow2_bytes: bytes) -> None:
    assert "it is qcow2" in await refused(door, qcow2_bytes, "raw")


async def test_bytes_that_are_no_qcow2_are_refused(door: Door) -> None:
    assert "it is raw" in await refused(door, b"just some text" * 100, "qcow2")
    assert "it is raw" in await refused(door, b"", "qcow2")


async def test_a_backing_file_is_refused(door: Door, tmp_path: Path) -> None:
    path = tmp_path / "evil.qcow2"
    qcow2.write_blank(path, size=1024**2, backing=Path("/etc/passwd"), backing_format="raw")
    assert "refers to other files" in await refused(door, path.read_bytes(), "qcow2")


async def test_an_external_data_file_is_refused(door: Door, qcow2_bytes: bytes) -> None:
    evil = bytearray(qcow2_bytes)
    evil[72:80] = struct.pack(">Q", 1 << 2)
    assert "refers to other files" in await refused(door, bytes(evil), "qcow2")


async def test_an_encrypted_qcow2_is_refused(door: Door, qcow2_bytes: bytes) -> None:
    evil = bytearray(qcow2_bytes)
    evil[32:36] = struct.pack(">I", 1)
    assert "encrypted" in await refused(door, bytes(evil), "qcow2")


@pytest.mark.parametrize("kept", [40, 300, 70_000, 190_000])
async def test_a_truncated_qcow2_is_refused(door: Door, qcow2_bytes: bytes, kept: int) -> None:
    await refused(door, qcow2_bytes[:kept], "qcow2")


async def test_a_qcow2_whose_data_is_cut_off_is_refused(door: Door, qcow2_bytes: bytes) -> None:
    cut = bytearray(qcow2_bytes)
    cluster = 1 << 16
    cut[3 * cluster : 3 * cluster + 8] = struct.pack(">Q", 4 * cluster | 1 << 63)
    table = struct.pack(">Q", 5 * cluster | 1 << 63).ljust(cluster, b"\0")
    assert "beyond its end" in await refused(door, bytes(cut) + table, "qcow2")
    await uploaded(door.client("alice"), bytes(cut) + table + bytes(cluster), disk_format="qcow2")


async def test_a_vmdk_that_names_other_files_is_refused(door: Door) -> None:
    descriptor = (
        b"# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\n"
        b'createType="monolithicFlat"\nRW 20480 FLAT "/etc/passwd" 0\n'
    )
    header = struct.pack("<4sIIQQQQIQQQB", b"KDMV", 1, 3, 20480, 128, 1, 20, 512, 21, 26, 128, 0)
    await refused(door, header.ljust(512, b"\0") + descriptor.ljust(20 * 512, b"\0") + bytes(200_000), "vmdk")


async def test_packages_are_not_looked_into_and_not_booted(door: Door) -> None:
    image = await uploaded(door.client("alice"), b"a tar file", disk_format="vmdk", container_format="ova")
    assert image["status"] == "active"
    assert image["virtual_size"] is None


async def test_an_upload_that_breaks_off_leaves_the_image_queued(door: Door) -> None:
    alice = door.client("alice")
    image = await made(alice)
    host, port = door.url.removeprefix("http://").split(":")
    _reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        f"PUT /image/v2/images/{image['id']}/file HTTP/1.1\r\nHost: x\r\nX-Auth-Token: alice\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: 5000000\r\n\r\n".encode()
        + b"x" * 2_000_000
    )
    await writer.drain()
    path = f"/image/v2/images/{image['id']}"
    while (await alice.get(path))["status"] != "saving":
        await asyncio.sleep(0.01)
    await send(alice, image["id"], b"other", expect=409)
    writer.close()
    await writer.wait_closed()
    while (await alice.get(path))["status"] != "queued":
        await asyncio.sleep(0.01)
    assert files(door) == []
    await send(alice, image["id"], b"whole", expect=204)
    assert (await alice.get(path + "/file")).body == b"whole"


async def test_an_upload_goes_on_whatever_a_second_one_and_the_reconciler_do(door: Door) -> None:
    alice, image, more = door.client("alice"), await made(door.client("alice")), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"x" * 1000
        await more.wait()
        yield b"y" * 1000

    first = asyncio.ensure_future(send(alice, image["id"], slowly(), expect=204))
    while (await alice.get(f"/image/v2/images/{image['id']}"))["size"] != 1000:
        await asyncio.sleep(0.01)
    await send(alice, image["id"], b"second", expect=409)
    (reconciler,) = door.services[0].reconcilers()
    await reconciler.once()
    more.set()
    await first
    assert (await alice.get(f"/image/v2/images/{image['id']}/file")).body == b"x" * 1000 + b"y" * 1000


async def test_what_still_comes_in_for_a_deleted_image_reaches_no_other(door: Door) -> None:
    alice, image, more = door.client("alice"), await made(door.client("alice")), asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"x"
        await more.wait()
        yield b"y" * 1000

    late = asyncio.ensure_future(send(alice, image["id"], slowly(), expect=410))
    while (await alice.get(f"/image/v2/images/{image['id']}"))["size"] != 1:
        await asyncio.sleep(0.01)
    await alice.delete(f"/image/v2/images/{image['id']}", expect=204)
    body = {"id": image["id"], "disk_format": "raw", "container_format": "bare"}
    await alice.post("/image/v2/images", body, expect=409)
    more.set()
    await late
    assert files(door) == []


async def test_formats_stay_from_an_uploads_begin_on(door: Door) -> None:
    """Content is looked at by the formats that stood then: a change at the same moment must not get by."""
    alice, service = door.client("alice"), door.services[0]
    assert isinstance(service, Image)
    image = await made(alice, disk_format="qcow2", container_format="ova")
    gate = threading.Event()
    held = asyncio.ensure_future(service.store.write(lambda db: gate.wait(10)))
    upload = asyncio.ensure_future(send(alice, image["id"], b"a package", expect=204))
    while image["id"] not in service.under_way:
        await asyncio.sleep(0.01)
    bare = {"op": "replace", "path": "/container_format", "value": "bare"}
    patch = asyncio.ensure_future(changed(alice, image["id"], bare, expect=403))
    for _ in range(3):
        await alice.get(f"/image/v2/images/{image['id']}")
    gate.set()
    await asyncio.gather(held, upload, patch)
    assert (await alice.get(f"/image/v2/images/{image['id']}"))["container_format"] == "ova"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-OpenStack-Image-Size": "4"}, 204), ({"X-OpenStack-Image-Size": "5"}, 400),
        ({"X-OpenStack-Image-Size": "3"}, 400), ({"X-OpenStack-Image-Size": "many"}, 400),
        ({"X-OpenStack-Image-Size": "9" * 18}, 413), ({"X-Image-Meta-Store": "file"}, 204),
        ({"X-Image-Meta-Store": "elsewhere"}, 400),
    ],
)  # fmt: skip
async def test_what_the_headers_of_an_upload_say_is_so(door: Door, headers: dict[str, str], status: int) -> None:
    alice = door.client("alice")
    image = await made(alice)
    headers |= {"Content-Type": "application/octet-stream"}
    await alice.put(f"/image/v2/images/{image['id']}/file", data=b"data", headers=headers, expect=status)
    shown = await alice.get(f"/image/v2/images/{image['id']}")
    assert shown["status"] == ("active" if status == 204 else "queued")
    assert len(files(door)) == (1 if status == 204 else 0)


@pytest.mark.parametrize("to", ["file", "stage"])
async def test_the_bytes_that_came_so_far_can_be_read_while_they_come(door: Door, to: str) -> None:
    alice = door.client("alice")
    image = await made(alice)
    path, more = f"/image/v2/images/{image['id']}", asyncio.Event()

    async def halting() -> AsyncIterator[bytes]:
        yield b"x" * 300_000
        await more.wait()
        yield b"y" * 700_000

    sending = asyncio.create_task(send(alice, image["id"], halting(), to=to, expect=204))
    while (await alice.get(path))["size"] != 300_000:
        await asyncio.sleep(0.01)
    (listed,) = (await alice.get("/image/v2/images"))["images"]
    assert (listed["size"], listed["status"]) == (300_000, "saving" if to == "file" else "uploading")
    more.set()
    await sending
    assert (await alice.get(path))["size"] == 1_000_000


async def test_pieces_of_any_length_and_holes_are_kept_as_they_came(door: Door) -> None:
    parts = [bytes(1_000_000), b"a" * 99_999, bytes(700_001), b"b", bytes(262_144), os.urandom(600_000), bytes(5)]

    async def unevenly() -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    alice, whole = door.client("alice"), b"".join(parts)
    image = await made(alice)
    await send(alice, image["id"], unevenly(), expect=204)
    shown = await alice.get(f"/image/v2/images/{image['id']}")
    assert (shown["size"], shown["checksum"]) == (len(whole), hashlib.md5(whole).hexdigest())
    assert shown["os_hash_value"] == hashlib.sha512(whole).hexdigest()
    assert (await alice.get(f"/image/v2/images/{image['id']}/file")).body == whole
    assert (door.config.state / "images" / image["id"]).stat().st_blocks * 512 < len(whole)


async def test_more_than_the_limit_is_refused(tmp_path: Path) -> None:
    config = Config(paths=Paths(state=str(tmp_path)), image=ImageConfig(size_limit=1000))
    async with open_door(tmp_path, lambda *built: [Image(*built)], config) as door:
        alice = door.client("alice")
        image = await made(alice)
        await send(alice, image["id"], b"x" * 1001, expect=413)

        async def unannounced():  # type: ignore[no-untyped-def]
            yield b"x" * 1001

        await send(alice, image["id"], unannounced(), expect=413)
        assert (await alice.get(f"/image/v2/images/{image['id']}"))["status"] == "queued"
        assert files(door) == []
        await send(alice, image["id"], b"x" * 1000, expect=204)


async def test_what_a_killed_daemon_left_is_taken_back_at_the_next_start(tmp_path: Path) -> None:
    async with open_door(tmp_path, lambda *built: [Image(*built)]) as door:
        alice = door.client("alice")
        cut, kept = await made(alice), await uploaded(alice, b"kept")
        service = door.services[0]
        assert isinstance(service, Image)
        from minicloud.image.tables import IMAGES, Status

        await service.store.write(IMAGES.change, cut["id"], status=Status.SAVING)
        (tmp_path / "images" / f"{cut['id']}.new").write_bytes(b"half")
        (tmp_path / "images" / "00000000-0000-0000-0000-000000000000").write_bytes(b"orphan")
    async with open_door(tmp_path, lambda *built: [Image(*built)]) as door:
        assert files(door) == [kept["id"]]
        assert (await door.client("alice").get(f"/image/v2/images/{cut['id']}"))["status"] == "queued"


async def test_equal_bytes_lie_on_the_disk_once_and_outlive_each_other(door: Door) -> None:
    alice, bob, folder = door.client("alice"), door.client("bob"), door.config.state / "images"
    one, two, other = await uploaded(alice, b"same"), await uploaded(bob, b"same"), await uploaded(bob, b"else")
    assert (folder / one["id"]).samefile(folder / two["id"])
    assert (folder / other["id"]).stat().st_nlink == 1
    await alice.delete(f"/image/v2/images/{one['id']}", expect=204)
    assert (await bob.get(f"/image/v2/images/{two['id']}/file")).body == b"same"
    assert (folder / two["id"]).stat().st_nlink == 1


async def test_a_project_has_no_more_than_its_quota(tmp_path: Path) -> None:
    settings = ImageConfig(quota_images=3, quota_mib=2, quota_staged_mib=1)
    config = Config(paths=Paths(state=str(tmp_path)), image=settings)
    async with open_door(tmp_path, lambda *built: [Image(*built)], config) as door:
        alice, mib = door.client("alice"), 1024**2
        first, second, third = [await made(alice) for _ in range(3)]
        await alice.post("/image/v2/images", {"name": "one too many"}, expect=413)
        await uploaded(door.client("bob"), bytes(mib))
        await send(alice, first["id"], bytes(mib), expect=204)
        await send(alice, second["id"], bytes(mib + 1), expect=413)
        await send(alice, second["id"], bytes(mib), expect=204)
        await send(alice, third["id"], b"x", expect=413)
        await send(alice, third["id"], bytes(mib + 1), to="stage", expect=413)
        usage = (await alice.get("/image/v2/info/usage"))["usage"]
        assert usage["image_count_total"] == {"limit": 3, "usage": 3}
        assert usage["image_size_total"] == {"limit": 2, "usage": 2}
        assert usage["image_count_uploading"] == {"limit": -1, "usage": 0}
