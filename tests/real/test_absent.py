"""A host that lacks something: the daemon serves what it can, says what is missing, and works once it is there again."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from minicloud.core.errors import Unavailable
from minicloud.host import run
from tests.conftest import Cloud, running_cloud
from tests.real.town import COMPUTE, Town, real_config, short_folder, sweep

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(300)]


@contextlib.asynccontextmanager
async def started(folder: Path) -> AsyncIterator[tuple[Cloud, Town]]:
    """A cloud with its town, whose servers are deleted at the end."""
    config = real_config(folder)
    async with running_cloud(folder, config) as cloud:
        town = Town(cloud.demo, cloud.admin, folder)
        try:
            yield cloud, town
        finally:
            for server in (await town.admin.get(f"{COMPUTE}/servers?all_tenants=1"))["servers"]:
                await town.admin.delete(f"{COMPUTE}/servers/{server['id']}")
            await cloud.daemon.operations.all_settled()
    await sweep(folder)


@contextlib.asynccontextmanager
async def covered(path: str, by: Path) -> AsyncIterator[None]:
    """Something else stands at `path` for a while (in the sandbox's own mount namespace)."""
    await run.run(["mount", "--bind", str(by), path])
    try:
        yield
    finally:
        await run.run(["umount", path])


async def test_without_dnsmasq_a_launch_says_so_and_works_when_it_is_there(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    nothing.touch(mode=0o644)
    path = shutil.which("dnsmasq", path=run.SEARCH_PATH)
    assert path is not None
    with short_folder() as folder:
        async with started(folder) as (cloud, town):
            await town.image()
            async with covered(path, nothing):
                await town.settle()
                network = (await town.client.get(f"/network/v2.0/networks/{town.network_id}"))["network"]
                assert network["status"] == "DOWN"
                shown = await town.settled(await town.request("early"))
                assert shown["status"] == "ERROR"
                assert "dnsmasq" in shown["fault"]["message"]
            for one in cloud.daemon.reconcilers:
                await one.once()
            network = (await town.client.get(f"/network/v2.0/networks/{town.network_id}"))["network"]
            assert network["status"] == "ACTIVE"
            await town.server("late")
        async with covered(path, nothing):
            with pytest.raises(Unavailable, match="dnsmasq"):
                async with started(folder):
                    pass
