"""Metadata definitions over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastjsonschema

from minicloud.image import Image
from tests.door import Door, open_door

ALL = "/image/v2/metadefs/namespaces"


async def test_a_namespace_keeps_what_is_in_it(door: Door) -> None:
    admin, alice = door.client("admin"), door.client("alice")
    body = {"namespace": "CPU", "visibility": "public", "protected": True, "tags": [{"name": "a"}],
            "resource_type_associations": [{"name": "OS::Glance::Image"}]}  # fmt: skip
    await alice.post(ALL, body, expect=403)
    made = await admin.post(ALL, body, expect=201)
    assert made["resource_type_associations"][0]["name"] == "OS::Glance::Image"
    await admin.post(ALL, body, expect=409)
    about = (await alice.get(ALL + "?resource_types=OS::Glance::Image&limit=100"))["namespaces"]
    assert "CPU" in [one["namespace"] for one in about]
    assert (await alice.get(ALL + "/CPU"))["tags"] == [{"name": "a"}]
    await admin.delete(ALL + "/CPU", expect=403)
    changed = await admin.put(
        ALL + "/CPU", {"namespace": "CPU2", "protected": False, "visibility": "private"}, expect=200
    )
    assert changed["self"] == "/v2/metadefs/namespaces/CPU2"
    await alice.get(ALL + "/CPU2", expect=404)
    await admin.delete(ALL + "/CPU2", expect=204)
    await admin.get(ALL + "/CPU2", expect=404)


async def test_a_new_cloud_knows_the_usual_definitions_and_keeps_what_becomes_of_them(tmp_path: Path) -> None:
    one = f"{ALL}/OS::Compute::VirtCPUTopology"
    async with open_door(tmp_path, lambda *built: [Image(*built)]) as door:
        admin, carol = door.client("admin"), door.client("carol")
        names = [told["namespace"] for told in (await carol.get(ALL + "?limit=100"))["namespaces"]]
        assert {"OS::Compute::LibvirtImage", "OS::Compute::Quota", "OS::Glance::CommonImageProperties"} <= set(names)
        about = {told["name"]: told for told in (await carol.get(one))["resource_type_associations"]}
        assert about["OS::Nova::Flavor"]["prefix"] == "hw:"
        assert about["OS::Cinder::Volume"]["properties_target"] == "image"
        cores = await carol.get(f"{ALL}/OS::Compute::VirtCPUTopology/properties/cpu_cores")
        assert (cores["type"], cores["minimum"]) == ("integer", 1)
        for name in names:
            for told in (await carol.get(f"{ALL}/{name}/properties"))["properties"].values():
                assert told["title"] and told["description"].endswith(".")
        await admin.put(one, {"namespace": "OS::Compute::VirtCPUTopology", "protected": False}, expect=200)
        await admin.delete(one, expect=204)
    async with open_door(tmp_path, lambda *built: [Image(*built)]) as door:
        await door.client("admin").get(one, expect=404)


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
    await admin.post(tags, {"tags": [{"name": "c"}]}, headers={"X-Openstack-Append": "True"}, expect=201)
    assert [one["name"] for one in (await admin.get(tags))["tags"]] == ["a", "b", "c"]
    await admin.delete(tags, expect=204)
    assert (await admin.get(tags))["tags"] == []
    types = f"{ALL}/N/resource_types"
    await admin.post(types, {"name": "OS::Nova::Server", "prefix": "hw_"}, expect=201)
    assert (await admin.get(types))["resource_type_associations"][0]["prefix"] == "hw_"
    await admin.post(types, {"name": "Our::Thing"}, expect=201)
    named = (await admin.get("/image/v2/metadefs/resource_types"))["resource_types"]
    assert [one["name"] for one in named].count("OS::Nova::Server") == 1 and {"name": "Our::Thing"} in named
    await admin.delete(types + "/OS::Nova::Server", expect=204)
    await admin.delete(types + "/OS::Nova::Server", expect=404)


async def test_what_is_told_fits_its_schema(door: Door) -> None:
    """Clients check answers by the schemas, and refuse what does not fit."""
    admin = door.client("admin")

    async def checker(name: str) -> Callable[[Any], Any]:
        schema = (await admin.get(f"/image/v2/schemas/metadefs/{name}")).body
        found: Callable[[Any], Any] = fastjsonschema.compile({**schema, "type": "object"})
        return found

    fits, fits_object = await checker("namespace"), await checker("object")
    for told in (await admin.get(ALL + "?limit=100"))["namespaces"]:
        fits(told)
    await admin.post(ALL, {"namespace": "N"}, expect=201)
    one = {"name": "o", "properties": {"p": {"title": "P", "type": "string"}}}
    fits_object(one)
    fits_object((await admin.post(f"{ALL}/N/objects", one, expect=201)).body)
    (await checker("property"))({"name": "p", "title": "P", "type": "string"})


async def test_every_kind_has_its_schemas(door: Door) -> None:
    alice = door.client("alice")
    for path in ("namespace", "objects", "property", "tags"):
        assert (await alice.get(f"/image/v2/schemas/metadefs/{path}"))["name"] == path
    assert (await alice.get("/image/v2/schemas/metadefs/resource_type"))["name"] == "resource_type_association"


async def test_nothing_of_a_protected_namespace_is_deleted(door: Door) -> None:
    admin, one = door.client("admin"), f"{ALL}/P"
    body = {
        "namespace": "P", "protected": True, "tags": [{"name": "t"}], "objects": [{"name": "o"}],
        "properties": {"p": {"title": "P", "type": "string"}},
        "resource_type_associations": [{"name": "OS::Home::Lab", "prefix": "lab:"}],
    }  # fmt: skip
    await admin.post(ALL, body, expect=201)
    before = (await admin.get(one)).body
    for path in (
        "", "/tags", "/tags/t", "/objects", "/objects/o", "/properties", "/properties/p", "/resource_types/OS::Home::Lab",
    ):  # fmt: skip
        await admin.delete(one + path, expect=403)
    assert (await admin.get(one)).body == before
    await admin.delete(one + "/tags/nope", expect=404)
    types = (await admin.get("/image/v2/metadefs/resource_types"))["resource_types"]
    assert {"name": "OS::Home::Lab"} in types


async def test_definitions_are_told_with_the_prefix_of_a_type(door: Door) -> None:
    admin, one = door.client("admin"), f"{ALL}/Q"
    inner = {"title": "P", "type": "string"}
    body = {
        "namespace": "Q", "objects": [{"name": "o", "properties": {"a": inner}, "required": ["a"]}], "properties": {"p": inner},
        "resource_type_associations": [{"name": "OS::Nova::Flavor", "prefix": "hw:"}, {"name": "OS::Nova::Server"}],
    }  # fmt: skip
    await admin.post(ALL, body, expect=201)
    for kind, prefix in (("OS::Nova::Flavor", "hw:"), ("OS::Nova::Server", ""), ("elsewhere", "")):
        told = (await admin.get(f"{one}?resource_type={kind}")).body
        assert told["properties"] == {f"{prefix}p": inner}
        assert (told["objects"][0]["properties"], told["objects"][0]["required"]) == (
            {f"{prefix}a": inner}, [f"{prefix}a"],
        )  # fmt: skip
    for bad in ({"properties": 5}, {"properties": {"x": 5}}, {"required": "x"}, {"required": [5]}):
        await admin.post(one + "/objects", {"name": "bad", **bad}, expect=400)
        await admin.post(ALL, {"namespace": "bad", "objects": [{"name": "bad", **bad}]}, expect=400)


async def test_tags_are_replaced_or_appended_and_an_update_replaces_what_it_leaves_out(door: Door) -> None:
    admin, one = door.client("admin"), f"{ALL}/T"
    body = {"namespace": "T", "visibility": "public", "description": "d", "tags": [{"name": "a"}]}
    await admin.post(ALL, body, expect=201)
    await admin.post(one + "/tags", {"tags": [{"name": "b"}]}, headers={"X-Openstack-Append": "True"}, expect=201)
    assert [tag["name"] for tag in (await admin.get(one))["tags"]] == ["a", "b"]
    await admin.post(one + "/tags", {"tags": [{"name": "c"}]}, expect=201)
    assert [tag["name"] for tag in (await admin.get(one))["tags"]] == ["c"]
    changed = await admin.put(one, {"namespace": "T"}, expect=200)
    assert (changed["visibility"], "description" in changed.body) == ("private", False)
