"""Snapshots: independent files, made while nobody writes or by the hypervisor."""

from __future__ import annotations

from minicloud.host.hypervisor import DiskSpec, DomainSpec
from tests.door import Door
from tests.volume.conftest import Volumes

SERVER = "5e7e0000-0000-0000-0000-000000000001"


async def snapshot(caller: Volumes, volume_id: str, **values: object) -> dict[str, object]:
    body = {"snapshot": {"volume_id": volume_id, **values}}
    made = (await caller.call("POST", "/snapshots", body, expect=202))["snapshot"]
    await caller.door.operations.all_settled()
    return dict((await caller.call("GET", f"/snapshots/{made['id']}", expect=200))["snapshot"])


async def test_the_life_of_a_snapshot(door: Door, alice: Volumes) -> None:
    volume = await alice.make()
    made = await snapshot(alice, volume["id"], name="s", metadata={"a": "b"})
    assert (made["status"], made["size"], made["metadata"]) == ("available", 1, {"a": "b"})
    assert made["os-extended-snapshot-attributes:progress"] == "100%"
    await alice.call("DELETE", f"/volumes/{volume['id']}", expect=400)
    body = {"snapshot": {"name": "t", "description": "d"}}
    changed = (await alice.call("PUT", f"/snapshots/{made['id']}", body, expect=200))["snapshot"]
    assert (changed["name"], changed["description"]) == ("t", "d")
    larger = await alice.make(snapshot_id=made["id"], size=2)
    assert (larger["size"], larger["snapshot_id"]) == (2, made["id"])
    await alice.call("POST", "/volumes", {"volume": {"snapshot_id": larger["id"]}}, expect=404)
    await alice.call("DELETE", f"/snapshots/{made['id']}", expect=202)
    await door.operations.all_settled()
    await alice.call("GET", f"/snapshots/{made['id']}", expect=404)
    assert list((door.config.state / "snapshots").iterdir()) == []
    assert (await alice.settled(larger["id"]))["status"] == "available"


async def test_a_snapshot_of_nothing_is_not_found(alice: Volumes) -> None:
    for wanted in (None, "00000000-0000-0000-0000-000000000000"):
        await alice.call("POST", "/snapshots", {"snapshot": {"volume_id": wanted}}, expect=404)
    await alice.call("POST", "/snapshots", {"snapshot": {"volume_id": "zz"}}, expect=400)
    await alice.call("POST", "/snapshots", {"snapshot": {}}, expect=400)


async def test_a_smaller_volume_than_the_snapshot_is_refused(alice: Volumes) -> None:
    volume = await alice.make(size=2)
    made = await snapshot(alice, volume["id"])
    await alice.call("POST", "/volumes", {"volume": {"snapshot_id": made["id"], "size": 1}}, expect=400)


async def test_a_volume_in_use_wants_force_before_3_66(alice: Volumes) -> None:
    volume = await alice.make()
    await alice.act(volume["id"], "os-attach", {"instance_uuid": SERVER, "mountpoint": "/dev/vdb"})
    old = Volumes(alice.door, "alice", "3.65")
    await old.call("POST", "/snapshots", {"snapshot": {"volume_id": volume["id"]}}, expect=400)
    assert (await snapshot(old, volume["id"], force=True))["status"] == "available"
    assert (await snapshot(alice, volume["id"]))["status"] == "available"
    await alice.call("POST", "/snapshots", {"snapshot": {"volume_id": volume["id"], "force": False}}, expect=400)


async def test_a_running_machines_disk_is_copied_by_the_hypervisor(door: Door, alice: Volumes) -> None:
    volume = await alice.make()
    await alice.act(volume["id"], "os-attach", {"instance_uuid": SERVER, "mountpoint": "/dev/vdb"})
    spec = DomainSpec(
        id=SERVER, name="s", vcpus=1, memory_mb=64, nics=(), console_log=str(door.config.state / "log"), serial_socket="s",
        disks=(DiskSpec(volume["id"], str(door.config.state / "volumes" / f"{volume['id']}.qcow2"), "qcow2", "vda"),),
    )  # fmt: skip
    hypervisor = door.services[1].host.hypervisor  # type: ignore[attr-defined]
    await hypervisor.define(spec)
    await hypervisor.start(SERVER)
    door.world.fail("disks.copy")  # it must not be used
    assert (await snapshot(alice, volume["id"]))["status"] == "available"
    await alice.act(volume["id"], "os-extend", {"new_size": 2})
    assert (await alice.settled(volume["id"]))["size"] == 2


async def test_a_failed_snapshot_leaves_no_file(door: Door, alice: Volumes) -> None:
    volume = await alice.make()
    door.world.fail("disks.copy")
    made = await snapshot(alice, volume["id"])
    assert made["status"] == "error"
    await alice.call("DELETE", f"/volumes/{volume['id']}?cascade=true", expect=202)
    await door.operations.all_settled()
    assert (await alice.call("GET", "/snapshots"))["snapshots"] == []


async def test_snapshots_count_against_the_quota(alice: Volumes, admin: Volumes) -> None:
    volume = await alice.make()
    body = {"quota_set": {"snapshots": 1}}
    await admin.call("PUT", "/os-quota-sets/p-alice", body, expect=200)
    await snapshot(alice, volume["id"])
    await alice.call("POST", "/snapshots", {"snapshot": {"volume_id": volume["id"]}}, expect=413)


async def test_progress_is_told_for_snapshots_under_way_only(alice: Volumes, admin: Volumes) -> None:
    volume = await alice.make()
    made = await snapshot(alice, volume["id"])
    action, told = f"/snapshots/{made['id']}/action", {"status": "error", "progress": "80%"}
    await alice.call("POST", action, {"os-update_snapshot_status": told}, expect=400)
    await admin.call("POST", action, {"os-reset_status": {"status": "creating"}}, expect=202)
    await alice.call("POST", action, {"os-update_snapshot_status": told}, expect=202)
    seen = (await alice.call("GET", f"/snapshots/{made['id']}"))["snapshot"]
    assert (seen["status"], seen["os-extended-snapshot-attributes:progress"]) == ("error", "80%")
    await admin.call("POST", action, {"os-force_delete": {}}, expect=202)


async def test_metadata_of_both_kinds(alice: Volumes) -> None:
    volume = await alice.make()
    made = await snapshot(alice, volume["id"])
    for path in (f"/volumes/{volume['id']}/metadata", f"/snapshots/{made['id']}/metadata"):
        first = await alice.call("POST", path, {"metadata": {"k": "v", "l": "w"}}, expect=200)
        assert first["metadata"] == {"k": "v", "l": "w"}
        assert (await alice.call("GET", f"{path}/k", expect=200))["meta"] == {"k": "v"}
        await alice.call("PUT", f"{path}/k", {"meta": {"k": "z"}}, expect=200)
        await alice.call("PUT", f"{path}/k", {"meta": {"q": "z"}}, expect=400)
        await alice.call("DELETE", f"{path}/l", expect=200)
        await alice.call("DELETE", f"{path}/l", expect=404)
        assert (await alice.call("PUT", path, {"metadata": {"n": "m"}}, expect=200))["metadata"] == {"n": "m"}
        await alice.call("POST", path, {"metadata": {"": "m"}}, expect=400)
        await alice.call("POST", path, {}, expect=400)


async def test_an_etag_guards_metadata(alice: Volumes) -> None:
    volume = await alice.make()
    path = f"/volume/v3/volumes/{volume['id']}/metadata"
    headers = {"OpenStack-API-Version": "volume 3.15"}
    first = await alice.client.put(path, {"metadata": {"a": "b"}}, headers=headers, expect=200)
    guard = {**headers, "If-Match": first.headers["ETag"]}
    await alice.client.put(path, {"metadata": {"a": "c"}}, headers=guard, expect=200)
    await alice.client.put(path, {"metadata": {"a": "d"}}, headers=guard, expect=412)
