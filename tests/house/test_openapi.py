"""The OpenAPI document is valid and complete, and bodies generated from it never meet a bug.

The usual run is short and always the same; `MINICLOUD_GENERATED=300` sends so many bodies to each operation, other ones each time.
"""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
from openapi_spec_validator import validate

from tests.house.generated import Generator
from tests.house.test_doors import settle
from tests.house.town import PARAMETER, Place, Town, media

pytestmark = pytest.mark.asyncio(loop_scope="module")
BODIES = int(os.environ.get("MINICLOUD_GENERATED", "0"))


async def document(town: Town) -> dict[str, Any]:
    return dict((await town.cloud.admin.get("/openapi.json")).body)


async def test_the_document_is_valid(town: Town) -> None:
    validate(await document(town))


async def test_the_document_has_every_route(town: Town) -> None:
    paths = (await document(town))["paths"]
    absent = [
        str(place)
        for place in town.places
        if place.route.method.lower() not in paths.get(place.template.rstrip("/"), {})
    ]
    assert not absent, "\n".join(absent)


async def test_every_route_says_what_it_does_who_may_and_where_it_stands(town: Town) -> None:
    wrong = []
    for path, item in (await document(town))["paths"].items():
        for method, operation in item.items():
            told = operation["summary"], operation["x-source"], operation["x-policy"]["check"] or "any token"
            if not all(told) or len(operation["summary"]) < 6 or not operation["x-source"].startswith("minicloud/"):
                wrong.append(f"{method} {path}: {told}")
    assert not wrong, "\n".join(wrong)


async def test_generated_bodies_meet_no_bug(town: Town) -> None:
    """Valid ones, and such with one thing wrong; from a member and from an administrator, at any microversion."""
    offences: list[str] = []
    seed = random.randrange(2**32) if BODIES else 1
    dice = random.Random(seed)
    generator = Generator(dice)
    # what may lock demo out, take the server away or make the volume take for ever to read comes last
    last = ("lock", "forceDelete", "os-extend")
    first = ("os-volume_upload_image",)  # while volumes are small
    for place in sorted(
        town.places,
        key=lambda one: (one.route.action not in first, one.service == "identity", one.route.action in last),
    ):
        if place.route.body is None or place.route.raw or "auth/tokens" in place.template or place.route.policy.public:
            continue
        for _ in range(BODIES or 8):
            offences += await _try(town, place, generator, dice)
    settle([f"seed {seed}", *offences] if offences else [])


async def _try(town: Town, place: Place, generator: Generator, dice: random.Random) -> list[str]:
    schema = place.route.body.json_schema(place.route.mode, None) if place.route.body else {}
    fields = generator.value(schema)
    if isinstance(fields, dict):
        # ids of things that exist, here and there, so that more than the first check is reached
        known = {name: town.id_of(place, name) for name in fields if name.endswith("_id") and dice.random() < 0.7}
        fields = {**fields, **known}
    body = town.wrapped(place, fields)
    path = PARAMETER.sub(lambda match: town.id_of(place, match[1]), place.template)
    client = dice.choice((town.cloud.demo, town.cloud.admin))
    answer = await town.ask(place, client, path=path, json=body, headers=media(place))
    await town.cloud.daemon.operations.all_settled()
    if answer.status >= 500 and answer.status != 501:
        return [f"{place}: {answer.status} {answer.body!r:.120} for {body!r:.300}"]
    return []
