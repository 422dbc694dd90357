"""Unified limits: defaults registered for resources, other limits for projects and domains."""

from __future__ import annotations

from tests.conftest import Cloud

V3 = "/identity/v3"


async def test_limits_hang_on_registered_ones(cloud: Cloud) -> None:
    service_id = (await cloud.admin.get(f"{V3}/services?type=identity"))["services"][0]["id"]
    told = {"service_id": service_id, "resource_name": "things", "default_limit": 5}
    limit = {
        "service_id": service_id,
        "resource_name": "things",
        "project_id": cloud.demo.project_id,
        "resource_limit": 7,
    }
    await cloud.admin.post(f"{V3}/limits", {"limits": [limit]}, expect=403)
    made = (await cloud.admin.post(f"{V3}/registered_limits", {"registered_limits": [told]}, expect=201))[
        "registered_limits"
    ]
    await cloud.admin.post(f"{V3}/registered_limits", {"registered_limits": [told]}, expect=409)
    await cloud.demo.post(f"{V3}/registered_limits", {"registered_limits": [told]}, expect=403)
    path = f"{V3}/registered_limits/{made[0]['id']}"
    changed = await cloud.admin.patch(path, {"registered_limit": {"default_limit": 6}}, expect=200)
    assert changed["registered_limit"] == made[0] | {"default_limit": 6}
    one = (await cloud.admin.post(f"{V3}/limits", {"limits": [limit]}, expect=201))["limits"][0]
    await cloud.admin.post(f"{V3}/limits", {"limits": [limit]}, expect=409)
    await cloud.admin.post(f"{V3}/limits", {"limits": [limit | {"domain_id": "default"}]}, expect=400)
    assert (await cloud.demo.get(f"{V3}/limits"))["limits"] == [one]
    stranger = await cloud.person("stranger", project="elsewhere")
    assert (await stranger.get(f"{V3}/limits"))["limits"] == []
    await stranger.get(f"{V3}/limits/{one['id']}", expect=403)
    await cloud.admin.delete(path, expect=403)
    await cloud.admin.patch(path, {"registered_limit": {"resource_name": "others"}}, expect=403)
    assert (await cloud.demo.get(f"{V3}/limits/model"))["model"]["name"] == "flat"
    await cloud.admin.patch(f"{V3}/limits/{one['id']}", {"limit": {"resource_limit": 9}}, expect=200)
    await cloud.admin.delete(f"{V3}/limits/{one['id']}", expect=204)
    await cloud.admin.delete(path, expect=204)
    await cloud.admin.get(path, expect=404)
