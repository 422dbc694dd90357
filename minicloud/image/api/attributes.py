"""What an image consists of on the wire: one declaration for requests, replies and `/v2/schemas/image`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minicloud.api.schema import MISSING, OPTIONAL, Field, Schema, Type, seconds_z
from minicloud.image import patches
from minicloud.image.formats import CONTAINER_FORMATS, DISK_FORMATS
from minicloud.image.tables import ImageRow, Member

if TYPE_CHECKING:
    from minicloud.api.route import Call

UUID_PATTERN = "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"
VISIBILITIES = ["community", "public", "private", "shared"]
STATUSES = [
    "queued", "saving", "active", "killed", "deleted", "uploading", "importing", "pending_delete", "deactivated",
]  # fmt: skip
MAX_32 = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute: its JSON Schema, what it means, how replies take it from a row; `custom` ones are properties that
    have a schema of their own."""

    name: str
    schema: Mapping[str, Any]
    meaning: str
    read: Callable[[ImageRow], Any] | None = None
    writable: bool = False
    custom: bool = False


def _text(*, null: bool = True, most: int = 255, **more: Any) -> dict[str, Any]:
    return {"type": ["null", "string"] if null else "string", "maxLength": most, **more}


def _whole(*, null: bool = False) -> dict[str, Any]:
    return {"type": ["null", "integer"]} if null else {"type": "integer", "minimum": 0, "maximum": MAX_32}


_BOOLEAN = {"type": "boolean"}
_STRING = {"type": "string"}
_REFERENCE = {"type": ["null", "string"], "pattern": UUID_PATTERN}

ATTRIBUTES = (
    Attribute("id", {"type": "string", "pattern": UUID_PATTERN}, "The image's identifier.", lambda row: row.id, True),
    Attribute("name", _text(), "What people call the image.", lambda row: row.name, True),
    Attribute("status", {"type": "string", "enum": STATUSES}, "Where the image is in its life.", lambda row: str(row.status)),
    Attribute(
        "visibility", {"type": "string", "enum": VISIBILITIES}, "Who may see the image.",
        lambda row: str(row.visibility), True,
    ),
    Attribute("protected", _BOOLEAN, "Whether deleting the image is refused.", lambda row: row.protected, True),
    Attribute("os_hidden", _BOOLEAN, "Whether lists leave the image out unless asked.", lambda row: row.hidden, True),
    Attribute("checksum", _text(most=32), "MD5 of the data.", lambda row: row.checksum),
    Attribute(
        "os_hash_algo", _text(most=64), "Algorithm of os_hash_value.",
        lambda row: None if row.hash_value is None else "sha512",
    ),
    Attribute("os_hash_value", _text(most=128), "Digest of the data, in hexadecimal.", lambda row: row.hash_value),
    Attribute("owner", _text(), "Project that the image belongs to.", lambda row: row.owner, True),
    Attribute("size", _whole(null=True), "Bytes of the data; while they come in, how many came so far.", lambda row: row.size),
    Attribute("virtual_size", _whole(null=True), "Bytes of the disk that a machine sees.", lambda row: row.virtual_size),
    Attribute(
        "container_format", {"type": ["null", "string"], "enum": [None, *CONTAINER_FORMATS]}, "What wraps the disk.",
        lambda row: row.container_format, True,
    ),
    Attribute(
        "disk_format", {"type": ["null", "string"], "enum": [None, *DISK_FORMATS]}, "What kind of disk the data is.",
        lambda row: row.disk_format, True,
    ),
    Attribute("created_at", _STRING, "When the image was registered.", lambda row: seconds_z(row.created_at)),
    Attribute("updated_at", _STRING, "When the image was last changed.", lambda row: seconds_z(row.updated_at)),
    Attribute(
        "tags", {"type": "array", "items": {"type": "string", "maxLength": 255}}, "Words that the image is marked with.",
        lambda row: row.tags, True,
    ),
    Attribute("min_ram", _whole(), "MiB of memory that a machine needs to boot it.", lambda row: row.min_ram, True),
    Attribute("min_disk", _whole(), "GiB of disk that a machine needs to boot it.", lambda row: row.min_disk, True),
    Attribute("self", _STRING, "Path of the image.", lambda row: f"/v2/images/{row.id}"),
    Attribute("file", _STRING, "Path of the image's data.", lambda row: f"/v2/images/{row.id}/file"),
    Attribute(
        "stores", _STRING, "Where the data is kept.",
        lambda row: MISSING if row.checksum is None else "file",
    ),
    Attribute("schema", _STRING, "Path of this schema.", lambda row: "/v2/schemas/image"),
    Attribute("kernel_id", _REFERENCE, "Image of the kernel to boot with.", writable=True, custom=True),
    Attribute("ramdisk_id", _REFERENCE, "Image of the ramdisk to boot with.", writable=True, custom=True),
    Attribute("instance_uuid", _STRING, "Server that the image was made from.", writable=True, custom=True),
    Attribute("architecture", _STRING, "Processor architecture.", writable=True, custom=True),
    Attribute("os_distro", _STRING, "Short name of the distribution.", writable=True, custom=True),
    Attribute("os_version", _STRING, "The distribution's version.", writable=True, custom=True),
    Attribute("description", _STRING, "What people should know about the image.", writable=True, custom=True),
)  # fmt: skip


class _Record(Schema):
    """What may be said of an image: who sets what is not theirs to set hears that, whatever the value."""

    def read(self, body: Any, mode: str, call: Call) -> dict[str, Any]:
        for name in body if isinstance(body, Mapping) else ():
            patches.refuse(name, registered=mode != "create")
        return super().read(body, mode, call)


IMAGE = _Record(
    "image",
    *(Field(one.name, Type(one.schema), create=OPTIONAL, update=OPTIONAL) for one in ATTRIBUTES if one.writable),
    extra=Type({"type": "string"}),
)


def shown(row: ImageRow) -> dict[str, Any]:
    """An image as replies show it: properties first, so that none can stand in for a base attribute."""
    told = {**row.properties, **{one.name: one.read(row) for one in ATTRIBUTES if one.read is not None}}
    return {name: value for name, value in told.items() if value is not MISSING}


def image_schema() -> dict[str, Any]:
    """The JSON Schema that clients check images with."""
    properties = {}
    for one in ATTRIBUTES:
        told = {**one.schema, "description": one.meaning}
        told |= {} if one.writable else {"readOnly": True}
        properties[one.name] = told | ({"is_base": False} if one.custom else {})
    return {
        "name": "image",
        "properties": properties,
        "additionalProperties": {"type": "string"},
        "links": [
            {"rel": "self", "href": "{self}"},
            {"rel": "enclosure", "href": "{file}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    }


MEMBER_PROPERTIES: Mapping[str, Mapping[str, Any]] = {
    "member_id": {"type": "string", "description": "Project that the image is shared with."},
    "image_id": {"type": "string", "pattern": UUID_PATTERN, "description": "The shared image."},
    "created_at": {"type": "string", "description": "When it was shared."},
    "updated_at": {"type": "string", "description": "When the membership was last changed."},
    "status": {"type": "string", "enum": ["pending", "accepted", "rejected"], "description": "The project's answer."},
    "schema": {"type": "string", "readOnly": True, "description": "Path of this schema."},
}


def member_shown(row: Member) -> dict[str, Any]:
    """A membership as replies show it."""
    return {
        "member_id": row.member_id,
        "image_id": row.image_id,
        "status": row.status,
        "created_at": seconds_z(row.created_at),
        "updated_at": seconds_z(row.updated_at),
        "schema": "/v2/schemas/member",
    }
