"""Who on this machine may look into the cloud's files: the daemon, and where a guest needs it the hypervisor's user."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.conftest import Cloud
from tests.crash.scenarios import make_server, prepare


@pytest.fixture
def plain_umask() -> Iterator[None]:
    """That of most shells and of the unit."""
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("plain_umask")
async def test_nobody_else_lists_a_folder_or_reads_a_file(cloud: Cloud) -> None:
    await prepare(cloud)
    await make_server(cloud)
    await cloud.demo.post("/volume/v3/volumes", {"volume": {"size": 1}}, expect=202)
    await cloud.daemon.operations.all_settled()
    open_ = {}
    for path in [cloud.config.state, *cloud.config.state.rglob("*")]:
        mode, below = path.stat().st_mode & 0o777, path.relative_to(cloud.config.state)
        allowed = 0o711 if path.is_dir() else 0o600
        if below.parts[:1] == ("keys",):
            allowed &= 0o700
        elif below.parts[:1] in (("images",), ("bases",)) and path.is_file():
            allowed = 0o444  # the hypervisor's user boots from them; who does not know their names does not find them
        if mode & ~allowed:
            open_[str(below)] = oct(mode)
    assert open_ == {}
    assert cloud.daemon.store.path.with_name("minicloud.db-wal").stat().st_mode & 0o777 == 0o600
