"""Imports over HTTP: staged bytes, downloads, and the cloud's own neighbourhood being off limits."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import io
import lzma
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from backports import zstd

from minicloud.config import Config, Paths
from minicloud.config import Image as ImageConfig
from minicloud.image import Image
from tests.door import Door, open_door
from tests.image.corpus import sparse_vmdk
from tests.image.test_images import NOWHERE, made, send, uploaded
from tests.image.test_uploads import files

DIRECT = {"method": {"name": "glance-direct"}}


@contextlib.asynccontextmanager
async def web_server(more: asyncio.Event | None = None) -> AsyncIterator[str]:
    """A server on the loopback with one file, one redirect to it, and one file whose end comes with `more`."""

    async def file(request: web.Request) -> web.Response:
        return web.Response(body=b"from afar")

    async def slow(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"x" * 3 * 1024**2)
        if more is not None:
            await more.wait()
        await answer.write(b"last")
        return answer

    async def drip(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        with contextlib.suppress(ConnectionError):
            while True:
                await answer.write(b"x")
                await asyncio.sleep(0.02)
        return answer

    async def moved(request: web.Request) -> web.Response:
        raise web.HTTPFound("/file")

    app = web.Application()
    app.router.add_get("/file", file)
    app.router.add_get("/moved", moved)
    app.router.add_get("/slow", slow)
    app.router.add_get("/drip", drip)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_staged_bytes_become_the_image(door: Door) -> None:
    alice = door.client("alice")
    image = await made(alice)
    path = f"/image/v2/images/{image['id']}"
    await alice.post(path + "/import", DIRECT, expect=409)
    await send(alice, image["id"], b"staged", to="stage", expect=204)
    shown = await alice.get(path)
    assert (shown["status"], shown["size"]) == ("uploading", 6)
    answer = await alice.post(path + "/import", DIRECT, expect=202)
    await door.operations.all_settled()
    assert (await alice.get(path))["status"] == "active"
    assert (await alice.get(path + "/file")).body == b"staged"
    (task,) = (await alice.get(path + "/tasks"))["tasks"]
    assert (task["status"], task["input"]["import_req"]) == ("success", DIRECT)
    assert task["request_id"] == answer.headers["X-Openstack-Request-Id"]
    assert files(door) == [image["id"]]
    await alice.get(f"/image/v2/tasks/{task['id']}", expect=403)  # tasks as such are for administrators
    admin = door.client("admin")
    assert (await admin.get(f"/image/v2/tasks/{task['id']}"))["message"] == ""
    assert len((await admin.get("/image/v2/tasks"))["tasks"]) == 1


async def test_a_failed_import_tells_why_and_leaves_the_image_queued(door: Door) -> None:
    alice = door.client("alice")
    image = await made(alice, disk_format="qcow2")
    path = f"/image/v2/images/{image['id']}"
    await send(alice, image["id"], b"no qcow2 at all", to="stage", expect=204)
    await alice.post(path + "/import", DIRECT, expect=202)
    await door.operations.all_settled()
    (task,) = (await alice.get(path + "/tasks"))["tasks"]
    assert task["status"] == "failure"
    assert "it is raw" in task["message"]
    assert (await alice.get(path))["status"] == "queued"
    assert files(door) == []


async def test_bad_imports_are_refused(door: Door) -> None:
    alice = door.client("alice")
    path = f"/image/v2/images/{(await made(alice))['id']}/import"
    for body in ({}, {"method": {}}, {"method": {"name": "zzz"}}, {"method": {"name": "web-download"}},
                 {"method": {"name": "web-download", "uri": "file:///etc/passwd"}},
                 {"method": {"name": "web-download", "uri": "http://user@example.org/"}}):  # fmt: skip
        await alice.post(path, body, expect=400)
    await alice.post(f"/image/v2/images/{NOWHERE}/import", DIRECT, expect=404)
    await alice.post(path, {**DIRECT, "stores": ["elsewhere"]}, expect=409)
    await alice.post(path, DIRECT, headers={"X-Image-Meta-Store": "elsewhere"}, expect=409)
    await alice.post(path, {**DIRECT, "stores": ["file"], "all_stores": True}, expect=400)
    shapeless = f"/image/v2/images/{(await made(alice, disk_format=None))['id']}"
    await send(alice, shapeless.rpartition("/")[2], b"x", to="stage", expect=204)
    await alice.post(shapeless + "/import", DIRECT, expect=409)
    assert (await alice.get("/image/v2/info/import"))["import-methods"]["value"] == [
        "glance-direct",
        "web-download",
        "copy-image",
    ]
    assert (await alice.get("/image/v2/info/stores"))["stores"][0]["id"] == "file"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "169.254.169.254", "[::1]", "[::ffff:10.0.0.1]", "192.168.1.1", "224.0.0.1", "[ff0e::1]", "[fec0::1]",
        "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b::a9fe:a9fe]", "[2002:7f00:1::]", "[fe80::1%25lo]", "0.0.0.0",
        "1.1.1.1:8080", "[2606:4700::1111]:22",
    ],
)  # fmt: skip
async def test_the_neighbourhood_is_off_limits(door: Door, host: str) -> None:
    alice = door.client("alice")
    path = f"/image/v2/images/{(await made(alice))['id']}/import"
    await alice.post(path, {"method": {"name": "web-download", "uri": f"http://{host}/x"}}, expect=400)


@pytest.mark.parametrize("host", ["localhost", "2130706433", "0x7f.1", "127.1"])
async def test_a_name_that_leads_home_is_off_limits_too(door: Door, host: str) -> None:
    alice, asked = door.client("alice"), asyncio.Event()

    async def canary(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.set()
        writer.close()

    async with await asyncio.start_server(canary, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        path = f"/image/v2/images/{(await made(alice))['id']}"
        body = {"method": {"name": "web-download", "uri": f"http://{host}:{port}/x"}}
        await alice.post(path + "/import", body, expect=202)
        await door.operations.all_settled()
    (task,) = (await alice.get(path + "/tasks"))["tasks"]
    assert (task["status"], task["message"][:15]) == ("failure", "Cannot download")
    assert not asked.is_set()


async def test_an_allowed_network_is_downloaded_from(tmp_path: Path) -> None:
    config = Config(paths=Paths(state=str(tmp_path)), image=ImageConfig(import_networks=("127.0.0.0/8",)))
    async with open_door(tmp_path, lambda *built: [Image(*built)], config) as door, web_server() as url:
        alice = door.client("alice")
        image, missing = await made(alice), await made(alice)
        for one, place in ((image, "/moved"), (missing, "/nothing")):
            body = {"method": {"name": "web-download", "uri": url + place}}
            await alice.post(f"/image/v2/images/{one['id']}/import", body, expect=202)
        await door.operations.all_settled()
        assert (await alice.get(f"/image/v2/images/{image['id']}/file")).body == b"from afar"
        assert (await alice.get(f"/image/v2/images/{missing['id']}"))["status"] == "queued"


async def test_an_import_under_way_tells_how_far_it_is(tmp_path: Path) -> None:
    config = Config(paths=Paths(state=str(tmp_path)), image=ImageConfig(import_networks=("127.0.0.0/8",)))
    more = asyncio.Event()
    async with open_door(tmp_path, lambda *built: [Image(*built)], config) as door, web_server(more) as url:
        alice = door.client("alice")
        path = f"/image/v2/images/{(await made(alice))['id']}"
        await alice.post(path + "/import", {"method": {"name": "web-download", "uri": url + "/slow"}}, expect=202)
        while (await alice.get(path))["size"] != 3 * 1024**2:
            await asyncio.sleep(0.01)
        (task,) = (await alice.get(path + "/tasks"))["tasks"]
        assert (task["status"], task["message"]) == ("processing", "Copied 3 MiB")
        more.set()
        await door.operations.all_settled()
        shown = await alice.get(path)
        assert (shown["status"], shown["size"]) == ("active", 3 * 1024**2 + 4)


async def test_a_download_without_end_is_given_up(tmp_path: Path) -> None:
    settings = ImageConfig(import_networks=("127.0.0.0/8",), import_seconds=1)
    config = Config(paths=Paths(state=str(tmp_path)), image=settings)
    async with open_door(tmp_path, lambda *built: [Image(*built)], config) as door, web_server() as url:
        alice = door.client("alice")
        path = f"/image/v2/images/{(await made(alice))['id']}"
        await alice.post(path + "/import", {"method": {"name": "web-download", "uri": url + "/drip"}}, expect=202)
        await door.operations.all_settled()
        (task,) = (await alice.get(path + "/tasks"))["tasks"]
        assert (task["status"], "longer than 1 s" in task["message"]) == ("failure", True)
        assert ((await alice.get(path))["status"], files(door)) == ("queued", [])


async def test_a_copy_goes_nowhere_as_there_is_one_store(door: Door) -> None:
    alice = door.client("alice")
    queued, whole = await made(alice), await uploaded(alice, b"x")
    copy = {"method": {"name": "copy-image"}}
    await alice.post(f"/image/v2/images/{queued['id']}/import", copy, expect=409)
    path = f"/image/v2/images/{whole['id']}"
    await alice.post(path + "/import", copy, expect=400)
    await alice.post(path + "/import", {**copy, "all_stores": True}, expect=202)
    assert (await alice.get(path + "/tasks"))["tasks"] == []


async def imported(door: Door, data: bytes, **body: str) -> tuple[dict[str, Any], str]:
    """An image after an import of staged bytes, and what its task says."""
    alice = door.client("alice")
    image = await made(alice, **body)
    path = f"/image/v2/images/{image['id']}"
    await send(alice, image["id"], data, to="stage", expect=204)
    await alice.post(path + "/import", DIRECT, expect=202)
    await door.operations.all_settled()
    (task,) = (await alice.get(path + "/tasks"))["tasks"]
    shown = dict((await alice.get(path)).body)
    assert files(door) == ([image["id"]] if shown["status"] == "active" else [])
    return shown, task["message"]


PACKED = {"gzip": gzip.compress, "xz": lzma.compress, "zstd": zstd.compress}


@pytest.mark.parametrize("name", PACKED)
async def test_a_packed_image_is_unpacked(door: Door, name: str) -> None:
    data = bytes(range(256)) * 20_000
    half = len(data) // 2
    packed = PACKED[name](data[:half]) + PACKED[name](data[half:])  # several members after each other
    shown, _ = await imported(door, packed, container_format="compressed")
    told = (shown["status"], shown["container_format"], shown["size"], shown["checksum"])
    assert told == ("active", "bare", len(data), hashlib.md5(data).hexdigest())


@pytest.mark.parametrize("name", PACKED)
async def test_a_packed_image_that_is_damaged_or_cut_off_is_refused(door: Door, name: str) -> None:
    packed = PACKED[name](bytes(range(256)) * 20_000)
    assert "cut off" in (await imported(door, packed[:-9]))[1]
    for data in (packed[:200] + b"\xff" * 200 + packed[400:], packed + b"something else"):
        shown, message = await imported(door, data)
        assert (shown["status"], "damaged" in message or "cut off" in message) == ("queued", True), message


async def test_what_is_packed_for_a_kernel_stays_packed(door: Door) -> None:
    packed = gzip.compress(b"an initial RAM disk")
    shown, _ = await imported(door, packed, disk_format="ari", container_format="ari")
    assert shown["size"] == len(packed)


async def test_a_bomb_ends_at_the_limit(tmp_path: Path) -> None:
    config = Config(paths=Paths(state=str(tmp_path)), image=ImageConfig(size_limit=1_000_000))
    async with open_door(tmp_path, lambda *built: [Image(*built)], config) as door:
        for pack in PACKED.values():
            assert "larger than the limit" in (await imported(door, pack(b"\1" * 50_000_000)))[1]


def ova(*names: str, data: bytes) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return sink.getvalue()


async def test_an_ova_gives_its_one_disk(door: Door) -> None:
    package = ova("machine.ovf", "disk1.vmdk", data=sparse_vmdk())
    for data in (package, gzip.compress(package)):
        shown, message = await imported(door, data, disk_format="vmdk", container_format="ova")
        assert (shown["status"], shown["disk_format"], shown["container_format"]) == ("active", "qcow2", "bare"), (
            message
        )
        await door.client("alice").delete(f"/image/v2/images/{shown['id']}", expect=204)
    for broken in (
        ova("a.ovf", data=b"x"),
        ova("a.vmdk", "b.vmdk", data=b"x"),
        package[:3000],
        package[:600] + b"x" * 9000,
    ):
        shown, message = await imported(door, broken, disk_format="vmdk", container_format="ova")
        assert (shown["status"], message.startswith("Cannot take the OVA")) == ("queued", True), message
