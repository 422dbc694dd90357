"""Metadata definitions on the wire (API reference: Metadata definitions). Objects, properties, tags and types of resources
are handled alike: `_Collection` makes the routes of one kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from minicloud.api.paging import page_of, with_query
from minicloud.api.policy import ADMIN, ANYONE, READER
from minicloud.api.route import Call, Reply, Route
from minicloud.api.schema import (
    OPTIONAL,
    REQUIRED,
    STRICT_BOOLEAN,
    Field,
    Schema,
    Type,
    array,
    mapping,
    nullable,
    seconds_z,
    string,
)
from minicloud.core.errors import Invalid
from minicloud.image import metadefs
from minicloud.image.metadefs import Kind
from minicloud.image.tables import Item, Namespace

if TYPE_CHECKING:
    from minicloud.image import Image

NAME = string(low=1, high=80)
_TEXT = nullable(string(high=500))
_NAMED: dict[str, Any] = {"type": "object", "required": ["name"], "properties": {"name": NAME.schema}}
_NAMES = array(Type(_NAMED))
_INNER = {
    "properties": Type({"type": "object", "additionalProperties": {"type": "object"}}),
    "required": array(string()),
    "description": nullable(string(high=65535)),
}
"""What an object of definitions consists of."""
_OBJECTS = array(
    Type({**_NAMED, "properties": {**_NAMED["properties"], **{name: one.schema for name, one in _INNER.items()}}})
)
NAMESPACE = Schema(
    "namespace",
    Field("namespace", NAME, create=REQUIRED, update=REQUIRED),
    Field("display_name", nullable(string(high=80)), create=OPTIONAL, update=OPTIONAL),
    Field("description", _TEXT, create=OPTIONAL, update=OPTIONAL),
    Field("visibility", string(enum=("public", "private")), create=OPTIONAL, update=OPTIONAL),
    Field("protected", STRICT_BOOLEAN, create=OPTIONAL, update=OPTIONAL),
    Field("owner", string(), create=OPTIONAL, update=OPTIONAL),
    Field("resource_type_associations", _NAMES, create=OPTIONAL),
    Field("objects", _OBJECTS, create=OPTIONAL),
    Field("properties", mapping(Type({"type": "object"}), key=r"^[\s\S]{1,80}$"), create=OPTIONAL),
    Field("tags", _NAMES, create=OPTIONAL),
)
ITEM = Schema("item", Field("name", NAME, create=REQUIRED, update=REQUIRED), extra=True)
OBJECT = Schema(
    "object",
    Field("name", NAME, create=REQUIRED, update=REQUIRED),
    *(Field(name, one, create=OPTIONAL, update=OPTIONAL) for name, one in _INNER.items()),
    extra=True,
)
PROPERTY = Schema(
    "property",
    Field("name", NAME, create=REQUIRED, update=REQUIRED),
    Field("title", string(), create=REQUIRED, update=REQUIRED),
    Field(
        "type", string(enum=("array", "boolean", "integer", "number", "object", "string")), create=REQUIRED,
        update=REQUIRED,
    ),
    extra=True,
)  # fmt: skip
SEVERAL_TAGS = Schema("tags", Field("tags", _NAMES, create=REQUIRED))
BASE = "/v2/metadefs/namespaces"
OWN = ("name", "created_at", "updated_at", "self", "schema")
"""Keys that clients send back and that are no part of a definition."""


def _namespace_shown(image: Image, row: Namespace) -> dict[str, Any]:
    told = {
        "namespace": row.name,
        "visibility": row.visibility,
        "protected": row.protected,
        "created_at": seconds_z(row.created_at),
        "updated_at": seconds_z(row.updated_at),
        "self": f"{BASE}/{row.name}",
        "schema": "/v2/schemas/metadefs/namespace",
    }
    told |= {
        name: value for name in ("display_name", "description", "owner") if (value := getattr(row, name)) is not None
    }
    types = metadefs.items(image, row, Kind.RESOURCE_TYPE)
    return told | ({"resource_type_associations": [_shown(one) for one in types]} if types else {})


def _shown(row: Item) -> dict[str, Any]:
    """An item as replies show it; a property is its own JSON Schema, without times."""
    if row.kind == Kind.PROPERTY:
        return {"name": row.name, **row.body}
    told = {
        "name": row.name,
        "created_at": seconds_z(row.created_at),
        "updated_at": seconds_z(row.updated_at),
        **row.body,
    }
    if row.kind == Kind.OBJECT:
        told = {"required": [], "properties": {}, **told}
        told |= {"self": f"{BASE}/{row.namespace}/objects/{row.name}", "schema": "/v2/schemas/metadefs/object"}
    return told


def _content(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in OWN}


def _of(image: Image, call: Call) -> Namespace:
    return metadefs.visible(image, call.ctx, call.params["namespace"])


# --- namespaces ------------------------------------------------------------------------------------------------------


async def list_namespaces(image: Image, call: Call) -> Reply:
    """One page of namespaces."""
    columns = {"namespace": "name", "created_at": "created_at", "updated_at": "updated_at"}
    page = page_of(call, columns=columns, default_sort=(("created_at", False),), default_limit=25)
    visibility = call.query.get("visibility")
    if visibility not in (None, "public", "private"):
        raise Invalid(f"Invalid visibility value: {visibility[:80]}")
    types = [one for one in call.query.get("resource_types", "").split(",") if one]
    rows = metadefs.listed(image, call.ctx, page, visibility=visibility, types=types)
    body: dict[str, Any] = {
        "namespaces": [_namespace_shown(image, row) for row in rows],
        "first": with_query(call, BASE, marker=None),
        "schema": "/v2/schemas/metadefs/namespaces",
    }
    if rows and page.limit is not None and len(rows) == page.limit:
        body["next"] = with_query(call, BASE, marker=rows[-1].name)
    return Reply(body)


async def create_namespace(image: Image, call: Call) -> Reply:
    """Make a namespace, with its contents if they are sent along."""
    body = call.body
    items: dict[Kind, dict[str, dict[str, Any]]] = {
        Kind.OBJECT: {one["name"]: _content(one) for one in body.get("objects", ())},
        Kind.PROPERTY: {name: _content(one) for name, one in body.get("properties", {}).items()},
        Kind.TAG: {one["name"]: {} for one in body.get("tags", ())},
        Kind.RESOURCE_TYPE: {one["name"]: _content(one) for one in body.get("resource_type_associations", ())},
    }
    row = await metadefs.create(image, call.ctx, body["namespace"], body, items)
    headers = {"Location": f"{call.base}{BASE}/{quote(row.name, safe='')}"}
    return Reply(_namespace_shown(image, row), headers=headers)


async def show_namespace(image: Image, call: Call) -> Reply:
    """A namespace with all that is in it; with `resource_type` its properties are named as that type needs them."""
    row, kind_of_resource = _of(image, call), call.query.get("resource_type")
    types = metadefs.items(image, row, Kind.RESOURCE_TYPE)
    prefix = next((str(one.body.get("prefix") or "") for one in types if one.name == kind_of_resource), "")
    told = _namespace_shown(image, row)
    objects, tags = metadefs.items(image, row, Kind.OBJECT), metadefs.items(image, row, Kind.TAG)
    properties = metadefs.items(image, row, Kind.PROPERTY)
    told |= {"objects": [_prefixed(_shown(one), prefix) for one in objects]} if objects else {}
    told |= {"properties": {prefix + one.name: one.body for one in properties}} if properties else {}
    told |= {"tags": [{"name": one.name} for one in tags]} if tags else {}
    return Reply(told)


def _prefixed(told: dict[str, Any], prefix: str) -> dict[str, Any]:
    properties = {prefix + name: one for name, one in told["properties"].items()}
    return {**told, "properties": properties, "required": [prefix + name for name in told["required"]]}


async def update_namespace(image: Image, call: Call) -> Reply:
    """Replace what is said of a namespace: what is left out is as in a new one."""
    left_out = {"display_name": None, "description": None, "visibility": "private", "protected": False}
    body = {**left_out, "owner": call.ctx.project_id, **call.body}
    row = await metadefs.change(image, _of(image, call), body.pop("namespace"), body)
    return Reply(_namespace_shown(image, row))


async def delete_namespace(image: Image, call: Call) -> None:
    """Remove a namespace and all that is in it."""
    await metadefs.remove(image, _of(image, call))


async def list_resource_types(image: Image, call: Call) -> Reply:
    """What definitions may be about."""
    return Reply({"resource_types": [{"name": name} for name in metadefs.resource_types(image)]})


async def create_tags(image: Image, call: Call) -> Reply:
    """Give a namespace exactly these tags, or with the header X-Openstack-Append these, too."""
    several: dict[str, dict[str, Any]] = {one["name"]: {} for one in call.body["tags"]}
    more = call.request.headers.get("X-Openstack-Append", "").lower() in ("true", "1", "yes", "on", "t", "y")
    rows = await metadefs.add(image, _of(image, call), Kind.TAG, several, alone=not more)
    return Reply({"tags": [{"name": row.name} for row in rows]})


async def create_tag(image: Image, call: Call) -> Reply:
    """Add one tag, named by the path."""
    (row,) = await metadefs.add(image, _of(image, call), Kind.TAG, {call.params["item"]: {}}, alone=False)
    return Reply(_shown(row))


# --- what is in them -------------------------------------------------------------------------------------------------


RULES = {
    "get_metadef_propertys": "get_metadef_properties",
    "delete_metadef_property": "remove_metadef_property",
    "delete_metadef_propertys": "remove_metadef_property",
    "delete_metadef_objects": "delete_metadef_object",
    "get_metadef_resource_type_associations": "get_metadef_resource_type",
    "delete_metadef_resource_type_association": "remove_metadef_resource_type_association",
}
"""Names that follow no pattern."""


@dataclass(frozen=True)
class _Collection:
    """The routes of one kind of item: `plural` is the path, `noun` the middle of the policies' names."""

    kind: Kind
    plural: str
    noun: str
    body: Schema = ITEM

    async def list_all(self, image: Image, call: Call) -> Reply:
        """All items of the kind."""
        rows = metadefs.items(image, _of(image, call), self.kind)
        if self.kind is Kind.PROPERTY:
            return Reply({"properties": {row.name: _shown(row) for row in rows}})
        if self.kind is Kind.RESOURCE_TYPE:
            return Reply({"resource_type_associations": [_shown(row) for row in rows]})
        path = f"{BASE}/{call.params['namespace']}/{self.plural}"
        links = {"first": path, "schema": f"/v2/schemas/metadefs/{self.plural}"}
        return Reply({self.plural: [_shown(row) for row in rows], **links})

    async def create(self, image: Image, call: Call) -> Reply:
        """Add one item."""
        several = {call.body["name"]: _content(call.body)}
        (row,) = await metadefs.add(image, _of(image, call), self.kind, several, alone=False)
        return Reply(_shown(row))

    async def show(self, image: Image, call: Call) -> Reply:
        """One item."""
        return Reply(_shown(metadefs.item(image, _of(image, call), self.kind, call.params["item"])))

    async def update(self, image: Image, call: Call) -> Reply:
        """Replace one item."""
        content = {} if self.kind is Kind.TAG else _content(call.body)
        row = await metadefs.change_item(
            image, _of(image, call), self.kind, call.params["item"], call.body["name"], content
        )
        return Reply(_shown(row))

    async def delete(self, image: Image, call: Call) -> None:
        """Take one item out."""
        await metadefs.remove_item(image, _of(image, call), self.kind, call.params["item"])

    async def clear(self, image: Image, call: Call) -> None:
        """Take all items of the kind out."""
        await metadefs.remove_items(image, _of(image, call), self.kind)

    def rules(self, verb: str, *, many: bool = False) -> str:
        """The policy's name: Glance has its own way for some."""
        name = f"{verb}_metadef_{self.noun}{'s' if many else ''}"
        return RULES.get(name, name)

    def routes(self) -> list[Route]:
        """What all kinds have: list and delete; and what each but types of resources has: show, update, clear."""
        every, one = (
            f"{NAMESPACES_PATH}/{{namespace}}/{self.plural}",
            f"{NAMESPACES_PATH}/{{namespace}}/{self.plural}/{{item}}",
        )
        found = [
            Route("GET", every, self.list_all, policy=READER, rule=self.rules("get", many=True)),
            Route("DELETE", one, self.delete, status=204, policy=ADMIN, rule=self.rules("delete")),
        ]
        if self.kind is not Kind.TAG:
            found.append(
                Route("POST", every, self.create, body=self.body, status=201, policy=ADMIN, rule=self.rules("add"))
            )
        if self.kind is not Kind.RESOURCE_TYPE:
            found += [
                Route("GET", one, self.show, policy=READER, rule=self.rules("get")),
                Route("PUT", one, self.update, body=self.body, policy=ADMIN, rule=self.rules("modify")),
                Route("DELETE", every, self.clear, status=204, policy=ADMIN, rule=self.rules("delete", many=True)),
            ]
        return found


# --- schemas ---------------------------------------------------------------------------------------------------------

_STRING = {"type": "string"}
_PROPERTY: dict[str, Any] = {
    "type": "object",
    "required": ["name", "title", "type"],
    "properties": {
        "name": {"type": "string", "maxLength": 80},
        "title": _STRING,
        "description": _STRING,
        "type": _STRING,
    },
}
_ONE: dict[str, dict[str, Any]] = {
    "namespace": {
        "required": ["namespace"],
        "properties": {
            "namespace": {"type": "string", "maxLength": 80},
            "display_name": {"type": "string", "maxLength": 80},
            "description": {"type": "string", "maxLength": 500},
            "visibility": {"type": "string", "enum": ["public", "private"]},
            "protected": {"type": "boolean"},
            "owner": {"type": "string", "maxLength": 255},
        },
    },
    "object": {
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "maxLength": 80},
            "description": _STRING,
            "required": {"type": "array", "items": _STRING},
            "properties": {"type": "object", "additionalProperties": {**_PROPERTY, "required": ["title", "type"]}},
        },
    },
    "property": _PROPERTY,
    "tag": {"required": ["name"], "properties": {"name": {"type": "string", "maxLength": 80}}},
    "resource_type_association": {
        "required": ["name"],
        "properties": {"name": {"type": "string", "maxLength": 80}, "prefix": _STRING, "properties_target": _STRING},
    },
}
_SCHEMAS = {
    "namespace": ("namespace", "namespaces"), "object": ("object", "objects"), "property": ("property", "properties"),
    "tag": ("tag", "tags"), "resource_type": ("resource_type_association", "resource_type_associations"),
}  # fmt: skip
_PLURAL_PATHS = {"namespaces": "namespace", "objects": "object", "properties": "property", "tags": "tag",
                 "resource_types": "resource_type"}  # fmt: skip


@dataclass(frozen=True)
class _Described:
    """The route of one JSON Schema."""

    path: str

    async def show(self, image: Image, call: Call) -> Reply:
        """The schema."""
        name, plural = _SCHEMAS[_PLURAL_PATHS.get(self.path, self.path)]
        if self.path not in _PLURAL_PATHS:
            return Reply({"name": name, **_ONE[name]})
        inner = {"type": "array", "items": {"name": name, **_ONE[name]}}
        return Reply(
            {"name": plural, "properties": {plural: inner, "first": _STRING, "next": _STRING, "schema": _STRING}}
        )


NAMESPACES_PATH = "/metadefs/namespaces"
ONE_NAMESPACE, TAGS = NAMESPACES_PATH + "/{namespace}", NAMESPACES_PATH + "/{namespace}/tags"
ROUTES = [
    Route("GET", NAMESPACES_PATH, list_namespaces, policy=READER, rule="get_metadef_namespaces"),
    Route("POST", NAMESPACES_PATH, create_namespace, body=NAMESPACE, status=201, policy=ADMIN, rule="add_metadef_namespace"),
    Route("GET", ONE_NAMESPACE, show_namespace, policy=READER, rule="get_metadef_namespace"),
    Route("PUT", ONE_NAMESPACE, update_namespace, body=NAMESPACE, policy=ADMIN, rule="modify_metadef_namespace"),
    Route("DELETE", ONE_NAMESPACE, delete_namespace, status=204, policy=ADMIN, rule="delete_metadef_namespace"),
    Route("GET", "/metadefs/resource_types", list_resource_types, policy=READER, rule="list_metadef_resource_types"),
    Route("POST", TAGS, create_tags, body=SEVERAL_TAGS, status=201, policy=ADMIN, rule="add_metadef_tags"),
    Route("POST", TAGS + "/{item}", create_tag, status=201, policy=ADMIN, rule="add_metadef_tag"),
    *_Collection(Kind.OBJECT, "objects", "object", OBJECT).routes(),
    *_Collection(Kind.PROPERTY, "properties", "property", PROPERTY).routes(),
    *_Collection(Kind.TAG, "tags", "tag").routes(),
    *_Collection(Kind.RESOURCE_TYPE, "resource_types", "resource_type_association").routes(),
    *(
        Route("GET", f"/schemas/metadefs/{path}", _Described(path).show, policy=ANYONE, scopes=(), rule="-")
        for path in (*_SCHEMAS, *_PLURAL_PATHS)
    ),
]  # fmt: skip
