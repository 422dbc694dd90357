"""Limits that an administrator registers with Keystone bind the projects' images, as Glance with `use_keystone_limits`."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Client, running_cloud

IMAGES, LIMITS = "/image/v2/images", "/identity/v3/limits"
MIB = 1024**2
RAW = {"name": "one", "disk_format": "raw", "container_format": "bare"}
OCTETS = {"Content-Type": "application/octet-stream"}


async def put(client: Client, size: int, *, to: str = "file", expect: int = 204) -> str:
    image = (await client.post(IMAGES, RAW, expect=201))["id"]
    await client.put(f"{IMAGES}/{image}/{to}", data=bytes(size), headers=OCTETS, expect=expect)
    return str(image)


async def test_limits_registered_with_keystone_bind_images(tmp_path: Path) -> None:
    async with running_cloud(tmp_path) as cloud:
        admin, demo = cloud.admin, cloud.demo
        service = (await admin.get("/identity/v3/services?type=image"))["services"][0]["id"]
        names = ("image_count_total", "image_count_uploading", "image_size_total", "image_stage_total")
        registered = [{"service_id": service, "resource_name": name, "default_limit": 9} for name in names]
        await admin.post("/identity/v3/registered_limits", {"registered_limits": registered}, expect=201)
        usage = (await demo.get("/image/v2/info/usage"))["usage"]
        assert {name: told["limit"] for name, told in usage.items()} == dict.fromkeys(names, 9)

        own = {"service_id": service, "project_id": demo.project_id, "resource_name": "image_size_total"}
        body = {
            "limits": [
                {**own, "resource_limit": 1},
                {**own, "resource_name": "image_count_uploading", "resource_limit": 1},
            ]
        }
        size, uploading = [one["id"] for one in (await admin.post(LIMITS, body, expect=201))["limits"]]
        await put(demo, MIB)
        over = await put(demo, 2 * MIB)  # at the limit, not over it: one more may begin, of any length
        refused = await put(demo, 1, expect=413)
        assert (await demo.get("/image/v2/info/usage"))["usage"]["image_size_total"] == {"limit": 1, "usage": 3}
        await put(admin, MIB)  # another project has the default

        waiting = await put(demo, MIB, to="stage")
        await put(demo, 1, to="stage", expect=413)
        await admin.patch(f"{LIMITS}/{uploading}", {"limit": {"resource_limit": 2}}, expect=200)
        await admin.patch(f"{LIMITS}/{size}", {"limit": {"resource_limit": 3}}, expect=200)
        await demo.put(f"{IMAGES}/{refused}/file", data=b"x", headers=OCTETS, expect=204)

        body = {"limits": [{**own, "resource_name": "image_count_total", "resource_limit": 5}]}
        await admin.post(LIMITS, body, expect=201)
        assert len((await demo.get(IMAGES))["images"]) == 5
        assert "5 of 5 (image_count_total)" in str((await demo.post(IMAGES, RAW, expect=413)).body)
        for image in (over, waiting):
            await demo.delete(f"{IMAGES}/{image}", expect=204)
        await demo.post(IMAGES, RAW, expect=201)
