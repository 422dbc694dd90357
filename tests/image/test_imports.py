"""Imports over HTTP: staged bytes, downloads, and the cloud's own neighbourhood being off limits."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from minicloud.config import Config, Paths
from minicloud.config import Image as ImageConfig
from minicloud.image import Image
from tests.door import Door, open_door
from tests.image.test_images import NOWHERE, made, send
from tests.image.test_uploads import files

DIRECT = {"method": {"name": "glance-direct"}}


@contextlib.asynccontextmanager
async def web_server() -> AsyncIterator[str]:
    """A server on the loopback with one file and one redirect to it."""

    async def file(request: web.Request) -> web.Response:
        return web.Response(body=b"from afar")

    async def moved(request: web.Request) -> web.Response:
        raise web.HTTPFound("/file")

    app = web.Application()
    app.router.add_get("/file", file)
    app.router.add_get("/moved", moved)
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
    assert (await alice.get(f"/image/v2/tasks/{task['id']}"))["message"] == ""
    await door.client("bob").get(f"/image/v2/tasks/{task['id']}", expect=404)
    assert len((await alice.get("/image/v2/tasks"))["tasks"]) == 1


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
    assert (await alice.get("/image/v2/info/import"))["import-methods"]["value"] == ["glance-direct", "web-download"]
    assert (await alice.get("/image/v2/info/stores"))["stores"][0]["id"] == "file"


@pytest.mark.parametrize("host", ["127.0.0.1", "169.254.169.254", "[::1]", "[::ffff:10.0.0.1]", "192.168.1.1"])
async def test_the_neighbourhood_is_off_limits(door: Door, host: str) -> None:
    alice = door.client("alice")
    path = f"/image/v2/images/{(await made(alice))['id']}/import"
    await alice.post(path, {"method": {"name": "web-download", "uri": f"http://{host}/x"}}, expect=403)


async def test_a_name_that_leads_home_is_off_limits_too(door: Door) -> None:
    alice = door.client("alice")
    image = await made(alice)
    path = f"/image/v2/images/{image['id']}"
    await alice.post(path + "/import", {"method": {"name": "web-download", "uri": "http://localhost:1/x"}}, expect=202)
    await door.operations.all_settled()
    (task,) = (await alice.get(path + "/tasks"))["tasks"]
    assert task["status"] == "failure"
    assert task["message"].startswith("Cannot download")


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
