"""The drivers under test: each suite here runs on the fake host and, inside a sandbox, on the real one.

The real half needs root and a network and mount namespace of its own; `minicloud sandbox run` makes that and says so
by MINICLOUD_SANDBOX=1. Outside of it only the fake half is collected: nothing here may touch a machine's own network.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from minicloud.host.fake.namespaces import FakeNamespaces
from minicloud.host.fake.world import World
from minicloud.host.namespaces import Namespaces

KINDS = [
    "fake",
    *([pytest.param("real", marks=pytest.mark.real)] if os.environ.get("MINICLOUD_SANDBOX") == "1" else []),
]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """"fake" or "real"."""
    return str(request.param)


@pytest.fixture
def world() -> World:
    """The fake machine's memory."""
    return World()


@pytest.fixture
async def namespaces(kind: str, world: World, tmp_path: Path) -> AsyncIterator[Namespaces]:
    """The namespaces of either machine; what a test left is removed."""
    made: Namespaces
    if kind == "fake":
        made = FakeNamespaces(world)
    else:
        from minicloud.host.real.namespaces import MountedNamespaces

        made = MountedNamespaces(Path("/run/netns"))
    yield made
    for name in await made.actual():
        await made.remove(name)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name (socket paths end at 107 bytes), through which the hypervisor's user may pass."""
    with tempfile.TemporaryDirectory(prefix="mc-") as name:
        os.chmod(name, 0o711)
        yield Path(name)
