"""How servers come to life and end, over HTTP on the fake host."""

from __future__ import annotations

from tests.compute.conftest import Yard


async def test_a_server_is_launched_and_deleted_and_nothing_stays(yard: Yard) -> None:
    before = yard.cloud.world.contents()
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
    await yard.demo.delete(f"/compute/v2.1/servers/{server_id}", expect=204)
    await yard.settled(server_id)
    await yard.demo.get(f"/compute/v2.1/servers/{server_id}", expect=404)
    after = yard.cloud.world.contents()
    assert after | {"group_filters": []} == before | {"group_filters": []}
    assert not list((yard.cloud.config.state / "servers").iterdir())
