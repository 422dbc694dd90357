"""What Placement's clients read when a body does not fit: they match on the phrases of Python's usual JSON Schema checker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import fastjsonschema

from minicloud.api.schema import END

_PHRASES: Mapping[str, Callable[[Any, Any], str]] = {
    "type": lambda value, wanted: f"{value!r} is not of type {wanted!r}",
    "pattern": lambda value, wanted: f"{value!r} does not match {wanted!r}",
    "format": lambda value, wanted: f"{value!r} is not a {wanted!r}",
    "minimum": lambda value, wanted: f"{value!r} is less than the minimum of {wanted!r}",
    "maximum": lambda value, wanted: f"{value!r} is greater than the maximum of {wanted!r}",
    "minLength": lambda value, wanted: f"{value!r} is too short",
    "maxLength": lambda value, wanted: f"{value!r} is too long",
    "minItems": lambda value, wanted: f"{value!r} should be non-empty",
    "minProperties": lambda value, wanted: f"{value!r} should be non-empty",
    "uniqueItems": lambda value, wanted: f"{value!r} has non-unique elements",
    "enum": lambda value, wanted: f"{value!r} is not one of {wanted!r}",
    "required": lambda value, wanted: f"{next(one for one in wanted if one not in value)!r} is a required property",
}
SHOWN = 300


def unfit(error: fastjsonschema.JsonSchemaValueException) -> str:
    """One refused body in words."""
    rule = str(error.rule)
    if rule == "additionalProperties":
        phrase = _unexpected(error)
    elif rule in _PHRASES:
        phrase = _PHRASES[rule](error.value, error.rule_definition)
    else:
        phrase = error.message
    place = f"['properties'][{error.path[1]!r}]" if len(error.path) == 2 else ""
    return f"JSON does not validate: {phrase[:SHOWN]}\n\nFailed validating '{rule}' in schema{place}"


def _unexpected(error: fastjsonschema.JsonSchemaValueException) -> str:
    known = set(error.definition.get("properties", ()))
    patterns = sorted(key.replace(END, "$") for key in error.definition.get("patternProperties", ()))
    names = sorted(str(name) for name in error.value if name not in known)
    if patterns:
        return f"{names[0]!r} does not match any of the regexes: {', '.join(map(repr, patterns))}"
    listed = ", ".join(map(repr, names))
    return f"Additional properties are not allowed ({listed} {'was' if len(names) == 1 else 'were'} unexpected)"
