"""Changes to an image as clients write them: JSON patches (RFC 6902, of which Glance takes add, replace and remove).

Pure: a patch and a record give the columns to change. Called by the wire.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minicloud.core.context import Context
from minicloud.core.errors import Conflict, Forbidden, Invalid
from minicloud.image.images import RESERVED_PREFIX
from minicloud.image.tables import ImageRow

COLUMNS = {
    "name": "name", "visibility": "visibility", "protected": "protected", "os_hidden": "hidden", "min_disk": "min_disk",
    "min_ram": "min_ram", "disk_format": "disk_format", "container_format": "container_format", "owner": "owner",
    "tags": "tags",
}  # fmt: skip
"""Attributes that may be replaced -> column."""

READ_ONLY = (
    "status", "checksum", "os_hash_algo", "os_hash_value", "size", "virtual_size", "created_at", "updated_at", "direct_url",
    "self", "file", "schema", "stores", "id",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Change:
    """One operation of a patch: "add", "replace" or "remove" of an attribute (`rest`: what follows it in the pointer)."""

    operation: str
    name: str
    rest: tuple[str, ...]
    value: Any = None


def read(body: Any, *, old_form: bool) -> list[Change]:
    """The operations of a request's body.

    Args:
        old_form: the media type of v2.0, where the operation is a key: `{"add": "/x", "value": "y"}`.

    Raises:
        Invalid: no list of operations, or one that is no operation.
    """
    if not isinstance(body, list):
        raise Invalid("Request body must be a JSON array of operation objects.")
    return [_change(one, old_form=old_form) for one in body]


def _change(one: Any, *, old_form: bool) -> Change:
    if not isinstance(one, dict):
        raise Invalid("Operations must be JSON objects.")
    operation: Any
    if old_form:
        named = [name for name in ("add", "replace", "remove") if name in one]
        if len(named) != 1:
            raise Invalid("Operation objects must contain exactly one member named 'add', 'remove' or 'replace'.")
        operation, pointer = named[0], one[named[0]]
    else:
        operation, pointer = one.get("op"), one.get("path")
        if operation not in ("add", "replace", "remove"):
            raise Invalid("Operations must have a member 'op' that is 'add', 'remove' or 'replace'.")
    if not isinstance(pointer, str) or not pointer.startswith("/") or "//" in pointer or (pointer.endswith("/")):
        raise Invalid("Cannot use a patch's path: it must be a JSON pointer to an attribute ('/name').")
    if operation != "remove" and "value" not in one:
        raise Invalid(f"Operation '{operation}' requires a member named 'value'.")
    first, *rest = (part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/"))
    if rest and first != "locations":
        raise Invalid(f"Cannot use the path {pointer[:80]!r}: attributes of images have no parts.")
    return Change(operation, first, tuple(rest), one.get("value"))


def applied(ctx: Context, row: ImageRow, changes: Sequence[Change]) -> Mapping[str, Any]:
    """The columns that a patch changes, with their new values.

    Raises:
        Forbidden: an attribute that is read-only, reserved or the service's own.
        Conflict: a property that is not there.
    """
    values: dict[str, Any] = {}
    properties = dict(row.properties)
    for one in changes:
        _refuse(ctx, one)
        if one.name in COLUMNS:
            if one.operation == "remove":
                raise Forbidden(f"Property {one.name} may not be removed.")
            values[COLUMNS[one.name]] = _valued(one)
        elif one.operation == "add":
            properties[one.name] = one.value
        elif one.name not in properties:
            raise Conflict(f"Property {one.name[:255]} does not exist.")
        elif one.operation == "replace":
            properties[one.name] = one.value
        else:
            del properties[one.name]
    if properties != row.properties:
        values["properties"] = properties
    return values


def _refuse(ctx: Context, one: Change) -> None:
    if one.name in READ_ONLY:
        raise Forbidden(f"Attribute '{one.name}' is read-only.")
    if one.name == "locations":
        raise Forbidden("It's not allowed to change locations: this cloud keeps the bytes of images itself.")
    if one.name.startswith(RESERVED_PREFIX):
        raise Forbidden(f"Attribute '{one.name[:255]}' is reserved.")
    if one.name == "owner" and not ctx.is_admin:
        raise Forbidden("You are not permitted to change the owner of an image.")


def _valued(one: Change) -> Any:
    name, value = one.name, one.value
    told = Invalid(f"Invalid value for the attribute '{name}': {str(value)[:80]!r}.")
    if name in ("protected", "os_hidden") and not isinstance(value, bool):
        raise told
    if name in ("min_disk", "min_ram") and (type(value) is not int or not 0 <= value < 2**31):
        raise told
    if name == "visibility" and value not in ("public", "community", "shared", "private"):
        raise told
    if name in ("name", "disk_format", "container_format", "owner") and not (value is None or isinstance(value, str)):
        raise told
    if name in ("name", "owner") and value is not None and len(value) > 255:
        raise told
    if name == "tags" and not (
        isinstance(value, list) and all(isinstance(tag, str) and len(tag) <= 255 for tag in value)
    ):
        raise told
    return value
