"""What clients of old and new hear of this host."""

from __future__ import annotations

from tests.compute.conftest import Yard


async def test_the_host_is_told_with_what_is_promised_and_to_whom(yard: Yard) -> None:
    admin, old = yard.cloud.admin, {"OpenStack-API-Version": "compute 2.42"}
    await yard.launch(networks="none")
    hosts = (await admin.get("/compute/v2.1/os-hosts", headers=old))["hosts"]
    [name] = {one["host_name"] for one in hosts}
    assert {"compute", "scheduler"} <= {one["service"] for one in hosts}
    told = (await admin.get(f"/compute/v2.1/os-hosts/{name}", headers=old))["host"]
    by_project = {one["resource"]["project"]: one["resource"] for one in told}
    promised = by_project[yard.demo.project_id]
    assert promised["memory_mb"] > 0 and promised["memory_mb"] == by_project["(used_max)"]["memory_mb"]
    assert by_project["(used_now)"]["memory_mb"] >= promised["memory_mb"]
    [hypervisor] = (await admin.get("/compute/v2.1/os-hypervisors/detail", headers=old))["hypervisors"]
    assert by_project["(total)"]["memory_mb"] == hypervisor["memory_mb"]
    await admin.get("/compute/v2.1/os-hosts/other", headers=old, expect=404)
    await admin.get("/compute/v2.1/os-hosts", headers={"OpenStack-API-Version": "compute 2.43"}, expect=404)
