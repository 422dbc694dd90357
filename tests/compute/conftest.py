"""What most of these tests begin with: an image, a flavor and a network of demo's."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.conftest import Client, Cloud

IMAGE_BYTES = b"\x00" * 4096


@dataclasses.dataclass
class Yard:
    """The ids that a launch needs, and the ways that tests go again and again."""

    cloud: Cloud
    image_id: str
    flavor_id: str
    network_id: str

    @property
    def demo(self) -> Client:
        return self.cloud.demo

    async def create(
        self, *, expect: int | None = 202, version: str = "2.96", client: Client | None = None, **server: Any
    ) -> Any:
        """Ask for a server; the answer."""
        body = {
            "name": "one", "flavorRef": self.flavor_id, "imageRef": self.image_id, "networks": [{"uuid": self.network_id}],
        } | server  # fmt: skip
        body = {key: value for key, value in body.items() if value is not None}
        return await (client or self.demo).post(
            "/compute/v2.1/servers",
            {"server": body},
            expect=expect,
            headers={"OpenStack-API-Version": f"compute {version}"},
        )

    async def launch(self, **server: Any) -> str:
        """A server that has been built (or has failed to); its id."""
        answer = await self.create(**server)
        server_id: str = answer["server"]["id"]
        await self.settled(server_id)
        return server_id

    async def settled(self, server_id: str) -> None:
        """Nothing is under way with the server."""
        await self.cloud.daemon.operations.settled(f"server/{server_id}")

    async def show(self, server_id: str, *, version: str = "2.96", client: Client | None = None) -> dict[str, Any]:
        """The server as demo sees it."""
        answer = await (client or self.demo).get(
            f"/compute/v2.1/servers/{server_id}", headers={"OpenStack-API-Version": f"compute {version}"}
        )
        told: dict[str, Any] = answer["server"]
        return told

    async def act(
        self, server_id: str, action: Any, *, expect: int = 202, client: Client | None = None, version: str = "2.96"
    ) -> Any:
        """An action, until it is over."""
        body = {action: None} if isinstance(action, str) else action
        answer = await (client or self.demo).post(
            f"/compute/v2.1/servers/{server_id}/action", body, expect=expect,
            headers={"OpenStack-API-Version": f"compute {version}"},
        )  # fmt: skip
        await self.settled(server_id)
        return answer

    async def status(self, server_id: str) -> str:
        """Its status."""
        return str((await self.show(server_id))["status"])

    async def becomes(self, server_id: str, status: str) -> None:
        """Wait until the server has this status by itself (the runner's time-out bounds it)."""
        while await self.status(server_id) != status:
            await asyncio.sleep(0.01)

    async def volume(self, size: int = 1) -> str:
        """An available volume of demo's."""
        path = f"/volume/v3/{self.demo.project_id}/volumes"
        made = await self.demo.post(path, {"volume": {"size": size}}, expect=202)
        volume_id: str = made["volume"]["id"]
        await self.cloud.daemon.operations.settled(f"volume/{volume_id}")
        return volume_id

    async def volume_status(self, volume_id: str) -> str:
        """Its status, or "gone"."""
        answer = await self.demo.get(f"/volume/v3/{self.demo.project_id}/volumes/{volume_id}", expect=None)
        return "gone" if answer.status == 404 else str(answer["volume"]["status"])


async def yard_of(cloud: Cloud) -> Yard:
    """Image, flavor and network in a running cloud."""
    body = {"name": "tiny", "disk_format": "raw", "container_format": "bare"}
    image = await cloud.admin.post("/image/v2/images", body | {"visibility": "public"}, expect=201)
    await cloud.admin.put(
        f"/image/v2/images/{image['id']}/file", data=IMAGE_BYTES, expect=204,
        headers={"Content-Type": "application/octet-stream"},
    )  # fmt: skip
    flavor = {"name": "small", "ram": 128, "vcpus": 1, "disk": 1, "id": "1"}
    made = await cloud.admin.post("/compute/v2.1/flavors", {"flavor": flavor}, expect=200)
    network = await cloud.demo.post("/network/v2.0/networks", {"network": {"name": "lan"}}, expect=201)
    subnet = {"network_id": network["network"]["id"], "cidr": "10.7.0.0/24", "ip_version": 4}
    await cloud.demo.post("/network/v2.0/subnets", {"subnet": subnet}, expect=201)
    return Yard(cloud, image["id"], made["flavor"]["id"], network["network"]["id"])


@pytest.fixture
async def yard(cloud: Cloud) -> AsyncIterator[Yard]:
    """A cloud in which a server can be launched."""
    yield await yard_of(cloud)
