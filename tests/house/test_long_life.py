"""What is made and removed again and again leaves nothing behind in the process: no descriptor, task, thread or row."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading
from collections import Counter
from pathlib import Path

import pytest

from minicloud.core.trace import Step
from tests.conftest import Cloud, running_cloud
from tests.crash.scenarios import prepare, request_server

OCTETS = {"Content-Type": "application/octet-stream"}


async def cycle(cloud: Cloud, number: int) -> None:
    """One of everything, made, looked at and removed."""
    demo, settled = cloud.demo, cloud.daemon.operations.all_settled
    net = (await demo.post("/network/v2.0/networks", {"network": {"name": f"n{number}"}}, expect=201))["network"]["id"]
    subnet = {"subnet": {"network_id": net, "ip_version": 4, "cidr": "10.9.0.0/24"}}
    await demo.post("/network/v2.0/subnets", subnet, expect=201)
    port = (await demo.post("/network/v2.0/ports", {"port": {"network_id": net}}, expect=201))["port"]["id"]
    body = {"disk_format": "raw", "container_format": "bare"}
    image = (await demo.post("/image/v2/images", body, expect=201))["id"]
    await demo.put(f"/image/v2/images/{image}/file", data=bytes(512), headers=OCTETS, expect=204)
    volume = (await demo.post("/volume/v3/volumes", {"volume": {"size": 1}}, expect=202))["volume"]["id"]
    server = await request_server(cloud)
    await settled()
    for path in (
        "/network/v2.0/ports",
        "/image/v2/images",
        "/volume/v3/volumes/detail",
        "/compute/v2.1/servers/detail",
    ):
        await demo.get(path)
    await demo.delete(f"/compute/v2.1/servers/{server}", expect=204)
    await demo.delete(f"/volume/v3/volumes/{volume}", expect=202)
    await demo.delete(f"/network/v2.0/ports/{port}", expect=204)
    await demo.delete(f"/network/v2.0/networks/{net}", expect=204)
    await demo.delete(f"/image/v2/images/{image}", expect=204)
    await settled()


def ours() -> Counter[str]:
    """Objects of our own types that are alive; steps are kept by the number of requests."""
    gc.collect()
    kinds = (type(one) for one in gc.get_objects())
    return Counter(
        f"{one.__module__}.{one.__name__}"
        for one in kinds
        if str(one.__module__).startswith("minicloud.") and one is not Step
    )


async def test_what_is_made_and_removed_leaves_nothing_in_the_process(
    cloud: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)  # what is captured is kept, with the exceptions that it tells of and their frames
    await prepare(cloud)
    for number in range(3):
        await cycle(cloud, number)
    before, files, tasks = ours(), len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
    rounds = 6
    for number in range(rounds):
        await cycle(cloud, number)
    grown = {name: count - before[name] for name, count in ours().items() if count - before[name] >= rounds}
    assert grown == {}
    assert len(os.listdir("/proc/self/fd")) <= files + 2
    assert len(asyncio.all_tasks()) <= tasks + 2
    assert cloud.daemon.operations.listed() == []
    assert cloud.daemon.store.read(lambda db: db.execute("SELECT count(*) FROM undo_records").fetchone()) == (0,)


async def test_a_daemon_that_is_started_and_stopped_again_and_again_leaves_nothing(tmp_path: Path) -> None:
    async with running_cloud(tmp_path) as cloud:
        for _ in range(2):
            await cloud.restart()
        files, threads, tasks = len(os.listdir("/proc/self/fd")), threading.active_count(), len(asyncio.all_tasks())
        for _ in range(5):
            await cloud.restart()
        gc.collect()
        found = len(os.listdir("/proc/self/fd")), threading.active_count(), len(asyncio.all_tasks())
    assert [now - before for now, before in zip(found, (files, threads, tasks), strict=True) if now - before > 3] == []
