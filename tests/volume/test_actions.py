"""What can be done with a volume: grow, become an image, go back, change its type, be attached by hand."""

from __future__ import annotations

import pytest

from minicloud.host.fake.disks import inspected
from minicloud.volume import Volume, VolumeExtended
from tests.door import Door
from tests.volume.conftest import Volumes, make_image

GIB = 1024**3
SERVER = "5e7e0000-0000-0000-0000-000000000001"


async def test_a_volume_grows_and_so_does_its_file(door: Door, alice: Volumes) -> None:
    made = await alice.make()
    await alice.act(made["id"], "os-extend", {"new_size": 3})
    seen = await alice.settled(made["id"])
    assert (seen["status"], seen["size"]) == ("available", 3)
    assert inspected(door.config.state / "volumes" / f"{made['id']}.qcow2", "qcow2").virtual_size == 3 * GIB
    for size in (3, 2, 0, "zz", None):
        await alice.act(made["id"], "os-extend", {"new_size": size}, expect=400)


async def test_growing_that_fails_leaves_the_volume_as_it_was(door: Door, alice: Volumes) -> None:
    made = await alice.make()
    door.world.fail("disks.resize")
    await alice.act(made["id"], "os-extend", {"new_size": 3})
    seen = await alice.settled(made["id"])
    assert (seen["status"], seen["size"]) == ("available", 1)
    assert (await alice.call("GET", "/messages"))["messages"][0]["resource_uuid"] == made["id"]


async def test_growing_counts_against_the_quota(alice: Volumes) -> None:
    made = await alice.make()
    await alice.act(made["id"], "os-extend", {"new_size": 1001}, expect=413)
    assert (await alice.settled(made["id"]))["size"] == 1


async def test_a_volume_in_use_grows_from_3_42_on(alice: Volumes, service: Volume) -> None:
    made = await alice.make()
    await alice.act(made["id"], "os-attach", {"instance_uuid": SERVER, "mountpoint": "/dev/vdb"})
    old = Volumes(alice.door, "alice", "3.41")
    await old.act(made["id"], "os-extend", {"new_size": 2}, expect=400)
    told: list[VolumeExtended] = []
    service.events.subscribe(VolumeExtended, told.append)
    await alice.act(made["id"], "os-extend", {"new_size": 2})
    seen = await alice.settled(made["id"])
    assert (seen["status"], seen["size"]) == ("in-use", 2)
    assert [(one.server_id, one.error) for one in told] == [(SERVER, None)]


async def test_a_volume_becomes_an_image(door: Door, alice: Volumes) -> None:
    made = await alice.make()
    told = {"image_name": "vi", "disk_format": "qcow2", "container_format": "bare", "force": False}
    answer = (await alice.act(made["id"], "os-volume_upload_image", told))["os-volume_upload_image"]
    assert (answer["status"], answer["visibility"], answer["volume_type"]["name"]) == (
        "uploading",
        "private",
        "__DEFAULT__",
    )
    assert (await alice.settled(made["id"]))["status"] == "available"
    image = (await door.client("alice").get(f"/image/v2/images/{answer['image_id']}")).body
    assert (image["status"], image["disk_format"], image["min_disk"]) == ("active", "qcow2", 1)
    assert {path.name for path in (door.config.state / "volumes").iterdir()} == {f"{made['id']}.qcow2"}
    await alice.act(made["id"], "os-volume_upload_image", {**told, "visibility": "public"}, expect=403)
    await alice.act(made["id"], "os-volume_upload_image", {**told, "disk_format": "zz"}, expect=400)


async def test_an_upload_that_fails_leaves_no_image(door: Door, alice: Volumes) -> None:
    made = await alice.make()
    door.world.fail("disks.copy")
    told = {"image_name": "vi", "disk_format": "qcow2"}
    answer = (await alice.act(made["id"], "os-volume_upload_image", told))["os-volume_upload_image"]
    assert (await alice.settled(made["id"]))["status"] == "available"
    await door.client("alice").get(f"/image/v2/images/{answer['image_id']}", expect=404)


async def test_revert_goes_back_to_the_latest_snapshot_only(door: Door, alice: Volumes) -> None:
    made = await alice.make()
    ids = []
    for _ in range(2):
        answer = await alice.call("POST", "/snapshots", {"snapshot": {"volume_id": made["id"]}}, expect=202)
        ids.append(answer["snapshot"]["id"])
        await door.operations.all_settled()
    await alice.act(made["id"], "revert", {"snapshot_id": ids[0]}, expect=400)
    await alice.act(made["id"], "revert", {"snapshot_id": ids[1]})
    assert (await alice.settled(made["id"]))["status"] == "available"
    await alice.act(made["id"], "os-extend", {"new_size": 2})
    await door.operations.all_settled()
    await alice.act(made["id"], "revert", {"snapshot_id": ids[1]}, expect=400)


async def test_reimage_gives_it_another_image(door: Door, alice: Volumes) -> None:
    made, image = await alice.make(), await make_image(door.client("alice"), b"\x02" * 4096)
    await alice.act(made["id"], "os-reimage", {"image_id": image})
    seen = await alice.settled(made["id"])
    assert (seen["status"], seen["bootable"], seen["volume_image_metadata"]["image_id"]) == ("available", "true", image)


async def test_a_multiattach_type_makes_the_file_raw_and_back(door: Door, alice: Volumes, admin: Volumes) -> None:
    body = {"volume_type": {"name": "shared", "extra_specs": {"multiattach": "<is> True"}}}
    await admin.call("POST", "/types", body, expect=200)
    made = await alice.make()
    await alice.act(made["id"], "os-retype", {"new_type": "shared", "migration_policy": "on-demand"})
    seen = await alice.settled(made["id"])
    assert (seen["status"], seen["multiattach"], seen["volume_type"]) == ("available", True, "shared")
    assert {path.name for path in (door.config.state / "volumes").iterdir()} == {f"{made['id']}.raw"}
    await alice.act(made["id"], "os-retype", {"new_type": "zz"}, expect=404)
    await alice.act(made["id"], "os-retype", {"new_type": "shared"}, expect=400)


async def test_a_type_that_this_backend_is_not_gives_error_and_the_reason(alice: Volumes, admin: Volumes) -> None:
    body = {"volume_type": {"name": "fast", "extra_specs": {"vendor_name": "Elsewhere"}}}
    await admin.call("POST", "/types", body, expect=200)
    made = await alice.make(volume_type="fast")
    assert made["status"] == "error"
    message = (await alice.call("GET", "/messages"))["messages"][0]
    assert message["user_message"].startswith("No valid backend was found")
    await alice.call("DELETE", f"/messages/{message['id']}", expect=204)
    await alice.call("GET", f"/messages/{message['id']}", expect=404)


async def test_attaching_by_hand_and_back(alice: Volumes) -> None:
    made = await alice.make()
    await alice.act(made["id"], "os-reserve", {})
    await alice.act(made["id"], "os-reserve", {}, expect=400)
    assert (await alice.settled(made["id"]))["status"] == "attaching"
    await alice.act(made["id"], "os-unreserve", {})
    assert (await alice.settled(made["id"]))["status"] == "available"
    await alice.act(made["id"], "os-attach", {"instance_uuid": "zz", "mountpoint": "/dev/vdb"}, expect=400)
    await alice.act(made["id"], "os-attach", {"instance_uuid": SERVER, "mountpoint": "/dev/vdb"})
    seen = await alice.settled(made["id"])
    assert (seen["status"], seen["attachments"][0]["server_id"]) == ("in-use", SERVER)
    await alice.act(made["id"], "os-begin_detaching")
    await alice.act(made["id"], "os-roll_detaching")
    await alice.act(made["id"], "os-detach", {"attachment_id": seen["attachments"][0]["attachment_id"]})
    assert (await alice.settled(made["id"]))["status"] == "available"


async def test_flags_and_image_metadata(alice: Volumes) -> None:
    made = await alice.make()
    await alice.act(made["id"], "os-set_bootable", {"bootable": True}, expect=200)
    await alice.act(made["id"], "os-update_readonly_flag", {"readonly": True})
    seen = await alice.settled(made["id"])
    assert (seen["bootable"], seen["metadata"]) == ("true", {"readonly": "True"})
    await alice.act(made["id"], "os-set_image_metadata", {"metadata": {"a": "b"}}, expect=200)
    assert (await alice.act(made["id"], "os-show_image_metadata", {}, expect=200))["metadata"] == {"a": "b"}
    await alice.act(made["id"], "os-unset_image_metadata", {"key": "a"}, expect=200)
    await alice.act(made["id"], "os-unset_image_metadata", {"key": "a"}, expect=404)


@pytest.mark.parametrize("status", ["error", "maintenance", "creating", "attaching"])
async def test_an_admin_resets_and_forces(alice: Volumes, admin: Volumes, status: str) -> None:
    made = await alice.make()
    await alice.act(made["id"], "os-reset_status", {"status": status}, expect=403)
    await admin.act(made["id"], "os-reset_status", {"status": status})
    assert (await alice.settled(made["id"]))["status"] == status
    await admin.act(made["id"], "os-reset_status", {"status": "zz"}, expect=400)
    await admin.act(made["id"], "os-force_delete", {})
    await alice.door.operations.all_settled()
    await alice.call("GET", f"/volumes/{made['id']}", expect=404)


async def test_an_unknown_action_is_told(alice: Volumes) -> None:
    made = await alice.make()
    answer = await alice.act(made["id"], "os-nonsense", {}, expect=400)
    assert answer["badRequest"]["message"] == "There is no such action: os-nonsense"
    await alice.act("00000000-0000-0000-0000-000000000000", "os-extend", {"new_size": 2}, expect=404)
