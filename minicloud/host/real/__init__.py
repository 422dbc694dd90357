"""The drivers of a real machine: libvirt, netlink, dnsmasq, nft, qemu-img, namespaces."""

from __future__ import annotations

from pathlib import Path

from minicloud.host import Host

__all__ = ["real_host"]


def real_host(*, libvirt_uri: str, state: Path, cache: Path, namespaces: Path) -> Host:
    """The drivers of this machine; nothing is touched before `Host.open`.

    Args:
        libvirt_uri: libvirt's address of this host, "qemu:///system".
        state: folder of what must outlive a restart: DHCP servers' files lie below it, as leases do.
        cache: folder of what can be found out again: what the accelerator probe saw.
        namespaces: folder of the namespaces' mounts; /run/netns makes them visible to `ip netns`.
    """
    # bindings that a fake-only installation does not have
    from minicloud.host.real.disks import RealDisks
    from minicloud.host.real.dnsmasq import DnsmasqDhcp
    from minicloud.host.real.libvirt import LibvirtHypervisor
    from minicloud.host.real.namespaces import MountedNamespaces
    from minicloud.host.real.netlink import NetlinkLinks
    from minicloud.host.real.nft import NftFirewall

    spaces = MountedNamespaces(namespaces)
    return Host(
        hypervisor=LibvirtHypervisor(uri=libvirt_uri, cache=cache),
        disks=RealDisks(),
        links=NetlinkLinks(spaces),
        dhcp=DnsmasqDhcp(state / "dhcp", spaces),
        firewall=NftFirewall(spaces),
        namespaces=spaces,
    )
