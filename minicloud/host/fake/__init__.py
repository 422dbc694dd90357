"""The same drivers in memory and a folder: for tests, and for CI users without root."""

from __future__ import annotations

from pathlib import Path

from minicloud.host import Host
from minicloud.host.fake.dhcp import FakeDhcp
from minicloud.host.fake.disks import FakeDisks
from minicloud.host.fake.firewall import FakeFirewall
from minicloud.host.fake.hypervisor import FakeHypervisor
from minicloud.host.fake.links import FakeLinks
from minicloud.host.fake.namespaces import FakeNamespaces
from minicloud.host.fake.world import World

__all__ = ["World", "fake_host"]


def fake_host(folder: Path | None) -> tuple[Host, World]:
    """A machine that exists in a file only.

    Args:
        folder: where the machine is remembered (`<folder>/world.json`; made if missing), so that guests outlive a
            daemon; None keeps it in memory. Disk files lie wherever the caller says, in both cases.

    Returns:
        The drivers, and the world with which tests make them slow, failing or deadly.
    """
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    world = World(folder)
    host = Host(
        hypervisor=FakeHypervisor(world),
        disks=FakeDisks(world),
        links=FakeLinks(world),
        dhcp=FakeDhcp(world),
        firewall=FakeFirewall(world),
        namespaces=FakeNamespaces(world),
    )
    return host, world
