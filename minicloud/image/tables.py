"""What the image service remembers: images, whom they are shared with, and imports as tasks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from minicloud.core.clock import SystemClock, stamp
from minicloud.core.migrations import Migrations
from minicloud.core.store import Table
from minicloud.image.definitions import usual

if TYPE_CHECKING:
    from sqlite_utils import Database

migrations = Migrations("image")


@migrations()
def m001_images(db: Database) -> None:
    db["images"].create(
        {
            "id": str, "name": str, "owner": str, "status": str, "visibility": str, "disk_format": str,
            "container_format": str, "size": int, "virtual_size": int, "min_disk": int, "min_ram": int, "protected": int,
            "hidden": int, "checksum": str, "hash_value": str, "properties": str, "tags": str, "created_at": str,
            "updated_at": str,
        },
        pk="id",
    )  # fmt: skip
    db["images"].create_index(["owner"])
    db["images"].create_index(["visibility"])
    db["images"].create_index(["created_at"])
    db["image_members"].create(
        {"image_id": str, "member_id": str, "status": str, "created_at": str, "updated_at": str},
        pk=("image_id", "member_id"),
        foreign_keys=[("image_id", "images", "id")],
    )
    db["image_members"].create_index(["member_id", "status"])
    db["image_tasks"].create(
        {
            "id": str, "image_id": str, "owner": str, "user_id": str, "request_id": str, "status": str, "input": str,
            "result": str, "message": str, "created_at": str, "updated_at": str,
        },
        pk="id",
    )  # fmt: skip
    db["image_tasks"].create_index(["image_id"])


@migrations()
def m002_metadefs(db: Database) -> None:
    db["metadef_namespaces"].create(
        {
            "name": str, "owner": str, "visibility": str, "protected": int, "display_name": str, "description": str,
            "created_at": str, "updated_at": str,
        },
        pk="name",
    )  # fmt: skip
    db["metadef_items"].create(
        {"namespace": str, "kind": str, "name": str, "body": str, "created_at": str, "updated_at": str},
        pk=("namespace", "kind", "name"),
        foreign_keys=[("namespace", "metadef_namespaces", "name")],
    )


@migrations()
def m003_equal_bytes(db: Database) -> None:
    db["images"].create_index(["hash_value"])


@migrations()
def m004_usual_definitions(db: Database) -> None:
    now = stamp(SystemClock().now())
    for one in usual():
        if db.execute("SELECT 1 FROM metadef_namespaces WHERE name = ?", (one.name,)).fetchone():
            continue
        row = (one.name, None, "public", 1, one.title, one.text, now, now)
        db.execute("INSERT INTO metadef_namespaces VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        for kind, name, body in one.items:
            db.execute("INSERT INTO metadef_items VALUES (?, ?, ?, ?, ?, ?)", (one.name, kind, name, body, now, now))


@migrations()
def m005_ids_gone(db: Database) -> None:
    db["image_ids_gone"].create({"id": str}, pk="id")


class Status(StrEnum):
    """Where an image is. Only active and deactivated ones have bytes."""

    QUEUED = "queued"
    SAVING = "saving"
    UPLOADING = "uploading"
    IMPORTING = "importing"
    ACTIVE = "active"
    DEACTIVATED = "deactivated"


class Visibility(StrEnum):
    """Who may know an image: everybody (public, also listed; community, if asked for), members, or the owner alone."""

    PUBLIC = "public"
    COMMUNITY = "community"
    SHARED = "shared"
    PRIVATE = "private"


@dataclass(frozen=True, slots=True)
class ImageRow:
    """An image. Sizes in bytes, `min_disk` in GiB, `min_ram` in MiB; `checksum` is MD5, `hash_value` SHA-512."""

    id: str
    name: str | None
    owner: str | None
    status: Status
    visibility: Visibility
    disk_format: str | None
    container_format: str | None
    size: int | None
    virtual_size: int | None
    min_disk: int
    min_ram: int
    protected: bool
    hidden: bool
    checksum: str | None
    hash_value: str | None
    properties: dict[str, Any]
    tags: list[str]
    created_at: str
    updated_at: str


@dataclass(frozen=True, slots=True)
class Member:
    """A project that an image is shared with; `status` is what that project thinks of it."""

    image_id: str
    member_id: str
    status: str
    created_at: str
    updated_at: str


@dataclass(frozen=True, slots=True)
class Task:
    """One import. `input` is the request's body."""

    id: str
    image_id: str
    owner: str | None
    user_id: str
    request_id: str
    status: str
    input: dict[str, Any]
    result: dict[str, Any]
    message: str
    created_at: str
    updated_at: str


@dataclass(frozen=True, slots=True)
class Namespace:
    """A named set of definitions: what may be said of images, servers and volumes, for people to choose from."""

    name: str
    owner: str | None
    visibility: str
    protected: bool
    display_name: str | None
    description: str | None
    created_at: str
    updated_at: str


@dataclass(frozen=True, slots=True)
class Item:
    """One definition in a namespace: an object, a property, a tag, or a type of resource that it is about."""

    namespace: str
    kind: str
    name: str
    body: dict[str, Any]
    created_at: str
    updated_at: str


IMAGES = Table("images", ImageRow, noun="Image")
MEMBERS = Table("image_members", Member, key="image_id", noun="Image member")
TASKS = Table("image_tasks", Task, noun="Task")
NAMESPACES = Table("metadef_namespaces", Namespace, key="name", noun="Metadata definition namespace")
ITEMS = Table("metadef_items", Item, key="name", noun="Metadata definition")
