"""Pieces of schemas that several of identity's resources share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from minicloud.api.route import Call
from minicloud.api.schema import MISSING, OBJECT, Field, Schema, Type, array, nullable, string
from minicloud.core.clock import stamp
from minicloud.core.errors import Invalid

if TYPE_CHECKING:
    from minicloud.identity import Identity

NAME64 = string(low=1, high=64, pattern=r"\S")
NAME255 = string(low=1, high=255, pattern=r"\S")
KEY = string(low=1, high=64, pattern=r"^[a-zA-Z0-9-]+$")
TEXT = nullable(string(high=65535))
TAGS = array(string(low=1, high=255, pattern=r"^[^,/]*$"), high=80, unique=True)
IMMUTABLE = Type(
    {
        "type": "object",
        "properties": {"immutable": {"type": ["boolean", "null"]}},
        "additionalProperties": False,
    }
)
"""Options of projects, domains and roles."""

ROLE_REFERENCES = array(
    Type({"type": "object", "anyOf": [{"required": ["id"]}, {"required": ["name"]}], "properties": {
        "id": {"type": "string", "maxLength": 64}, "name": {"type": "string", "maxLength": 255},
    }}),
    high=64,
)  # fmt: skip


def _moment(text: str) -> str:
    try:
        told = datetime.fromisoformat(text)
        return stamp(told if told.tzinfo else told.replace(tzinfo=UTC))
    except (ValueError, OverflowError):  # the first and last hours that there are have no UTC
        raise Invalid("it is no moment in the form 2026-11-22T21:31:29.000000.") from None


MOMENT = nullable(Type({"type": "string", "minLength": 1, "maxLength": 64}, _moment))
"""A moment; without a zone it is UTC."""


def links(collection: str) -> Field:
    """`links.self` of a resource."""
    return Field("links", OBJECT, attr=lambda row, call: {"self": f"{call.root}/{collection}/{row.id}"}, out=True)


def shown_if_set(name: str) -> Callable[[Any, Call], Any]:
    """An attribute that replies leave out when it has no value."""
    return lambda row, call: MISSING if getattr(row, name) is None else getattr(row, name)


def values_of(schema: Schema, body: Mapping[str, Any]) -> dict[str, Any]:
    """A checked body as the domain takes it: known attributes by name, unknown ones together as `extra`. What is only ever told
    (`links`, an id, when a password ends) and comes back from a client is left out."""
    settable = {one.name for one in schema.fields if one.create is not None or one.update is not None} - {"id"}
    extra = {name: value for name, value in schema.unknown(body).items() if name not in ("links", "id")}
    known = {name: value for name, value in body.items() if name in settable}
    if isinstance(known.get("tags"), list):
        known["tags"] = tuple(known["tags"])
    return {**known, **({"extra": extra} if extra else {})}


def origin(identity: Identity, call: Call) -> str:
    """Where the cloud is for this client: the configured public URL, else the one that they used."""
    return identity.public_url or call.base.removesuffix(call.dialect.prefix)
