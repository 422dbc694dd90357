"""Volumes: from each source, shown, listed, changed, gone."""

from __future__ import annotations

import pytest

from tests.door import Door
from tests.volume.conftest import ROOT, Volumes, make_image


def files(door: Door) -> set[str]:
    folder = door.config.state / "volumes"
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


async def test_a_blank_volume_becomes_available_and_has_a_file(door: Door, alice: Volumes) -> None:
    made = await alice.make(name="data", description="d", metadata={"a": "b"})
    assert made["status"] == "available"
    assert (made["size"], made["bootable"], made["volume_type"]) == (1, "false", "__DEFAULT__")
    assert made["metadata"] == {"a": "b"}
    assert made["attachments"] == []
    assert files(door) == {f"{made['id']}.qcow2"}


async def test_a_volume_of_an_image_is_bootable_and_remembers_it(door: Door, alice: Volumes) -> None:
    image = await make_image(door.client("alice"), b"\x01" * 4096)
    made = await alice.make(imageRef=image)
    assert (made["status"], made["bootable"]) == ("available", "true")
    assert made["volume_image_metadata"]["image_id"] == image


async def test_a_clone_does_not_need_its_source(door: Door, alice: Volumes) -> None:
    source = await alice.make()
    clone = await alice.make(source_volid=source["id"], size=2)
    assert (clone["status"], clone["size"]) == ("available", 2)
    await alice.call("DELETE", f"/volumes/{source['id']}", expect=202)
    await door.operations.all_settled()
    assert files(door) == {f"{clone['id']}.qcow2"}


async def test_deleting_leaves_no_file_and_no_row(door: Door, alice: Volumes) -> None:
    made = await alice.make()
    await alice.call("DELETE", f"/volumes/{made['id']}", expect=202)
    await door.operations.all_settled()
    await alice.call("GET", f"/volumes/{made['id']}", expect=404)
    assert files(door) == set()


async def test_a_failed_making_says_error_and_why(door: Door, alice: Volumes) -> None:
    door.world.fail("disks.create")
    made = await alice.make()
    assert made["status"] == "error"
    messages = (await alice.call("GET", "/messages", expect=200))["messages"]
    assert messages[0]["resource_uuid"] == made["id"]
    assert files(door) == set()
    await alice.call("DELETE", f"/volumes/{made['id']}", expect=202)


async def test_other_projects_see_nothing(door: Door, alice: Volumes) -> None:
    made = await alice.make()
    bob = Volumes(door, "bob")
    assert (await bob.call("GET", "/volumes"))["volumes"] == []
    for method in ("GET", "DELETE"):
        answer = await bob.call(method, f"/volumes/{made['id']}", expect=404)
        assert answer["itemNotFound"]["code"] == 404
    await bob.call("POST", "/volumes", {"volume": {"source_volid": made["id"]}}, expect=404)


async def test_a_reader_may_look_only(door: Door, alice: Volumes) -> None:
    made = await alice.make()
    carol = Volumes(door, "carol")
    await carol.call("GET", f"/volumes/{made['id']}", expect=200)
    await carol.call("DELETE", f"/volumes/{made['id']}", expect=403)
    await carol.call("POST", "/volumes", {"volume": {"size": 1}}, expect=403)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "q"}, 400), ({"size": 0}, 400), ({"size": -1}, 400), ({"size": "zz"}, 400),
        ({"size": 1, "volume_type": "zz"}, 404), ({"size": 1, "availability_zone": "zz"}, 400),
        ({"size": 1, "snapshot_id": "00000000-0000-0000-0000-000000000000"}, 404),
        ({"size": 1, "source_volid": "00000000-0000-0000-0000-000000000000"}, 404),
        ({"size": 1, "imageRef": "00000000-0000-0000-0000-000000000000"}, 400),
        ({"size": 1, "unknown": 1}, 400), ({"size": 1, "metadata": {"a": 1}}, 400), ({"size": 1, "name": "n" * 256}, 400),
    ],
)  # fmt: skip
async def test_what_cannot_be_made_is_refused(alice: Volumes, body: dict[str, object], status: int) -> None:
    await alice.call("POST", "/volumes", {"volume": body}, expect=status)
    assert (await alice.call("GET", "/volumes"))["volumes"] == []


async def test_over_quota_is_413_and_takes_nothing(door: Door, alice: Volumes) -> None:
    answer = await alice.call("POST", "/volumes", {"volume": {"size": 1001}}, expect=413)
    assert "overLimit" in answer.body
    assert (await alice.call("GET", "/volumes"))["volumes"] == []


async def test_lists_page_from_the_newest(alice: Volumes) -> None:
    made = [(await alice.make(name=f"v{number}"))["id"] for number in range(3)]
    listed = await alice.call("GET", "/volumes?limit=2")
    assert [one["id"] for one in listed["volumes"]] == made[:0:-1]
    assert "marker=" + made[1] in listed["volumes_links"][0]["href"]
    rest = await alice.call("GET", f"/volumes?limit=2&marker={made[1]}")
    assert [one["id"] for one in rest["volumes"]] == made[:1]
    assert [one["id"] for one in (await alice.call("GET", "/volumes?offset=2"))["volumes"]] == made[:1]
    assert (await alice.call("GET", "/volumes?with_count=True&limit=1"))["count"] == 3
    await alice.call("GET", "/volumes?limit=-1", expect=400)
    await alice.call("GET", "/volumes?marker=nothing", expect=404)
    await alice.call("GET", "/volumes?sort=zz", expect=400)


async def test_filters_find_what_they_name(alice: Volumes) -> None:
    one = await alice.make(name="red", metadata={"k": "v", "l": "w"})
    await alice.make(name="blue")

    async def found(query: str) -> list[str]:
        return [row["id"] for row in (await alice.call("GET", f"/volumes/detail?{query}", expect=200))["volumes"]]

    assert await found("name=red") == [one["id"]]
    assert await found("name~=re") == [one["id"]]
    assert await found("metadata={'k':'v'}") == [one["id"]]
    assert await found("status=error") == []
    assert len(await found("bootable=false&availability_zone=nova")) == 2
    assert len(await found("created_at=gt:2020-01-01T00:00:00")) == 2
    await alice.call("GET", "/volumes?zz=1", expect=400)
    old = Volumes(alice.door, "alice", "3.0")
    assert len((await old.call("GET", "/volumes?zz=1", expect=200))["volumes"]) == 2


async def test_microversions_gate_fields(alice: Volumes) -> None:
    made = await alice.make()
    old = Volumes(alice.door, "alice", "3.0")
    seen = (await old.call("GET", f"/volumes/{made['id']}"))["volume"]
    assert "group_id" not in seen
    assert "shared_targets" not in seen
    assert {"group_id", "shared_targets", "service_uuid", "volume_type_id", "consumes_quota"} <= made.keys()
    await Volumes(alice.door, "alice", "3.72").call("GET", "/volumes", expect=406)


async def test_an_update_changes_what_it_names(alice: Volumes) -> None:
    made = await alice.make(name="a", metadata={"k": "v"})
    body = {"volume": {"name": "b", "description": "d"}}
    changed = (await alice.call("PUT", f"/volumes/{made['id']}", body, expect=200))["volume"]
    assert (changed["name"], changed["description"], changed["metadata"]) == ("b", "d", {"k": "v"})
    await alice.call("PUT", f"/volumes/{made['id']}", {"volume": {}}, expect=400)


async def test_versions_are_told_without_a_token(door: Door) -> None:
    nobody = door.client("")
    first = (await nobody.get("/volume/", expect=300))["versions"][0]
    assert (first["id"], first["version"], first["min_version"]) == ("v3.0", "3.71", "3.0")
    assert (await nobody.get(f"{ROOT}/"))["versions"][0] == first
    await nobody.get(f"{ROOT}/volumes", expect=401)


async def test_a_slash_too_much_is_no_list(alice: Volumes) -> None:
    await alice.call("GET", "/volumes/", expect=404)
    await alice.call("DELETE", "/volumes/", expect=404)
