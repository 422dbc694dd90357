"""Every route of every service, asked the same questions: what nobody may, what only some may, and what makes no sense.

Generated from the route tables, so a new route is tested the moment it exists. Each test collects all offences before it fails.
"""

from __future__ import annotations

import dataclasses
import re
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from yarl import URL

from minicloud.api.app import BODY_LIMIT
from minicloud.core.context import Context
from tests.conftest import Answer, Client
from tests.house.faults import misshapen, unreadable
from tests.house.town import NOBODY, Place, Town, media

pytestmark = pytest.mark.asyncio(loop_scope="module")

HEARD: dict[str, str] = {}
"""What was wrong with the words of refusals -> where it was heard first."""

GARBAGE = (
    "0",
    "9" * 30,
    "a" * 300,
    NOBODY,
    "%00%0d%0aX-Evil%3A%201",
    "%2e%2e%2f%2e%2e%2fsecret",
    "%C3%F0%9F%92%A9",
    "x%27%20OR%201%3D1%20--",
)
ANSWERS_TO_ALL = (
    "/placement/allocations/",
    "regions/{region_id}",
    "default-types/",
    "os-simple-tenant-usage",
    "os-quota-",
    "quotas",
    "users/{user_id}",
    "/OS-FEDERATION/",
)
"""Places where the path's parameter is a filter or a key that may be new: an answer is right."""


def private(town: Town) -> Iterator[Place]:
    return (place for place in town.places if not place.route.policy.public)


def with_body(town: Town) -> Iterator[Place]:
    return (
        place for place in private(town) if (place.route.body is not None or place.route.action) and not place.route.raw
    )


def judge(place: Place, answer: Answer, *expected: int) -> list[str]:
    """What is wrong with a refusal."""
    told = answer.body if not isinstance(answer.body, bytes) else answer.body[:80]
    if answer.status not in expected and not (place.route.raw and answer.status == 415):
        return [f"{place}: {answer.status}, not {'/'.join(map(str, expected))}: {told!r:.160}"]
    if place.service != "placement" and (words := unreadable(answer)):  # whose own texts are compared to the letter
        HEARD.setdefault(re.sub(r"[0-9a-f]{8}-?[0-9a-f-]{24,27}", "ID", words), str(place))
    found = misshapen(place.service, answer)
    return [f"{place}: {found}"] if found else []


def settle(offences: list[str]) -> None:
    """Fail with all of them."""
    assert not offences, f"{len(offences)} offences:\n" + "\n".join(offences)


def nobody(town: Town, token: str = "") -> Client:
    return dataclasses.replace(town.cloud.demo, token=token)


async def test_without_a_token_nothing_private_answers(town: Town) -> None:
    offences: list[str] = []
    for token in ("", "gAAAAA" + "x" * 120, "not-a-token"):
        for place in private(town):
            answer = await town.refuse(place, nobody(town, token), offences, json=town.body(place))
            offences += judge(place, answer, 401)
            if "Keystone uri=" not in answer.headers.get("WWW-Authenticate", ""):
                offences.append(f"{place}: 401 does not say where to log in")
    settle(offences)


async def test_members_of_other_projects_do_not_reach_what_is_demos(town: Town) -> None:
    offences: list[str] = []
    member = Context("", "", project_id="elsewhere", roles=frozenset({"member", "reader"}))
    for place in private(town):
        if not town.is_own(place):
            continue
        allowed = place.route.policy.allows(member, {})
        answer = await town.refuse(place, town.stranger, offences, json=town.body(place), headers=media(place))
        # identity forbids, whether the thing is there or not; what is not offered at all is told to everyone alike; a body that only looks right is told before the thing is looked for
        offences += judge(
            place, answer, *((404, 400, 501, 410) if allowed and place.service != "identity" else (403, 404))
        )
    settle(offences)


async def test_members_may_not_do_what_is_for_administrators(town: Town) -> None:
    offences: list[str] = []
    member = Context("", "", project_id="elsewhere", roles=frozenset({"member", "reader"}))
    for place in private(town):
        if place.route.policy.allows(member, {}) or place.service == "identity":
            continue
        answer = await town.refuse(place, town.stranger, offences, json=town.body(place), headers=media(place))
        offences += judge(place, answer, 403)
    settle(offences)


async def test_a_member_changes_nothing_of_the_identity_service(town: Town) -> None:
    offences: list[str] = []
    for place in private(town):
        if place.service != "identity" or place.route.method in ("GET", "HEAD") or "auth/" in place.template:
            continue
        answer = await town.refuse(place, town.stranger, offences, json=town.body(place), headers=media(place))
        offences += judge(place, answer, 403, 404, 400)
    settle(offences)


async def test_a_wrong_method_is_refused_as_the_service_does(town: Town) -> None:
    offences: list[str] = []
    methods: dict[str, set[str]] = {}
    for place in town.places:
        methods.setdefault(place.template, set()).add(place.route.method)
    for place in {one.template: one for one in town.places}.values():
        for method in {"PUT", "DELETE", "PATCH", "POST"} - methods[place.template]:
            answer = await town.ask(place, town.cloud.admin, method=method)
            offences += judge(place, answer, place.dialect.wrong_method)
    settle(offences)


async def test_an_unknown_field_is_refused(town: Town) -> None:
    offences: list[str] = []
    for place in with_body(town):
        schema = place.route.body.json_schema(place.route.mode, None) if place.route.body else {}
        if schema.get("additionalProperties") is not False:
            continue
        body = town.body(place, **{"no such field": 1})
        answer = await town.refuse(place, town.cloud.admin, offences, json=body, headers=media(place))
        offences += judge(place, answer, 400, 403, 501)
    settle(offences)


@pytest.mark.parametrize(
    "text",
    [
        '{"',
        "[]",
        "7",
        '"x"',
        "null",
        "{}",
        '{"a": NaN}',
        "[" * 30_000,
        b"\xff\xfe\x00",
        '{"a": 1e999}',
        '{"\\ud800": "\\ud800"}',
    ],
)
async def test_a_body_that_is_no_sense_is_refused(town: Town, text: str | bytes) -> None:
    offences: list[str] = []
    for place in with_body(town):
        answer = await town.refuse(place, town.cloud.admin, offences, data=text, headers=media(place))
        if answer.status < 300 and text in ("{}", "null"):
            continue  # where every field may be left out
        offences += judge(place, answer, 400, 403, 409, 404, 501)
    settle(offences)


async def test_a_body_that_is_too_large_is_refused(town: Town) -> None:
    offences: list[str] = []
    text = '{"x": "' + "x" * BODY_LIMIT + '"}'
    for place in with_body(town):
        answer = await town.ask(place, town.cloud.admin, data=text, headers=media(place))
        offences += judge(place, answer, 413)
    settle(offences)


async def test_a_body_of_another_type_is_refused(town: Town) -> None:
    offences: list[str] = []
    for place in with_body(town):
        answer = await town.ask(place, town.cloud.admin, data="<xml/>", headers={"Content-Type": "application/xml"})
        offences += judge(place, answer, 415)
    settle(offences)


@pytest.mark.parametrize("garbage", GARBAGE, ids=range(len(GARBAGE)))
async def test_garbage_in_the_path_finds_nothing(town: Town, garbage: str) -> None:
    offences: list[str] = []
    for place in private(town):
        if not place.parameters:
            continue
        path = town.path(place, lambda name: garbage)
        answer = await town.refuse(
            place, town.cloud.admin, offences, path=path, json=town.body(place), headers=media(place)
        )
        if answer.status < 300 and any(part in place.template for part in ANSWERS_TO_ALL):
            continue
        offences += judge(place, answer, 404, 400, 403, 409, 501)
    settle(offences)


async def test_garbage_in_the_query_is_no_bug(town: Town) -> None:
    offences: list[str] = []
    queries: tuple[Any, ...] = (
        "limit=-1", "limit=x", "limit=99999999999999999999", "limit=0", f"marker={NOBODY}", "marker=%00", "sort_key=x;--&sort_dir=up",
        "sort=id:sideways", "fields=%C3%28&fields=", "changes-since=yesterday", "all_tenants=maybe&offset=-5", "name=%F0%9F%92%A9&name=x",
        "id=&id=&status=%27&page_reverse=7", "created_at=gte:never", "size_min=x", "tags=,,,", "fixed_ips=ip_address",
    )  # fmt: skip
    for place in private(town):
        if place.route.method != "GET":
            continue
        for query in queries:
            answer = await town.ask(place, town.cloud.admin, path=f"{town.path(place)}?{query}")
            if answer.status >= 400:
                offences += [f"?{query} {one}" for one in judge(place, answer, 400, 403, 404, 501, 409)]
    settle(offences)


async def test_a_microversion_that_is_none_is_refused(town: Town) -> None:
    offences: list[str] = []
    for place in private(town):
        spoken = place.dialect.microversions
        if spoken is None:
            continue
        for asked, status in (("9.9", 406), (f"{spoken.high[0]}.{spoken.high[1] + 1}", 406), ("x", 400), ("2.٣", 400)):
            headers = {"OpenStack-API-Version": f"{spoken.service_type} {asked}".encode().decode("latin-1")}
            answer = await town.ask(place, town.cloud.admin, headers=headers)
            offences += judge(place, answer, status)
    settle(offences)


async def test_paths_of_nothing_are_not_found(town: Town) -> None:
    offences: list[str] = []
    for place in {one.service: one for one in town.places}.values():
        for rest in ("/nothing", "/%00", "/../../etc/passwd", "/x" * 200):
            path = place.dialect.prefix + place.dialect.root + rest
            answer = await town.ask(place, town.cloud.admin, path=path, method="GET")
            offences += [f"{path:.60}: {answer.status} {answer.body!r:.80}"] if answer.status not in (404, 400) else []
    settle(offences)


async def test_refusals_are_sentences_for_people(town: Town) -> None:
    """Of all that the tests above were told."""
    settle([f"{place}: {words}" for words, place in HEARD.items()])


async def test_every_route_was_asked(town: Town) -> None:
    """The tables are not empty and cover all services that have a wire."""
    assert {place.service for place in town.places} >= {"identity", "image", "placement", "network", "volume"} - {
        service.name for service in town.cloud.daemon.services if not service.routes
    }
    assert len(town.places) > 150 and all(re.match(r"/[a-z]+(/|$)", place.template) for place in town.places)


async def test_odd_names_are_escaped_where_headers_tell_them(town: Town) -> None:
    admin, odd, told = town.cloud.admin, "a\x0b é", "a%0B%20%C3%A9"
    place = f"{admin.url}/identity/v3/projects/{town.cloud.demo.project_id}/tags/{told}"
    headers = {"X-Auth-Token": admin.token}
    async with admin.session.put(URL(place, encoded=True), headers=headers) as answer:
        assert answer.status == 201 and answer.headers["Location"].endswith(f"/tags/{told}")
    made = await admin.post("/image/v2/metadefs/namespaces", {"namespace": odd}, expect=201)
    assert made.headers["Location"].endswith(f"/namespaces/{told}")


async def test_a_key_that_ends_in_a_line_feed_is_no_key(town: Town) -> None:
    entry = {"resources": {"VCPU": 1}}
    body = {
        "allocations": {f"{uuid.uuid4()}\n": entry}, "project_id": "p", "user_id": "u", "consumer_generation": None,
        "consumer_type": "INSTANCE",
    }  # fmt: skip
    headers = {"OpenStack-API-Version": "placement 1.39"}
    answer = await town.cloud.admin.put(f"/placement/allocations/{uuid.uuid4()}", body, headers=headers, expect=400)
    assert "does not match any of the regexes" in str(answer.body)
