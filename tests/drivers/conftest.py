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

from minicloud.host.dhcp import Dhcp
from minicloud.host.fake.dhcp import FakeDhcp
from minicloud.host.fake.firewall import FakeFirewall
from minicloud.host.fake.links import FakeLinks
from minicloud.host.fake.namespaces import FakeNamespaces
from minicloud.host.fake.world import World
from minicloud.host.firewall import Firewall
from minicloud.host.links import BRIDGE_MARK, LEG_MARK, TAP_MARK, Links
from minicloud.host.namespaces import Namespaces

KINDS = [
    "fake",
    *([pytest.param("real", marks=pytest.mark.real)] if os.environ.get("MINICLOUD_SANDBOX") == "1" else []),
]


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """ "fake" or "real"."""
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


@pytest.fixture
async def links(kind: str, world: World, namespaces: Namespaces) -> AsyncIterator[Links]:
    """The links of either machine; what a test left is removed."""
    made: Links
    if kind == "fake":
        made = FakeLinks(world)
    else:
        from minicloud.host.real.namespaces import MountedNamespaces
        from minicloud.host.real.netlink import NetlinkLinks

        assert isinstance(namespaces, MountedNamespaces)
        made = NetlinkLinks(namespaces)
    yield made
    await made.close()
    for name in await made.interfaces():
        if name.startswith(BRIDGE_MARK):
            await made.remove_bridge(name)
        elif name.startswith((TAP_MARK, LEG_MARK)):
            await made.remove_link(name)


@pytest.fixture
async def dhcp(kind: str, world: World, namespaces: Namespaces, folder: Path) -> AsyncIterator[Dhcp]:
    """The DHCP of either machine; what a test left is removed."""
    made: Dhcp
    if kind == "fake":
        made = FakeDhcp(world)
    else:
        from minicloud.host.real.dnsmasq import DnsmasqDhcp
        from minicloud.host.real.namespaces import MountedNamespaces

        assert isinstance(namespaces, MountedNamespaces)
        made = DnsmasqDhcp(folder / "dnsmasq", namespaces)
    await made.open()
    yield made
    for owner_id in await made.actual():
        await made.remove(owner_id)
    await made.close()


@pytest.fixture
async def firewall(kind: str, world: World, namespaces: Namespaces) -> AsyncIterator[Firewall]:
    """The filter of either machine, empty."""
    made: Firewall
    if kind == "fake":
        made = FakeFirewall(world)
    else:
        from minicloud.host.real.namespaces import MountedNamespaces
        from minicloud.host.real.nft import NftFirewall

        assert isinstance(namespaces, MountedNamespaces)
        made = NftFirewall(namespaces)
    await made.open()
    await made.load(ports=(), groups=(), uplinks=())
    yield made
    await made.load(ports=(), groups=(), uplinks=())
    await made.close()


@pytest.fixture
def real_only(kind: str) -> None:
    """For suites that observe a kernel. Outside of a sandbox they are not collected at all, see below."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the kernel's suites to the real machine: no fake half of them exists."""
    items[:] = [item for item in items if "real_only" not in getattr(item, "fixturenames", ()) or _is_real(item)]


def _is_real(item: pytest.Item) -> bool:
    return isinstance(item, pytest.Function) and item.callspec.params["kind"] == "real"
