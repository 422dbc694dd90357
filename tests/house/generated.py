"""Values made at random from our JSON Schemas, right ones and such with something wrong. Called by `test_openapi.py`."""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping
from typing import Any

TEXTS = (
    "", "x", "a name", "ünïcödé 💩", "' OR 1=1 --", "a" * 255, "b" * 300, "\x00", "\r\nX: y", "../..", "%s{0}", "0", "-1", "1e99", "true",
    "10.0.0.1", "fe80::1", "10.0.0.0/24", "2001:db8::/64", "fa:16:3e:11:22:33", "2026-01-01T00:00:00Z", "9" * 40, "http://[", "a=b,c",
)  # fmt: skip
NUMBERS = (0, 1, -1, 2, 64, 255, 65535, 65536, 2**31, 2**63 - 1, 2**63, 10**30, 0.5, -0.0)


class Generator:
    """Draws values; the dice make a run repeatable."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice

    def value(self, schema: Mapping[str, Any], depth: int = 0) -> Any:
        """One for a schema, mostly of its type."""
        if depth > 6 or self.dice.random() < 0.03:
            return self.anything(depth)
        if "enum" in schema:
            return self.dice.choice(list(schema["enum"]))
        if "anyOf" in schema:
            return self.value(self.dice.choice(schema["anyOf"]), depth + 1)
        kind = schema.get("type")
        if isinstance(kind, list):
            return self.value({**schema, "type": self.dice.choice(kind[::-1])}, depth + 1)
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            low, high = schema.get("minItems", 0), min(schema.get("maxItems", 3), 3)
            return [
                self.value(schema.get("items", {}), depth + 1) for _ in range(self.dice.randint(low, max(low, high)))
            ]
        if kind in ("integer", "number"):
            return self._number(schema)
        if kind == "boolean":
            return self.dice.choice((True, False))
        if kind == "null":
            return None
        return self._text(schema) if kind == "string" else self.anything(depth)

    def anything(self, depth: int = 0) -> Any:
        """A value of whatever type."""
        flat = (None, True, self.dice.choice(TEXTS), self.dice.choice(NUMBERS))
        if depth > 6:
            return self.dice.choice(flat)
        return self.dice.choice(
            (*flat, [], {}, [self.anything(depth + 2)], {self.dice.choice(TEXTS): self.anything(depth + 2)})
        )

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        known, wanted = schema.get("properties", {}), schema.get("required", ())
        chosen = [name for name in known if name in wanted or self.dice.random() < 0.35]
        made = {name: self.value(known[name], depth + 1) for name in chosen if self.dice.random() > 0.02}
        free = [
            *schema.get("patternProperties", {}).values(),
            *([{}] if schema.get("additionalProperties") is True else []),
        ]
        for one in free:
            made[self.dice.choice(TEXTS)] = self.value(one, depth + 1)
        return made

    def _number(self, schema: Mapping[str, Any]) -> float:
        fitting = [one for one in NUMBERS if schema.get("minimum", one) <= one <= schema.get("maximum", one)]
        return self.dice.choice(fitting or NUMBERS)

    def _text(self, schema: Mapping[str, Any]) -> str:
        formats = {"uuid": str(uuid.UUID(int=self.dice.getrandbits(128), version=4)), "mac": "fa:16:3e:11:22:33"}
        likely = {
            "ip": ("10.0.0.1", "fe80::1", "0.0.0.0", "255.255.255.255"),
            "cidr": ("10.0.0.0/24", "2001:db8::/64", "0.0.0.0/0"),
        }
        form = schema.get("format", "")
        if form in formats:
            return formats[form]
        text: str = self.dice.choice(likely.get(form, TEXTS))
        return text.ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength", 400)]
