"""The story of how a server comes to life: what is asked is checked and promised in one transaction, then built.

`accept` answers the client as soon as the server, its quota and its operation are durable; `build` does the work, with
an undo record above every step that leaves something behind.
"""

from __future__ import annotations

import dataclasses
import re
import secrets
import string
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from minicloud.api.policy import ADMIN, require
from minicloud.compute import (
    actions,
    aggregates,
    block_devices,
    domain,
    flavors,
    guests,
    keypairs,
    quotas,
    server_groups,
    services,
)
from minicloud.compute.block_devices import GIB, NewDisk
from minicloud.compute.documents import config_drive_files
from minicloud.compute.states import POWER, Task, Vm
from minicloud.compute.tables import BLOCK_DEVICES, SERVERS, BlockDevice, Flavor, Server
from minicloud.core.context import Context
from minicloud.core.errors import Conflict, Invalid, MinicloudError, NoCapacity, NotFound, OverQuota
from minicloud.core.operations import Operation
from minicloud.core.store import Db
from minicloud.host.hypervisor import Power

if TYPE_CHECKING:
    from minicloud.compute import Compute
    from minicloud.network import Nic, NicRequest

PASSWORD_LENGTH = 12
_ALPHABET = "".join(one for one in string.ascii_letters + string.digits if one not in "O0Il1")


@dataclass(frozen=True, slots=True)
class NewServer:
    """What a client asked for, in the newest form. `networks`: "auto", "none", requests, or None for the only network."""

    name: str
    flavor_id: str
    image_id: str | None
    networks: Literal["auto", "none"] | list[NicRequest] | None = None
    security_groups: tuple[str, ...] = ()
    disks: tuple[NewDisk, ...] = ()
    description: str | None = None
    hostname: str | None = None
    key_name: str | None = None
    user_data: str | None = None
    config_drive: bool = False
    admin_password: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    availability_zone: str | None = None
    host: str | None = None
    access_ipv4: str | None = None
    access_ipv6: str | None = None
    disk_config: str = "MANUAL"
    hints: Mapping[str, Any] = field(default_factory=dict)
    min_count: int = 1
    max_count: int = 1


# --- accepting -------------------------------------------------------------------------------------------------------


async def accept(compute: Compute, ctx: Context, new: NewServer) -> list[Server]:
    """Promise `min_count` to `max_count` servers; returns their rows once they are durable.

    Raises:
        Invalid: something that is named does not exist or does not fit. Forbidden, Conflict, OverQuota.
    """
    flavor = _flavor(compute, ctx, new.flavor_id)
    disks = block_devices.wanted(new.disks, new.image_id)
    image = _image(compute, ctx, new, disks, flavor)
    _check_disks(compute, ctx, disks, flavor)
    key = _key(compute, ctx, new.key_name)
    _check_place(compute, ctx, new)
    servers: list[Server] = []
    devices: list[BlockDevice] = []
    reservation = "r-" + "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8))
    if (
        new.max_count > 1
        and isinstance(new.networks, list)
        and any(one.port_id or one.fixed_ip for one in new.networks)
    ):
        raise Invalid("Cannot make several servers with one port or one fixed address: leave it out.")
    if new.max_count > 1 and any(disk.source == "volume" for disk in disks):
        raise Invalid("Cannot attach one or more volumes to multiple instances.")
    for index in range(new.max_count):
        server = Server(
            id=str(uuid.uuid4()), number=0, project_id=ctx.project_id or "", user_id=ctx.user_id,
            name=_name(new, index), description=new.description, hostname="", created_at=compute.now(),
            updated_at=compute.now(), launched_at=None, terminated_at=None, deleted=False, vm_state=Vm.BUILDING,
            task_state=Task.SCHEDULING, power_state=0, flavor_id=flavor.id, flavor=snapshot_of(flavor),
            image_id=new.image_id or None, image=image, key_name=new.key_name, key=key, user_data=new.user_data,
            admin_password=new.admin_password if new.config_drive else None, config_drive=new.config_drive,
            metadata=dict(new.metadata), tags=sorted(set(new.tags)), availability_zone=new.availability_zone,
            access_ipv4=new.access_ipv4, access_ipv6=new.access_ipv6, locked="", locked_reason=None,
            disk_config=new.disk_config, progress=0, reservation_id=reservation, launch_index=index,
            server_group_id=new.hints.get("group"), hints=dict(new.hints), security_groups=list(new.security_groups),
            nics=[dataclasses.asdict(nic) for nic in _nics(compute, ctx, new)], placed=False, fault=None,
        )  # fmt: skip
        hostname = hostname_of(new.hostname if new.hostname and new.max_count == 1 else server.name, server.id)
        servers.append(dataclasses.replace(server, hostname=hostname))
        bus = block_devices.bus_of(image.get("properties", {}))
        devices += block_devices.rows(
            disks, server_id=server.id, flavor=flavor, default_bus=bus, created_at=server.created_at
        )
    return await compute.store.write(_admit, compute, ctx, servers, devices, new.min_count)


def _admit(
    db: Db, compute: Compute, ctx: Context, servers: Sequence[Server], devices: Sequence[BlockDevice], least: int
) -> list[Server]:
    count = _within_quota(db, compute, servers, least)
    last = db.execute("SELECT coalesce(max(number), 0) FROM servers").fetchone()[0]
    admitted = []
    for server in servers[:count]:
        last += 1
        server_groups.join_in(db, compute, server)
        compute.network.hold_in(db, [nic["port_id"] for nic in server.nics if not nic["created"]], server.id)
        admitted.append(SERVERS.insert(db, dataclasses.replace(server, number=last)))
        actions.begin_in(db, ctx, server, "create", server.created_at)
        compute.operations.enlist_in(db, ctx, "server.create", server.subject)
    kept = {server.id for server in admitted}
    for device in devices:
        if device.server_id in kept:
            BLOCK_DEVICES.insert(db, device)
    return admitted


def _within_quota(db: Db, compute: Compute, servers: Sequence[Server], least: int) -> int:
    """How many of the servers the project may have, at least `least`; `OverQuota` otherwise."""
    server = servers[0]
    cards = sum(nic["created"] for nic in server.nics)
    quotas.require_metadata_in(compute.quotas, db, server.project_id, server.metadata)
    for count in range(len(servers), least - 1, -1):
        try:
            compute.quotas.check_in(
                db, server.project_id, instances=count, cores=count * server.flavor["vcpus"],
                ram=count * server.flavor["ram_mb"],
            )  # fmt: skip
            compute.network.require_room_in(db, server.project_id, ports=count * cards)
        except OverQuota:
            if count == least:
                raise
        else:
            return count
    raise Invalid("Cannot make no server at all: min_count must be 1 or more.")


def _flavor(compute: Compute, ctx: Context, flavor_id: str) -> Flavor:
    try:
        return flavors.show(compute, ctx, flavor_id)
    except NotFound as missing:
        raise Invalid(f"Invalid flavorRef provided: {missing.message}") from None


def _key(compute: Compute, ctx: Context, name: str | None) -> dict[str, Any] | None:
    if name is None:
        return None
    found = compute.store.read(keypairs.find_in, ctx.user_id, name)
    if found is None:
        raise Invalid("Invalid key_name provided.")
    return {"name": found.name, "type": found.type, "public_key": found.public_key}


def _image(compute: Compute, ctx: Context, new: NewServer, disks: Sequence[NewDisk], flavor: Flavor) -> dict[str, Any]:
    """What the server remembers of its image; checked against the flavor."""
    root = disks[0]
    image_id = new.image_id or (root.source_id if root.source == "image" else None)
    if image_id is None:
        return {"properties": _volume_image_properties(compute, ctx, root)}
    try:
        image = compute.image.require_active(ctx, image_id)
    except NotFound:
        raise Invalid(f"Image {image_id} could not be found.") from None
    except Conflict as refused:
        raise Invalid(refused.message) from None
    if (image.min_ram or 0) > flavor.ram_mb:
        raise Invalid("Flavor's memory is too small for requested image.")
    if root.destination == "local" and flavor.disk_gb:
        size = max(image.size or 0, image.virtual_size or 0)
        if size > flavor.disk_gb * GIB:
            raise Invalid(f"Flavor's disk is too small for requested image. Flavor disk is {flavor.disk_gb * GIB} bytes, "
                          f"image is {size} bytes.")  # fmt: skip
        if (image.min_disk or 0) > flavor.disk_gb:
            raise Invalid(
                f"Flavor's disk is smaller than the minimum size specified in image metadata: {image.min_disk} GB."
            )
    return {"min_disk": image.min_disk, "min_ram": image.min_ram, "properties": dict(image.properties)}


def _volume_image_properties(compute: Compute, ctx: Context, root: NewDisk) -> dict[str, Any]:
    """Image properties (hw_*) that a volume carries which boots with no image named beside it."""
    if root.source != "volume" or root.source_id is None:
        return {}
    try:
        volume = compute.volume.visible(ctx, root.source_id)
    except NotFound as missing:
        raise Invalid(f"Block Device Mapping is Invalid: {missing.message}") from None
    if not volume.bootable:
        raise Invalid(f"Block Device {root.source_id} is not bootable.")
    return dict(getattr(volume, "image_metadata", None) or {})


def _check_disks(compute: Compute, ctx: Context, disks: Sequence[NewDisk], flavor: Flavor) -> None:
    """What is named exists and volumes are free; a flavor without disk needs a volume to boot from."""
    if disks[0].destination == "local" and flavor.disk_gb == 0:
        require(ctx, ADMIN, "os_compute_api:servers:create:zero_disk_flavor")
    for disk in disks:
        try:
            if disk.source == "image":
                compute.image.require_active(ctx, disk.source_id or "")
            if disk.source == "snapshot":
                compute.volume.require_snapshot(ctx, disk.source_id or "")
            if disk.source != "volume":
                continue
            volume = compute.volume.visible(ctx, disk.source_id or "")
        except (NotFound, Conflict) as refused:
            raise Invalid(f"Block Device Mapping is Invalid: {refused.message}") from None
        if volume.status not in ("available", "reserved") and not getattr(volume, "multiattach", False):
            raise Invalid(
                f"Block Device Mapping is Invalid: volume {disk.source_id} is {volume.status}, not available."
            )


def _check_place(compute: Compute, ctx: Context, new: NewServer) -> None:
    zone, _, forced = (new.availability_zone or "").partition(":")
    host = new.host or forced.partition(":")[0]
    if host:
        require(ctx, ADMIN, "os_compute_api:servers:create:forced_host")
        if host != services.host_name(compute):
            raise Invalid(f"Compute host {host} could not be found.")
    if zone and zone not in aggregates.zones(compute):
        raise Invalid("The requested availability zone is not available.")
    group = new.hints.get("group")
    if group is not None:
        try:
            server_groups.show(compute, ctx, str(group))
        except NotFound as missing:
            raise Invalid(missing.message) from None


def _nics(compute: Compute, ctx: Context, new: NewServer) -> tuple[Nic, ...]:
    try:
        return compute.network.choose_nics(ctx, new.networks, security_groups=new.security_groups)
    except NotFound as missing:
        raise Invalid(missing.message) from None


def _name(new: NewServer, index: int) -> str:
    return new.name if new.max_count == 1 else f"{new.name}-{index + 1}"


def hostname_of(name: str, server_id: str) -> str:
    """A name as a guest may be called: letters, digits, dashes, at most 63 of them."""
    plain = re.sub(r"[^a-z0-9-]", "", re.sub(r"[ _.]", "-", name.lower())).strip("-")[:63].strip("-")
    return plain or f"server-{server_id}"


def new_password() -> str:
    """A password for a client that sent none."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(PASSWORD_LENGTH))


def snapshot_of(flavor: Flavor) -> dict[str, Any]:
    """A flavor as servers keep it."""
    return {
        "name": flavor.name, "vcpus": flavor.vcpus, "ram_mb": flavor.ram_mb, "disk_gb": flavor.disk_gb,
        "ephemeral_gb": flavor.ephemeral_gb, "swap_mb": flavor.swap_mb, "extra_specs": flavor.extra_specs,
    }  # fmt: skip


# --- building --------------------------------------------------------------------------------------------------------


async def build(compute: Compute, op: Operation) -> None:
    """Claim, networks, disks, machine; everything taken back in reverse if a step fails."""
    from minicloud.compute import nic_of

    server = compute.row_of(op.subject)
    await compute.hypervisor.ready()  # else everything would be made, and could not be taken back without it
    await _claim(compute, op, server)
    await compute.doing(server, Task.NETWORKING)
    for nic in server.nics:
        await op.on_failure(compute.network.unplug, nic["port_id"], server.id)
        await compute.network.plug(
            op.ctx, nic_of(nic), server.id, hostname=server.hostname, availability_zone=aggregates.zone_of_host(compute)
        )
    await compute.doing(server, Task.BLOCK_DEVICE_MAPPING)
    await op.on_failure(compute.remove_files, server.id)
    for device in compute.devices_of(server.id):
        if device.destination == "local":
            await _make_local(compute, op, server, device)
        else:
            await _connect_volume(compute, op, server, device)
    if server.config_drive:
        facts = guests.facts(compute, server.id, with_password=True)
        assert facts is not None
        files = config_drive_files(facts, compute.network.network_data(server.id))
        await compute.disks.config_drive(domain.config_drive_path(compute.folder(server.id)), files)
    await compute.doing(server, Task.SPAWNING)
    await op.on_failure(compute.remove_domain, server.id)
    await compute.hypervisor.define(compute.domain_spec(server))
    op.checkpoint()
    await compute.hypervisor.start(server.id)
    await compute.network.activate(server.id)
    for device in compute.devices_of(server.id):
        if device.volume_id is not None:
            await compute.volume.attached(device.volume_id, server.id)
    await compute.store.write(_settle, compute, op)


async def _claim(compute: Compute, op: Operation, server: Server) -> None:
    """A place on this host, or a decision record that says why not."""
    devices = compute.devices_of(server.id)
    resources = {
        "VCPU": server.flavor["vcpus"],
        "MEMORY_MB": server.flavor["ram_mb"],
        "DISK_GB": block_devices.local_gb(devices),
    }
    await op.on_failure(compute.placement.release, server.id)
    try:
        services.require_enabled(compute)
        server_groups.require_room(compute, server)
        await compute.placement.claim(op.ctx, server.id, resources)
    except NoCapacity as refused:
        await compute.tracer.decide(
            "no host", refused.message, request_id=op.ctx.request_id, subject=server.subject, **resources
        )
        raise
    await compute.change(server.id, placed=True)


async def _make_local(compute: Compute, op: Operation, server: Server, device: BlockDevice) -> None:
    """A file of the server's own: an overlay on the image's base, or blank."""
    path = domain.local_path(compute.folder(server.id), device)
    size = (device.size_gb or 0) * GIB
    if device.source == "blank":
        await compute.disks.create(path, format="qcow2", size=size)
        return
    base = await compute.image.local_file(op.ctx, device.source_id or "")
    op.checkpoint()
    if size and base.virtual_size > size:
        raise Invalid(
            f"Flavor's disk is too small for requested image: {size} bytes, the image has {base.virtual_size}."
        )
    await compute.disks.overlay(path, base=base.path, base_format=base.format, size=size or base.virtual_size)


async def _connect_volume(compute: Compute, op: Operation, server: Server, device: BlockDevice) -> None:
    """A volume, made first if it does not exist yet, reserved for this server."""
    volume_id = device.volume_id
    assert volume_id is not None
    if device.source == "volume":
        await op.on_failure(compute.volume.release, volume_id, server.id)
    else:
        await op.on_failure(compute.volume.discard, volume_id, server.id)
        await compute.volume.make(
            op.ctx, size_gb=device.size_gb, name="", volume_type=device.volume_type, volume_id=volume_id,
            availability_zone=None,
            image_id=device.source_id if device.source == "image" else None,
            snapshot_id=device.source_id if device.source == "snapshot" else None,
            source_volume_id=None,
        )  # fmt: skip
        await compute.volume.ready(op.ctx, volume_id)
        op.checkpoint()
    await connect(compute, op.ctx, server.id, device)


async def connect(compute: Compute, ctx: Context, server_id: str, device: BlockDevice) -> BlockDevice:
    """Have the volume service give a volume to a server, and note in the row where its file is."""
    assert device.volume_id is not None and device.attachment_id is not None
    source = await compute.volume.connect(
        ctx, device.volume_id, server_id, device=device.device, attachment_id=device.attachment_id
    )
    file = {
        "path": str(source.path), "format": source.format, "serial": source.serial, "shareable": source.shareable,
    }  # fmt: skip
    return await compute.store.write(
        BLOCK_DEVICES.change, device.id, volume_file=file, size_gb=device.size_gb or source.size // GIB
    )


def _settle(db: Db, compute: Compute, op: Operation) -> None:
    server_id, now = op.subject.removeprefix("server/"), compute.now()
    server = SERVERS.need(db, server_id)
    task = server.task_state if server.task_state == Task.DELETING else None
    SERVERS.change(
        db, server_id, vm_state=Vm.ACTIVE, task_state=task, power_state=POWER[Power.RUNNING], launched_at=now,
        updated_at=now, admin_password=None, fault=None,
    )  # fmt: skip
    actions.finish_in(db, op.ctx, server_id, "compute__do_build_and_run_instance", now)


def failed(compute: Compute, db: Db, op: Operation, error: MinicloudError) -> None:
    """The server could not be made: it stays as ERROR with what went wrong, and holds nothing."""
    server_id, now = op.subject.removeprefix("server/"), compute.now()
    server = SERVERS.get(db, server_id)
    if server is None:
        return
    message = error.message
    if isinstance(error, NoCapacity):
        reason = message.partition(":")[2].strip() if message.startswith("No valid host") else message
        message = f"No valid host was found. {reason}"
    task = server.task_state if server.task_state == Task.DELETING else None
    SERVERS.change(
        db, server_id, vm_state=Vm.ERROR, task_state=task, power_state=0, updated_at=now, admin_password=None, placed=False,
        fault={"code": 500, "message": message[:255], "details": message, "created": now},
    )  # fmt: skip
    BLOCK_DEVICES.delete_where(db, "server_id = ? AND destination = 'volume'", (server_id,))
    compute.network.let_go_in(db, [nic["port_id"] for nic in server.nics if not nic["created"]], server_id)
    actions.finish_in(db, op.ctx, server_id, "compute__do_build_and_run_instance", now, error=message)
