"""What compute builds on: make, ready, connect, attached, release, discard."""

from __future__ import annotations

import pytest

from minicloud.core.errors import Conflict, NotFound
from minicloud.volume import Volume
from tests.door import Door, context
from tests.volume.conftest import Volumes

SERVER, OTHER = "5e7e0000-0000-0000-0000-000000000001", "5e7e0000-0000-0000-0000-000000000002"
ATTACHMENT = "a77a0000-0000-0000-0000-000000000001"


async def connect(service: Volume, volume_id: str, server_id: str = SERVER, attachment_id: str = ATTACHMENT) -> None:
    await service.connect(context("alice"), volume_id, server_id, device="/dev/vdb", attachment_id=attachment_id)


async def test_a_volume_made_for_a_server_is_waited_for(service: Volume) -> None:
    ctx = context("alice")
    made = await service.make(ctx, size_gb=1, volume_id="00000000-0000-0000-0000-0000000000aa")
    assert made.status == "creating"
    assert (await service.ready(ctx, made.id)).status == "available"


async def test_ready_tells_why_nothing_came(door: Door, service: Volume) -> None:
    door.world.fail("disks.create")
    made = await service.make(context("alice"), size_gb=1)
    with pytest.raises(Conflict):
        await service.ready(context("alice"), made.id)


async def test_the_way_from_available_to_in_use_and_back(alice: Volumes, service: Volume) -> None:
    made = await alice.make()
    source = await service.connect(context("alice"), made["id"], SERVER, device="/dev/vdb", attachment_id=ATTACHMENT)
    assert (source.serial, source.format, source.size) == (made["id"], "qcow2", 1024**3)
    assert source.path.exists()
    assert (await alice.settled(made["id"]))["status"] == "attaching"
    await service.attached(made["id"], SERVER)
    seen = await alice.settled(made["id"])
    assert seen["status"] == "in-use"
    assert [(one["server_id"], one["device"], one["attachment_id"]) for one in seen["attachments"]] == [
        (SERVER, "/dev/vdb", ATTACHMENT)
    ]
    assert [one.volume_id for one in service.attached_to(SERVER)] == [made["id"]]
    await alice.call("DELETE", f"/volumes/{made['id']}", expect=400)
    await service.detaching(context("alice"), made["id"], SERVER)
    assert (await alice.settled(made["id"]))["status"] == "detaching"
    await service.release(made["id"], SERVER)
    await service.release(made["id"], SERVER)
    seen = await alice.settled(made["id"])
    assert (seen["status"], seen["attachments"]) == ("available", [])


async def test_two_servers_never_get_one_volume(alice: Volumes, service: Volume) -> None:
    made = await alice.make()
    await connect(service, made["id"])
    await connect(service, made["id"])  # the same again is no error
    with pytest.raises(Conflict):
        await connect(service, made["id"], OTHER, "a77a0000-0000-0000-0000-000000000002")
    await service.release(made["id"], OTHER)
    assert (await alice.settled(made["id"]))["status"] == "attaching"


async def test_an_admins_reset_does_not_free_a_volume_that_is_held(
    alice: Volumes, admin: Volumes, service: Volume
) -> None:
    made = await alice.make()
    await connect(service, made["id"])
    await service.attached(made["id"], SERVER)
    await admin.act(made["id"], "os-reset_status", {"status": "available"})
    with pytest.raises(Conflict):
        await connect(service, made["id"], OTHER, "a77a0000-0000-0000-0000-000000000002")
    await admin.act(made["id"], "os-force_delete", expect=400)


async def test_discard_deletes_unless_snapshots_hang_on_it(door: Door, alice: Volumes, service: Volume) -> None:
    first, second = await alice.make(), await alice.make()
    await connect(service, first["id"])
    await service.discard(first["id"], SERVER)
    await service.discard(first["id"], SERVER)
    await door.operations.all_settled()
    await alice.call("GET", f"/volumes/{first['id']}", expect=404)
    await alice.call("POST", "/snapshots", {"snapshot": {"volume_id": second["id"]}}, expect=202)
    await door.operations.all_settled()
    await connect(service, second["id"])
    await service.discard(second["id"], SERVER)
    assert (await alice.settled(second["id"]))["status"] == "available"


async def test_a_foreign_volume_is_not_there(alice: Volumes, service: Volume) -> None:
    made = await alice.make()
    with pytest.raises(NotFound):
        await service.connect(context("bob"), made["id"], SERVER, device="/dev/vdb", attachment_id=ATTACHMENT)
    with pytest.raises(NotFound):
        service.visible(context("bob"), made["id"])
