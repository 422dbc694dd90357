"""Rows against files, and what a restart finds."""

from __future__ import annotations

import uuid
from pathlib import Path

from minicloud.volume import Volume
from tests.door import open_door
from tests.volume.conftest import Volumes, services


async def reconcile(service: Volume) -> None:
    for one in service.reconcilers():
        await one.once()


async def test_a_file_that_nothing_explains_goes_and_a_strangers_stays(alice: Volumes, service: Volume) -> None:
    made = await alice.make()
    orphan, stranger = service.folder / f"{uuid.uuid4()}.qcow2", service.folder / "notes.txt"
    orphan.write_bytes(b"x")
    stranger.write_bytes(b"x")
    await reconcile(service)
    assert {path.name for path in service.folder.iterdir()} == {f"{made['id']}.qcow2", "notes.txt"}


async def test_a_volume_whose_file_is_gone_says_so_and_gets_no_empty_one(alice: Volumes, service: Volume) -> None:
    made = await alice.make()
    (service.folder / f"{made['id']}.qcow2").unlink()
    await reconcile(service)
    await reconcile(service)
    assert (await alice.settled(made["id"]))["status"] == "error"
    messages = (await alice.call("GET", "/messages"))["messages"]
    assert [one["resource_uuid"] for one in messages] == [made["id"]]
    assert list(service.folder.iterdir()) == []
    await alice.call("DELETE", f"/volumes/{made['id']}", expect=202)
    await alice.door.operations.all_settled()
    await alice.call("GET", f"/volumes/{made['id']}", expect=404)


async def test_what_a_stopped_daemon_left_is_settled_by_the_next(tmp_path: Path) -> None:
    async with open_door(tmp_path / "state", services) as door:
        await door.services[1].start()
        alice = Volumes(door, "alice")
        kept = await alice.make()
        doomed = await alice.make()
        for step in ("disks.create", "disks.remove", "disks.resize"):
            door.world.slow(step, 60)
        half = (await alice.call("POST", "/volumes", {"volume": {"size": 1}}, expect=202))["volume"]["id"]
        await alice.call("DELETE", f"/volumes/{doomed['id']}", expect=202)
        await alice.act(kept["id"], "os-extend", {"new_size": 2})
    async with open_door(tmp_path / "state", services) as door:
        alice = Volumes(door, "alice")
        await door.operations.all_settled()
        assert (await alice.settled(half))["status"] == "error"
        seen = await alice.settled(kept["id"])
        assert (seen["status"], seen["size"]) == ("available", 2)
        await alice.call("GET", f"/volumes/{doomed['id']}", expect=404)
        assert {path.name for path in (door.config.state / "volumes").iterdir()} == {f"{kept['id']}.qcow2"}


async def test_undo_of_a_finished_volume_spares_its_file(alice: Volumes, service: Volume) -> None:
    made = await alice.make()
    for _ in range(2):
        await service.remove_file(made["id"], f"{made['id']}.qcow2")
        await service.remove_snapshot_file(str(uuid.uuid4()), "nothing.qcow2")
    assert (service.folder / f"{made['id']}.qcow2").exists()
