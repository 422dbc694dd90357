"""Ending established flows: a filter looks at the first packet only, so what it no longer allows has to be forgotten.

A flow that is still allowed is tracked anew with its next packet. Called by `nft.NftFirewall` only. Source:
conntrack(8).
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterable

from minicloud.host.run import run

FEW = 8
"""Up to this many addresses flows are ended by address; with more, the whole zone's at once."""

AT_ONCE = 4


async def cut(zone: int, addresses: Iterable[str]) -> None:
    """Forget the flows in `zone` from or to these addresses or ranges. Zone 0 is the machine's own: there only what is
    named goes."""
    networks = [ipaddress.ip_network(address, strict=False) for address in sorted(set(addresses))]
    if len(networks) > FEW and zone != 0:
        for family in sorted({network.version for network in networks}):
            await _delete(zone, family, ())
        return
    ways = [(network, option) for network in networks for option in ("--orig-src", "--orig-dst")]
    for start in range(0, len(ways), AT_ONCE):
        await asyncio.gather(
            *(
                _delete(zone, network.version, (option, _text(network)))
                for network, option in ways[start : start + AT_ONCE]
            )
        )


def _text(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> str:
    return str(network.network_address) if network.num_addresses == 1 else str(network)


async def _delete(zone: int, family: int, match: tuple[str, ...]) -> None:
    # It ends with 1 when nothing matched.
    argv = ["conntrack", "-D", "-f", f"ipv{family}", "--zone", str(zone), *match]
    await run(argv, timeout=10.0, check=False, what="end flows")
