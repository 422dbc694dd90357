"""Volume types, quotas, and what administrators ask about the service."""

from __future__ import annotations

from tests.door import Door
from tests.volume.conftest import Volumes


async def test_the_life_of_a_type(alice: Volumes, admin: Volumes) -> None:
    body = {"volume_type": {"name": "t", "description": "d", "extra_specs": {"a": "b"}}}
    made = (await admin.call("POST", "/types", body, expect=200))["volume_type"]
    assert (made["os-volume-type-access:is_public"], made["extra_specs"]) == (True, {"a": "b"})
    await admin.call("POST", "/types", body, expect=409)
    await admin.call("POST", "/types", {"volume_type": {}}, expect=400)
    await alice.call("POST", "/types", body, expect=403)
    assert (await alice.call("GET", f"/types/{made['id']}", expect=200))["volume_type"]["extra_specs"] == {}
    path = f"/types/{made['id']}"
    changed = (await admin.call("PUT", path, {"volume_type": {"description": "z"}}, expect=200))["volume_type"]
    assert changed["description"] == "z"
    assert "os-volume-type-access:is_public" not in changed
    await alice.make(volume_type="t")
    await admin.call("DELETE", path, expect=400)
    assert (await alice.call("GET", "/types/default"))["volume_type"]["name"] == "__DEFAULT__"


async def test_extra_specs_key_by_key(admin: Volumes) -> None:
    made = (await admin.call("POST", "/types", {"volume_type": {"name": "t"}}, expect=200))["volume_type"]
    path = f"/types/{made['id']}/extra_specs"
    await admin.call("POST", path, {"extra_specs": {"a": "b"}}, expect=200)
    assert (await admin.call("PUT", f"{path}/a", {"a": "c"}, expect=200)).body == {"a": "c"}
    assert (await admin.call("GET", f"{path}/a", expect=200)).body == {"a": "c"}
    for body in ({"x": "y"}, {"a": "c", "x": "y"}, None):
        await admin.call("PUT", f"{path}/a", body, expect=400)
    await admin.call("DELETE", f"{path}/a", expect=202)
    await admin.call("DELETE", f"{path}/a", expect=404)
    assert (await admin.call("GET", path))["extra_specs"] == {}


async def test_a_private_type_is_for_those_it_was_given_to(alice: Volumes, admin: Volumes) -> None:
    body = {"volume_type": {"name": "t", "os-volume-type-access:is_public": False}}
    made = (await admin.call("POST", "/types", body, expect=200))["volume_type"]
    await alice.call("GET", f"/types/{made['id']}", expect=404)
    await alice.call("POST", "/volumes", {"volume": {"size": 1, "volume_type": "t"}}, expect=404)
    action = f"/types/{made['id']}/action"
    await admin.call("POST", action, {"addProjectAccess": {"project": "p-alice"}}, expect=202)
    await admin.call("POST", action, {"addProjectAccess": {"project": "p-alice"}}, expect=409)
    assert made["id"] in [one["id"] for one in (await alice.call("GET", "/types"))["volume_types"]]
    listed = (await admin.call("GET", f"/types/{made['id']}/os-volume-type-access"))["volume_type_access"]
    assert listed == [{"volume_type_id": made["id"], "project_id": "p-alice"}]
    await admin.call("POST", action, {"removeProjectAccess": {"project": "p-alice"}}, expect=202)
    await alice.call("GET", f"/types/{made['id']}", expect=404)


async def test_a_project_has_a_default_of_its_own(alice: Volumes, admin: Volumes) -> None:
    await admin.call("POST", "/types", {"volume_type": {"name": "t"}}, expect=200)
    await admin.call("PUT", "/default-types/p-alice", {"default_type": {"volume_type": "t"}}, expect=200)
    assert (await alice.make())["volume_type"] == "t"
    await admin.call("DELETE", "/default-types/p-alice", expect=204)
    await admin.call("GET", "/default-types/p-alice", expect=404)
    assert (await alice.make())["volume_type"] == "__DEFAULT__"


async def test_quotas_of_a_project_and_of_a_type(alice: Volumes, admin: Volumes) -> None:
    shown = (await alice.call("GET", "/os-quota-sets/p-alice", expect=200))["quota_set"]
    assert (shown["volumes"], shown["volumes___DEFAULT__"], shown["id"]) == (10, -1, "p-alice")
    await alice.call("GET", "/os-quota-sets/p-bob", expect=403)
    await alice.call("PUT", "/os-quota-sets/p-alice", {"quota_set": {"volumes": 99}}, expect=403)
    await admin.call("PUT", "/os-quota-sets/p-alice", {"quota_set": {"volumes": -5}}, expect=400)
    await admin.call("PUT", "/os-quota-sets/p-alice", {"quota_set": {"zz": 5}}, expect=400)
    await admin.call("PUT", "/os-quota-sets/p-alice", {"quota_set": {"gigabytes___DEFAULT__": 1}}, expect=200)
    await alice.make()
    await alice.call("POST", "/volumes", {"volume": {"size": 1}}, expect=413)
    used = (await alice.call("GET", "/os-quota-sets/p-alice?usage=True"))["quota_set"]
    assert used["gigabytes___DEFAULT__"] == {"limit": 1, "in_use": 1, "reserved": 0}
    assert (await alice.call("GET", "/limits"))["limits"]["absolute"]["totalVolumesUsed"] == 1
    await admin.call("DELETE", "/os-quota-sets/p-alice", expect=200)
    await alice.make()


async def test_the_class_default_changes_every_project(alice: Volumes, admin: Volumes) -> None:
    await admin.call("PUT", "/os-quota-class-sets/default", {"quota_class_set": {"volumes": 0}}, expect=200)
    await alice.call("POST", "/volumes", {"volume": {"size": 1}}, expect=413)
    assert (await alice.call("GET", "/os-quota-sets/p-alice/defaults"))["quota_set"]["volumes"] == 0


async def test_a_disabled_service_takes_no_volumes(alice: Volumes, admin: Volumes) -> None:
    await alice.call("GET", "/os-services", expect=403)
    listed = (await admin.call("GET", "/os-services?binary=cinder-volume", expect=200))["services"]
    assert [one["state"] for one in listed] == ["up"]
    which = {"binary": "cinder-volume", "host": listed[0]["host"]}
    await admin.call("PUT", "/os-services/disable-log-reason", which, expect=400)
    await admin.call("PUT", "/os-services/disable", {**which, "host": "zz"}, expect=404)
    await admin.call("PUT", "/os-services/disable-log-reason", {**which, "disabled_reason": "r"}, expect=200)
    assert (await alice.make())["status"] == "error"
    await admin.call("PUT", "/os-services/enable", which, expect=200)
    assert (await alice.make())["status"] == "available"


async def test_pools_zones_extensions_and_filters_are_told(door: Door, alice: Volumes, admin: Volumes) -> None:
    pool = (await admin.call("GET", "/scheduler-stats/get_pools?detail=true", expect=200))["pools"][0]
    assert pool["capabilities"]["volume_backend_name"] == "files"
    assert (await alice.call("GET", "/os-availability-zone"))["availabilityZoneInfo"][0]["zoneName"] == "nova"
    assert (await alice.call("GET", "/extensions", expect=200))["extensions"]
    assert (await alice.call("GET", "/resource_filters?resource=volume"))["resource_filters"][0]["resource"] == "volume"
    await alice.make()
    hosts = (await admin.call("GET", "/os-hosts", expect=200))["hosts"]
    name = next(one["host_name"] for one in hosts if one["service"] == "cinder-volume")
    assert (await admin.call("GET", f"/os-hosts/{name}", expect=200))["host"][0]["resource"]["volume_count"] == "1"
    summary = (await alice.call("GET", "/volumes/summary"))["volume-summary"]
    assert (summary["total_count"], summary["total_size"]) == (1, 1)
