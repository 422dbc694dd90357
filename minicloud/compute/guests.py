"""A server's facts for metadata, gathered from the rows. Called by `Compute` and by `launch.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.compute import aggregates
from minicloud.compute.documents import GuestFacts, decoded
from minicloud.compute.tables import SERVERS, BlockDevice, Server
from minicloud.core.errors import Conflict, Invalid
from minicloud.core.store import Db

if TYPE_CHECKING:
    from minicloud.compute import Compute
    from minicloud.network import PortInfo

LONGEST_PASSWORD = 1020
"""Characters of a password that a guest may leave (four of Nova's chunks of metadata)."""


def facts(compute: Compute, server_id: str, *, with_password: bool = False) -> GuestFacts | None:
    """Everything metadata tells; the password only for the config drive that is being written."""
    server = compute.store.read(SERVERS.get, server_id)
    if server is None or server.deleted:
        return None
    ports = compute.ports_in_order(server)
    fixed = [address for port in ports[:1] for _, address in port.fixed_ips if ":" not in address]
    floating = [address for port in ports for address, _ in port.floating]
    domain = compute.config.compute.dhcp_domain
    return GuestFacts(
        id=server.id,
        name=server.name,
        hostname=f"{server.hostname}.{domain}" if domain and "." not in server.hostname else server.hostname,
        project_id=server.project_id,
        user_id=server.user_id,
        availability_zone=aggregates.zone_of_host(compute),
        key=server.key,
        user_data=decoded(server.user_data),
        metadata=server.metadata,
        launch_index=server.launch_index,
        instance_name=server.instance_name,
        number=server.number,
        reservation_id=server.reservation_id,
        flavor_name=server.flavor["name"],
        image_id=server.image_id,
        security_groups=tuple(dict.fromkeys(name for port in ports for name in port.security_groups)),
        admin_password=server.admin_password if with_password else None,
        guest_password=server.guest_password or "",
        local_address=fixed[0] if fixed else "",
        public_address=floating[0] if floating else "",
        devices=tuple(_devices(server, compute.devices_of(server.id), ports)),
    )


async def leave_password(compute: Compute, server_id: str, told: str) -> None:
    """Keep what a guest tells its owner, once.

    Raises:
        Invalid: more than Nova keeps. Conflict: something is kept already; the owner may clear it.
    """
    if len(told) > LONGEST_PASSWORD:
        raise Invalid(f"Cannot keep the password: it is longer than {LONGEST_PASSWORD} characters.")

    def keep(db: Db) -> None:
        if SERVERS.need(db, server_id).guest_password:
            raise Conflict(f"Cannot keep the password: instance {server_id} has left one already.")
        SERVERS.change(db, server_id, guest_password=told)

    await compute.store.write(keep)


def _devices(server: Server, devices: list[BlockDevice], ports: list[PortInfo]) -> list[dict[str, Any]]:
    """Tagged devices, as Nova's device role tagging tells them: what tag, and by what the guest knows the device."""
    tags = {nic["port_id"]: nic.get("tag") for nic in server.nics}
    told: list[dict[str, Any]] = [
        {"type": "nic", "bus": "none", "mac": port.mac, "tags": [tags[port.id]]} for port in ports if tags.get(port.id)
    ]
    for device in devices:
        if device.tag:
            told.append(
                {
                    "type": "disk", "bus": "none", "serial": device.volume_id or "", "path": device.device,
                    "tags": [device.tag],
                }
            )  # fmt: skip
    return told
