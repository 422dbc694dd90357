"""Volumes and cards that come and go."""

from __future__ import annotations

import asyncio

from tests.compute.conftest import Yard

SERVERS = "/compute/v2.1/servers"
NEWEST = {"OpenStack-API-Version": "compute 2.96"}


def held(yard: Yard, server_id: str, kind: str, key: str) -> list[str]:
    return [one[key] for one in yard.cloud.world.section("domains")[server_id]["live"][kind]]


async def test_a_volume_is_attached_and_detached(yard: Yard) -> None:
    server_id, volume_id = await yard.launch(), await yard.volume()
    path = f"{SERVERS}/{server_id}/os-volume_attachments"
    answer = await yard.demo.post(path, {"volumeAttachment": {"volumeId": volume_id}}, expect=200)
    assert answer.body == {
        "volumeAttachment": {"id": volume_id, "serverId": server_id, "volumeId": volume_id, "device": "/dev/vdb"}
    }
    assert volume_id in held(yard, server_id, "disks", "id")
    assert await yard.volume_status(volume_id) == "in-use"
    again = await yard.demo.post(path, {"volumeAttachment": {"volumeId": volume_id}}, expect=400)
    assert "already attached" in again["badRequest"]["message"] or "in-use" in again["badRequest"]["message"]
    newest = (await yard.demo.get(path, headers=NEWEST))["volumeAttachments"][0]
    assert set(newest) == {
        "volumeId",
        "serverId",
        "device",
        "tag",
        "delete_on_termination",
        "attachment_id",
        "bdm_uuid",
    }
    await yard.demo.delete(f"{path}/{volume_id}", expect=202)
    await yard.settled(server_id)
    assert await yard.volume_status(volume_id) == "available"
    assert volume_id not in held(yard, server_id, "disks", "id")
    await yard.demo.delete(f"{path}/{volume_id}", expect=404)
    await yard.demo.post(path, {"volumeAttachment": {"volumeId": "00000000-0000-0000-0000-000000000000"}}, expect=404)


async def test_an_attach_that_fails_leaves_the_volume_free(yard: Yard) -> None:
    server_id, volume_id = await yard.launch(), await yard.volume()
    yard.cloud.world.fail("hypervisor.attach_disk")
    path = f"{SERVERS}/{server_id}/os-volume_attachments"
    refused = await yard.demo.post(path, {"volumeAttachment": {"volumeId": volume_id}}, expect=409)
    assert "told to fail" in refused["conflictingRequest"]["message"]
    assert await yard.volume_status(volume_id) == "available"
    assert (await yard.demo.get(path))["volumeAttachments"] == []


async def test_several_volumes_at_once_take_turns(yard: Yard) -> None:
    server_id = await yard.launch()
    volumes = [await yard.volume() for _ in range(3)]
    path = f"{SERVERS}/{server_id}/os-volume_attachments"
    answers = await asyncio.gather(*(yard.demo.post(path, {"volumeAttachment": {"volumeId": one}}) for one in volumes))
    assert sorted(one["volumeAttachment"]["device"] for one in answers) == ["/dev/vdb", "/dev/vdc", "/dev/vdd"]


async def test_one_volume_goes_to_one_of_two_who_want_it(yard: Yard) -> None:
    first, second, volume_id = await yard.launch(name="a"), await yard.launch(name="b"), await yard.volume()
    body = {"volumeAttachment": {"volumeId": volume_id}}
    paths = [f"{SERVERS}/{one}/os-volume_attachments" for one in (first, second)]
    answers = await asyncio.gather(*(yard.demo.post(path, body) for path in paths))
    assert sorted(one.status for one in answers)[0] == 200
    assert sorted(one.status for one in answers)[1] in (400, 409)
    attached = [len((await yard.demo.get(path))["volumeAttachments"]) for path in paths]
    assert sorted(attached) == [0, 1]


async def test_a_stopped_server_boots_with_what_was_attached(yard: Yard) -> None:
    server_id, volume_id = await yard.launch(), await yard.volume()
    await yard.act(server_id, "os-stop")
    path = f"{SERVERS}/{server_id}/os-volume_attachments"
    await yard.demo.post(path, {"volumeAttachment": {"volumeId": volume_id}}, expect=200)
    await yard.act(server_id, "os-start")
    assert volume_id in held(yard, server_id, "disks", "id")


async def test_delete_on_termination_may_be_changed(yard: Yard) -> None:
    server_id, volume_id = await yard.launch(), await yard.volume()
    path = f"{SERVERS}/{server_id}/os-volume_attachments"
    await yard.demo.post(path, {"volumeAttachment": {"volumeId": volume_id}}, expect=200)
    body = {"volumeAttachment": {"volumeId": volume_id, "delete_on_termination": True}}
    await yard.demo.put(f"{path}/{volume_id}", body, expect=202, headers=NEWEST)
    await yard.demo.delete(f"{SERVERS}/{server_id}", expect=204)
    await yard.cloud.daemon.operations.all_settled()
    assert await yard.volume_status(volume_id) == "gone"


async def test_a_card_is_attached_and_detached(yard: Yard) -> None:
    server_id = await yard.launch()
    path = f"{SERVERS}/{server_id}/os-interface"
    made = (await yard.demo.post(path, {"interfaceAttachment": {"net_id": yard.network_id}}, expect=200))[
        "interfaceAttachment"
    ]
    assert set(made) == {"net_id", "port_id", "mac_addr", "port_state", "fixed_ips"}
    assert len((await yard.demo.get(path))["interfaceAttachments"]) == 2
    assert made["port_id"] in held(yard, server_id, "nics", "port_id")
    await yard.demo.get(f"{path}/{made['port_id']}")
    await yard.demo.delete(f"{path}/{made['port_id']}", expect=202)
    await yard.settled(server_id)
    assert len((await yard.demo.get(path))["interfaceAttachments"]) == 1
    await yard.demo.get(f"/network/v2.0/ports/{made['port_id']}", expect=404)
    nothing = "00000000-0000-0000-0000-000000000000"
    await yard.demo.delete(f"{path}/{nothing}", expect=404)
    await yard.demo.post(path, {"interfaceAttachment": {"port_id": nothing}}, expect=404)
    await yard.demo.post(path, {"interfaceAttachment": {"net_id": nothing}}, expect=404)


async def test_a_server_becomes_an_image(yard: Yard) -> None:
    server_id = await yard.launch()
    for stopped in (False, True):
        if stopped:
            await yard.act(server_id, "os-stop")
        answer = await yard.act(server_id, {"createImage": {"name": "snap", "metadata": {"a": "b"}}})
        image = (await yard.demo.get(f"/image/v2/images/{answer['image_id']}")).body
        assert (image["status"], image["a"], image["instance_uuid"]) == ("active", "b", server_id)
    old = await yard.act(server_id, {"createImage": {"name": "snap"}}, version="2.1")
    assert "/image/" in old.headers["Location"]


async def test_an_image_that_fails_does_not_stay(yard: Yard) -> None:
    server_id = await yard.launch()
    yard.cloud.world.fail("hypervisor.copy_disk")
    answer = await yard.act(server_id, {"createImage": {"name": "snap"}})
    await yard.demo.get(f"/image/v2/images/{answer['image_id']}", expect=404)
    assert await yard.status(server_id) == "ACTIVE"


async def test_old_clients_give_a_server_one_more_address_and_take_it_back(yard: Yard) -> None:
    server_id = await yard.launch()

    async def addresses() -> list[str]:
        told = (await yard.demo.get(f"/compute/v2.1/servers/{server_id}/os-interface"))["interfaceAttachments"]
        return [one["ip_address"] for port in told for one in port["fixed_ips"]]

    first = await addresses()
    await yard.act(server_id, {"addFixedIp": {"networkId": yard.network_id}}, version="2.43")
    both = await addresses()
    assert len(both) == 2 and both[0] in first
    await yard.act(server_id, {"removeFixedIp": {"address": both[1]}}, version="2.43")
    assert await addresses() == first
    await yard.act(server_id, {"addFixedIp": {"networkId": yard.network_id}}, expect=404, version="2.44")
    await yard.act(server_id, {"removeFixedIp": {"address": both[1]}}, expect=400, version="2.43")
    await yard.act(server_id, {"addFixedIp": {"networkId": server_id}}, expect=400, version="2.43")


async def test_a_volume_that_grows_under_a_server_stands_in_its_history(yard: Yard) -> None:
    server_id, volume_id = await yard.launch(), await yard.volume()
    path = f"{SERVERS}/{server_id}/os-volume_attachments"
    await yard.demo.post(path, {"volumeAttachment": {"volumeId": volume_id}}, expect=200)
    grow = f"/volume/v3/{yard.demo.project_id}/volumes/{volume_id}/action"
    in_use = {"OpenStack-API-Version": "volume 3.42"}
    for size, result in ((2, "Success"), (3, "Error")):
        if result == "Error":
            yard.cloud.world.fail("hypervisor.resize_disk")
        await yard.demo.post(grow, {"os-extend": {"new_size": size}}, expect=202, headers=in_use)
        await yard.cloud.daemon.operations.settled(f"volume/{volume_id}")
        history = f"{SERVERS}/{server_id}/os-instance-actions"
        latest = (await yard.demo.get(history))["instanceActions"][0]
        assert latest["action"] == "extend_volume"
        told = (await yard.demo.get(f"{history}/{latest['request_id']}", headers=NEWEST))["instanceAction"]
        assert [(one["event"], one["result"]) for one in told["events"]] == [("compute_extend_volume", result)]
