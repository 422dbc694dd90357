"""Compute's rows: what a column is called and means. Read by every file of this service, and by no other one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minicloud.core.migrations import Migrations
from minicloud.core.store import Table

if TYPE_CHECKING:
    from sqlite_utils import Database

migrations = Migrations("compute")


@migrations()
def m001_compute(db: Database) -> None:
    """The first schema."""
    db["flavors"].create(
        {
            "id": str, "name": str, "vcpus": int, "ram_mb": int, "disk_gb": int, "ephemeral_gb": int, "swap_mb": int,
            "rxtx_factor": float, "is_public": int, "description": str, "extra_specs": str, "created_at": str,
        },
        pk="id",
    )  # fmt: skip
    db["flavors"].create_index(["name"], unique=True)
    db["flavor_access"].create({"flavor_id": str, "project_id": str}, pk=("flavor_id", "project_id"))
    db["keypairs"].create(
        {
            "id": int, "user_id": str, "name": str, "type": str, "fingerprint": str, "public_key": str, "created_at": str,
        },
        pk="id",
    )  # fmt: skip
    db["keypairs"].create_index(["user_id", "name"], unique=True)
    db["servers"].create(
        {
            "id": str, "number": int, "project_id": str, "user_id": str, "name": str, "description": str, "hostname": str,
            "created_at": str, "updated_at": str, "launched_at": str, "terminated_at": str, "deleted": int,
            "vm_state": str, "task_state": str, "power_state": int, "flavor_id": str, "flavor": str, "image_id": str,
            "image": str, "key_name": str, "key": str, "user_data": str, "admin_password": str, "config_drive": int,
            "metadata": str, "tags": str, "availability_zone": str, "access_ipv4": str, "access_ipv6": str,
            "locked": str, "locked_reason": str, "disk_config": str, "progress": int, "reservation_id": str,
            "launch_index": int, "server_group_id": str, "hints": str, "security_groups": str, "nics": str,
            "placed": int, "fault": str,
        },
        pk="id",
    )  # fmt: skip
    db["servers"].create_index(["project_id", "deleted", "created_at"])
    db["servers"].create_index(["deleted", "created_at"])
    db["servers"].create_index(["number"], unique=True)
    db["servers"].create_index(["server_group_id"])
    db["block_devices"].create(
        {
            "id": str, "server_id": str, "source": str, "source_id": str, "destination": str, "volume_id": str,
            "device": str, "bus": str, "boot_index": int, "size_gb": int, "delete_on_termination": int, "tag": str,
            "volume_type": str, "attachment_id": str, "volume_file": str, "created_at": str,
        },
        pk="id",
    )  # fmt: skip
    db["block_devices"].create_index(["server_id"])
    db["block_devices"].create_index(["volume_id"])
    db["instance_actions"].create(
        {
            "id": int, "server_id": str, "request_id": str, "action": str, "user_id": str, "project_id": str,
            "started_at": str, "updated_at": str, "message": str, "events": str,
        },
        pk="id",
    )  # fmt: skip
    db["instance_actions"].create_index(["server_id"])
    db["server_groups"].create(
        {"id": str, "project_id": str, "user_id": str, "name": str, "policy": str, "rules": str, "created_at": str},
        pk="id",
    )
    db["server_groups"].create_index(["project_id"])
    db["aggregates"].create(
        {
            "id": int, "uuid": str, "name": str, "hosts": str, "metadata": str, "created_at": str, "updated_at": str,
        },
        pk="id",
    )  # fmt: skip
    db["compute_services"].create(
        {"id": str, "number": int, "binary": str, "disabled": int, "disabled_reason": str, "forced_down": int}, pk="id"
    )
    db["compute_memory"].create({"name": str, "value": str}, pk="name")


@migrations()
def m002_guest_password(db: Database) -> None:
    """What a guest left for its owner."""
    db["servers"].add_column("guest_password", str)


@dataclass(frozen=True, slots=True)
class Flavor:
    """A size of server. `id` is the one of the API ("flavorid"), any text an administrator chose."""

    id: str
    name: str
    vcpus: int
    ram_mb: int
    disk_gb: int
    ephemeral_gb: int
    swap_mb: int
    rxtx_factor: float
    is_public: bool
    description: str | None
    extra_specs: dict[str, str]
    created_at: str


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A user's public key; the private half never stays here. `type` is "ssh" or "x509"."""

    id: int | None
    user_id: str
    name: str
    type: str
    fingerprint: str
    public_key: str
    created_at: str


@dataclass(frozen=True, slots=True)
class Server:
    """A machine as its owner sees it.

    Attributes:
        number: counts servers since ever; `instance-0000002a` in the hypervisor.
        vm_state, task_state, power_state: see `states.py`.
        flavor: the flavor as it was: name, vcpus, ram_mb, disk_gb, ephemeral_gb, swap_mb, extra_specs.
        image: of the image as it was: min_disk, min_ram, disk_format, properties. `image_id` is None when booted from a volume.
        key: name, type and public_key of the key pair as it was.
        admin_password: only while a build that writes it onto a config drive is under way.
        guest_password: what the guest itself told metadata, as a rule encrypted with its owner's key; None until then.
        locked: "" or who locked: "owner", "admin".
        nics: `network.Nic` as mappings, in their order. `placed`: holds a claim on this host.
        fault: code, message, details, created of the last failure, or None.
    """

    id: str
    number: int
    project_id: str
    user_id: str
    name: str
    description: str | None
    hostname: str
    created_at: str
    updated_at: str
    launched_at: str | None
    terminated_at: str | None
    deleted: bool
    vm_state: str
    task_state: str | None
    power_state: int
    flavor_id: str
    flavor: dict[str, Any]
    image_id: str | None
    image: dict[str, Any]
    key_name: str | None
    key: dict[str, Any] | None
    user_data: str | None
    admin_password: str | None
    config_drive: bool
    metadata: dict[str, str]
    tags: list[str]
    availability_zone: str | None
    access_ipv4: str | None
    access_ipv6: str | None
    locked: str
    locked_reason: str | None
    disk_config: str
    progress: int
    reservation_id: str
    launch_index: int
    server_group_id: str | None
    hints: dict[str, Any]
    security_groups: list[str]
    nics: list[dict[str, Any]]
    placed: bool
    fault: dict[str, Any] | None
    guest_password: str | None = None

    @property
    def subject(self) -> str:
        """How operations and traces name it."""
        return f"server/{self.id}"

    @property
    def instance_name(self) -> str:
        """Its name in the hypervisor."""
        return f"instance-{self.number:08x}"


@dataclass(frozen=True, slots=True)
class BlockDevice:
    """One disk of a server, local or a volume.

    Attributes:
        source: image, volume, snapshot or blank; `source_id` of the first three.
        destination: "local" (a file of the server) or "volume".
        device: name in the guest with /dev ("/dev/vda"). `bus`: virtio, scsi or ide.
        boot_index: 0 boots; None does not.
        attachment_id: of the volume's attachment. `volume_file`: path, format, serial and shareable as the volume service
            told them when it connected the volume.
    """

    id: str
    server_id: str
    source: str
    source_id: str | None
    destination: str
    volume_id: str | None
    device: str
    bus: str
    boot_index: int | None
    size_gb: int | None
    delete_on_termination: bool
    tag: str | None
    volume_type: str | None
    attachment_id: str | None
    volume_file: dict[str, Any] | None
    created_at: str


@dataclass(frozen=True, slots=True)
class InstanceAction:
    """What somebody had done with a server; `events` are mappings of event, start_time, finish_time, result, details."""

    id: int | None
    server_id: str
    request_id: str
    action: str
    user_id: str
    project_id: str
    started_at: str
    updated_at: str
    message: str | None
    events: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class ServerGroup:
    """A wish about neighbours; members are the servers that name it."""

    id: str
    project_id: str
    user_id: str
    name: str
    policy: str
    rules: dict[str, Any]
    created_at: str


@dataclass(frozen=True, slots=True)
class Aggregate:
    """A named set of hosts (here: of at most one) with metadata; `availability_zone` in it names a zone."""

    id: int | None
    uuid: str
    name: str
    hosts: list[str]
    metadata: dict[str, str]
    created_at: str
    updated_at: str | None


@dataclass(frozen=True, slots=True)
class ComputeService:
    """One of Nova's service records that clients ask for; `number` is its id before 2.53."""

    id: str
    number: int
    binary: str
    disabled: bool
    disabled_reason: str | None
    forced_down: bool


FLAVORS = Table("flavors", Flavor, noun="Flavor")
KEYPAIRS = Table("keypairs", KeyPair, noun="Keypair")
SERVERS = Table("servers", Server, noun="Instance")
BLOCK_DEVICES = Table("block_devices", BlockDevice, noun="Block device")
INSTANCE_ACTIONS = Table("instance_actions", InstanceAction, noun="Action")
SERVER_GROUPS = Table("server_groups", ServerGroup, noun="Instance group")
AGGREGATES = Table("aggregates", Aggregate, noun="Aggregate")
COMPUTE_SERVICES = Table("compute_services", ComputeService, noun="Service")
