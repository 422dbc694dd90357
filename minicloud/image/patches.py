"""Changes to an image as clients write them: JSON patches (RFC 6902, of which Glance takes add, replace and remove).

Pure: a patch and a record give the columns to change. Called by the wire.
"""

from __future__ import annotations

import re
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
    "self", "file", "schema", "stores",
)  # fmt: skip
RESERVED = ("location", "deleted", "deleted_at")
DEPTHS = {("add", "locations"): 2, ("remove", "locations"): 2}
"""Parts that a pointer has; all others have one."""


_POINTER = re.compile(r"(/([^/~]|~[01])+)+\Z")


@dataclass(frozen=True, slots=True)
class Change:
    """One operation of a patch: "add", "replace" or "remove" of an attribute; `fresh`: it must not be there yet."""

    operation: str
    name: str
    value: Any = None
    fresh: bool = False


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
    if not isinstance(pointer, str) or not _POINTER.match(pointer):
        raise Invalid("Cannot use a patch's path: it must be a JSON pointer to an attribute ('/name').")
    if operation != "remove" and "value" not in one:
        raise Invalid(f"Operation '{operation}' requires a member named 'value'.")
    parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/")]
    if len(parts) != DEPTHS.get((operation, parts[0]), 1):
        raise Invalid(f"Cannot use the path {pointer[:80]!r}: attributes of images have no parts.")
    return Change(operation, parts[0], one.get("value"), fresh=old_form and operation == "add")


def applied(ctx: Context, row: ImageRow, changes: Sequence[Change]) -> Mapping[str, Any]:
    """The columns that a patch changes, with their new values; names and values were checked.

    Raises:
        Forbidden: an attribute that can't be removed, or not by this caller.
        Conflict: a property that is not there, or is there already.
    """
    values: dict[str, Any] = {}
    properties = dict(row.properties)
    for one in changes:
        if one.name == "owner" and not ctx.is_admin:
            raise Forbidden("You are not permitted to change the owner of an image.")
        if one.fresh and (one.name in COLUMNS or one.name in properties):
            raise Conflict(f"Property {one.name[:255]} is already present: replace it.")
        if one.name in COLUMNS:
            if one.operation == "remove":
                raise Forbidden(f"Property {one.name} may not be removed.")
            values[COLUMNS[one.name]] = one.value
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


def refuse(name: str, *, registered: bool = True) -> None:
    """Raise `Forbidden` if an attribute is not the caller's to set; `registered`: the image is there already."""
    if name in READ_ONLY or (name == "id" and registered):
        raise Forbidden(f"Attribute '{name}' is read-only.")
    if name == "locations":
        raise Forbidden("It's not allowed to change locations: this cloud keeps the bytes of images itself.")
    if name in RESERVED or name.startswith(RESERVED_PREFIX):
        raise Forbidden(f"Attribute '{name[:255]}' is reserved.")
