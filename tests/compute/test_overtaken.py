"""Delete arrives while something else is under way with the server, at each of its steps: it wins, and nothing stays."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from minicloud.core.operations import Operations
from tests.compute.conftest import Yard

COMPUTE = "/compute/v2.1"
STRIDE = 6
"""Every so many points are tried: neighbours are much alike."""
Doing = Callable[[Yard, str, str], Awaitable[Any]]
"""What is under way: (yard, server, volume) -> the request, begun and not awaited to its end."""


class Striker:
    """Deletes the server at the n-th point after it was armed: before and after each effect on the host and in the journal."""

    def __init__(self, yard: Yard) -> None:
        self.yard, self.at, self.seen = yard, 0, 0
        self.server_id = ""
        self.deleting: asyncio.Task[Any] | None = None
        yard.cloud.world.observer = self
        yard.cloud.daemon.operations.observer = self

    def __call__(self, point: str) -> None:
        self.seen += 1
        if self.at and self.seen == self.at:
            self.strike()

    def strike(self) -> None:
        path = f"{COMPUTE}/servers/{self.server_id}"
        self.deleting = asyncio.get_running_loop().create_task(self.yard.demo.delete(path, expect=204))


async def _action(yard: Yard, server_id: str, body: dict[str, Any]) -> Any:
    return await yard.demo.post(f"{COMPUTE}/servers/{server_id}/action", body)


KINDS: dict[str, Doing] = {
    "stop": lambda yard, server, volume: _action(yard, server, {"os-stop": None}),
    "reboot": lambda yard, server, volume: _action(yard, server, {"reboot": {"type": "HARD"}}),
    "image": lambda yard, server, volume: _action(yard, server, {"createImage": {"name": "snap"}}),
    "volume": lambda yard, server, volume: yard.demo.post(
        f"{COMPUTE}/servers/{server}/os-volume_attachments", {"volumeAttachment": {"volumeId": volume}}
    ),
    "card": lambda yard, server, volume: yard.demo.post(
        f"{COMPUTE}/servers/{server}/os-interface", {"interfaceAttachment": {"net_id": yard.network_id}}
    ),
}


async def _remains(yard: Yard) -> dict[str, Any]:
    """What is there beside the yard itself."""
    operations: Operations = yard.cloud.daemon.operations
    ports = (await yard.cloud.admin.get("/network/v2.0/ports"))["ports"]
    limits = (await yard.demo.get(f"{COMPUTE}/limits"))["limits"]["absolute"]
    return {
        "host": {name: things for name, things in yard.cloud.world.contents().items() if name != "bases"},
        "ports": sorted(port["device_owner"] for port in ports),
        "used": {name: value for name, value in limits.items() if name.endswith("Used")},
        "claims": yard.cloud.daemon.placement.usage(),
        "folders": sorted(one.name for one in (yard.cloud.config.state / "servers").glob("*")),
        "live": operations.listed(),
        "images": {one["status"] for one in (await yard.demo.get("/image/v2/images?limit=1000"))["images"]},
    }


@pytest.mark.parametrize("kind", KINDS)
async def test_delete_wins_at_every_step_of_what_is_under_way(yard: Yard, kind: str) -> None:
    volume = await yard.volume()
    await yard.act(await yard.launch(), {"forceDelete": None})
    before, striker = await _remains(yard), Striker(yard)
    steps, at = 1, 1
    while at <= steps:
        striker.server_id = await yard.launch()
        striker.at, striker.seen, striker.deleting = at, 0, None
        await KINDS[kind](yard, striker.server_id, volume)
        await yard.settled(striker.server_id)
        striker.at, steps = 0, max(steps, striker.seen) if at == 1 else steps
        if striker.deleting is None:
            striker.strike()
        assert striker.deleting is not None
        await striker.deleting
        await yard.cloud.daemon.operations.all_settled()
        await yard.demo.get(f"{COMPUTE}/servers/{striker.server_id}", expect=404)
        assert await yard.volume_status(volume) == "available"
        assert await _remains(yard) == before, f"deleted at point {at}"
        at += STRIDE
