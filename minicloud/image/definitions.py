"""The metadata definitions that a new cloud begins with, read from `definitions.toml`.

Why: dashboards and `openstack image metadef` offer nothing where nobody loaded the usual ones. Called by the migration
that puts them into the database, once: what administrators change or remove stays so.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("definitions.toml")
WORDS = {
    "title": "title",
    "text": "description",
    "one_of": "enum",
    "default": "default",
    "low": "minimum",
    "high": "maximum",
}
"""Our word -> JSON Schema's."""


@dataclass(frozen=True, slots=True)
class Usual:
    """A namespace, and what is in it as (kind, name, body) with the body as JSON."""

    name: str
    title: str
    text: str
    items: tuple[tuple[str, str, str], ...]


def usual() -> Iterator[Usual]:
    """All namespaces in the order of the file."""
    for name, told in tomllib.loads(FILE.read_text()).items():
        about = [("resource_type", one, _place(one, prefix)) for one, prefix in told["about"].items()]
        properties = [("property", key, _schema(one)) for key, one in told["properties"].items()]
        items = tuple((kind, key, json.dumps(body)) for kind, key, body in (*about, *properties))
        yield Usual(name, told["title"], told["text"], items)


def _place(resource_type: str, prefix: str) -> dict[str, Any]:
    target = {"properties_target": "image"} if resource_type == "OS::Cinder::Volume" else {}
    return ({"prefix": prefix} if prefix else {}) | target


def _schema(told: dict[str, Any]) -> dict[str, Any]:
    return {"type": told.get("type", "string"), **{WORDS[key]: value for key, value in told.items() if key in WORDS}}
