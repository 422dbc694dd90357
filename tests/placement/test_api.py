"""Placement over HTTP: generations, candidates over trees and sharing, and what each microversion says."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from minicloud.placement import Placement
from tests.conftest import Client
from tests.door import Door, open_door


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    """The placement service alone; its host is measured."""
    async with open_door(tmp_path / "state", lambda *built: [Placement(*built)]) as one:
        yield one


async def ask(client: Client, method: str, path: str, body: Any = None, *, expect: int, version: str = "1.39") -> Any:
    headers = {"OpenStack-API-Version": f"placement {version}"}
    return await client.request(method, "/placement" + path, body, expect=expect, headers=headers)


async def provider(client: Client, name: str, parent: str | None = None, **amounts: int) -> str:
    """A provider with inventories of some classes."""
    made = await ask(client, "POST", "/resource_providers", {"name": name, "parent_provider_uuid": parent}, expect=200)
    if amounts:
        body = {"resource_provider_generation": 0, "inventories": {key: {"total": n} for key, n in amounts.items()}}
        await ask(client, "PUT", f"/resource_providers/{made['uuid']}/inventories", body, expect=200)
    return str(made["uuid"])


async def test_aggregates_are_told_as_they_were_sent(door: Door) -> None:
    admin, names = door.client("admin"), [uuid.uuid4().hex, str(uuid.uuid4())]
    one = await provider(admin, "one")
    body = {"aggregates": names, "resource_provider_generation": 0}
    path = f"/resource_providers/{one}/aggregates"
    told = await ask(admin, "PUT", path, body, expect=200)
    assert sorted(told["aggregates"]) == sorted(names)
    for name in names:
        found = await ask(admin, "GET", f"/resource_providers?member_of={name}", expect=200)
        assert [each["uuid"] for each in found["resource_providers"]] == [one]


def claim(provider_id: str, **amounts: int) -> dict[str, Any]:
    return {
        "allocations": {provider_id: {"resources": amounts}}, "project_id": "p", "user_id": "u",
        "consumer_generation": None, "consumer_type": "INSTANCE",
    }  # fmt: skip


async def test_the_host_is_a_provider_of_what_it_has(door: Door) -> None:
    admin = door.client("admin")
    (host,) = (await ask(admin, "GET", "/resource_providers", expect=200))["resource_providers"]
    assert host["name"] == "fake-host"
    path = f"/resource_providers/{host['uuid']}"
    assert set((await ask(admin, "GET", path + "/inventories", expect=200))["inventories"]) == {
        "VCPU",
        "MEMORY_MB",
        "DISK_GB",
    }
    assert "COMPUTE_NODE" in (await ask(admin, "GET", path + "/traits", expect=200))["traits"]
    await ask(admin, "DELETE", path, expect=409)


async def test_only_administrators_and_services_may(door: Door) -> None:
    await door.client("").get("/placement")
    await door.client("").get("/placement/resource_providers", expect=401)
    await ask(door.client("alice"), "GET", "/resource_providers", expect=403)
    await ask(door.client("nova"), "GET", "/resource_providers", expect=200)
    await ask(door.client("alice"), "GET", "/usages?project_id=p-alice", expect=200)
    await ask(door.client("alice"), "GET", "/usages?project_id=p-bob", expect=403)


async def test_a_stale_generation_is_refused_with_a_code(door: Door) -> None:
    admin = door.client("admin")
    one = await provider(admin, "one", VCPU=4)
    body = {"resource_provider_generation": 0, "inventories": {}}
    answer = await ask(admin, "PUT", f"/resource_providers/{one}/inventories", body, expect=409)
    assert answer["errors"][0]["code"] == "placement.concurrent_update"
    answer = await ask(
        admin, "PUT", f"/resource_providers/{one}/traits", {"resource_provider_generation": 9, "traits": []}, expect=409
    )
    assert answer["errors"][0]["code"] == "placement.concurrent_update"


async def test_of_many_writes_of_one_generation_one_counts(door: Door) -> None:
    admin, consumer = door.client("admin"), str(uuid.uuid4())
    one = await provider(admin, "one", VCPU=400)

    async def raced(path: str, body: dict[str, Any]) -> None:
        headers = {"OpenStack-API-Version": "placement 1.39"}
        told = await asyncio.gather(*(admin.put(f"/placement{path}", body, headers=headers) for _ in range(30)))
        lost = [answer for answer in told if answer.status == 409]
        assert len(lost) == 29 and {answer["errors"][0]["code"] for answer in lost} == {"placement.concurrent_update"}

    body = {"resource_provider_generation": 1, "inventories": {"VCPU": {"total": 500}}}
    await raced(f"/resource_providers/{one}/inventories", body)
    await raced(f"/resource_providers/{one}/inventories/VCPU", {"resource_provider_generation": 2, "total": 600})
    await raced(f"/allocations/{consumer}", claim(one, VCPU=2))
    await raced(f"/allocations/{consumer}", {**claim(one, VCPU=3), "consumer_generation": 1})
    assert (await ask(admin, "GET", f"/resource_providers/{one}/usages", expect=200))["usages"] == {"VCPU": 3}


async def test_a_consumer_generation_guards_allocations(door: Door) -> None:
    admin, consumer = door.client("admin"), str(uuid.uuid4())
    one, path = await provider(admin, "one", VCPU=4), f"/allocations/{consumer}"
    await ask(admin, "PUT", path, claim(one, VCPU=2), expect=204)
    await ask(admin, "PUT", path, claim(one, VCPU=1), expect=409)
    shown = await ask(admin, "GET", path, expect=200)
    assert (shown["consumer_generation"], shown["consumer_type"]) == (1, "INSTANCE")
    await ask(admin, "PUT", path, {**claim(one, VCPU=5), "consumer_generation": 1}, expect=409)
    assert (await ask(admin, "GET", f"/resource_providers/{one}/usages", expect=200))["usages"] == {"VCPU": 2}
    usage = await ask(admin, "GET", "/usages?project_id=p", expect=200)
    assert usage["usages"] == {"INSTANCE": {"consumer_count": 1, "VCPU": 2}}
    await ask(admin, "DELETE", f"/resource_providers/{one}/inventories", expect=409)
    await ask(admin, "DELETE", path, expect=204)
    await ask(admin, "DELETE", path, expect=404)


async def test_bad_allocations_change_nothing(door: Door) -> None:
    admin, consumer = door.client("admin"), str(uuid.uuid4())
    one = await provider(admin, "one", VCPU=4)
    for body, status in (
        (claim(one, VCPU=0), 400), (claim(one, COWS=1), 400), (claim(str(uuid.uuid4()), VCPU=1), 400),
        (claim(one, DISK_GB=1), 409), ({"allocations": {}}, 400), ([], 400),
    ):  # fmt: skip
        await ask(admin, "PUT", f"/allocations/{consumer}", body, expect=status)
    await ask(admin, "PUT", "/allocations/nope", claim(one, VCPU=1), expect=400)
    assert (await ask(admin, "GET", f"/allocations/{consumer}", expect=200))["allocations"] == {}


async def test_several_allocations_are_all_or_nothing(door: Door) -> None:
    admin, first, second = door.client("admin"), str(uuid.uuid4()), str(uuid.uuid4())
    one = await provider(admin, "one", VCPU=4)
    await ask(admin, "POST", "/allocations", {first: claim(one, VCPU=3), second: claim(one, VCPU=3)}, expect=409)
    assert (await ask(admin, "GET", f"/allocations/{first}", expect=200))["allocations"] == {}
    await ask(admin, "POST", "/allocations", {first: claim(one, VCPU=2), second: claim(one, VCPU=2)}, expect=204)


async def test_candidates_span_a_tree_and_groups_stay_apart(door: Door) -> None:
    admin = door.client("admin")
    root = await provider(admin, "root", PCPU=8)
    children = [await provider(admin, f"nic{n}", root, SRIOV_NET_VF=4) for n in range(2)]
    found = await ask(admin, "GET", "/allocation_candidates?resources=PCPU:1,SRIOV_NET_VF:1", expect=200)
    assert len(found["allocation_requests"]) == 2
    assert set(found["provider_summaries"]) == {root, *children}
    groups = "resources=PCPU:1&resources_A=SRIOV_NET_VF:1&resources_B=SRIOV_NET_VF:1"
    await ask(admin, "GET", f"/allocation_candidates?{groups}", expect=400)
    isolated = await ask(admin, "GET", f"/allocation_candidates?{groups}&group_policy=isolate", expect=200)
    assert len(isolated["allocation_requests"]) == 2
    for one in isolated["allocation_requests"]:
        assert one["mappings"]["_A"] != one["mappings"]["_B"]
    limited = await ask(admin, "GET", f"/allocation_candidates?{groups}&group_policy=none&limit=1", expect=200)
    assert len(limited["allocation_requests"]) == 1


async def test_candidates_obey_traits_aggregates_and_sharing(door: Door) -> None:
    admin, aggregate = door.client("admin"), str(uuid.uuid4())
    root = await provider(admin, "root", PCPU=8)
    pool = await provider(admin, "pool", SRIOV_NET_VF=100)
    for one in (root, pool):
        body = {"resource_provider_generation": 1, "aggregates": [aggregate]}
        await ask(admin, "PUT", f"/resource_providers/{one}/aggregates", body, expect=200)
    query = "/allocation_candidates?resources=PCPU:1,SRIOV_NET_VF:10"
    assert (await ask(admin, "GET", query, expect=200))["allocation_requests"] == []
    body = {"resource_provider_generation": 2, "traits": ["MISC_SHARES_VIA_AGGREGATE"]}
    await ask(admin, "PUT", f"/resource_providers/{pool}/traits", body, expect=200)
    (found,) = (await ask(admin, "GET", query, expect=200))["allocation_requests"]
    assert set(found["allocations"]) == {root, pool}
    assert (await ask(admin, "GET", query + "&required=!MISC_SHARES_VIA_AGGREGATE", expect=200))[
        "allocation_requests"
    ] == []
    assert (await ask(admin, "GET", f"{query}&member_of=!{aggregate}", expect=200))["allocation_requests"] == []
    await ask(admin, "GET", query + "&required=CUSTOM_NOWHERE", expect=400)
    await ask(admin, "GET", query + "&bogus=1", expect=400)


async def test_older_microversions_say_less(door: Door) -> None:
    admin = door.client("admin")
    made = await ask(admin, "POST", "/resource_providers", {"name": "old"}, expect=201, version="1.0")
    path = "/resource_providers/" + made.headers["Location"].rsplit("/", 1)[1]
    old = await ask(admin, "GET", path, expect=200, version="1.0")
    assert {link["rel"] for link in old["links"]} == {"self", "inventories", "usages"}
    assert "parent_provider_uuid" not in old.body
    assert "Last-Modified" not in old.headers
    new = await ask(admin, "GET", path, expect=200)
    assert new["root_provider_uuid"] == new["uuid"]
    assert new.headers["Cache-Control"] == "no-cache"
    await ask(admin, "DELETE", path + "/inventories", expect=405, version="1.4")
    await ask(admin, "GET", "/traits", expect=404, version="1.5")
    assert (await ask(admin, "GET", "/traits", expect=406, version="1.99"))["errors"][0]["max_version"] == "1.39"


async def test_custom_names_come_and_go_but_not_while_in_use(door: Door) -> None:
    admin = door.client("admin")
    one = await provider(admin, "one")
    for path, bad in (("/traits", "HW_CPU_X86_AVX"), ("/resource_classes", "VCPU")):
        await ask(admin, "PUT", f"{path}/CUSTOM_GOLD", expect=201)
        await ask(admin, "PUT", f"{path}/CUSTOM_GOLD", expect=204)
        await ask(admin, "PUT", f"{path}/lower", expect=400)
        await ask(admin, "DELETE", f"{path}/{bad}", expect=400)
        await ask(admin, "DELETE", f"{path}/CUSTOM_NONE", expect=404)
    body = {"resource_provider_generation": 0, "traits": ["CUSTOM_GOLD"]}
    await ask(admin, "PUT", f"/resource_providers/{one}/traits", body, expect=200)
    body = {"resource_provider_generation": 1, "inventories": {"CUSTOM_GOLD": {"total": 1}}}
    await ask(admin, "PUT", f"/resource_providers/{one}/inventories", body, expect=200)
    for path in ("/traits", "/resource_classes"):
        await ask(admin, "DELETE", f"{path}/CUSTOM_GOLD", expect=409)
    await ask(admin, "DELETE", f"/resource_providers/{one}", expect=204)
    for path in ("/traits", "/resource_classes"):
        await ask(admin, "DELETE", f"{path}/CUSTOM_GOLD", expect=204)


async def test_a_tree_has_no_loops_and_parents_stay_while_they_have_children(door: Door) -> None:
    admin = door.client("admin")
    root = await provider(admin, "root")
    child = await provider(admin, "child", root)
    await ask(admin, "DELETE", f"/resource_providers/{root}", expect=409)
    await ask(admin, "PUT", f"/resource_providers/{root}", {"name": "root", "parent_provider_uuid": child}, expect=400)
    body = {"name": "child", "parent_provider_uuid": None}
    await ask(admin, "PUT", f"/resource_providers/{child}", body, expect=400, version="1.36")
    assert (await ask(admin, "PUT", f"/resource_providers/{child}", body, expect=200))["root_provider_uuid"] == child


async def test_reshaping_moves_inventory_and_claims_together(door: Door) -> None:
    nova, admin, consumer = door.client("nova"), door.client("admin"), str(uuid.uuid4())
    old = await provider(admin, "old", VGPU=4)
    new = await provider(admin, "new", old)
    await ask(admin, "PUT", f"/allocations/{consumer}", claim(old, VGPU=2), expect=204)
    body = {
        "inventories": {
            old: {"resource_provider_generation": 2, "inventories": {}},
            new: {"resource_provider_generation": 0, "inventories": {"VGPU": {"total": 4}}},
        },
        "allocations": {consumer: {**claim(new, VGPU=2), "consumer_generation": 1}},
    }
    await ask(door.client("alice"), "POST", "/reshaper", body, expect=403)
    await ask(nova, "POST", "/reshaper", body, expect=204)
    assert set((await ask(admin, "GET", f"/allocations/{consumer}", expect=200))["allocations"]) == {new}
    await ask(nova, "POST", "/reshaper", body, expect=409)


async def test_who_takes_no_json_or_sends_what_is_no_version_is_told_so(door: Door) -> None:
    async def told(method: str, expect: int, data: bytes | None = None, **headers: str) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        path = "/placement/resource_providers"
        return await door.client("admin").request(
            method, path, expect=expect, headers=named, data=data, skip_auto_headers=["Content-Type"]
        )

    await told("GET", 406, Accept="text/plain")
    await told("GET", 200, Accept="text/html,*/*;q=0.8")
    assert "Unacceptable version header: 0.5" in str(
        (await told("GET", 406, OpenStack_API_Version="placement 0.5")).body
    )
    await told("GET", 400, OpenStack_API_Version="placement pony")
    assert "content-type header required" in str((await told("POST", 400, data=b"a provider")).body)


async def test_a_parameter_with_an_odd_suffix_is_refused_with_the_patterns(door: Door) -> None:
    answer = await ask(door.client("admin"), "GET", "/allocation_candidates?resources1@=VCPU:1", expect=400)
    assert "^member_of([a-zA-Z0-9_-]{1,64})?$" in str(answer)
