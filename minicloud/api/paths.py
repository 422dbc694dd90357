"""From a path to what stands there: a tree of segments, asked once by each request.

aiohttp's own router asks each resource in turn and can't be taught clients' habits; this one looks a segment up at a
time, so that it costs the same with a thousand paths. Filled and asked by `app.py`.
"""

from __future__ import annotations

import re
from typing import Generic, TypeVar
from urllib.parse import unquote

Target = TypeVar("Target")
_PARAMETER = re.compile(r"\{(\w+)(?::(.*))?\}")


class _Place(Generic[Target]):
    """What may follow some segments; `parameters` are (name, form or None, place) in the order in which they came."""

    __slots__ = ("literals", "parameters", "target")

    def __init__(self) -> None:
        self.literals: dict[str, _Place[Target]] = {}
        self.parameters: list[tuple[str, re.Pattern[str] | None, _Place[Target]]] = []
        self.target: Target | None = None


class Paths(Generic[Target]):
    """Templates such as `/v2.1/{project_id:[0-9a-f]{32}}/servers/{id}`, each with a target.

    Where several fit, the word wins over the parameter, from the left. A parameter is one segment that isn't empty, and
    comes out unquoted.
    """

    def __init__(self) -> None:
        self._root: _Place[Target] = _Place()

    def add(self, template: str, target: Target) -> None:
        """Have a target at a template, instead of what was there."""
        place = self._root
        for segment in template.split("/")[1:]:
            parameter = _PARAMETER.fullmatch(segment)
            if parameter is None:
                place = place.literals.setdefault(segment, _Place())
                continue
            name, form = parameter[1], parameter[2]
            known = (one for one in place.parameters if one[0] == name and (one[1].pattern if one[1] else None) == form)
            found = next(known, None)
            if found is None:
                found = (name, re.compile(form) if form else None, _Place())
                place.parameters.append(found)
            place = found[2]
        place.target = target

    def find(self, path: str) -> tuple[Target, dict[str, str]] | None:
        """The target of a path as it stands in a request (still quoted), and its parameters."""
        parameters: dict[str, str] = {}
        target = _descend(self._root, path.split("/"), 1, parameters)
        return None if target is None else (target, parameters)


def _descend(place: _Place[Target], segments: list[str], at: int, found: dict[str, str]) -> Target | None:
    if at == len(segments):
        return place.target
    segment = segments[at]
    after = place.literals.get(segment)
    if after is not None:
        target = _descend(after, segments, at + 1, found)
        if target is not None:
            return target
    if not segment:
        return None
    value = unquote(segment) if "%" in segment else segment
    for name, form, after in place.parameters:
        if form is None or form.fullmatch(value):
            target = _descend(after, segments, at + 1, found)
            if target is not None:
                found[name] = value
                return target
    return None
