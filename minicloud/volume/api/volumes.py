"""Volumes on the wire (block storage API, "Volumes")."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN, MEMBER, READER, require
from minicloud.api.route import Call, Listed, Route
from minicloud.api.schema import (
    BOOLEAN,
    METADATA,
    MISSING,
    OBJECT,
    OPTIONAL,
    TEXT,
    UUID,
    Field,
    Getter,
    Schema,
    integer,
    micros,
    nullable,
)
from minicloud.api.versions import Version
from minicloud.core.errors import Invalid, NotImplementedHere
from minicloud.core.store import Db
from minicloud.volume import attachments, create, delete, services, volumes
from minicloud.volume.api import lists
from minicloud.volume.api.lists import Lists
from minicloud.volume.create import NewVolume
from minicloud.volume.tables import ATTACHMENTS, VOLUME_TYPES, VOLUMES, AttachmentRow, VolumeRow

if TYPE_CHECKING:
    from minicloud.volume import Volume

STRICT: Version = (3, 53)
"""From here on unknown keys of a body, and an update without any, are refused."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A volume with what its view needs from elsewhere."""

    row: VolumeRow
    type_name: str | None
    holders: Sequence[AttachmentRow]
    pool: str

    @property
    def id(self) -> str:
        """The volume's; the marker of the next page."""
        return self.row.id


def shown(volume: Volume, rows: Sequence[VolumeRow]) -> list[Shown]:
    """Rows with type names and holders: two reads, however many rows."""

    def read(db: Db) -> list[Shown]:
        names = {kind.id: kind.name for kind in VOLUME_TYPES.where(db)}
        marks = ", ".join("?" * len(rows))
        holders: dict[str, list[AttachmentRow]] = defaultdict(list)
        for one in ATTACHMENTS.where(db, f"volume_id IN ({marks})", [row.id for row in rows], order="created_at, id"):
            if one.status in attachments.HELD:
                holders[one.volume_id].append(one)
        pool = services.pool(volume)
        return [Shown(row, names.get(row.type_id), holders[row.id], pool) for row in rows]

    return volume.store.read(read)


def _holders(one: Shown, call: Call) -> list[dict[str, Any]]:
    return [
        {
            "id": one.row.id, "attachment_id": holder.id, "volume_id": one.row.id, "server_id": holder.server_id,
            "host_name": holder.host if call.ctx.is_admin else None, "device": holder.device,
            "attached_at": micros(holder.attached_at),
        }
        for holder in one.holders
    ]  # fmt: skip


def _upgrade(body: dict[str, Any], version: Version) -> dict[str, Any]:
    """One name for each thing, whichever of its old ones was used; strict from 3.53 on."""
    known = {field.name for field in VOLUME.fields}
    unknown = sorted(body.keys() - known)
    if version >= STRICT and unknown:
        raise Invalid(f"Cannot read the body: additional properties are not allowed ({', '.join(unknown)[:200]}).")
    newest = {key: value for key, value in body.items() if key in known}
    for old, new in (("display_name", "name"), ("display_description", "description"), ("image_id", "imageRef")):
        if old in newest:
            newest.setdefault(new, newest.pop(old))
    return newest


def _metadata(one: Shown, call: Call) -> dict[str, str]:
    """The user's pairs, and the read-only flag once somebody has set it."""
    flag = {} if one.row.read_only is None else {"readonly": str(one.row.read_only)}
    return one.row.metadata | flag


def _when_asked(get: Getter) -> Getter:
    """A getter of a key that only the answers to GET have: Cinder adds it to what was asked for, not to what was done."""
    return lambda one, call: get(one, call) if call.request.method in ("GET", "HEAD") else MISSING


def _null(one: Shown, call: Call) -> None:
    return None


SIZE = nullable(integer(low=1, high=2**31))
NULLABLE_TEXT = nullable(TEXT)
NULLABLE_UUID = nullable(UUID)

VOLUME = Schema(
    "volume",
    Field("id", UUID, "row.id", out=True),
    Field("status", TEXT, "row.status", out=True),
    Field("size", SIZE, "row.size", out=True, create=OPTIONAL),
    Field("availability_zone", NULLABLE_TEXT, "row.availability_zone", out=True, create=OPTIONAL),
    Field("created_at", TEXT, lambda one, call: micros(one.row.created_at), out=True),
    Field("updated_at", TEXT, lambda one, call: micros(one.row.updated_at), out=True),
    Field("name", NULLABLE_TEXT, "row.name", out=True, create=OPTIONAL, update=OPTIONAL),
    Field("description", NULLABLE_TEXT, "row.description", out=True, create=OPTIONAL, update=OPTIONAL),
    Field("display_name", NULLABLE_TEXT, create=OPTIONAL, update=OPTIONAL),
    Field("display_description", NULLABLE_TEXT, create=OPTIONAL, update=OPTIONAL),
    Field("volume_type", NULLABLE_TEXT, "type_name", out=True, create=OPTIONAL),
    Field("snapshot_id", NULLABLE_UUID, "row.snapshot_id", out=True, create=OPTIONAL),
    Field("source_volid", NULLABLE_UUID, "row.source_volume_id", out=True, create=OPTIONAL),
    Field("imageRef", NULLABLE_TEXT, create=OPTIONAL),
    Field("image_id", NULLABLE_TEXT, create=OPTIONAL),
    Field("backup_id", NULLABLE_UUID, create=OPTIONAL, since=(3, 47)),
    Field("metadata", nullable(METADATA), _metadata, out=True, create=OPTIONAL, update=OPTIONAL),
    Field("links", TEXT, lambda one, call: lists.links(call, "volumes", one.row.id), out=True),
    Field("user_id", TEXT, "row.user_id", out=True),
    Field("bootable", TEXT, lambda one, call: str(one.row.bootable).lower(), out=True),
    Field("encrypted", BOOLEAN, lambda one, call: False, out=True),
    Field("replication_status", TEXT, _null, out=True),
    Field("consistencygroup_id", NULLABLE_TEXT, _null, out=True, create=OPTIONAL),
    Field("group_id", NULLABLE_TEXT, _null, out=True, create=OPTIONAL, since=(3, 13)),
    Field("multiattach", nullable(BOOLEAN), "row.multiattach", out=True, create=OPTIONAL),
    Field("attachments", TEXT, _holders, out=True),
    Field("scheduler_hints", OBJECT, create=OPTIONAL),
    Field("OS-SCH-HNT:scheduler_hints", OBJECT, create=OPTIONAL),
    Field("migration_status", TEXT, _null, out=True, show=ADMIN),
    Field("os-vol-tenant-attr:tenant_id", TEXT, _when_asked(lambda one, call: one.row.project_id), out=True),
    Field("os-vol-mig-status-attr:migstat", TEXT, _when_asked(_null), out=True, show=ADMIN),
    Field("os-vol-mig-status-attr:name_id", TEXT, _when_asked(_null), out=True, show=ADMIN),
    Field("os-vol-host-attr:host", TEXT, _when_asked(lambda one, call: one.pool), out=True, show=ADMIN),
    Field("volume_image_metadata", OBJECT, _when_asked(lambda one, call: one.row.image_metadata or MISSING), out=True),
    Field("provider_id", TEXT, _null, out=True, since=(3, 21), show=ADMIN),
    Field("service_uuid", TEXT, _null, out=True, since=(3, 48)),
    Field("shared_targets", BOOLEAN, lambda one, call: False, out=True, since=(3, 48)),
    Field("cluster_name", TEXT, _null, out=True, since=(3, 61), show=ADMIN),
    Field("volume_type_id", TEXT, "row.type_id", out=True, since=(3, 63)),
    Field("consumes_quota", BOOLEAN, lambda one, call: True, out=True, since=(3, 65)),
    extra=True,
    upgrade=_upgrade,
)
SUMMARY = Schema(
    "volume",
    Field("id", UUID, out=True),
    Field("name", TEXT, out=True),
    Field("links", TEXT, lambda row, call: lists.links(call, "volumes", row.id), out=True),
)
LISTS = Lists(
    VOLUMES,
    sorts={
        "id": "id", "name": "name", "display_name": "name", "status": "status", "size": "size", "user_id": "user_id",
        "availability_zone": "availability_zone", "bootable": "bootable", "created_at": "created_at",
        "updated_at": "updated_at", "volume_type_id": "type_id", "project_id": "project_id",
    },
    filters={
        "name": lists.column("name"), "display_name": lists.column("name"), "status": lists.column("status"),
        "id": lists.column("id"), "description": lists.column("description"),
        "availability_zone": lists.column("availability_zone"), "user_id": lists.column("user_id"),
        "size": lists.number("size"), "bootable": lists.truth("bootable"), "multiattach": lists.truth("multiattach"),
        "metadata": lists.pairs("metadata"), "glance_metadata": lists.pairs("image_metadata"),
        "volume_type_id": lists.column("type_id"), "created_at": lists.moment("created_at"),
        "updated_at": lists.moment("updated_at"), "snapshot_id": lists.column("snapshot_id"),
        "source_volid": lists.column("source_volume_id"),
        "migration_status": lambda value, like: ("0", ()), "group_id": lambda value, like: ("0", ()),
        "encrypted": lambda value, like: ("0" if value.lower() in lists.TRUE else "1", ()),
        "consumes_quota": lambda value, like: ("1" if value.lower() in lists.TRUE else "0", ()),
    },
)  # fmt: skip


async def create_volume(volume: Volume, call: Call) -> Shown:
    """Accept a new volume, blank or of one source."""
    body = call.body
    for absent in ("consistencygroup_id", "group_id", "backup_id"):
        if body.get(absent):
            raise NotImplementedHere(f"Cannot create a volume with {absent}: this cloud has no such thing.")
    new = NewVolume(
        size=body.get("size"), name=body.get("name"), description=body.get("description"),
        image_id=body.get("imageRef") or None, snapshot_id=body.get("snapshot_id"),
        source_volume_id=body.get("source_volid"), volume_type=body.get("volume_type"),
        availability_zone=body.get("availability_zone"), metadata=body.get("metadata") or {},
        multiattach=bool(body.get("multiattach")),
    )  # fmt: skip
    return shown(volume, [await create.accept(volume, call.ctx, new)])[0]


async def list_volumes(volume: Volume, call: Call) -> Listed:
    """Ids and names of the project's volumes."""
    return LISTS.rows(volume, call)


async def list_volumes_with_details(volume: Volume, call: Call) -> Listed:
    """The project's volumes, whole."""
    found = LISTS.rows(volume, call)
    return Listed(shown(volume, found.rows), found.page, found.more, found.extra)


async def summarize_volumes(volume: Volume, call: Call) -> dict[str, Any]:
    """How many volumes, how large together, and (3.36) what their metadata say."""
    conditions = LISTS.whose(call)
    sql = " AND ".join(text for text, _ in conditions)
    rows = volume.store.read(VOLUMES.where, sql, [value for _, values in conditions for value in values])
    told: dict[str, Any] = {"total_size": sum(row.size for row in rows), "total_count": len(rows)}
    if call.at_least(3, 36):
        values: dict[str, list[str]] = defaultdict(list)
        for row in rows:
            for key, value in row.metadata.items():
                if value not in values[key]:
                    values[key].append(value)
        told["metadata"] = dict(values)
    return {"volume-summary": told}


async def show_volume(volume: Volume, call: Call) -> Shown:
    """One volume."""
    return shown(volume, [volumes.visible(volume, call.ctx, call.params["volume_id"])])[0]


async def update_volume(volume: Volume, call: Call) -> Shown:
    """Rename, describe, or replace the metadata of a volume."""
    if not call.body and call.version is not None and call.version >= STRICT:
        raise Invalid("Cannot update the volume: the body holds no attribute to change.")
    values = {key: value for key, value in call.body.items() if key in ("name", "description")}
    if call.body.get("metadata") is not None:
        values["metadata"] = call.body["metadata"]
    row = await volumes.change(volume, call.ctx, call.params["volume_id"], **values)
    return shown(volume, [row])[0]


async def delete_volume(volume: Volume, call: Call) -> None:
    """Begin to delete a volume, with its snapshots if `cascade`, whatever its status if `force` (3.23, admins)."""
    force = call.at_least(3, 23) and lists.flag(call, "force")
    if force:
        require(call.ctx, ADMIN, "volume:force_delete")
    await delete.accept(volume, call.ctx, call.params["volume_id"], force=force, cascade=lists.flag(call, "cascade"))


async def show_encryption(volume: Volume, call: Call) -> dict[str, Any]:
    """No volume here is encrypted: there is no key."""
    volumes.visible(volume, call.ctx, call.params["volume_id"])
    return {"encryption_key_id": None}


ROUTES = [
    Route("POST", "/volumes", create_volume, policy=MEMBER, rule="volume:create", body=VOLUME, view=VOLUME, status=202),
    Route("GET", "/volumes", list_volumes, policy=READER, rule="volume:get_all", view=SUMMARY, many=True),
    Route(
        "GET",
        "/volumes/detail",
        list_volumes_with_details,
        policy=READER,
        rule="volume:get_all",
        view=VOLUME,
        many=True,
    ),
    Route("GET", "/volumes/summary", summarize_volumes, policy=READER, rule="volume:get_all", since=(3, 12)),
    Route("GET", "/volumes/{volume_id}", show_volume, policy=READER, rule="volume:get", view=VOLUME),
    Route(
        "GET",
        "/volumes/{volume_id}/encryption",
        show_encryption,
        policy=READER,
        rule="volume_extension:volume_encryption_metadata",
    ),
    Route("PUT", "/volumes/{volume_id}", update_volume, policy=MEMBER, rule="volume:update", body=VOLUME, view=VOLUME),
    Route("DELETE", "/volumes/{volume_id}", delete_volume, policy=MEMBER, rule="volume:delete", status=202),
]
