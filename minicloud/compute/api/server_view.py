"""How a server looks on the wire, at every microversion, for its owner and for administrators."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN
from minicloud.api.route import Call
from minicloud.api.schema import MISSING, Field, Schema, Type, seconds_z
from minicloud.compute import aggregates, server_groups, services, states
from minicloud.compute.tables import BLOCK_DEVICES, SERVERS, BlockDevice, Server
from minicloud.core.context import Context
from minicloud.core.errors import NotFound
from minicloud.core.store import Db

if TYPE_CHECKING:
    from minicloud.compute import Compute
    from minicloud.network import PortInfo

ANY = Type({})
_WITH_PROGRESS = ("ACTIVE", "BUILD", "DELETED", "REBUILD", "RESIZE", "VERIFY_RESIZE", "MIGRATING")


@dataclass(frozen=True, slots=True)
class Shown:
    """A server with everything that its view tells, whoever asks. What can be said once is said here: clients look at a
    server far more often than it changes.

    Attributes:
        status: as the API says it.
        host, host_id, host_status: of where it is; None and "" while it is nowhere.
        groups: ids of its server groups. `security_groups`: as they stand in a reply.
    """

    server: Server
    status: str = ""
    ports: Sequence[PortInfo] = ()
    volumes: Sequence[BlockDevice] = ()
    addresses: Mapping[str, Any] = field(default_factory=dict)
    security_groups: Sequence[Mapping[str, str]] = ()
    host: str | None = None
    host_id: str = ""
    host_status: str = ""
    zone: str = ""
    groups: Sequence[str] = ()

    @property
    def id(self) -> str:
        """The server's; the marker of the next page."""
        return self.server.id


def shown(compute: Compute, rows: Sequence[Server]) -> list[Shown]:
    """Servers with their ports and volumes, all read from one snapshot."""
    return compute.store.read(_shown_in, compute, rows, services.host_name(compute))


def _shown_in(db: Db, compute: Compute, rows: Sequence[Server], host: str) -> list[Shown]:
    if not rows:
        return []
    zone = aggregates.zone_of_host(compute)
    host_status = "DOWN" if services.of_host(compute).forced_down else "UP"
    volumes: dict[str, list[BlockDevice]] = defaultdict(list)
    condition = f"volume_id IS NOT NULL AND server_id IN ({', '.join('?' for _ in rows)})"
    for device in BLOCK_DEVICES.where(db, condition, [row.id for row in rows], order="device"):
        volumes[device.server_id].append(device)
    ports_of = compute.ports_of_all([row for row in rows if not row.deleted])
    told = []
    for row in rows:
        ports = ports_of.get(row.id, [])
        names = dict.fromkeys(name for port in ports for name in port.security_groups)
        told.append(
            Shown(
                row,
                status=states.status(row.vm_state, row.task_state),
                ports=ports,
                volumes=volumes[row.id],
                addresses=addresses(ports),
                security_groups=[{"name": name} for name in names],
                host=host if row.placed else None,
                host_id=host_id(row.project_id, host) if row.placed else "",
                host_status=host_status if row.placed else "",
                zone=zone if row.placed else (row.availability_zone or "").partition(":")[0],
                groups=server_groups.of_server(compute, row),
            )
        )
    return told


def one(compute: Compute, row: Server) -> Shown:
    """One server with its ports and volumes."""
    return shown(compute, [row])[0]


def found(compute: Compute, ctx: Context, server_id: str) -> Shown:
    """A server that the caller may know, by its id; the row and what surrounds it are of one moment. `NotFound`."""
    known = compute.store.recall(_found_in, compute, server_id, services.host_name(compute))
    if known is None or not ctx.sees(known.server.project_id):
        raise NotFound(f"Instance {server_id} could not be found.")
    return known


def _found_in(db: Db, compute: Compute, server_id: str, host: str) -> Shown | None:
    row = SERVERS.get(db, server_id)
    return None if row is None or row.deleted else _shown_in(db, compute, [row], host)[0]


def host_id(project_id: str, host: str) -> str:
    """What a project knows a host by: the same for its servers on it, and nothing else."""
    return hashlib.sha224((project_id + host).encode()).hexdigest()


def links(call: Call, kind: str, id: str) -> list[dict[str, str]]:
    """Nova's two links of a thing."""
    return [
        {"rel": "self", "href": f"{call.root}/{kind}/{id}"},
        {"rel": "bookmark", "href": f"{call.base}/{kind}/{id}"},
    ]


def addresses(ports: Sequence[PortInfo], *, extended: bool = True) -> dict[str, list[dict[str, Any]]]:
    """Addresses by network name, fixed ones and the floating ones that lead to them."""
    told: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for port in ports:
        floating = defaultdict(list)
        for outside, inside in port.floating:
            floating[inside].append(outside)
        for _, fixed in port.fixed_ips:
            for address, kind in [(fixed, "fixed"), *((outside, "floating") for outside in floating[fixed])]:
                entry: dict[str, Any] = {"version": 6 if ":" in address else 4, "addr": address}
                if extended:
                    entry |= {"OS-EXT-IPS:type": kind, "OS-EXT-IPS-MAC:mac_addr": port.mac}
                told[port.network_name].append(entry)
    return dict(told)


def _flavor(row: Shown, call: Call) -> dict[str, Any]:
    flavor = row.server.flavor
    if not call.at_least(2, 47):
        bookmark = f"{call.base}/flavors/{row.server.flavor_id}"
        return {"id": row.server.flavor_id, "links": [{"rel": "bookmark", "href": bookmark}]}
    return {
        "vcpus": flavor["vcpus"], "ram": flavor["ram_mb"], "disk": flavor["disk_gb"], "ephemeral": flavor["ephemeral_gb"],
        "swap": flavor["swap_mb"], "original_name": flavor["name"], "extra_specs": flavor["extra_specs"],
    }  # fmt: skip


def _image(row: Shown, call: Call) -> Any:
    image_id = row.server.image_id
    if image_id is None:
        return ""
    return {"id": image_id, "links": [{"rel": "bookmark", "href": f"{call.base}/images/{image_id}"}]}


def _volumes(row: Shown, call: Call) -> list[dict[str, Any]]:
    if not call.at_least(2, 3):
        return [{"id": one.volume_id} for one in row.volumes]
    return [{"id": one.volume_id, "delete_on_termination": one.delete_on_termination} for one in row.volumes]


def _groups(row: Shown, call: Call) -> Any:
    return row.security_groups or MISSING


def _fault(row: Shown, call: Call) -> Any:
    fault = row.server.fault
    if fault is None or row.status not in ("ERROR", "DELETED"):
        return MISSING
    told = {"code": fault["code"], "message": fault["message"], "created": seconds_z(fault["created"])}
    return told | {"details": fault["details"]} if call.ctx.is_admin else told


def _progress(row: Shown, call: Call) -> Any:
    if row.status not in _WITH_PROGRESS:
        return MISSING
    return row.server.progress


def _hostname(row: Shown, call: Call) -> Any:
    return row.server.hostname if call.ctx.is_admin or call.at_least(2, 90) else MISSING


def _root_device(row: Shown, call: Call) -> str:
    return next((one.device for one in row.volumes if one.boot_index == 0), "/dev/vda")


FIELDS = (
    Field("id", ANY, attr="server.id", out=True),
    Field("name", ANY, attr="server.name", out=True),
    Field("status", ANY, attr="status", out=True),
    Field("tenant_id", ANY, attr="server.project_id", out=True),
    Field("user_id", ANY, attr="server.user_id", out=True),
    Field("metadata", ANY, attr="server.metadata", out=True),
    Field("hostId", ANY, attr="host_id", out=True),
    Field("image", ANY, attr=_image, out=True),
    Field("flavor", ANY, attr=_flavor, out=True),
    Field("created", ANY, attr=lambda row, call: seconds_z(row.server.created_at), out=True),
    Field("updated", ANY, attr=lambda row, call: seconds_z(row.server.updated_at), out=True),
    Field("addresses", ANY, attr="addresses", out=True),
    Field("accessIPv4", ANY, attr=lambda row, call: row.server.access_ipv4 or "", out=True),
    Field("accessIPv6", ANY, attr=lambda row, call: row.server.access_ipv6 or "", out=True),
    Field("links", ANY, attr=lambda row, call: links(call, "servers", row.server.id), out=True),
    Field("OS-DCF:diskConfig", ANY, attr="server.disk_config", out=True),
    Field("progress", ANY, attr=_progress, out=True),
    Field("fault", ANY, attr=_fault, out=True),
    Field("locked", ANY, attr=lambda row, call: bool(row.server.locked), out=True, since=(2, 9)),
    Field("description", ANY, attr="server.description", out=True, since=(2, 19)),
    Field("tags", ANY, attr="server.tags", out=True, since=(2, 26)),
    Field("trusted_image_certificates", ANY, attr=lambda row, call: None, out=True, since=(2, 63)),
    Field("server_groups", ANY, attr="groups", out=True, since=(2, 71)),
    Field("locked_reason", ANY, attr="server.locked_reason", out=True, since=(2, 73)),
)
"""What every view of a server has."""

DETAIL_FIELDS = (
    Field("OS-EXT-AZ:availability_zone", ANY, attr="zone", out=True),
    Field("config_drive", ANY, attr=lambda row, call: "True" if row.server.config_drive else "", out=True),
    Field("key_name", ANY, attr="server.key_name", out=True),
    Field("OS-SRV-USG:launched_at", ANY, attr="server.launched_at", out=True),
    Field("OS-SRV-USG:terminated_at", ANY, attr="server.terminated_at", out=True),
    Field("security_groups", ANY, attr=_groups, out=True),
    Field("OS-EXT-SRV-ATTR:host", ANY, attr="host", out=True, show=ADMIN),
    Field("OS-EXT-SRV-ATTR:instance_name", ANY, attr="server.instance_name", out=True, show=ADMIN),
    Field("OS-EXT-SRV-ATTR:hypervisor_hostname", ANY, attr="host", out=True, show=ADMIN),
    Field("OS-EXT-SRV-ATTR:reservation_id", ANY, attr="server.reservation_id", out=True, since=(2, 3), show=ADMIN),
    Field("OS-EXT-SRV-ATTR:launch_index", ANY, attr="server.launch_index", out=True, since=(2, 3), show=ADMIN),
    Field("OS-EXT-SRV-ATTR:hostname", ANY, attr=_hostname, out=True, since=(2, 3)),
    Field("OS-EXT-SRV-ATTR:kernel_id", ANY, attr=lambda row, call: "", out=True, since=(2, 3), show=ADMIN),
    Field("OS-EXT-SRV-ATTR:ramdisk_id", ANY, attr=lambda row, call: "", out=True, since=(2, 3), show=ADMIN),
    Field("OS-EXT-SRV-ATTR:root_device_name", ANY, attr=_root_device, out=True, since=(2, 3), show=ADMIN),
    Field("OS-EXT-SRV-ATTR:user_data", ANY, attr="server.user_data", out=True, since=(2, 3), show=ADMIN),
    Field("OS-EXT-STS:task_state", ANY, attr="server.task_state", out=True),
    Field("OS-EXT-STS:vm_state", ANY, attr="server.vm_state", out=True),
    Field("OS-EXT-STS:power_state", ANY, attr="server.power_state", out=True),
    Field("os-extended-volumes:volumes_attached", ANY, attr=_volumes, out=True),
    Field("host_status", ANY, attr="host_status", out=True, since=(2, 16), show=ADMIN),
    Field(
        "pinned_availability_zone", ANY, attr=lambda row, call: row.server.availability_zone, out=True, since=(2, 96)
    ),
)
"""What is told besides on show, in details, and from 2.75 on in the answers to changes."""


SERVER = Schema("server", *FIELDS, *DETAIL_FIELDS)
DETAILS = Schema("server", *(one for one in FIELDS if one.name != "server_groups"), *DETAIL_FIELDS)
BRIEF = Schema("server", *(one for one in FIELDS if one.name in ("id", "name", "links")))
SHORT = Schema("server", *FIELDS)
"""The answer to a change before 2.75."""
