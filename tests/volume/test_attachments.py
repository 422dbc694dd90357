"""The attachments API, as Nova and storage plugins use it."""

from __future__ import annotations

from minicloud.host.hypervisor import DiskSpec, DomainSpec
from tests.door import Door
from tests.volume.conftest import Volumes

SERVER, OTHER = "5e7e0000-0000-0000-0000-000000000001", "5e7e0000-0000-0000-0000-000000000002"


async def test_from_reserved_over_connected_to_in_use_and_back(alice: Volumes) -> None:
    volume = await alice.make()
    body = {"attachment": {"instance_uuid": SERVER, "volume_uuid": volume["id"], "mode": "rw"}}
    made = (await alice.call("POST", "/attachments", body, expect=200))["attachment"]
    assert (made["status"], made["instance"], made["attached_at"], made["connection_info"]) == (
        "reserved",
        SERVER,
        "",
        {},
    )
    assert (await alice.settled(volume["id"]))["status"] == "reserved"
    await alice.call("POST", "/attachments", body, expect=400)
    path = f"/attachments/{made['id']}"
    await alice.call("POST", f"{path}/action", {"os-complete": {}}, expect=400)
    connector = {"connector": {"host": "h", "mountpoint": "/dev/vdb"}}
    updated = (await alice.call("PUT", path, {"attachment": connector}, expect=200))["attachment"]
    assert (updated["status"], updated["connection_info"]["attachment_id"]) == ("attaching", made["id"])
    await alice.call("POST", f"{path}/action", {"os-complete": {}}, expect=204)
    seen = await alice.settled(volume["id"])
    assert (seen["status"], seen["attachments"][0]["device"]) == ("in-use", "/dev/vdb")
    listed = (await alice.call("GET", f"/attachments?volume_id={volume['id']}"))["attachments"]
    assert listed == [{"id": made["id"], "status": "attached", "instance": SERVER, "volume_id": volume["id"]}]
    assert (await alice.call("DELETE", path, expect=200))["attachments"] == []
    assert (await alice.settled(volume["id"]))["status"] == "available"
    await alice.call("GET", path, expect=404)


async def test_a_disk_in_a_machine_is_not_let_go_of_here(door: Door, alice: Volumes) -> None:
    volume = await alice.make()
    body = {"attachment": {"instance_uuid": SERVER, "volume_uuid": volume["id"], "connector": {"host": "h"}}}
    made = (await alice.call("POST", "/attachments", body, expect=200))["attachment"]
    spec = DomainSpec(
        id=SERVER, name="s", vcpus=1, memory_mb=64, nics=(), console_log="c", serial_socket="s",
        disks=(DiskSpec(volume["id"], str(door.config.state / "volumes" / f"{volume['id']}.qcow2"), "qcow2", "vda"),),
    )  # fmt: skip
    hypervisor = door.services[1].host.hypervisor  # type: ignore[attr-defined]
    await hypervisor.define(spec)
    await alice.call("DELETE", f"/attachments/{made['id']}", expect=409)
    await alice.act(volume["id"], "os-detach", {}, expect=409)
    await hypervisor.undefine(SERVER)
    await alice.call("DELETE", f"/attachments/{made['id']}", expect=200)


async def test_other_projects_see_no_attachment(door: Door, alice: Volumes) -> None:
    volume = await alice.make()
    body = {"attachment": {"instance_uuid": SERVER, "volume_uuid": volume["id"]}}
    made = (await alice.call("POST", "/attachments", body, expect=200))["attachment"]
    bob = Volumes(door, "bob")
    assert (await bob.call("GET", "/attachments"))["attachments"] == []
    await bob.call("DELETE", f"/attachments/{made['id']}", expect=404)
    await bob.call("POST", "/attachments", body, expect=404)


async def test_there_are_no_attachments_before_3_27(alice: Volumes) -> None:
    await Volumes(alice.door, "alice", "3.26").call("GET", "/attachments", expect=404)


async def test_a_multiattach_volume_has_several_holders(alice: Volumes, admin: Volumes) -> None:
    specs = {"volume_type": {"name": "shared", "extra_specs": {"multiattach": "<is> True"}}}
    await admin.call("POST", "/types", specs, expect=200)
    volume = await alice.make(volume_type="shared")
    assert volume["multiattach"] is True
    for server in (SERVER, OTHER):
        body = {"attachment": {"instance_uuid": server, "volume_uuid": volume["id"], "connector": {"host": "h"}}}
        made = (await alice.call("POST", "/attachments", body, expect=200))["attachment"]
        await alice.call("POST", f"/attachments/{made['id']}/action", {"os-complete": {}}, expect=204)
    assert len((await alice.settled(volume["id"]))["attachments"]) == 2
    left = (await alice.call("DELETE", f"/attachments/{made['id']}", expect=200))["attachments"]
    assert len(left) == 1
    assert (await alice.settled(volume["id"]))["status"] == "in-use"
