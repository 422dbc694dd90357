"""What the volume service remembers: volumes, their attachments, snapshots, types, transfers, messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from minicloud.core.migrations import Migrations
from minicloud.core.store import Table

if TYPE_CHECKING:
    from sqlite_utils import Database

migrations = Migrations("volume")


@migrations()
def m001_volumes(db: Database) -> None:
    db["volumes"].create(
        {
            "id": str, "project_id": str, "user_id": str, "name": str, "description": str, "status": str, "size": int,
            "format": str, "type_id": str, "availability_zone": str, "bootable": int, "multiattach": int, "read_only": int,
            "snapshot_id": str, "source_volume_id": str, "image_id": str, "image_metadata": str, "metadata": str,
            "created_at": str, "updated_at": str,
        },
        pk="id",
    )  # fmt: skip
    db["volumes"].create_index(["project_id", "created_at"])
    db["attachments"].create(
        {
            "id": str, "volume_id": str, "server_id": str, "status": str, "mode": str, "device": str, "host": str,
            "connector": str, "attached_at": str, "created_at": str,
        },
        pk="id",
        foreign_keys=[("volume_id", "volumes", "id")],
    )  # fmt: skip
    db["attachments"].create_index(["volume_id"])
    db["attachments"].create_index(["server_id"])
    db["snapshots"].create(
        {
            "id": str, "project_id": str, "user_id": str, "volume_id": str, "name": str, "description": str,
            "status": str, "size": int, "format": str, "metadata": str, "created_at": str, "updated_at": str,
        },
        pk="id",
    )  # fmt: skip
    db["snapshots"].create_index(["project_id", "created_at"])
    db["snapshots"].create_index(["volume_id"])
    db["volume_types"].create(
        {
            "id": str, "name": str, "description": str, "is_public": int, "extra_specs": str, "qos_specs_id": str,
            "created_at": str, "updated_at": str,
        },
        pk="id",
    )  # fmt: skip
    db["volume_types"].create_index(["name"], unique=True)
    db["volume_type_access"].create({"type_id": str, "project_id": str}, pk=("type_id", "project_id"))
    db["volume_messages"].create(
        {
            "id": str, "project_id": str, "request_id": str, "resource_type": str, "resource_id": str,
            "user_message": str, "event_id": str, "level": str, "created_at": str, "guaranteed_until": str,
        },
        pk="id",
    )  # fmt: skip
    db["volume_messages"].create_index(["project_id"])


@migrations()
def m002_copies_and_transfers(db: Database) -> None:
    db["volumes"].create_index(["source_volume_id"])
    db["volumes"].create_index(["type_id"])
    db["volume_transfers"].create(
        {
            "id": str, "volume_id": str, "name": str, "salt": str, "key_hash": str, "source_project_id": str,
            "destination_project_id": str, "accepted": int, "no_snapshots": int, "created_at": str,
        },
        pk="id",
    )  # fmt: skip
    db["volume_transfers"].create_index(["volume_id"])
    db["volume_services"].create({"name": str, "disabled": int, "reason": str, "updated_at": str}, pk="name")
    db["qos_specs"].create({"id": str, "name": str, "consumer": str, "specs": str, "created_at": str}, pk="id")
    db["qos_specs"].create_index(["name"], unique=True)
    db["default_volume_types"].create({"project_id": str, "type_id": str}, pk="project_id")


@migrations()
def m003_progress(db: Database) -> None:
    db["snapshots"].add_column("progress", str)


@dataclass(frozen=True, slots=True)
class VolumeRow:
    """A volume. `size` in GiB; `format` of its file, "qcow2" or "raw"; `read_only` is None until
    somebody says so or the contrary."""

    id: str
    project_id: str
    user_id: str
    name: str | None
    description: str | None
    status: str
    size: int
    format: str
    type_id: str
    availability_zone: str
    bootable: bool
    multiattach: bool
    read_only: bool | None
    snapshot_id: str | None
    source_volume_id: str | None
    image_id: str | None
    image_metadata: dict[str, str]
    metadata: dict[str, str]
    created_at: str
    updated_at: str | None

    @property
    def subject(self) -> str:
        """As operations name it."""
        return f"volume/{self.id}"


@dataclass(frozen=True, slots=True)
class AttachmentRow:
    """A volume held by a server, or reserved for one. `status`: reserved, attaching, attached, detaching."""

    id: str
    volume_id: str
    server_id: str | None
    status: str
    mode: str
    device: str | None
    host: str | None
    connector: dict[str, str] | None
    attached_at: str | None
    created_at: str


@dataclass(frozen=True, slots=True)
class SnapshotRow:
    """A volume's contents at a moment, as an independent file. `progress` ("80%") is what somebody said of it, if anybody."""

    id: str
    project_id: str
    user_id: str
    volume_id: str
    name: str | None
    description: str | None
    status: str
    size: int
    format: str
    metadata: dict[str, str]
    created_at: str
    updated_at: str | None
    progress: str | None = None

    @property
    def subject(self) -> str:
        """As operations name it."""
        return f"snapshot/{self.id}"


@dataclass(frozen=True, slots=True)
class VolumeType:
    """A kind of volume; `multiattach='<is> True'` in its extra specs lets several servers hold one."""

    id: str
    name: str
    description: str | None
    is_public: bool
    extra_specs: dict[str, str]
    qos_specs_id: str | None
    created_at: str
    updated_at: str | None


@dataclass(frozen=True, slots=True)
class Message:
    """Why something that was accepted failed later, in words for the user."""

    id: str
    project_id: str
    request_id: str
    resource_type: str
    resource_id: str
    user_message: str
    event_id: str
    level: str
    created_at: str
    guaranteed_until: str


@dataclass(frozen=True, slots=True)
class Transfer:
    """A volume offered to whoever knows the key; only a salted hash of the key is kept."""

    id: str
    volume_id: str
    name: str | None
    salt: str
    key_hash: str
    source_project_id: str
    destination_project_id: str | None
    accepted: bool
    no_snapshots: bool
    created_at: str


@dataclass(frozen=True, slots=True)
class ServiceState:
    """What an administrator said about one of our services ("cinder-volume"): that it takes no new work."""

    name: str
    disabled: bool
    reason: str | None
    updated_at: str


@dataclass(frozen=True, slots=True)
class QosSpec:
    """Limits that a volume type may name; `consumer`: back-end, front-end or both."""

    id: str
    name: str
    consumer: str
    specs: dict[str, str]
    created_at: str


VOLUMES = Table("volumes", VolumeRow, noun="Volume")
ATTACHMENTS = Table("attachments", AttachmentRow, noun="Volume attachment")
SNAPSHOTS = Table("snapshots", SnapshotRow, noun="Snapshot")
VOLUME_TYPES = Table("volume_types", VolumeType, noun="Volume type")
MESSAGES = Table("volume_messages", Message, noun="Message")
TRANSFERS = Table("volume_transfers", Transfer, noun="Transfer")
SERVICE_STATES = Table("volume_services", ServiceState, key="name", noun="Service")
QOS_SPECS = Table("qos_specs", QosSpec, noun="QoS specification")
