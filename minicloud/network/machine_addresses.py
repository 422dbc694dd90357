"""Fixed addresses as the compute API speaks of them: one more for a whole machine, or one less.

Called by compute through `Network`, for `addFixedIp` and `removeFixedIp`, which ended with Nova's microversion 2.44.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicloud.core.context import Context
from minicloud.core.errors import Invalid
from minicloud.network import addresses, ports
from minicloud.network.tables import PORTS, Port

if TYPE_CHECKING:
    from minicloud.network import Network


async def add(service: Network, ctx: Context, device_id: str, network_id: str) -> None:
    """Give a machine one more address on a network, at the port that it has there; of the subnet of its first address.

    Raises:
        Invalid: the machine has no port on the network, or none with an address. Conflict: no address is free.
    """
    rows = _ports_of(service, device_id)
    for row in rows:
        if row.network_id == network_id and row.fixed_ips:
            more = {"subnet_id": row.fixed_ips[0]["subnet_id"]}
            await ports.update(service, ctx, row.id, {"fixed_ips": [*row.fixed_ips, more]})
            return
    raise Invalid(f"Cannot add an address to instance {device_id}: it has none on network {network_id} yet.")


async def remove(service: Network, ctx: Context, device_id: str, address: str) -> None:
    """Take an address from a machine. Raises `Invalid` if it is none of the machine's."""
    gone = addresses.canonical(address)
    for row in _ports_of(service, device_id):
        if gone in row.addresses:
            kept = [one for one in row.fixed_ips if one["ip_address"] != gone]
            await ports.update(service, ctx, row.id, {"fixed_ips": kept})
            return
    raise Invalid(f"Cannot remove the address {gone} from instance {device_id}: the instance doesn't have it.")


def _ports_of(service: Network, device_id: str) -> list[Port]:
    return service.store.read(PORTS.where, "device_id = ? AND host_id != ''", (device_id,), order="created_at, number")
