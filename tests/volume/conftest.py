"""The volume service behind a door of its own, beside the image service that it copies from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from minicloud.config import Config
from minicloud.core.foundation import Foundation
from minicloud.core.service import Service
from minicloud.host import Host
from minicloud.image import Image
from minicloud.volume import Volume
from tests.conftest import Answer, Client
from tests.door import Door, open_door

ROOT = "/volume/v3"


def services(foundation: Foundation, host: Host, config: Config) -> Sequence[Service]:
    image = Image(foundation, host, config)
    return [image, Volume(foundation, host, config, image=image)]


class Volumes:
    """A caller of the volume API; `version` goes with each request."""

    def __init__(self, door: Door, name: str, version: str = "3.71") -> None:
        self.door, self.client, self.version = door, door.client(name), version

    async def call(self, method: str, path: str, body: Any = None, *, expect: int | None = None) -> Answer:
        headers = {"OpenStack-API-Version": f"volume {self.version}"}
        return await self.client.request(method, ROOT + path, body, expect=expect, headers=headers)

    async def make(self, **values: Any) -> dict[str, Any]:
        """A volume of 1 GiB unless told otherwise, waited for."""
        body = {"size": 1, **values}
        made = await self.call("POST", "/volumes", {"volume": body}, expect=202)
        return await self.settled(made["volume"]["id"])

    async def settled(self, volume_id: str) -> dict[str, Any]:
        """The volume when nothing is under way."""
        await self.door.operations.all_settled()
        return dict((await self.call("GET", f"/volumes/{volume_id}", expect=200))["volume"])

    async def act(self, volume_id: str, action: str, told: Any = None, *, expect: int = 202) -> Answer:
        return await self.call("POST", f"/volumes/{volume_id}/action", {action: told}, expect=expect)


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    """A fresh one."""
    async with open_door(tmp_path / "state", services) as one:
        await one.services[1].start()
        yield one


@pytest.fixture
def alice(door: Door) -> Volumes:
    return Volumes(door, "alice")


@pytest.fixture
def admin(door: Door) -> Volumes:
    return Volumes(door, "admin")


@pytest.fixture
def service(door: Door) -> Volume:
    """Its public interface, as compute has it."""
    found = door.services[1]
    assert isinstance(found, Volume)
    return found


async def make_image(client: Client, data: bytes, **values: Any) -> str:
    """An active raw image."""
    body = {"name": "i", "disk_format": "raw", "container_format": "bare", **values}
    image = await client.post("/image/v2/images", body, expect=201)
    headers = {"Content-Type": "application/octet-stream"}
    await client.put(f"/image/v2/images/{image['id']}/file", data=data, headers=headers, expect=204)
    return str(image["id"])
