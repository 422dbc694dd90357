"""How servers come to life and end, over HTTP on the fake host."""

from __future__ import annotations

import pytest

from tests.compute.conftest import Yard

SERVERS = "/compute/v2.1/servers"


def without_filters(contents: dict[str, list[str]]) -> dict[str, list[str]]:
    """The fake machine but for groups' filters: the default group's comes with the first port, and stays."""
    return {name: things for name, things in contents.items() if name != "group_filters"}


def files(yard: Yard) -> list[str]:
    """What lies in the folder of servers."""
    folder = yard.cloud.config.state / "servers"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


async def delete(yard: Yard, server_id: str) -> None:
    await yard.demo.delete(f"{SERVERS}/{server_id}", expect=204)
    await yard.settled(server_id)


async def test_a_server_is_launched_and_deleted_and_nothing_stays(yard: Yard) -> None:
    before = without_filters(yard.cloud.world.contents())
    answer = await yard.create(name="Web server.1")
    assert answer.headers["Location"].endswith(answer["server"]["id"])
    assert set(answer["server"]) == {"id", "links", "OS-DCF:diskConfig", "security_groups", "adminPass"}
    server_id = answer["server"]["id"]
    await yard.settled(server_id)
    shown = await yard.show(server_id)
    assert shown["status"] == "ACTIVE", shown.get("fault")
    assert shown["OS-EXT-SRV-ATTR:hostname"] == "web-server-1"
    assert next(one["addr"] for one in shown["addresses"]["lan"]).startswith("10.7.0.")
    assert yard.cloud.world.contents()["domains"] == [server_id]
    await delete(yard, server_id)
    await yard.demo.get(f"{SERVERS}/{server_id}", expect=404)
    assert without_filters(yard.cloud.world.contents()) == before
    assert files(yard) == []
    assert yard.cloud.daemon.placement.claim_of(server_id) == {}


@pytest.mark.parametrize(
    "verb", ["disks.overlay", "disks.config_drive", "links.converge_tap", "hypervisor.define", "hypervisor.start"]
)
async def test_a_launch_that_fails_gives_everything_back_and_says_why(yard: Yard, verb: str) -> None:
    before = without_filters(yard.cloud.world.contents())
    volume_id = await yard.volume()
    yard.cloud.world.fail(verb, times=1)
    disk = {"source_type": "volume", "destination_type": "volume", "uuid": volume_id}
    server_id = await yard.launch(config_drive=True, block_device_mapping_v2=[disk])
    shown = await yard.show(server_id)
    assert (shown["status"], shown["fault"]["code"]) == ("ERROR", 500)
    assert "told to fail" in shown["fault"]["message"]
    assert without_filters(yard.cloud.world.contents()) == before
    assert yard.cloud.daemon.placement.claim_of(server_id) == {}
    assert await yard.volume_status(volume_id) == "available"
    ports = await yard.demo.get(f"/network/v2.0/ports?device_id={server_id}")
    assert ports["ports"] == []
    assert files(yard) == []
    await delete(yard, server_id)


async def test_a_killed_launch_is_taken_back_at_the_next_start(yard: Yard) -> None:
    yard.cloud.world.slow("hypervisor.start", 60)
    answer = await yard.create()
    server_id = answer["server"]["id"]
    while (await yard.show(server_id))["OS-EXT-STS:task_state"] != "spawning":
        pass
    await yard.cloud.restart()
    await yard.cloud.as_demo()
    shown = await yard.show(server_id)
    assert shown["status"] == "ERROR"
    assert "domains" not in yard.cloud.world.contents()
    assert yard.cloud.daemon.placement.claim_of(server_id) == {}
    await delete(yard, server_id)


async def test_deleting_overtakes_a_launch(yard: Yard) -> None:
    yard.cloud.world.slow("disks.overlay", 0.3)
    answer = await yard.create()
    server_id = answer["server"]["id"]
    await yard.demo.delete(f"{SERVERS}/{server_id}", expect=204)
    await yard.demo.delete(f"{SERVERS}/{server_id}", expect=204)  # twice is no error
    await yard.settled(server_id)
    await yard.demo.get(f"{SERVERS}/{server_id}", expect=404)
    assert "domains" not in yard.cloud.world.contents()


async def test_a_killed_deletion_is_finished_at_the_next_start(yard: Yard) -> None:
    server_id = await yard.launch()
    yard.cloud.world.slow("hypervisor.undefine", 60)
    await yard.demo.delete(f"{SERVERS}/{server_id}", expect=204)
    await yard.cloud.restart()
    await yard.cloud.as_demo()
    await yard.settled(server_id)
    await yard.demo.get(f"{SERVERS}/{server_id}", expect=404)
    assert "domains" not in yard.cloud.world.contents()


async def test_no_room_is_told_with_the_known_words(yard: Yard) -> None:
    flavor = {"name": "huge", "ram": 1024 * 1024 * 8, "vcpus": 1, "disk": 1, "id": "huge"}
    await yard.cloud.admin.post("/compute/v2.1/flavors", {"flavor": flavor}, expect=200)
    path = f"/compute/v2.1/os-quota-sets/{yard.demo.project_id}"
    await yard.cloud.admin.put(path, {"quota_set": {"ram": -1}}, expect=200)
    shown = await yard.show(await yard.launch(flavorRef="huge"))
    assert shown["status"] == "ERROR"
    assert shown["fault"]["message"].startswith("No valid host was found. ")


async def test_quota_is_kept_and_what_fits_is_made(yard: Yard) -> None:
    path = f"/compute/v2.1/os-quota-sets/{yard.demo.project_id}"
    await yard.cloud.admin.put(path, {"quota_set": {"instances": 3}}, expect=200)
    refused = await yard.create(min_count=4, max_count=5, expect=403)
    assert "Quota exceeded" in refused["forbidden"]["message"]
    await yard.create(name="many", min_count=2, max_count=5)
    names = sorted(one["name"] for one in (await yard.demo.get(SERVERS))["servers"])
    assert names == ["many-1", "many-2", "many-3"]
    await yard.cloud.daemon.operations.all_settled()
    limits = (await yard.demo.get("/compute/v2.1/limits"))["limits"]["absolute"]
    assert (limits["totalInstancesUsed"], limits["totalRAMUsed"]) == (3, 384)


@pytest.mark.parametrize(
    ("server", "status"),
    [
        ({"flavorRef": "none"}, 400),
        ({"flavorRef": None}, 400),
        ({"name": ""}, 400),
        ({"name": None}, 400),
        ({"name": "a" * 256}, 400),
        ({"imageRef": "nope"}, 400),
        ({"imageRef": "00000000-0000-0000-0000-000000000000"}, 400),
        ({"imageRef": ""}, 400),
        ({"zzz": 1}, 400),
        ({"networks": None}, 400),
        ({"networks": [{"uuid": "zz"}]}, 400),
        ({"networks": [{}]}, 400),
        ({"networks": [{"uuid": "00000000-0000-0000-0000-000000000000"}]}, 400),
        ({"networks": [{"port": "00000000-0000-0000-0000-000000000000"}]}, 400),
        ({"networks": "all"}, 400),
        ({"key_name": "nope"}, 400),
        ({"user_data": "a"}, 400),
        ({"metadata": {"k" * 256: "v"}}, 400),
        ({"metadata": {"k": 1}}, 400),
        ({"metadata": {f"k{number}": "v" for number in range(129)}}, 403),
        ({"min_count": 3, "max_count": 2}, 400),
        ({"min_count": 0}, 400),
        ({"security_groups": [{"name": "nope"}]}, 400),
        ({"availability_zone": "mars"}, 400),
        ({"availability_zone": "nova:fake-host"}, 403),
        ({"host": "fake-host"}, 403),
        ({"accessIPv4": "1.2.3"}, 400),
        ({"tags": ["a,b"]}, 400),
        ({"block_device_mapping_v2": [{"source_type": "blank", "destination_type": "volume", "boot_index": 0}]}, 400),
        ({"block_device_mapping_v2": [{"source_type": "volume", "uuid": "00000000-0000-0000-0000-000000000000"}]}, 400),
        ({"hostname": "-"}, 400),
        ({"config_drive": "perhaps"}, 400),
    ],
)
async def test_what_cannot_be_is_refused_at_once(yard: Yard, server: dict[str, object], status: int) -> None:
    await yard.create(**server, expect=status)
    assert (await yard.demo.get(SERVERS))["servers"] == []


async def test_a_server_without_network_and_one_of_the_only_network(yard: Yard) -> None:
    alone = await yard.show(await yard.launch(networks="none"))
    assert (alone["status"], alone["addresses"]) == ("ACTIVE", {})
    auto = await yard.show(await yard.launch(networks="auto"))
    assert list(auto["addresses"]) == ["lan"]


async def test_a_port_of_the_users_own_stays_when_its_server_goes(yard: Yard) -> None:
    body = {"network_id": yard.network_id, "fixed_ips": [{"ip_address": "10.7.0.77"}]}
    port = (await yard.demo.post("/network/v2.0/ports", {"port": body}, expect=201))["port"]
    server_id = await yard.launch(networks=[{"port": port["id"]}])
    assert (await yard.show(server_id))["addresses"]["lan"][0]["addr"] == "10.7.0.77"
    await yard.create(networks=[{"port": port["id"]}], expect=409)
    await delete(yard, server_id)
    kept = (await yard.demo.get(f"/network/v2.0/ports/{port['id']}"))["port"]
    assert kept["device_id"] == ""


async def test_a_volume_that_boots_wins_over_the_image_that_is_named(yard: Yard) -> None:
    volume = (await yard.demo.post("/volume/v3/volumes", {"volume": {"size": 1}}, expect=202))["volume"]["id"]
    await yard.cloud.daemon.operations.all_settled()
    disk = {"source_type": "volume", "destination_type": "volume", "uuid": volume, "boot_index": 0}
    shown = await yard.show(await yard.launch(networks="none", block_device_mapping_v2=[disk]))
    assert [one["id"] for one in shown["os-extended-volumes:volumes_attached"]] == [volume]
    assert (shown["status"], shown["image"]["id"]) == ("ACTIVE", yard.image_id)


async def test_booting_from_a_new_volume(yard: Yard) -> None:
    disk = {"source_type": "image", "destination_type": "volume", "uuid": yard.image_id, "volume_size": 1, "boot_index": 0,
            "delete_on_termination": True}  # fmt: skip
    server_id = await yard.launch(imageRef=None, block_device_mapping_v2=[disk])
    shown = await yard.show(server_id)
    assert (shown["status"], shown["image"]) == ("ACTIVE", ""), shown.get("fault")
    [attached] = shown["os-extended-volumes:volumes_attached"]
    assert attached["delete_on_termination"] is True
    assert await yard.volume_status(attached["id"]) == "in-use"
    await delete(yard, server_id)
    await yard.cloud.daemon.operations.all_settled()
    assert await yard.volume_status(attached["id"]) == "gone"


async def test_other_projects_know_nothing_of_a_server(yard: Yard) -> None:
    server_id = await yard.launch()
    stranger = await yard.cloud.person("stranger", project="elsewhere")
    await stranger.get(f"{SERVERS}/{server_id}", expect=404)
    await stranger.delete(f"{SERVERS}/{server_id}", expect=404)
    await stranger.post(f"{SERVERS}/{server_id}/action", {"os-stop": None}, expect=404)
    assert (await stranger.get(SERVERS))["servers"] == []
    await stranger.get(SERVERS + "?all_tenants=1", expect=403)
    assert [one["id"] for one in (await yard.cloud.admin.get(SERVERS + "?all_tenants=1"))["servers"]] == [server_id]


async def test_anti_affinity_means_one_server_here(yard: Yard) -> None:
    group = {"name": "apart", "policies": ["anti-affinity"]}
    made = await yard.demo.post("/compute/v2.1/os-server-groups", {"server_group": group}, expect=200)
    group_id = made["server_group"]["id"]
    seen = []
    for _ in range(2):
        body = {
            "server": {"name": "s", "flavorRef": yard.flavor_id, "imageRef": yard.image_id, "networks": "none"},
            "os:scheduler_hints": {"group": group_id},
        }
        answer = await yard.demo.post(SERVERS, body, expect=202, headers={"OpenStack-API-Version": "compute 2.96"})
        await yard.settled(answer["server"]["id"])
        seen.append((await yard.show(answer["server"]["id"]))["status"])
    assert seen == ["ACTIVE", "ERROR"]
