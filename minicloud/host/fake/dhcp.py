"""DHCP in memory: whoever is known as a host has its lease at once.

For tests and for people without root. Called through `minicloud.host.Host.dhcp`.
"""

from __future__ import annotations

import ipaddress
from dataclasses import asdict

from minicloud.core.errors import HostFailure
from minicloud.host.dhcp import Advertiser, DhcpServer, Lease
from minicloud.host.fake.world import World


class FakeDhcp:
    """`Dhcp` over a `World`: sections "dhcp" (by network), "leases" (by network and address), "advertisers" (by
    router).

    A lease appears with `converge` for every IPv4 address of a host that lies in a served subnet.
    """

    def __init__(self, world: World) -> None:
        self._world = world

    async def open(self) -> None:
        """See `Dhcp.open`; what the world holds is simply there."""

    async def close(self) -> None:
        """See `Dhcp.close`."""

    async def converge(self, server: DhcpServer) -> None:
        """See `Dhcp.converge`."""
        async with self._world.step("dhcp.converge", server.network_id):
            if server.space not in self._world.section("namespaces"):
                raise HostFailure(f"Cannot serve DHCP on {server.network_id}: namespace {server.space} does not exist.")
            self._world.section("dhcp")[server.network_id] = asdict(server)
            leases = self._world.section("leases")
            wanted = {_key(server.network_id, address): mac for mac, address in _leasable(server)}
            for key in [key for key in leases if key.startswith(server.network_id + "/") and key not in wanted]:
                del leases[key]
            for key, mac in wanted.items():
                leases[key] = {"mac": mac, "address": key.rsplit("/", 1)[1], "expires": 0}

    async def converge_advertiser(self, advertiser: Advertiser) -> None:
        """See `Dhcp.converge_advertiser`."""
        async with self._world.step("dhcp.converge_advertiser", advertiser.router_id):
            if not advertiser.prefixes:
                self._world.section("advertisers").pop(advertiser.router_id, None)
                return
            if advertiser.space not in self._world.section("namespaces"):
                raise HostFailure(
                    f"Cannot advertise for router {advertiser.router_id}: namespace {advertiser.space} does not exist."
                )
            self._world.section("advertisers")[advertiser.router_id] = asdict(advertiser)

    async def release(self, network_id: str, *, mac: str, address: str) -> None:
        """See `Dhcp.release`; a lease that another MAC holds by now is left alone."""
        async with self._world.step("dhcp.release", network_id):
            leases = self._world.section("leases")
            if leases.get(_key(network_id, address), {}).get("mac") == mac:
                del leases[_key(network_id, address)]

    async def remove(self, owner_id: str) -> None:
        """See `Dhcp.remove`."""
        async with self._world.step("dhcp.remove", owner_id):
            self._world.section("dhcp").pop(owner_id, None)
            self._world.section("advertisers").pop(owner_id, None)
            leases = self._world.section("leases")
            for key in [key for key in leases if key.startswith(owner_id + "/")]:
                del leases[key]

    async def leases(self, network_id: str) -> tuple[Lease, ...]:
        """See `Dhcp.leases`."""
        found = self._world.section("leases").items()
        return tuple(Lease(**value) for key, value in sorted(found) if key.startswith(network_id + "/"))

    async def actual(self) -> frozenset[str]:
        """See `Dhcp.actual`."""
        return frozenset(self._world.section("dhcp")) | frozenset(self._world.section("advertisers"))


def _key(network_id: str, address: str) -> str:
    return f"{network_id}/{address}"


def _leasable(server: DhcpServer) -> list[tuple[str, str]]:
    networks = [ipaddress.ip_network(subnet.cidr) for subnet in server.subnets]
    pairs = [(host.mac, address) for host in server.hosts for address in host.addresses]
    return [
        (mac, address)
        for mac, address in pairs
        if ":" not in address and any(ipaddress.ip_address(address) in network for network in networks)
    ]
