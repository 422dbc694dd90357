"""Nova's old window on images, for clients that speak 2.1."""

from __future__ import annotations

from typing import Any

from tests.compute.conftest import Yard

IMAGES = "/compute/v2.1/images"


async def test_an_image_made_of_a_server_is_found_described_and_removed(yard: Yard) -> None:
    server_id = await yard.launch()
    made = await yard.act(server_id, {"createImage": {"name": "mine", "metadata": {"a": "b"}}})
    path = f"{IMAGES}/{made['image_id']}"
    image = (await yard.demo.get(path))["image"]
    other = await yard.act(server_id, {"createImage": {"name": "other", "metadata": {"image_type": "mine"}}})
    assert (await yard.demo.get(f"{IMAGES}/{other['image_id']}/metadata/image_type"))["meta"] == {"image_type": "mine"}
    await yard.demo.delete(f"{IMAGES}/{other['image_id']}", expect=204)
    assert (image["name"], image["status"], image["progress"], image["server"]["id"]) == (
        "mine",
        "ACTIVE",
        100,
        server_id,
    )
    assert image["metadata"]["a"] == "b"
    assert [link["rel"] for link in image["links"]] == ["self", "bookmark", "alternate"]

    async def found(query: str) -> list[Any]:
        return [one["name"] for one in (await yard.demo.get(f"{IMAGES}/detail?{query}"))["images"]]

    assert (
        await found(f"server={server_id}")
        == await found("type=snapshot")
        == await found("name=mine&status=active")
        == ["mine"]
    )
    assert await found("minDisk=100000") == await found("changes-since=2999-01-01T00:00:00Z") == []
    assert "mine" not in await found("type=base")
    page = (await yard.demo.get(f"{IMAGES}?limit=1")).body
    assert [one["name"] for one in page["images"]] == ["mine"] and "marker=" in page["images_links"][0]["href"]
    await yard.demo.get(f"{IMAGES}?marker=nothing", expect=400)
    await yard.demo.get(f"{IMAGES}?minRam=some", expect=400)

    assert (await yard.demo.post(f"{path}/metadata", {"metadata": {"c": "d"}}, expect=200))["metadata"]["c"] == "d"
    assert (await yard.demo.put(f"{path}/metadata/c", {"meta": {"c": "e"}}, expect=200)).body == {"meta": {"c": "e"}}
    await yard.demo.put(f"{path}/metadata/c", {"meta": {"d": "e"}}, expect=400)
    await yard.demo.delete(f"{path}/metadata/c", expect=204)
    await yard.demo.get(f"{path}/metadata/c", expect=404)
    assert (await yard.demo.put(f"{path}/metadata", {"metadata": {"x": "y"}}, expect=200)).body == {
        "metadata": {"x": "y"}
    }
    await yard.demo.delete(path, expect=204)
    await yard.demo.get(path, expect=404)
    await yard.demo.get(IMAGES, expect=404, headers={"OpenStack-API-Version": "compute 2.36"})


async def test_nobody_describes_an_image_of_others(yard: Yard) -> None:
    image = (await yard.demo.get(IMAGES))["images"][0]
    await yard.demo.post(f"{IMAGES}/{image['id']}/metadata", {"metadata": {"c": "d"}}, expect=403)
    await yard.demo.delete(f"{IMAGES}/{image['id']}", expect=403)
