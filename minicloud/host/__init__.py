"""The only room that touches the machine: drivers behind narrow protocols.

The modules here say what can be asked (`hypervisor`, `disks`, `links`, `dhcp`, `firewall`, `namespaces`); `real/` does
it to this machine, `fake/` to memory and a folder. The suites in tests/drivers run on both, so the fake can't drift.
"""

from __future__ import annotations

from dataclasses import dataclass

from minicloud.host.dhcp import Dhcp
from minicloud.host.disks import Disks
from minicloud.host.firewall import Firewall
from minicloud.host.hypervisor import Hypervisor
from minicloud.host.links import Links
from minicloud.host.namespaces import Namespaces

__all__ = ["Host"]


@dataclass(frozen=True)
class Host:
    """All drivers of one host. Made by `minicloud.host.real.real_host` or `minicloud.host.fake.fake_host`."""

    hypervisor: Hypervisor
    disks: Disks
    links: Links
    dhcp: Dhcp
    firewall: Firewall
    namespaces: Namespaces

    async def open(self) -> None:
        """Make every driver ready, those first that others need."""
        await self.firewall.open()
        await self.hypervisor.open()
        await self.dhcp.open()

    async def close(self) -> None:
        """Let go of everything; guests, servers and filters go on."""
        await self.dhcp.close()
        await self.links.close()
        await self.hypervisor.close()
        await self.firewall.close()
