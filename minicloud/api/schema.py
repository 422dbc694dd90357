"""One declaration per resource: what clients send, what they get, from which microversion on.

    PORT = Schema("port",
        Field("id", UUID, out=True),
        Field("network_id", UUID, out=True, create=REQUIRED),
        Field("mac_address", MAC, attr="mac", out=True, create=OPTIONAL, update=ADMIN))

The request of any version is checked by a validator compiled from the fields that live in that version; the reply is
made of the same fields. A field says where its value comes from (`attr`: a name, or a function of row and call), who may
set it (`create`, `update`) and who sees it (`show`). Called by `app.py` for each request and by `openapi.py`.
"""

from __future__ import annotations

import asyncio
import ipaddress
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import fastjsonschema

from minicloud.api.policy import ADMIN as ADMIN_POLICY
from minicloud.api.policy import Policy
from minicloud.api.versions import Version, within
from minicloud.core.errors import Forbidden, Invalid

if TYPE_CHECKING:
    from minicloud.api.route import Call

# --- who may set a field ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Setting:
    """Whether a field may or must be in a request, and what the caller needs for it.

    `unless`: the value that a request without the field means, if anybody may say that one.
    """

    required: bool = False
    policy: Policy | None = None
    unless: Any = None


LARGEST = 2**63 - 1
"""Of whole numbers that the database keeps."""

REQUIRED = Setting(required=True)
OPTIONAL = Setting()
ADMIN = Setting(policy=ADMIN_POLICY)
ADMIN_UNLESS_FALSE = Setting(policy=ADMIN_POLICY, unless=False)


# --- types -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Type:
    """A JSON Schema of a value, and how a valid value is read (None: as it is).

    `items` is set for lists of nested schemas, whose fields have microversions of their own.
    """

    schema: Mapping[str, Any]
    load: Callable[[Any], Any] | None = None
    items: Schema | None = None


def _boolean(value: Any) -> bool:
    return value if isinstance(value, bool) else str(value).lower() in ("1", "true", "on", "yes", "t", "y")


def string(*, low: int = 0, high: int = 255, pattern: str | None = None, enum: Iterable[str] | None = None) -> Type:
    """Text of some length, form or set."""
    schema: dict[str, Any] = {"type": "string", "minLength": low, "maxLength": high}
    if pattern is not None:
        schema["pattern"] = pattern
    if enum is not None:
        schema = {"type": "string", "enum": list(enum)}
    return Type(schema)


def integer(*, low: int | None = None, high: int | None = None) -> Type:
    """A whole number, as number or as digits."""
    bounds = {} if low is None else {"minimum": low}
    bounds |= {} if high is None else {"maximum": high}

    def load(value: Any) -> int:
        number = int(value)
        if (low is not None and number < low) or (high is not None and number > high):
            raise Invalid(f"{number} is not between {low} and {high}.")
        if not -LARGEST - 1 <= number <= LARGEST:
            raise Invalid("The number is larger than any that is kept.")
        return number

    return Type({"anyOf": [{"type": "integer", **bounds}, {"type": "string", "pattern": r"^-?\d{1,18}$"}]}, load)


def nullable(kind: Type) -> Type:
    """That, or null."""
    load = kind.load
    schema: Mapping[str, Any] = {"anyOf": [{"type": "null"}, kind.schema]}
    if isinstance(kind.schema.get("type"), str) and "enum" not in kind.schema:  # so that a refusal tells what is wrong
        schema = {**kind.schema, "type": [kind.schema["type"], "null"]}
    return Type(
        schema,
        None if load is None else lambda value: None if value is None else load(value),
    )


def array(kind: Type | Schema, *, low: int = 0, high: int | None = None, unique: bool = False) -> Type:
    """A list of such values; of a Schema, a list of such objects."""
    nested = kind if isinstance(kind, Schema) else None
    of = kind.as_type() if isinstance(kind, Schema) else kind
    schema: dict[str, Any] = {"type": "array", "items": of.schema, "minItems": low}
    schema |= {} if high is None else {"maxItems": high}
    schema |= {"uniqueItems": True} if unique else {}
    load = of.load
    return Type(schema, None if load is None else lambda value: [load(one) for one in value], nested)


def mapping(kind: Type, *, key: str = r"^.{1,255}$", high: int | None = None) -> Type:
    """An object with free keys."""
    schema: dict[str, Any] = {"type": "object", "patternProperties": {key: kind.schema}, "additionalProperties": False}
    return Type(schema | ({} if high is None else {"maxProperties": high}))


ID = string(low=1, high=255)
UUID = Type({"type": "string", "format": "uuid"})
NAME = string(low=1, pattern=r"\S")
TEXT = string()
LONG_TEXT = string(high=65535)
BOOLEAN = Type({"enum": [True, False, 0, 1, "true", "false", "True", "False", "TRUE", "FALSE", "0", "1",
                         "on", "off", "yes", "no", "On", "Off", "Yes", "No", "ON", "OFF", "YES", "NO", "t", "f"]}, _boolean)  # fmt: skip
STRICT_BOOLEAN = Type({"type": "boolean"})
INTEGER = integer()
POSITIVE = integer(low=1)
NATURAL = integer(low=0)
NUMBER = Type({"type": "number"})
IP = Type({"type": "string", "format": "ip"})
CIDR = Type({"type": "string", "format": "cidr"})
MAC = Type({"type": "string", "format": "mac"})
ANY = Type({})
OBJECT = Type({"type": "object"})
NULL = Type({"type": "null"})
METADATA = mapping(string(), key=r"^[a-zA-Z0-9\-_:. ]{1,255}$")


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text  # a zone is any text at all, line feeds too, and means nothing beyond one machine


def _is_cidr(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return "%" not in text


_UUID = re.compile(r"[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}\Z", re.IGNORECASE)
_MAC = re.compile(r"([0-9a-fA-F]{2}:){5}[0-9a-fA-F]{2}\Z")
FORMATS: dict[str, Any] = {
    "uuid": lambda text: _UUID.match(text) is not None,
    "ip": _is_ip,
    "cidr": _is_cidr,
    "mac": lambda text: _MAC.match(text) is not None,
}


# --- forms of moments ------------------------------------------------------------------------------------------------


def seconds_z(text: str | None) -> str | None:
    """`2026-11-22T21:28:59Z`: Nova's servers, Glance, Neutron."""
    return None if text is None else text[:19] + "Z"


def micros(text: str | None) -> str | None:
    """`2026-11-22T21:31:24.000000`, no zone: Cinder, Nova's services and actions."""
    return None if text is None else text


def micros_z(text: str | None) -> str | None:
    """`2026-11-22T21:31:29.000000Z`: Keystone's tokens."""
    return None if text is None else text + "Z"


# --- fields and schemas ----------------------------------------------------------------------------------------------

END = r"\Z"
"""What `$` is turned into in patterns of keys."""

SECRETS = frozenset({
    "adminPass", "auth_key", "blob", "contents", "original_password", "passcode", "password", "secret", "signature", "token",
    "user_data",
})  # fmt: skip
"""Keys of bodies whose values no message repeats."""

MISSING: Any = object()
Getter = Callable[[Any, "Call"], Any]


@dataclass(frozen=True, slots=True)
class Field:
    """One attribute of a resource.

    Attributes:
        name: on the wire.
        kind: its type; a Schema for a nested object.
        attr: where the reply takes it from: an attribute (or mapping key) of the row, by default the name, or a
            function of (row, call); returning `MISSING` leaves the field out.
        out: stands in replies.
        create, update: may stand in requests of POST, and of PUT and PATCH.
        since, until: first and last microversion that has it.
        show: who sees it in replies; everyone by default.
        default: what a create that leaves it out gets; none: the key is simply absent.
    """

    name: str
    kind: Type | Schema
    attr: str | Getter | None = None
    out: bool = False
    create: Setting | None = None
    update: Setting | None = None
    since: Version | None = None
    until: Version | None = None
    show: Policy | None = None
    default: Any = MISSING

    def type(self, mode: str = "create", version: Version | None = None) -> Type:
        """Its type at a version, that of a nested schema included."""
        if isinstance(self.kind, Schema):
            return self.kind.as_type(mode, version)
        if self.kind.items is not None:
            of = self.kind.items.as_type(mode, version)
            load = of.load or (lambda value: value)
            return Type({**self.kind.schema, "items": of.schema}, lambda value: [load(one) for one in value])
        return self.kind


class _View:
    """What some fields tell of a row, made ready: attributes are read all at once, functions are called one by one.

    The names stand in the template in their order; what isn't there to tell is taken out again.
    """

    __slots__ = ("_attributes", "_functions", "_keys", "_names", "_template")

    def __init__(self, fields: Sequence[Field]) -> None:
        self._template: dict[str, Any] = dict.fromkeys(one.name for one in fields)
        self._functions = [(one.name, one.attr) for one in fields if callable(one.attr)]
        plain = [one for one in fields if not callable(one.attr)]
        self._names = tuple(one.name for one in plain)
        self._keys = tuple(str(one.attr or one.name) for one in plain)
        self._attributes: Callable[[Any], Any] = operator.attrgetter(*self._keys) if plain else lambda row: ()

    def of(self, row: Any, call: Call) -> dict[str, Any]:
        """A row (an object or a dict) as a call tells it."""
        told = self._template.copy()
        if isinstance(row, dict):
            for name, key in zip(self._names, self._keys, strict=True):
                told[name] = row.get(key, MISSING)
                if told[name] is MISSING:
                    del told[name]
        elif len(self._names) == 1:
            told[self._names[0]] = self._attributes(row)
        else:
            told.update(zip(self._names, self._attributes(row), strict=True))
        for name, function in self._functions:
            value = function(row, call)
            if value is MISSING:
                del told[name]
            else:
                told[name] = value
        return told


class Schema:
    """A resource, or a part of one.

    Args:
        name: the envelope's key for one; `plural` for many (name + "s" by default).
        extra: whether keys beyond the fields may be sent: False refuses them, True lets them through as they are, a Type checks them.
        upgrade: turns a valid body of any version into the newest form: `upgrade(body, version)`.
        rest: attribute of the row with a mapping whose keys stand beside the fields in replies (Keystone keeps unknown attributes).
    """

    def __init__(
        self,
        name: str,
        *fields: Field,
        plural: str | None = None,
        extra: bool | Type = False,
        upgrade: Callable[[dict[str, Any], Version], dict[str, Any]] | None = None,
        rules: Mapping[str, Any] | None = None,
        rest: str | None = None,
    ) -> None:
        self.name, self.fields, self.plural = name, fields, plural or name + "s"
        self.extra, self.upgrade, self.rules, self.rest = extra, upgrade, dict(rules or {}), rest
        self._checks: dict[tuple[str, Version | None], Callable[[Any], Any]] = {}
        self._policies = tuple(dict.fromkeys(one.show for one in fields if one.out and one.show is not None))
        self._views: dict[tuple[Version | None, tuple[bool, ...]], _View] = {}

    def as_type(self, mode: str = "create", version: Version | None = None) -> Type:
        """As the type of a field: a nested object with the fields of a version (None: the newest)."""
        return Type(self.json_schema(mode, version), lambda value: self._load(value, mode, version))

    def json_schema(self, mode: str, version: Version | None) -> dict[str, Any]:
        """The JSON Schema of a request ("create" or "update") at a version; None is the newest."""
        properties: dict[str, Any] = {}
        required: list[str] = []
        for one, setting in self._settable(mode, version):
            properties[one.name] = dict(one.type(mode, version).schema)
            if setting.required:
                required.append(one.name)
        extra = dict(self.extra.schema) if isinstance(self.extra, Type) else self.extra
        schema: dict[str, Any] = {
            "type": "object",
            "properties": properties,
            "additionalProperties": extra,
            **self.rules,
        }
        return schema | ({"required": required} if required else {})

    def reply_schema(self, version: Version | None = None) -> dict[str, Any]:
        """The JSON Schema of a reply, for the OpenAPI document."""
        shown = [one for one in self.fields if one.out and (version is None or within(version, one.since, one.until))]
        return {"type": "object", "properties": {one.name: dict(one.type().schema) for one in shown}}

    def read(self, body: Any, mode: str, call: Call) -> dict[str, Any]:
        """Check a body and return it in the newest form.

        Raises:
            Invalid: names the attribute and what was wrong with it.
            Forbidden: an attribute that this caller may not set; the code is the rule.
        """
        version = call.version
        check = self._checks.get((mode, version)) or self._compile(mode, version)
        try:
            check(body)
        except fastjsonschema.JsonSchemaValueException as error:
            raise Invalid((call.dialect.unfit or _told)(error)) from None
        except RecursionError:
            raise Invalid("Cannot use the body: it is nested too deeply.") from None
        for one, setting in self._settable(mode, version):
            if setting.policy is None or one.name not in body or setting.policy.allows(call.ctx, call.params):
                continue
            load = one.type(mode, version).load or (lambda value: value)
            if setting.unless is None or load(body[one.name]) != setting.unless:
                rule = f"{call.route.rule}:{one.name}"
                raise Forbidden(f"Policy doesn't allow {rule} to be performed.", code=rule)
        return self._load(body, mode, version)

    def unknown(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """What a body holds beside the fields, where `extra` let it through."""
        names = {one.name for one in self.fields}
        return {name: value for name, value in body.items() if name not in names}

    async def prepare(self, mode: str, version: Version | None) -> None:
        """Have the validator of a version ready: compiling a large one takes longer than the loop may be held."""
        if (mode, version) not in self._checks:
            await asyncio.to_thread(self._compile, mode, version)

    def _compile(self, mode: str, version: Version | None) -> Callable[[Any], Any]:
        schema = self.json_schema(mode, version)
        check: Callable[[Any], Any] = fastjsonschema.compile(_ended(schema), formats=FORMATS, use_default=False)
        self._checks[(mode, version)] = check
        return check

    def view(self, row: Any, call: Call) -> dict[str, Any]:
        """What a reply tells of a row at the call's version."""
        allowed = tuple([one.allows(call.ctx, call.params) for one in self._policies])
        view = self._views.get((call.version, allowed))
        if view is None:
            view = self._views[(call.version, allowed)] = self._view_of(call.version, allowed)
        told = view.of(row, call)
        return {**getattr(row, self.rest), **told} if self.rest else told

    def _view_of(self, version: Version | None, allowed: tuple[bool, ...]) -> _View:
        seen = {policy for policy, yes in zip(self._policies, allowed, strict=True) if yes}
        shown = [one for one in self.fields if one.out and (version is None or within(version, one.since, one.until))]
        return _View([one for one in shown if one.show is None or one.show in seen])

    def _settable(self, mode: str, version: Version | None) -> list[tuple[Field, Setting]]:
        found = []
        for one in self.fields:
            setting = one.create if mode == "create" else one.update
            if setting is not None and (version is None or within(version, one.since, one.until)):
                found.append((one, setting))
        return found

    def _load(self, body: dict[str, Any], mode: str, version: Version | None) -> dict[str, Any]:
        loaded = dict(body)
        for one, _ in self._settable(mode, version):
            if one.name in body:
                load = one.type(mode, version).load
                if load is not None:
                    try:
                        loaded[one.name] = load(body[one.name])
                    except Invalid as error:
                        raise Invalid(f"Cannot use {one.name}: {error.message}") from None
            elif mode == "create" and one.default is not MISSING:
                loaded[one.name] = one.default
        if self.upgrade is not None and version is not None:
            return self.upgrade(loaded, version)
        return loaded


def _ended(schema: Any) -> Any:
    """The schema with patterns of keys that end where the key does: to Python `$` also fits before a last line feed. (The
    compiler sees to the patterns of values itself.)"""
    if isinstance(schema, Mapping):
        ended = {name: _ended(inner) for name, inner in schema.items()}
        keys = ended.get("patternProperties")
        if isinstance(keys, dict):
            ended["patternProperties"] = {
                key[:-1] + END if key.endswith("$") else key: inner for key, inner in keys.items()
            }
        return ended
    return [_ended(inner) for inner in schema] if isinstance(schema, list) else schema


def _told(error: fastjsonschema.JsonSchemaValueException) -> str:
    where = ".".join(str(part) for part in error.path[1:]) or "the body"
    what = error.message.removeprefix(error.name or "").strip()
    if not SECRETS.isdisjoint(map(str, error.path)):
        return f"Invalid input for {where}: {what}."
    shown = repr(_without_secrets(error.value))
    return f"Invalid input for {where}: {what}. Value: {shown[:120]}{'...' if len(shown) > 120 else ''}."


def _without_secrets(value: Any) -> Any:
    """What a client sent, as a message may repeat it: messages end up in logs and tickets."""
    if isinstance(value, Mapping):
        return {name: "***" if name in SECRETS else _without_secrets(inner) for name, inner in value.items()}
    return [_without_secrets(inner) for inner in value] if isinstance(value, list) else value


EMPTY = Schema("empty")
"""A body without any attribute (`{"os-start": null}` has none either)."""
