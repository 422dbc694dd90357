"""What all resources of this API show and take: the standard attributes, If-Match, and the types of their own.

Called by every other module of this folder.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from minicloud.api.policy import ADMIN as ADMIN_POLICY
from minicloud.api.policy import SERVICE, Policy, require
from minicloud.api.route import Call
from minicloud.api.schema import (
    CIDR,
    IP,
    OPTIONAL,
    TEXT,
    Field,
    Schema,
    Type,
    array,
    nullable,
    seconds_z,
    string,
)
from minicloud.core.errors import Invalid

PROJECT_ID = string(high=255)
TAGS = array(string(low=1, high=255), high=50)
HOST_ROUTES = array(
    Schema("route", Field("destination", CIDR, create=OPTIONAL, update=OPTIONAL), Field("nexthop", IP, create=OPTIONAL, update=OPTIONAL),
           rules={"required": ["destination", "nexthop"]})
)  # fmt: skip
POOLS = array(
    Schema(
        "pool",
        Field("start", IP, create=OPTIONAL, update=OPTIONAL),
        Field("end", IP, create=OPTIONAL, update=OPTIONAL),
        rules={"required": ["start", "end"]},
    )
)
HINTS = array(string(high=255), high=16)
_LABEL = "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
DNS_NAME = string(high=255, pattern=rf"^({_LABEL}(\.{_LABEL})*\.?)?$")
"""A host's or domain's name (RFC 1123, section 2.1), or none: it ends up in the files of a DHCP server."""
ADMIN_OR_SERVICE = ADMIN_POLICY | SERVICE


def standard(*fields: Field, name: bool = True, tags: bool = True) -> tuple[Field, ...]:
    """A resource's fields with the standard ones around them."""
    named = (Field("name", TEXT, out=True, create=OPTIONAL, update=OPTIONAL),) if name else ()
    tagged = (Field("tags", TAGS, out=True),) if tags else ()
    return (
        Field("id", TEXT, out=True),
        *named,
        Field("description", nullable(TEXT), out=True, create=OPTIONAL, update=OPTIONAL),
        Field("tenant_id", nullable(PROJECT_ID), attr="project_id", out=True, create=OPTIONAL),
        Field("project_id", nullable(PROJECT_ID), out=True, create=OPTIONAL),
        *fields,
        *tagged,
        Field("created_at", TEXT, attr=lambda row, call: seconds_z(_of(row, "created_at")), out=True),
        Field("updated_at", TEXT, attr=lambda row, call: seconds_z(_of(row, "updated_at")), out=True),
        Field("revision_number", Type({"type": "integer"}), out=True),
    )


def _of(row: Any, name: str) -> Any:
    return row[name] if isinstance(row, Mapping) else getattr(row, name)


def columns(body: Mapping[str, Any], renamed: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A checked body under the columns' names; `tenant_id` is `project_id`."""
    names = {"tenant_id": "project_id", **(renamed or {})}
    values = {names.get(key, key): value for key, value in body.items()}
    if "tenant_id" in body and "project_id" in body and body["tenant_id"] != body["project_id"]:
        raise Invalid("Cannot use both project_id and tenant_id: they differ.", code="HTTPBadRequest")
    if values.get("description", "") is None:
        values["description"] = ""
    return values


def shown(row: Any, **more: Any) -> dict[str, Any]:
    """A row as a mapping, with keys that come from elsewhere."""
    return {**{name: getattr(row, name) for name in row.__dataclass_fields__}, **more}


_IF_MATCH = re.compile(r"revision_number=(-?\d{1,18})")


def revision_of(call: Call) -> int | None:
    """The revision that an If-Match of the client names (extension revision-if-match).

    Raises:
        Invalid: another form.
    """
    told = call.request.headers.get("If-Match")
    if told is None:
        return None
    match = _IF_MATCH.fullmatch(told.strip())
    if match is None:
        raise Invalid("Cannot use If-Match: it wants the form revision_number=N.", code="HTTPBadRequest")
    return int(match[1])


def require_for(call: Call, body: Mapping[str, Any], names: Sequence[str], policy: Policy, rule: str) -> None:
    """Raise `Forbidden` if the body sets one of these attributes and the caller may not."""
    for name in names:
        if name in body:
            require(call.ctx, policy, f"{rule}:{name}")
