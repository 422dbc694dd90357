"""Many who want what there is little of, and things of other projects: some win, the rest are told, nothing is half done."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from tests.compute.conftest import Yard
from tests.conftest import Client

COMPUTE, NETWORK = "/compute/v2.1", "/network/v2.0"
NOTHING = "11111111-2222-4333-8444-555555555555"


async def _statuses(*asked: Any) -> Counter[int]:
    return Counter(answer.status for answer in await asyncio.gather(*asked))


async def test_as_many_servers_as_the_quota_allows_whoever_asks_at_once(yard: Yard) -> None:
    quota = {"quota_set": {"instances": 4}}
    await yard.cloud.admin.put(f"{COMPUTE}/os-quota-sets/{yard.demo.project_id}", quota, expect=200)
    single = [yard.create(expect=None, name=f"s{number}", networks="none") for number in range(10)]
    bulk = [yard.create(expect=None, min_count=5, networks="none") for _ in range(3)]
    assert await _statuses(*bulk, *single) == {202: 4, 403: 9}
    await yard.cloud.daemon.operations.all_settled()
    limits = (await yard.demo.get(f"{COMPUTE}/limits"))["limits"]["absolute"]
    assert limits["totalInstancesUsed"] == 4
    assert yard.cloud.daemon.placement.usage()["VCPU"] == 4


@pytest.mark.parametrize(
    ("quota", "path", "body"),
    [
        ("key_pairs", "os-keypairs", {"keypair": {"name": "%d"}}),
        ("server_groups", "os-server-groups", {"server_group": {"name": "%d", "policies": ["affinity"]}}),
    ],
    ids=["key pairs", "server groups"],
)
async def test_as_many_things_as_the_quota_allows(yard: Yard, quota: str, path: str, body: dict[str, Any]) -> None:
    await yard.cloud.admin.put(f"{COMPUTE}/os-quota-sets/{yard.demo.project_id}", {"quota_set": {quota: 3}}, expect=200)
    ((kind, plain),) = body.items()
    many = [{kind: {**plain, "name": f"n{number}"}} for number in range(8)]
    assert await _statuses(*(yard.demo.post(f"{COMPUTE}/{path}", one) for one in many)) == {200: 3, 403: 5}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("network", {}),
        ("subnet", {"ip_version": 4}),
        ("port", {}),
        ("router", {}),
        ("security_group", {}),
        ("floatingip", {}),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
async def test_as_many_network_things_as_the_quota_allows(yard: Yard, kind: str, body: dict[str, Any]) -> None:
    path = f"{NETWORK}/{kind.replace('_', '-')}s"
    await yard.demo.get(f"{NETWORK}/security-groups")  # the default group is there
    used = (await yard.cloud.admin.get(f"{NETWORK}/quotas/{yard.demo.project_id}/details.json"))["quota"][kind]["used"]
    await yard.cloud.admin.put(f"{NETWORK}/quotas/{yard.demo.project_id}", {"quota": {kind: used + 5}}, expect=200)
    external = (await yard.demo.get(f"{NETWORK}/networks?router:external=true"))["networks"][0]["id"]

    def one(number: int) -> dict[str, Any]:
        more = {
            "subnet": {"network_id": yard.network_id, "cidr": f"10.{100 + number}.0.0/24"},
            "port": {"network_id": yard.network_id}, "floatingip": {"floating_network_id": external},
        }  # fmt: skip
        return {**body, **more.get(kind, {"name": f"n{number}"})}

    single = [yard.demo.post(path, {kind: one(number)}) for number in range(4)]
    bulk = [yard.demo.post(path, {f"{kind}s": [one(10 * number + at) for at in range(2)]}) for number in range(1, 5)]
    told = await asyncio.gather(*bulk, *single)
    made = sum(len(answer.body.get(f"{kind}s", [None])) for answer in told if answer.status == 201)
    assert made == 5 and {answer.status for answer in told} == {201, 409}
    assert {answer["NeutronError"]["type"] for answer in told if answer.status == 409} == {"OverQuota"}
    known = (await yard.cloud.admin.get(f"{NETWORK}/quotas/{yard.demo.project_id}/details.json"))["quota"][kind]["used"]
    assert known == used + 5


async def test_a_port_goes_to_one_of_the_servers_that_want_it(yard: Yard) -> None:
    body = {"port": {"network_id": yard.network_id}}
    port_id = (await yard.demo.post(f"{NETWORK}/ports", body, expect=201))["port"]["id"]
    wanted: list[Any] = [yard.create(expect=None, networks=[{"port": port_id}]) for _ in range(4)]
    assert await _statuses(*wanted) == {202: 1, 409: 3}
    await yard.cloud.daemon.operations.all_settled()
    (server,) = (await yard.demo.get(f"{COMPUTE}/servers/detail"))["servers"]
    assert server["status"] == "ACTIVE" and len(yard.cloud.world.section("taps")) == 1
    await yard.demo.delete(f"{COMPUTE}/servers/{server['id']}", expect=204)
    await yard.settled(server["id"])
    assert (await yard.demo.get(f"{NETWORK}/ports/{port_id}"))["port"]["device_id"] == ""


async def test_a_launch_that_fails_early_lets_its_port_go(yard: Yard) -> None:
    body = {"port": {"network_id": yard.network_id}}
    port_id = (await yard.demo.post(f"{NETWORK}/ports", body, expect=201))["port"]["id"]
    flavor = {"name": "huge", "ram": 2**24, "vcpus": 1, "disk": 1}
    huge = (await yard.cloud.admin.post(f"{COMPUTE}/flavors", {"flavor": flavor}, expect=200))["flavor"]["id"]
    quota = {"quota_set": {"ram": -1}}
    await yard.cloud.admin.put(f"{COMPUTE}/os-quota-sets/{yard.demo.project_id}", quota, expect=200)
    server_id = await yard.launch(networks=[{"port": port_id}], flavorRef=huge)
    assert await yard.status(server_id) == "ERROR"
    assert (await yard.demo.get(f"{NETWORK}/ports/{port_id}"))["port"]["device_id"] == ""
    assert await yard.status(await yard.launch(networks=[{"port": port_id}])) == "ACTIVE"


async def test_several_servers_are_made_as_far_as_there_is_room_for_their_ports(yard: Yard) -> None:
    used = (await yard.cloud.admin.get(f"{NETWORK}/quotas/{yard.demo.project_id}/details.json"))["quota"]["port"][
        "used"
    ]
    await yard.cloud.admin.put(f"{NETWORK}/quotas/{yard.demo.project_id}", {"quota": {"port": used + 2}}, expect=200)
    await yard.create(min_count=3, max_count=4, expect=403)
    await yard.create(min_count=1, max_count=4)
    await yard.cloud.daemon.operations.all_settled()
    servers = (await yard.demo.get(f"{COMPUTE}/servers/detail"))["servers"]
    assert [one["status"] for one in servers] == ["ACTIVE", "ACTIVE"]


async def test_what_is_anothers_is_told_as_what_is_not_there(yard: Yard) -> None:
    other = await yard.cloud.person("other", project="other")
    volume_id, snapshot_id, image_id = await _volume_snapshot_and_image(yard, other)
    for kind, key in (("volume", volume_id), ("snapshot", snapshot_id), ("image", image_id)):
        for index in (0, None):
            told = []
            for one in (key, NOTHING):
                disk = {
                    "source_type": kind,
                    "uuid": one,
                    "destination_type": "volume",
                    "boot_index": index,
                    "volume_size": 1,
                }
                image = None if index == 0 else yard.image_id
                answer = await yard.create(expect=400, imageRef=image, block_device_mapping_v2=[disk])
                told.append(answer["badRequest"]["message"].replace(one, "it"))
            assert told[0] == told[1]
    assert (await yard.demo.get(f"{COMPUTE}/servers"))["servers"] == []


async def _volume_snapshot_and_image(yard: Yard, client: Client) -> tuple[str, str, str]:
    root, settled = f"/volume/v3/{client.project_id}", yard.cloud.daemon.operations.all_settled
    volume = (await client.post(f"{root}/volumes", {"volume": {"size": 1}}, expect=202))["volume"]["id"]
    await settled()
    snapshot = (await client.post(f"{root}/snapshots", {"snapshot": {"volume_id": volume}}, expect=202))["snapshot"][
        "id"
    ]
    record = {"name": "theirs", "disk_format": "raw", "container_format": "bare"}
    image = (await client.post("/image/v2/images", record, expect=201))["id"]
    octets = {"Content-Type": "application/octet-stream"}
    await client.put(f"/image/v2/images/{image}/file", data=bytes(4096), headers=octets, expect=204)
    await settled()
    return volume, snapshot, image


async def test_a_machine_loses_the_card_of_a_port_that_was_deleted(yard: Yard) -> None:
    server_id = await yard.launch()
    port_id = (await yard.demo.get(f"{COMPUTE}/servers/{server_id}/os-interface"))["interfaceAttachments"][0]["port_id"]
    await yard.demo.delete(f"{NETWORK}/ports/{port_id}", expect=204)
    for _ in range(200):
        row = yard.cloud.daemon.compute.row_of(f"server/{server_id}")
        if not row.nics:
            break
        await asyncio.sleep(0.02)
    await yard.settled(server_id)
    (domain,) = yard.cloud.world.section("domains").values()
    assert row.nics == [] and domain["spec"]["nics"] == [], domain
    shown = await yard.show(server_id)
    assert shown["status"] == "ACTIVE" and shown["addresses"] == {}


@pytest.mark.parametrize(
    "pattern", ["((a+))+$", "a?" * 30 + "a" * 30, "(a|a)" * 40, "(a+b?)+c", "(?:a*)*", "a*a*a*b", "(a{1,9}){1,9}b", "("]
)
async def test_a_pattern_that_could_take_for_ever_is_refused(yard: Yard, pattern: str) -> None:
    await yard.demo.get(f"{COMPUTE}/servers", params={"name": pattern}, expect=400)


@pytest.mark.parametrize("pattern", ["^web-[0-9]+$", ".*b-1$", "web|db", "^web.1", "eb\\-1", "w[a-f]+b-.*"])
async def test_a_pattern_finds_names(yard: Yard, pattern: str) -> None:
    server_id = await yard.launch(name="web-1", networks="none")
    found = (await yard.demo.get(f"{COMPUTE}/servers", params={"name": pattern}))["servers"]
    assert [one["id"] for one in found] == [server_id]
