"""What can be done with a volume beside looking at it (block storage API, "Volume actions")."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN, MEMBER, READER, require
from minicloud.api.route import Call, Reply, Route
from minicloud.api.schema import (
    BOOLEAN,
    NAME,
    OBJECT,
    OPTIONAL,
    POSITIVE,
    REQUIRED,
    TEXT,
    UUID,
    Field,
    Schema,
    mapping,
    micros,
    nullable,
    string,
)
from minicloud.core.errors import Invalid, NotFound
from minicloud.core.store import Db
from minicloud.volume import attachments, delete, extend, replace, upload, volumes
from minicloud.volume.tables import VOLUME_TYPES, VOLUMES
from minicloud.volume.upload import NewImage

if TYPE_CHECKING:
    from minicloud.volume import Volume

LOOSE = Schema("none", extra=True)
STATUSES = (
    "creating", "available", "deleting", "error", "error_deleting", "error_managing", "managing", "attaching",
    "in-use", "detaching", "maintenance", "reserved", "error_extending",
)  # fmt: skip
EXTEND = Schema("os-extend", Field("new_size", POSITIVE, create=REQUIRED))
ATTACH = Schema(
    "os-attach",
    Field("instance_uuid", UUID, create=OPTIONAL),
    Field("host_name", string(high=255), create=OPTIONAL),
    Field("mountpoint", string(low=1, high=255), create=REQUIRED),
    Field("mode", string(enum=("rw", "ro")), create=OPTIONAL, default="rw"),
    extra=True,
)
DETACH = Schema("os-detach", Field("attachment_id", nullable(UUID), create=OPTIONAL), extra=True)
FORCE_DETACH = Schema(
    "os-force_detach",
    Field("attachment_id", nullable(UUID), create=OPTIONAL),
    Field("connector", nullable(OBJECT), create=OPTIONAL),
)
BOOTABLE = Schema("os-set_bootable", Field("bootable", BOOLEAN, create=REQUIRED))
READ_ONLY = Schema("os-update_readonly_flag", Field("readonly", BOOLEAN, create=REQUIRED))
RESET = Schema(
    "os-reset_status",
    Field("status", nullable(string(enum=STATUSES)), create=OPTIONAL),
    Field("attach_status", nullable(string(enum=("detached", "attached"))), create=OPTIONAL),
    Field("migration_status", nullable(TEXT), create=OPTIONAL),
    rules={"minProperties": 1},
)
RETYPE = Schema(
    "os-retype",
    Field("new_type", NAME, create=REQUIRED),
    Field("migration_policy", nullable(string(enum=("on-demand", "never"))), create=OPTIONAL),
)
UPLOAD = Schema(
    "os-volume_upload_image",
    Field("image_name", NAME, create=REQUIRED),
    Field("force", BOOLEAN, create=OPTIONAL, default=False),
    Field("disk_format", nullable(TEXT), create=OPTIONAL),
    Field("container_format", nullable(TEXT), create=OPTIONAL),
    Field("visibility", string(enum=("community", "public", "private", "shared")), create=OPTIONAL, since=(3, 1)),
    Field("protected", BOOLEAN, create=OPTIONAL, since=(3, 1)),
    extra=True,
)
IMAGE_METADATA = Schema("os-set_image_metadata", Field("metadata", mapping(string()), create=REQUIRED))
IMAGE_KEY = Schema("os-unset_image_metadata", Field("key", string(low=1), create=REQUIRED))
REVERT = Schema("revert", Field("snapshot_id", UUID, create=REQUIRED))
REIMAGE = Schema(
    "os-reimage",
    Field("image_id", UUID, create=REQUIRED),
    Field("reimage_reserved", BOOLEAN, create=OPTIONAL, default=False),
)
CONNECT = Schema("os-initialize_connection", Field("connector", OBJECT, create=REQUIRED), extra=True)
COMPLETION = Schema("os-extend_volume_completion", Field("error", BOOLEAN, create=OPTIONAL))


def _id(call: Call) -> str:
    return call.params["volume_id"]


async def extend_volume(volume: Volume, call: Call) -> None:
    """Begin to grow."""
    await extend.accept(volume, call.ctx, _id(call), call.body["new_size"], in_use=call.at_least(3, 42))


async def complete_extension(volume: Volume, call: Call) -> None:
    """Nothing here waits for a compute service to say so: growing under a machine is one step."""
    row = volumes.visible(volume, call.ctx, _id(call))
    raise Invalid(
        f"Cannot complete the extension of volume {row.id}: its status is {row.status}, and none waits for this."
    )


async def reserve_volume(volume: Volume, call: Call) -> None:
    """Keep a volume for a machine that is about to take it."""
    await attachments.hold(volume, call.ctx, _id(call))


async def unreserve_volume(volume: Volume, call: Call) -> None:
    """Let a kept volume go."""
    await attachments.unhold(volume, call.ctx, _id(call))


async def begin_detaching(volume: Volume, call: Call) -> None:
    """Mark a volume as leaving its machine."""
    await attachments.begin_detaching(volume, call.ctx, _id(call))


async def roll_detaching(volume: Volume, call: Call) -> None:
    """Take that mark back."""
    await attachments.roll_detaching(volume, call.ctx, _id(call))


async def attach_volume(volume: Volume, call: Call) -> None:
    """Note an attachment that the caller made."""
    body = call.body
    if ("instance_uuid" in body) == ("host_name" in body):
        raise Invalid("Cannot attach the volume: give either instance_uuid or host_name.")
    await attachments.attach(
        volume, call.ctx, _id(call), body.get("instance_uuid"), host=body.get("host_name"), device=body["mountpoint"],
        mode=body["mode"],
    )  # fmt: skip


async def detach_volume(volume: Volume, call: Call) -> None:
    """Note that an attachment ended."""
    await attachments.detach(volume, call.ctx, _id(call), call.body.get("attachment_id"))


async def force_detach_volume(volume: Volume, call: Call) -> None:
    """The same whatever the status says."""
    await attachments.detach(volume, call.ctx, _id(call), call.body.get("attachment_id"), force=True)


async def initialize_connection(volume: Volume, call: Call) -> dict[str, Any]:
    """How the host reaches the volume: it is a file there."""
    row = volumes.visible(volume, call.ctx, _id(call))
    return {"connection_info": volume.connection_of(row)}


async def terminate_connection(volume: Volume, call: Call) -> None:
    """A file needs no farewell; refused while a server has it."""
    row = volumes.visible(volume, call.ctx, _id(call))
    for one in volume.attachments_of(row.id):
        await attachments.require_not_plugged(volume, one)


async def set_bootable(volume: Volume, call: Call) -> Reply:
    """Whether machines may boot from it."""
    await volumes.change(volume, call.ctx, _id(call), bootable=call.body["bootable"])
    return Reply(status=200)


async def set_read_only(volume: Volume, call: Call) -> None:
    """Whether machines may write to it; only while none has it."""
    row = volumes.visible(volume, call.ctx, _id(call))
    volumes.require_status(row, "change the read-only flag of", "available")
    await volumes.change(volume, call.ctx, row.id, read_only=call.body["readonly"])


async def reset_status(volume: Volume, call: Call) -> None:
    """Say what the status is, as an admin who has looked; nobody's disk is pulled by it."""
    row = volumes.visible(volume, call.ctx, _id(call))
    if call.body.get("attach_status") == "detached":
        await attachments.forget_all(volume, row.id)
    if call.body.get("status"):
        await volumes.change(volume, call.ctx, row.id, status=call.body["status"])


async def force_delete(volume: Volume, call: Call) -> None:
    """Delete whatever the status says."""
    await delete.accept(volume, call.ctx, _id(call), force=True)


async def retype_volume(volume: Volume, call: Call) -> None:
    """Give it another type."""
    await replace.accept_retype(volume, call.ctx, _id(call), call.body["new_type"])


async def revert_volume(volume: Volume, call: Call) -> None:
    """Back to its latest snapshot."""
    await replace.accept_revert(volume, call.ctx, _id(call), call.body["snapshot_id"])


async def reimage_volume(volume: Volume, call: Call) -> None:
    """Overwrite it with an image."""
    body = call.body
    await replace.accept_reimage(volume, call.ctx, _id(call), body["image_id"], reserved=body["reimage_reserved"])


async def upload_volume(volume: Volume, call: Call) -> dict[str, Any]:
    """Begin to make an image of it."""
    body, newer = call.body, call.at_least(3, 1)
    visibility = body.get("visibility", "private" if newer else "shared")
    if visibility == "public":
        require(call.ctx, ADMIN, "volume_extension:volume_actions:upload_public")
    new = NewImage(
        name=body["image_name"], disk_format=body.get("disk_format") or "raw",
        container_format=body.get("container_format") or "bare", visibility=visibility,
        protected=body.get("protected", False), force=body["force"],
    )  # fmt: skip
    row, image = await upload.accept(volume, call.ctx, _id(call), new)
    kind = volume.store.read(VOLUME_TYPES.need, row.type_id)
    told: dict[str, Any] = {
        "id": row.id, "updated_at": micros(row.updated_at), "status": row.status, "display_description": row.description,
        "size": row.size, "volume_type": {
            "id": kind.id, "name": kind.name, "description": kind.description, "is_public": kind.is_public,
            "extra_specs": kind.extra_specs, "qos_specs_id": kind.qos_specs_id, "created_at": micros(kind.created_at),
            "updated_at": micros(kind.updated_at), "deleted_at": None, "deleted": False,
        },
        "image_id": image.id, "container_format": image.container_format, "disk_format": image.disk_format,
        "image_name": image.name,
    }  # fmt: skip
    return {"os-volume_upload_image": told | ({"protected": new.protected, "visibility": visibility} if newer else {})}


async def set_image_metadata(volume: Volume, call: Call) -> dict[str, Any]:
    """Merge into what is remembered of the image."""
    row = volumes.visible(volume, call.ctx, _id(call))

    def merge(db: Db) -> dict[str, str]:
        merged = VOLUMES.need(db, row.id).image_metadata | call.body["metadata"]
        return VOLUMES.change(db, row.id, image_metadata=merged, updated_at=volume.now()).image_metadata

    return {"metadata": await volume.store.write(merge)}


async def unset_image_metadata(volume: Volume, call: Call) -> Reply:
    """Forget one key of it."""
    row, key = volumes.visible(volume, call.ctx, _id(call)), call.body["key"]

    def forget(db: Db) -> None:
        known = VOLUMES.need(db, row.id).image_metadata
        if key not in known:
            raise NotFound(f"Volume {row.id} has no image metadata with key {key}.")
        left = {name: value for name, value in known.items() if name != key}
        VOLUMES.change(db, row.id, image_metadata=left, updated_at=volume.now())

    await volume.store.write(forget)
    return Reply(status=200)


async def show_image_metadata(volume: Volume, call: Call) -> dict[str, Any]:
    """What is remembered of the image."""
    return {"metadata": volumes.visible(volume, call.ctx, _id(call)).image_metadata}


def _action(name: str, handler: Any, body: Schema, rule: str, **more: Any) -> Route:
    values: dict[str, Any] = {"policy": MEMBER, "status": 202, **more}
    return Route("POST", "/volumes/{volume_id}/action", handler, action=name, body=body, rule=rule, **values)


ACTIONS, ADMINS = "volume_extension:volume_actions:", "volume_extension:volume_admin_actions:"
IMAGE = "volume_extension:volume_image_metadata:"
ROUTES = [
    _action("os-extend", extend_volume, EXTEND, "volume:extend"),
    _action(
        "os-extend_volume_completion",
        complete_extension,
        COMPLETION,
        ADMINS + "extend_volume_completion",
        policy=ADMIN,
        since=(3, 71),
    ),
    _action("os-reserve", reserve_volume, LOOSE, ACTIONS + "reserve"),
    _action("os-unreserve", unreserve_volume, LOOSE, ACTIONS + "unreserve"),
    _action("os-begin_detaching", begin_detaching, LOOSE, ACTIONS + "begin_detaching"),
    _action("os-roll_detaching", roll_detaching, LOOSE, ACTIONS + "roll_detaching"),
    _action("os-attach", attach_volume, ATTACH, ACTIONS + "attach"),
    _action("os-detach", detach_volume, DETACH, ACTIONS + "detach"),
    _action("os-force_detach", force_detach_volume, FORCE_DETACH, ADMINS + "force_detach", policy=ADMIN),
    _action("os-initialize_connection", initialize_connection, CONNECT, ACTIONS + "initialize_connection", status=200),
    _action("os-terminate_connection", terminate_connection, CONNECT, ACTIONS + "terminate_connection"),
    _action("os-set_bootable", set_bootable, BOOTABLE, "volume:update"),
    _action("os-update_readonly_flag", set_read_only, READ_ONLY, "volume:update_readonly_flag"),
    _action("os-reset_status", reset_status, RESET, ADMINS + "reset_status", policy=ADMIN),
    _action("os-force_delete", force_delete, LOOSE, ADMINS + "force_delete", policy=ADMIN),
    _action("os-retype", retype_volume, RETYPE, "volume:retype"),
    _action("os-volume_upload_image", upload_volume, UPLOAD, ACTIONS + "upload_image"),
    _action("os-set_image_metadata", set_image_metadata, IMAGE_METADATA, IMAGE + "set", status=200),
    _action("os-unset_image_metadata", unset_image_metadata, IMAGE_KEY, IMAGE + "remove"),
    _action(
        "os-show_image_metadata", show_image_metadata, LOOSE, "volume:get_volume_metadata", policy=READER, status=200
    ),
    _action("revert", revert_volume, REVERT, "volume:revert_to_snapshot", since=(3, 40)),
    _action("os-reimage", reimage_volume, REIMAGE, "volume:reimage", since=(3, 68)),
]
