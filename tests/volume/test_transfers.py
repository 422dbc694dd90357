"""Volumes handed from project to project, and QoS specifications."""

from __future__ import annotations

from tests.door import Door
from tests.volume.conftest import Volumes


async def test_a_volume_changes_hands_with_its_snapshots(door: Door, alice: Volumes) -> None:
    volume, bob = await alice.make(), Volumes(door, "bob")
    await alice.call("POST", "/snapshots", {"snapshot": {"volume_id": volume["id"]}}, expect=202)
    await door.operations.all_settled()
    made = (await alice.call("POST", "/volume-transfers", {"transfer": {"volume_id": volume["id"]}}, expect=202))[
        "transfer"
    ]
    assert (await alice.settled(volume["id"]))["status"] == "awaiting-transfer"
    shown = (await alice.call("GET", f"/volume-transfers/{made['id']}", expect=200))["transfer"]
    assert "auth_key" not in shown
    await bob.call("GET", f"/volume-transfers/{made['id']}", expect=404)
    accept = f"/volume-transfers/{made['id']}/accept"
    await bob.call("POST", accept, {"accept": {"auth_key": "zz"}}, expect=400)
    await bob.call("POST", accept, {"accept": {"auth_key": made["auth_key"]}}, expect=202)
    assert (await bob.settled(volume["id"]))["status"] == "available"
    assert len((await bob.call("GET", "/snapshots"))["snapshots"]) == 1
    await alice.call("GET", f"/volumes/{volume['id']}", expect=404)
    await bob.call("POST", accept, {"accept": {"auth_key": made["auth_key"]}}, expect=404)


async def test_an_offer_taken_back_leaves_the_volume_available(alice: Volumes) -> None:
    volume = await alice.make()
    made = (await alice.call("POST", "/os-volume-transfer", {"transfer": {"volume_id": volume["id"]}}, expect=202))[
        "transfer"
    ]
    await alice.call("DELETE", f"/volumes/{volume['id']}", expect=400)
    await alice.call("DELETE", f"/os-volume-transfer/{made['id']}", expect=202)
    assert (await alice.settled(volume["id"]))["status"] == "available"
    assert (await alice.call("GET", "/os-volume-transfer/detail"))["transfers"] == []


async def test_taking_over_counts_against_the_takers_quota(door: Door, alice: Volumes, admin: Volumes) -> None:
    volume, bob = await alice.make(), Volumes(door, "bob")
    await admin.call("PUT", "/os-quota-sets/p-bob", {"quota_set": {"volumes": 0}}, expect=200)
    made = (await alice.call("POST", "/volume-transfers", {"transfer": {"volume_id": volume["id"]}}, expect=202))[
        "transfer"
    ]
    accept = f"/volume-transfers/{made['id']}/accept"
    await bob.call("POST", accept, {"accept": {"auth_key": made["auth_key"]}}, expect=413)
    assert (await alice.settled(volume["id"]))["status"] == "awaiting-transfer"


async def test_the_life_of_a_qos_specification(alice: Volumes, admin: Volumes) -> None:
    body = {"qos_specs": {"name": "q", "consumer": "front-end", "read_iops_sec": "2000"}}
    await alice.call("POST", "/qos-specs", body, expect=403)
    made = (await admin.call("POST", "/qos-specs", body, expect=200))["qos_specs"]
    assert (made["consumer"], made["specs"]) == ("front-end", {"read_iops_sec": "2000"})
    await admin.call("POST", "/qos-specs", body, expect=409)
    path = f"/qos-specs/{made['id']}"
    await admin.call("PUT", path, {"qos_specs": {"iops": "1"}}, expect=200)
    await admin.call("PUT", f"{path}/delete_keys", {"keys": ["iops"]}, expect=202)
    await admin.call("PUT", f"{path}/delete_keys", {"keys": ["iops"]}, expect=404)
    kind = (await admin.call("POST", "/types", {"volume_type": {"name": "t"}}, expect=200))["volume_type"]
    await admin.call("GET", f"{path}/associate?vol_type_id={kind['id']}", expect=202)
    assert (await admin.call("GET", f"{path}/associations"))["qos_associations"][0]["name"] == "t"
    await admin.call("DELETE", path, expect=400)
    await admin.call("GET", f"{path}/disassociate?vol_type_id={kind['id']}", expect=202)
    await admin.call("DELETE", path, expect=202)
    await admin.call("GET", path, expect=404)
