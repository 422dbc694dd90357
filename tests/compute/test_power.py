"""Buttons, locks, and what a machine does by itself."""

from __future__ import annotations

import pytest

from minicloud.host.fake.hypervisor import FakeHypervisor
from tests.compute.conftest import Yard

SERVERS = "/compute/v2.1/servers"


async def test_stop_start_and_reboot(yard: Yard) -> None:
    server_id = await yard.launch()
    await yard.act(server_id, "os-stop")
    shown = await yard.show(server_id)
    assert (shown["status"], shown["OS-EXT-STS:power_state"]) == ("SHUTOFF", 4)
    await yard.act(server_id, "os-stop", expect=409)
    await yard.act(server_id, "os-start")
    assert await yard.status(server_id) == "ACTIVE"
    await yard.act(server_id, "os-start", expect=409)
    for kind in ("SOFT", "HARD"):
        await yard.act(server_id, {"reboot": {"type": kind}})
        assert await yard.status(server_id) == "ACTIVE"
    await yard.act(server_id, {"reboot": {"type": "MEDIUM"}}, expect=400)
    await yard.act(server_id, "os-unknown", expect=400)
    await yard.act("00000000-0000-0000-0000-000000000000", "os-start", expect=404)


async def test_pause_and_unpause(yard: Yard) -> None:
    server_id = await yard.launch()
    await yard.act(server_id, "unpause", expect=409)
    await yard.act(server_id, "pause")
    assert await yard.status(server_id) == "PAUSED"
    await yard.act(server_id, "os-stop", expect=409)
    await yard.act(server_id, "unpause")
    assert await yard.status(server_id) == "ACTIVE"


async def test_a_lock_keeps_its_owner_out_but_no_administrator(yard: Yard) -> None:
    server_id = await yard.launch()
    await yard.act(server_id, {"lock": {"locked_reason": "mine"}})
    shown = await yard.show(server_id)
    assert (shown["locked"], shown["locked_reason"]) == (True, "mine")
    refused = await yard.act(server_id, "os-stop", expect=409)
    assert refused["conflictingRequest"]["message"] == f"Instance {server_id} is locked."
    await yard.demo.delete(f"{SERVERS}/{server_id}", expect=409)
    await yard.act(server_id, "os-stop", client=yard.cloud.admin)
    await yard.act(server_id, "unlock")
    await yard.act(server_id, "os-start")


async def test_a_guest_that_goes_off_by_itself_is_seen(yard: Yard) -> None:
    server_id = await yard.launch()
    hypervisor = yard.cloud.daemon.host.hypervisor
    assert isinstance(hypervisor, FakeHypervisor)
    await hypervisor.power_off_inside(server_id)
    await yard.cloud.daemon.reconcilers[-2].once()
    await yard.becomes(server_id, "SHUTOFF")


async def test_guests_run_again_after_the_host_went_down(yard: Yard) -> None:
    running, stopped = await yard.launch(name="a"), await yard.launch(name="b")
    await yard.act(stopped, "os-stop")
    hypervisor = yard.cloud.daemon.host.hypervisor
    assert isinstance(hypervisor, FakeHypervisor)
    await hypervisor.reboot_host()
    await yard.cloud.restart()
    await yard.cloud.as_demo()
    await yard.becomes(running, "ACTIVE")
    await yard.settled(running)
    assert await yard.cloud.daemon.compute.power_of(running) == "running"
    assert await yard.status(stopped) == "SHUTOFF"


async def test_a_machine_of_no_server_is_removed_and_a_lost_one_told(yard: Yard) -> None:
    server_id = await yard.launch()
    domains = yard.cloud.world.section("domains")
    async with yard.cloud.world.step("test.swap"):
        domains["11111111-2222-3333-4444-555555555555"] = domains.pop(server_id)
    await yard.cloud.restart()
    await yard.cloud.as_demo()
    assert await yard.status(server_id) == "SHUTOFF"
    assert "domains" not in yard.cloud.world.contents()
    await yard.act(server_id, "os-start")
    assert await yard.status(server_id) == "ACTIVE"


async def test_a_start_that_fails_leaves_the_server_off(yard: Yard) -> None:
    server_id = await yard.launch()
    await yard.act(server_id, "os-stop")
    yard.cloud.world.fail("hypervisor.start")
    await yard.act(server_id, "os-start")
    shown = await yard.show(server_id)
    assert (shown["status"], shown["OS-EXT-STS:task_state"]) == ("SHUTOFF", None)
    listed = await yard.demo.get(f"{SERVERS}/{server_id}/os-instance-actions")
    assert [one["action"] for one in listed["instanceActions"]] == ["start", "stop", "create"]
    assert listed["instanceActions"][0]["message"] == "Error"


async def test_the_console_is_read_by_lines(yard: Yard) -> None:
    server_id = await yard.launch()
    whole = (await yard.act(server_id, {"os-getConsoleOutput": {}}, expect=200))["output"]
    assert "booted" in whole
    part = (await yard.act(server_id, {"os-getConsoleOutput": {"length": 2}}, expect=200))["output"]
    assert len(part.splitlines()) == 2


@pytest.mark.parametrize(
    "action", ["suspend", "shelve", {"resize": {"flavorRef": "1"}}, {"rebuild": {"imageRef": "x"}}]
)
async def test_what_is_not_offered_says_so(yard: Yard, action: object) -> None:
    server_id = await yard.launch(networks="none")
    answer = await yard.act(server_id, action, expect=501)
    assert "not offered" in answer["notImplemented"]["message"]
    assert await yard.status(server_id) == "ACTIVE"


async def test_only_administrators_reset_a_state(yard: Yard) -> None:
    server_id = await yard.launch()
    await yard.act(server_id, {"os-resetState": {"state": "error"}}, expect=403)
    await yard.act(server_id, {"os-resetState": {"state": "error"}}, client=yard.cloud.admin)
    assert await yard.status(server_id) == "ERROR"
    await yard.act(server_id, {"reboot": {"type": "HARD"}})
    assert await yard.status(server_id) == "ACTIVE"
