"""Nothing holds the event loop: ordinary work in one daemon, watched callback by callback.

What counts is the time of the loop's own thread on a processor, so that a busy machine makes no culprits; and waiting inside
a callback (a lock, a file, a process), which shows as time that passed while the thread did not run.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from tests.conftest import Cloud, running_cloud

LIMIT = 0.05
"""Seconds of processor time that one callback may take."""


class Watch:
    """Times each callback of the running loop; `slow` is (seconds, who), the longest first."""

    def __init__(self) -> None:
        self._found: list[tuple[float, str]] = []

    @property
    def slow(self) -> list[str]:
        return [f"{seconds * 1000:.0f} ms in {who}" for seconds, who in sorted(self._found, reverse=True)]

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """Watch while the block runs."""
        plain = asyncio.Handle._run  # type: ignore[attr-defined]

        def run(handle: Any) -> None:
            began = time.thread_time()
            plain(handle)
            spent = time.thread_time() - began
            if spent > LIMIT:
                self._found.append((spent, _name(handle._callback)))

        asyncio.Handle._run = run  # type: ignore[attr-defined]
        try:
            yield
        finally:
            asyncio.Handle._run = plain  # type: ignore[attr-defined]


def _name(callback: Any) -> str:
    task = getattr(callback, "__self__", None)
    if not isinstance(task, asyncio.Task):
        return repr(callback)
    coroutine = task.get_coro()
    frame = getattr(coroutine, "cr_frame", None)
    names = [getattr(coroutine, "__qualname__", repr(coroutine))]
    while coroutine is not None and frame is not None:
        names.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}")
        coroutine = getattr(coroutine, "cr_await", None)
        frame = getattr(coroutine, "cr_frame", None)
    return " > ".join(names)


async def _megabytes(count: int) -> AsyncIterator[bytes]:
    # in parts: the client is on the same loop and is watched too
    for _ in range(count * 16):
        yield bytes(65536)


async def _work(cloud: Cloud) -> None:
    """What a tenant does in a day."""
    demo, settled = cloud.demo, cloud.daemon.operations.all_settled
    octets = {"Content-Type": "application/octet-stream"}
    image = (await demo.post("/image/v2/images", {"disk_format": "raw", "container_format": "bare"}, expect=201))["id"]
    await demo.put(f"/image/v2/images/{image}/file", data=_megabytes(32), headers=octets, expect=204)
    flavor = {"flavor": {"name": "f", "ram": 64, "vcpus": 1, "disk": 1, "id": "f"}}
    await cloud.admin.post("/compute/v2.1/flavors", flavor, expect=200)
    net = (await demo.post("/network/v2.0/networks", {"network": {"name": "n"}}, expect=201))["network"]["id"]
    subnet = {"subnet": {"network_id": net, "ip_version": 4, "cidr": "10.4.0.0/16"}}
    await demo.post("/network/v2.0/subnets", subnet, expect=201)
    body = {"name": "s", "imageRef": image, "flavorRef": "f", "networks": [{"uuid": net}], "min_count": 5}
    await demo.post("/compute/v2.1/servers", {"server": body}, expect=202)
    volume = (await demo.post("/volume/v3/volumes", {"volume": {"size": 1}}, expect=202))["volume"]["id"]
    await settled()
    servers = (await demo.get("/compute/v2.1/servers/detail"))["servers"]
    assert [one["status"] for one in servers] == ["ACTIVE"] * 5
    attachment = {"volumeAttachment": {"volumeId": volume}}
    await demo.post(f"/compute/v2.1/servers/{servers[0]['id']}/os-volume_attachments", attachment, expect=200)
    await settled()
    ports = [{"network_id": net, "name": f"p{number}"} for number in range(20)]
    await demo.post("/network/v2.0/ports", {"ports": ports}, expect=201)
    rule = {
        "security_group_rule": {"direction": "ingress", "protocol": "tcp", "port_range_min": 22, "port_range_max": 22}
    }
    group = (await demo.get("/network/v2.0/security-groups"))["security_groups"][0]["id"]
    rule["security_group_rule"]["security_group_id"] = group
    await demo.post("/network/v2.0/security-group-rules", rule, expect=201)
    for path in ("/network/v2.0/ports", "/image/v2/images", "/compute/v2.1/servers", "/compute/v2.1/limits"):
        await demo.get(path)
    await cloud.login("demo", "a-test-password", "demo")
    headers = {"X-Auth-Token": demo.token}
    async with demo.session.get(f"{demo.url}/image/v2/images/{image}/file", headers=headers) as answer:
        assert sum([len(part) async for part in answer.content.iter_chunked(65536)]) == 32 * 1024**2
    for one in servers:
        await demo.delete(f"/compute/v2.1/servers/{one['id']}", expect=204)
    await settled()


async def test_ordinary_work_never_holds_the_loop(tmp_path: Path) -> None:
    watch = Watch()
    async with running_cloud(tmp_path) as cloud:
        with watch.on():
            await _work(cloud)
            for one in cloud.daemon.reconcilers:
                await one.once()
    assert watch.slow == []


async def test_the_watch_sees_who_holds_the_loop() -> None:
    watch = Watch()

    async def greedy() -> None:
        until = time.thread_time() + LIMIT * 1.5
        while time.thread_time() < until:
            pass

    with watch.on():
        await asyncio.create_task(greedy())
    assert len(watch.slow) == 1 and "greedy" in watch.slow[0]
