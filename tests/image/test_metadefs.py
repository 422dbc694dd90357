"""Metadata definitions over HTTP."""

from __future__ import annotations

from tests.door import Door

ALL = "/image/v2/metadefs/namespaces"


async def test_a_namespace_keeps_what_is_in_it(door: Door) -> None:
    admin, alice = door.client("admin"), door.client("alice")
    body = {"namespace": "CPU", "visibility": "public", "protected": True, "tags": [{"name": "a"}],
            "resource_type_associations": [{"name": "OS::Glance::Image"}]}  # fmt: skip
    await alice.post(ALL, body, expect=403)
    made = await admin.post(ALL, body, expect=201)
    assert made["resource_type_associations"][0]["name"] == "OS::Glance::Image"
    await admin.post(ALL, body, expect=409)
    assert [one["namespace"] for one in (await alice.get(ALL + "?resource_types=OS::Glance::Image"))["namespaces"]] == [
        "CPU"
    ]
    assert (await alice.get(ALL + "/CPU"))["tags"] == [{"name": "a"}]
    await admin.delete(ALL + "/CPU", expect=403)
    changed = await admin.put(
        ALL + "/CPU", {"namespace": "CPU2", "protected": False, "visibility": "private"}, expect=200
    )
    assert changed["self"] == "/v2/metadefs/namespaces/CPU2"
    await alice.get(ALL + "/CPU2", expect=404)
    await admin.delete(ALL + "/CPU2", expect=204)
    await admin.get(ALL + "/CPU2", expect=404)


async def test_objects_properties_and_tags_come_change_and_go(door: Door) -> None:
    admin = door.client("admin")
    await admin.post(ALL, {"namespace": "N"}, expect=201)
    for plural, body, new in (
        ("objects", {"name": "o", "properties": {}}, {"name": "o2"}),
        ("properties", {"name": "p", "title": "P", "type": "string"}, {"name": "p2", "title": "P2", "type": "string"}),
    ):
        path = f"{ALL}/N/{plural}"
        await admin.post(path, body, expect=201)
        await admin.post(path, body, expect=409)
        await admin.post(path, {"title": "no name"}, expect=400)
        assert (await admin.put(f"{path}/{body['name']}", new, expect=200))["name"] == new["name"]
        await admin.get(f"{path}/{body['name']}", expect=404)
        await admin.delete(f"{path}/{new['name']}", expect=204)
        assert not (await admin.get(path))[plural]
    tags = f"{ALL}/N/tags"
    await admin.post(tags, {"tags": [{"name": "a"}, {"name": "b"}]}, expect=201)
    await admin.post(tags + "/c", expect=201)
    assert [one["name"] for one in (await admin.get(tags))["tags"]] == ["a", "b", "c"]
    await admin.delete(tags, expect=204)
    assert (await admin.get(tags))["tags"] == []
    types = f"{ALL}/N/resource_types"
    await admin.post(types, {"name": "OS::Nova::Server", "prefix": "hw_"}, expect=201)
    assert (await admin.get(types))["resource_type_associations"][0]["prefix"] == "hw_"
    await admin.delete(types + "/OS::Nova::Server", expect=204)
    await admin.delete(types + "/OS::Nova::Server", expect=404)


async def test_every_kind_has_its_schemas(door: Door) -> None:
    alice = door.client("alice")
    for path in ("namespace", "objects", "property", "tags"):
        assert (await alice.get(f"/image/v2/schemas/metadefs/{path}"))["name"] == path
    assert (await alice.get("/image/v2/schemas/metadefs/resource_type"))["name"] == "resource_type_association"
