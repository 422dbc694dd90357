"""Hypothesis' values for our JSON Schemas: the part of the language that `api/schema.py` speaks, and no more. An unknown word in a
schema fails, so that none is passed over. Called by `test_fuzz.py`.
"""

from __future__ import annotations

import copy
import ipaddress
import math
import uuid
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

KNOWN = {
    "type", "enum", "const", "anyOf", "properties", "patternProperties", "propertyNames", "additionalProperties", "required",
    "minProperties", "maxProperties", "items", "minItems", "maxItems", "uniqueItems", "minLength", "maxLength", "pattern",
    "format", "exclusiveMinimum", "exclusiveMaximum", "minimum", "maximum", "description", "not", "allOf", "oneOf", "dependentRequired", "dependencies",
}  # fmt: skip
FORMATS: Mapping[str, st.SearchStrategy[str]] = {
    "uuid": st.uuids().map(str) | st.just(uuid.UUID(int=0).hex),
    "ip": st.ip_addresses().map(str),
    "cidr": st.ip_addresses(v=4).map(lambda ip: str(ipaddress.ip_network(f"{ip}/24", strict=False)))
    | st.ip_addresses(v=6).map(lambda ip: f"{ip}/128"),
    "mac": st.integers(0, 2**48 - 1).map(lambda number: number.to_bytes(6, "big").hex(":")),
}
NASTY = st.sampled_from(
    (
        "",
        "\x00",
        "\r\nX: y",
        "../..",
        "' OR 1=1 --",
        "%s{0}",
        "1e99",
        "-1",
        "2026-01-01T00:00:00Z",
        "http://[",
        "9" * 40,
        "💩",
    )
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=40)
    | NASTY,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=20), inner, max_size=3),
    max_leaves=6,
)


def valid(schema: Mapping[str, Any] | bool) -> st.SearchStrategy[Any]:
    """Values of a schema; some conditions (`not`, `allOf`, other rules beside the properties) may be missed now and then."""
    if isinstance(schema, bool) or not schema:
        return JSON
    unknown = set(schema) - KNOWN
    assert not unknown, f"{unknown} in {schema}"
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(list(schema["enum"]))
    for word in ("anyOf", "oneOf"):
        if word in schema and not schema.get("properties"):
            rest = {name: value for name, value in schema.items() if name != word}
            return st.one_of([valid({**rest, **one}) for one in schema[word]])
    kinds = schema.get("type", "any")
    return st.one_of([_of_type(kind, schema) for kind in (kinds if isinstance(kinds, list) else [kinds])])


def _of_type(kind: str, schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    if kind == "object":
        return _objects(schema)
    if kind == "array":
        low = schema.get("minItems", 0)
        most = min(max(low, 3), schema.get("maxItems", 3))
        return st.lists(valid(schema.get("items", {})), min_size=low, max_size=most)
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    flat: dict[str, st.SearchStrategy[Any]] = {
        "integer": _whole(low, high),
        "number": st.floats(low, high, allow_nan=False, allow_infinity=False) | _whole(low, high),
        "boolean": st.booleans(),
        "null": st.none(),
        "any": JSON,
    }
    return flat[kind] if kind in flat else _texts(schema)


def _whole(low: float | None, high: float | None) -> st.SearchStrategy[int]:
    return st.integers(None if low is None else math.ceil(low), None if high is None else math.floor(high))


def _texts(schema: Mapping[str, Any]) -> st.SearchStrategy[str]:
    if schema.get("format") in FORMATS:
        return FORMATS[schema["format"]]
    low, high = schema.get("minLength", 0), schema.get("maxLength", 255)
    plain = st.text(min_size=low, max_size=min(high, max(low, 24))) | NASTY.filter(
        lambda text: low <= len(text) <= high
    )
    if "pattern" not in schema:
        return plain
    return st.from_regex(schema["pattern"]).filter(lambda text: low <= len(text) <= high) | plain


def _objects(schema: Mapping[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    known, wanted = schema.get("properties", {}), set(schema.get("required", ()))
    required = {name: valid(known.get(name, {})) for name in sorted(wanted)}
    optional = {name: valid(one) for name, one in known.items() if name not in wanted}
    made = st.fixed_dictionaries(required, optional=optional)
    free = [(st.from_regex(pattern), valid(one)) for pattern, one in schema.get("patternProperties", {}).items()]
    if schema.get("additionalProperties", True) is not False:
        further = schema.get("additionalProperties", True)
        free.append((st.text(max_size=20), valid(further)))
    if not free:
        return made
    least = max(schema.get("minProperties", 0) - len(required), 0)
    rests = [st.dictionaries(names, values, min_size=least, max_size=least + 2) for names, values in free]
    return st.tuples(made, st.one_of(rests)).map(lambda pair: {**pair[1], **pair[0]})


def spoilt(body: Any, at: int, what: Any) -> Any:
    """A body with another value at one of its places."""
    body = copy.deepcopy(body)
    places: list[tuple[Any, Any]] = []

    def walk(inside: Any) -> None:
        keys = inside if isinstance(inside, dict) else range(len(inside)) if isinstance(inside, list) else ()
        for key in list(keys):
            places.append((inside, key))
            walk(inside[key])

    walk(body)
    if not places:
        return what
    inside, key = places[at % len(places)]
    inside[key] = what
    return body


def mostly(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    """Values of a schema, some of them with one thing wrong, and some that are no sense at all."""
    right = valid(schema)
    wrong = st.tuples(right, st.integers(0, 40), JSON).map(lambda told: spoilt(*told))
    return st.one_of(right, right, wrong, JSON)
