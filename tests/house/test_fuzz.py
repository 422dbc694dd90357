"""Input generated from `/openapi.json` never meets a bug: any path, query and body that the document allows, and such with
something wrong in them, get an answer that is no 5xx and, where it is an error, has the service's own shape.

`make test` sends a few hundred requests to each service, the same ones each time; `make fuzz` sends many, new ones each time,
to one service (`SERVICE=identity`) or all. What fails is made as small as possible first, and told with how to run it again.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.house.faults import misshapen
from tests.house.strategies import mostly
from tests.house.town import PARAMETER, Place, Town, media

pytestmark = pytest.mark.asyncio(loop_scope="module")
EXAMPLES = int(os.environ.get("MINICLOUD_FUZZ", "0"))
SERVICES = (os.environ.get("MINICLOUD_FUZZ_SERVICE") or "identity image placement network volume compute").split()
QUERIES = st.dictionaries(
    st.sampled_from(("limit", "marker", "sort_key", "sort_dir", "sort", "name", "fields", "status", "effective", "id"))
    | st.text(min_size=1, max_size=12),
    st.sampled_from(("0", "1", "-1", "9" * 30, "true", "asc", "name:desc")) | st.text(max_size=20),
    max_size=3,
)
ADMINS = (True, True, True, False)
"""Who asks: mostly one who may, so that more than the policy is reached."""

LOCKS_OUT = ("lock", "forceDelete", "os-force_delete")
"""Actions that would take the things away that all other requests are about."""


@dataclass(frozen=True)
class Shot:
    """One request; `words` fill the path's parameters where no known id does."""

    place: Place
    words: tuple[str | None, ...]
    query: Mapping[str, str]
    body: Any
    admin: bool

    def path(self, town: Town) -> str:
        words = iter(self.words)

        def fill(name: str) -> str:
            told = next(words)
            return quote(town.id_of(self.place, name) if told is None else told, safe="") or "x"

        return PARAMETER.sub(lambda match: fill(match[1]), self.place.template)


@functools.cache
def bodies(text: str) -> st.SearchStrategy[Any]:
    """Bodies for a schema (as text, so that each is worked out once)."""
    return mostly(json.loads(text))


def known(body: Any, ids: Mapping[str, str]) -> Any:
    """The same with ids of things that exist in its fields, so that more than the first check is reached."""
    if isinstance(body, list):
        return [known(one, ids) for one in body]
    if not isinstance(body, dict):
        return body
    return {
        name: ids[name] if name in ids and isinstance(value, str) else known(value, ids) for name, value in body.items()
    }


@dataclass(frozen=True, repr=False)
class Range:
    """What requests to one service are made of: its places, each with the schema of its body."""

    town: Town
    service: str
    document: Mapping[str, Any]

    def places(self) -> list[tuple[Place, str | None]]:
        return [(one, self.schema(one)) for one in self.town.places if self.is_safe(one)]

    def is_safe(self, place: Place) -> bool:
        return place.service == self.service and place.route.action not in LOCKS_OUT

    def schema(self, place: Place) -> str | None:
        told = self.document["paths"][place.template.rstrip("/")][place.route.method.lower()].get("requestBody")
        return json.dumps(next(iter(told["content"].values()))["schema"]) if told else None


@st.composite
def shots(draw: st.DrawFn, choice: Range) -> Shot:
    """Any request to a service."""
    places, town = choice.places(), choice.town
    place, schema = places[draw(st.integers(0, len(places) - 1))]
    body = None if schema is None else draw(bodies(schema))
    if draw(st.booleans()):
        names = (
            "project_id",
            "user_id",
            "domain_id",
            "role_id",
            "service_id",
            "region_id",
            "network_id",
            "subnet_id",
            "image_id",
        )
        body = known(body, {name: town.id_of(place, name) for name in names})
    words = tuple(draw(st.none() | st.none() | st.text(min_size=1, max_size=20)) for _ in place.parameters)
    return Shot(place, words, draw(QUERIES), body, draw(st.sampled_from(ADMINS)))


@pytest.mark.parametrize("service", SERVICES)
async def test_generated_requests_meet_no_bug(town: Town, service: str) -> None:
    document = dict((await town.cloud.admin.get("/openapi.json")).body)
    loop = asyncio.get_running_loop()

    @settings(
        max_examples=EXAMPLES or 120,
        derandomize=not EXAMPLES,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(shots(Range(town, service, document)))
    def shoot(shot: Shot) -> None:
        asyncio.run_coroutine_threadsafe(fire(town, shot), loop).result(timeout=60)

    await asyncio.to_thread(shoot)


async def fire(town: Town, shot: Shot) -> None:
    """Send one request and look at what comes back."""
    client = town.cloud.admin if shot.admin else town.cloud.demo
    more: dict[str, Any] = {"params": dict(shot.query)} if shot.query else {}
    if shot.place.route.raw:
        more["data"] = str(shot.body).encode()
    elif shot.body is not None:
        more["json"] = shot.body
    answer = await town.ask(shot.place, client, path=shot.path(town), headers=media(shot.place), **more)
    await town.cloud.daemon.operations.all_settled()
    assert answer.status < 500 or answer.status == 501, f"{answer.status} {answer.body!r:.300}"
    if answer.status >= 400:
        assert not misshapen(shot.place.service, answer)
