"""The frame, with a small service of its own: order of checks, versions, bodies, views, paging, faults."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from openapi_spec_validator import validate

from minicloud.api import faults, paging
from minicloud.api.app import BODY_LIMIT, Api
from minicloud.api.dialect import Dialect, Microversions
from minicloud.api.openapi import document
from minicloud.api.outgoing import encoded
from minicloud.api.policy import ADMIN as ADMIN_ONLY
from minicloud.api.policy import MEMBER, PUBLIC, READER
from minicloud.api.route import Call, Listed, Reply, Route
from minicloud.api.schema import (
    ADMIN,
    BOOLEAN,
    EMPTY,
    INTEGER,
    METADATA,
    NAME,
    OPTIONAL,
    REQUIRED,
    STRICT_BOOLEAN,
    UUID,
    Field,
    Schema,
    array,
    string,
)  # fmt: skip
from minicloud.core import trace
from minicloud.core.clock import SystemClock
from minicloud.core.context import Context
from minicloud.core.errors import Conflict, HostFailure, NotFound, OverQuota, Unauthenticated, Unavailable
from minicloud.core.store import Page, Store
from minicloud.core.trace import Tracer

ROBOT = Schema(
    "robot",
    Field("id", UUID, out=True),
    Field("name", NAME, out=True, create=REQUIRED, update=OPTIONAL),
    Field("busy", BOOLEAN, out=True, create=OPTIONAL),
    Field("owner", NAME, out=True, create=ADMIN, show=ADMIN_ONLY),
    Field("note", string(), out=True, create=OPTIONAL, since=(2, 5), attr=lambda row, call: row["note"].upper()),
    Field("old", INTEGER, out=True, until=(2, 4)),
    Field("arms", array(Schema("arm", Field("length", INTEGER, create=REQUIRED), Field("grip", NAME, create=OPTIONAL, since=(2, 5)))), create=OPTIONAL),
    Field("metadata", METADATA, create=OPTIONAL),
    Field("armed", STRICT_BOOLEAN, create=OPTIONAL),
)  # fmt: skip

ROWS = [
    {"id": f"{n:08}-0000-4000-8000-000000000000", "name": f"r{n}", "busy": False, "owner": "me", "note": "n", "old": 1}
    for n in range(5)
]
seen: list[Any] = []


async def create(service: Any, call: Call) -> dict[str, Any]:
    seen.append(call.body)
    return {**ROWS[0], **call.body}


async def show(service: Any, call: Call) -> dict[str, Any]:
    for row in ROWS:
        if row["id"] == call.params["robot_id"]:
            return row
    raise NotFound(f"Robot {call.params['robot_id']} could not be found.")


async def index(service: Any, call: Call) -> Listed:
    def read(page: Page) -> list[dict[str, Any]]:
        ids = [row["id"] for row in ROWS]
        start = ids.index(page.marker) + 1 if page.marker else 0
        return ROWS[start : start + (page.limit or 100)]

    return paging.listed(read, paging.page_of(call, columns={"name": "name"}))


async def wave(service: Any, call: Call) -> None:
    seen.append(("wave", call.body))


async def fail(service: Any, call: Call) -> Reply:
    kinds = {"conflict": Conflict("Cannot wave: it is broken."), "quota": OverQuota("Too many."), "away": Unavailable("Away.", retry_after=3),
             "host": HostFailure("Cannot start it.", detail="secret path"), "bug": ZeroDivisionError("oops")}  # fmt: skip
    raise kinds[call.query["kind"]]


async def root(service: Any, call: Call) -> Reply:
    return Reply({"links": call.root}, status=300)


ROUTES = [
    Route("GET", "//", root, policy=PUBLIC, rule="versions"),
    Route("GET", "/robots", index, view=ROBOT, many=True, policy=READER, rule="get_robots", query=("limit", "marker")),
    Route("POST", "/robots", create, body=ROBOT, view=ROBOT, status=201, policy=MEMBER, rule="create_robot"),
    Route("GET", "/robots/{robot_id}", show, view=ROBOT, policy=READER, rule="get_robot"),
    Route("POST", "/robots/{robot_id}/action", wave, action="wave", status=202, policy=MEMBER, rule="wave", body=EMPTY),
    Route(
        "POST", "/robots/{robot_id}/action", wave, action="jump", since=(2, 5), status=202, policy=MEMBER, rule="jump"
    ),
    Route("GET", "/fail", fail, policy=READER, rule="fail"),
    Route("GET", "/new", root, policy=READER, rule="new", since=(2, 5)),
]
DIALECT = Dialect(
    "robots", "/v2.1", faults.keyed, faults.webob, microversions=Microversions("robots", (2, 1), (2, 9), (2, 1), "X-Robots-Version"),
    wrong_method=404, project_in_path=True, list_extra=paging.next_link, strict_query=(2, 5),
)  # fmt: skip
PEOPLE = {
    "member": {"roles": frozenset({"member", "reader"}), "project_id": "c" * 32},
    "reader": {"roles": frozenset({"reader"}), "project_id": "c" * 32},
    "admin": {"roles": frozenset({"admin", "member", "reader"}), "project_id": "a"},
    "unscoped": {"roles": frozenset()},
}


def authenticate(token: str, *, request_id: str, service: str, method: str, path: str) -> Context:
    if token not in PEOPLE:
        raise Unauthenticated("The request you have made requires authentication.")
    return Context(user_id=token, request_id=request_id, **PEOPLE[token])


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    store = Store(tmp_path / "db")
    store.open([trace.migrations])
    api = Api([SimpleNamespace(dialect=DIALECT, routes=ROUTES)], authenticate, Tracer(store, SystemClock()))  # type: ignore[list-item]
    runner = web.ServerRunner(api.server())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    seen.clear()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()
    await store.close()


async def ask(
    url: str, method: str, path: str, who: str = "member", version: str = "", **options: Any
) -> tuple[int, Any, Any]:
    headers = {"X-Auth-Token": who} if who else {}
    headers |= {"OpenStack-API-Version": f"robots {version}"} if version else {}
    headers |= options.pop("headers", {})
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url + path, headers=headers, **options) as reply,
    ):
        raw = await reply.read()
        return reply.status, json.loads(raw) if raw and "json" in reply.content_type else raw, reply.headers


ROBOTS = "/robots/v2.1/robots"


async def test_versions_are_public_at_both_forms_of_the_root(url: str) -> None:
    for path in ("/robots", "/robots/"):
        status, body, headers = await ask(url, "GET", path, who="")
        assert (status, body) == (300, {"links": f"{url}/robots/v2.1"})
        assert headers["X-Openstack-Request-Id"].startswith("req-")


async def test_no_token_is_401_in_keystones_shape_also_where_there_is_no_route(url: str) -> None:
    for path in (ROBOTS, "/robots/v2.1/nothing", ROBOTS + "/1/2/3"):
        status, body, headers = await ask(url, "GET", path, who="")
        assert status == 401 and body["error"]["code"] == 401
        assert headers["WWW-Authenticate"].startswith("Keystone uri=")


async def test_unknown_route_method_and_version(url: str) -> None:
    assert (await ask(url, "GET", "/robots/v2.1/nothing"))[0] == 404
    status, _, headers = await ask(url, "DELETE", ROBOTS)
    assert status == 404 and headers["Allow"] == "GET, POST"
    status, body, _ = await ask(url, "GET", ROBOTS, version="9.99")
    assert status == 406 and body["computeFault"]["code"] == 406
    assert (await ask(url, "GET", ROBOTS, version="two"))[0] == 400
    assert (await ask(url, "GET", "/robots/v2.1/new", version="2.4"))[0] == 404
    status, _, headers = await ask(url, "GET", "/robots/v2.1/new", version="latest")
    assert status == 300 and headers["OpenStack-API-Version"] == "robots 2.9"
    _, _, headers = await ask(url, "GET", "/robots/v2.1/new", headers={"X-Robots-Version": "2.5"})
    assert headers["X-Robots-Version"] == "2.5" and headers["Vary"] == "OpenStack-API-Version, X-Robots-Version"


async def test_roles_decide_per_route(url: str) -> None:
    for who, wanted in (("reader", 403), ("unscoped", 403), ("member", 201), ("admin", 201)):
        status, _body, _ = await ask(url, "POST", ROBOTS, who=who, json={"robot": {"name": "x"}})
        assert status == wanted, who
    assert seen[-1] == {"name": "x"}


async def test_a_field_for_admins_is_refused_to_others_and_hidden_from_them(url: str) -> None:
    body = {"robot": {"name": "x", "owner": "you"}}
    status, told, _ = await ask(url, "POST", ROBOTS, json=body)
    assert status == 403 and "create_robot:owner" in told["forbidden"]["message"]
    status, told, _ = await ask(url, "POST", ROBOTS, who="admin", json=body)
    assert status == 201 and told["robot"]["owner"] == "you"
    assert "owner" not in (await ask(url, "GET", f"{ROBOTS}/{ROWS[1]['id']}"))[1]["robot"]


async def test_fields_live_in_their_versions_in_requests_and_replies(url: str) -> None:
    path = f"{ROBOTS}/{ROWS[1]['id']}"
    assert set((await ask(url, "GET", path))[1]["robot"]) == {"id", "name", "busy", "old"}
    newer = (await ask(url, "GET", path, version="2.5"))[1]["robot"]
    assert set(newer) == {"id", "name", "busy", "note"} and newer["note"] == "N"
    for version, wanted in (("2.4", 400), ("2.5", 201)):
        arms = {"robot": {"name": "x", "arms": [{"length": "3", "grip": "g"}]}}
        assert (await ask(url, "POST", ROBOTS, version=version, json=arms))[0] == wanted
        note = {"robot": {"name": "x", "note": "hello"}}
        assert (await ask(url, "POST", ROBOTS, version=version, json=note))[0] == wanted
    assert {"name": "x", "arms": [{"length": 3, "grip": "g"}]} in seen


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        (b"{", 400), (b'{"robot": {"name": NaN}}', 400), (b"[1]", 400), (b'{"other": {}}', 400), (b'{"robot": 3}', 400),
        (b'{"robot": {}}', 400), (b'{"robot": {"name": ""}}', 400), (b'{"robot": {"name": " "}}', 400),
        (b'{"robot": {"name": "x", "arms": [{"length": 9223372036854775808}]}}', 400),
        (b'{"robot": {"name": "x", "colour": 1}}', 400), (b'{"robot": {"name": 1}}', 400), (b"[" * 50_000, 400),
        (b'{"robot": {"name": "x", "armed": "True"}}', 400), (b'{"robot": {"name": "x", "busy": "maybe"}}', 400),
        (b'{"robot": {"name": "x", "metadata": {"k": 1}}}', 400), (b" " * (BODY_LIMIT + 1), 413), (b"\xff\xfe", 400), (b"", 400),
    ],
)  # fmt: skip
async def test_a_bad_body_is_refused_in_the_services_shape(url: str, raw: bytes, wanted: int) -> None:
    status, body, _ = await ask(url, "POST", ROBOTS, data=raw, headers={"Content-Type": "application/json"})
    assert status == wanted
    assert body["badRequest" if wanted == 400 else "overLimit"]["message"]


async def test_a_body_of_another_type_is_415(url: str) -> None:
    status, body, _ = await ask(url, "POST", ROBOTS, data=b"<robot/>", headers={"Content-Type": "text/xml"})
    assert status == 415 and "badMediaType" in body


async def test_a_client_that_waits_to_be_told_is_told_to_send_its_body(url: str) -> None:
    status, body, _ = await ask(url, "POST", ROBOTS, json={"robot": {"name": "x"}}, expect100=True)
    assert status == 201 and body["robot"]["name"] == "x"
    assert (await ask(url, "GET", ROBOTS, headers={"Expect": "a miracle"}))[0] == 417


async def test_head_is_get_without_a_body(url: str) -> None:
    status, body, headers = await ask(url, "HEAD", ROBOTS)
    assert status == 200 and body == b"" and int(headers["Content-Length"]) > 0
    assert (await ask(url, "HEAD", "/healthz"))[0] == 200


async def test_what_json_can_say_and_the_fast_encoder_cannot_is_still_said() -> None:
    for odd in ({"n": 2**70}, {1: "a"}, {"half": "\ud800"}):
        assert json.loads(encoded(odd)) == json.loads(json.dumps(odd))


async def test_actions_are_chosen_by_the_bodys_key(url: str) -> None:
    path = f"{ROBOTS}/any/action"
    assert (await ask(url, "POST", path, json={"wave": None}))[0] == 202
    assert seen == [("wave", {})]
    status, body, _ = await ask(url, "POST", path, json={"dance": None})
    assert status == 400 and body["badRequest"]["message"] == "There is no such action: dance"
    assert (await ask(url, "POST", path, json={"jump": None}))[0] == 404
    assert (await ask(url, "POST", path, json={"jump": None}, version="2.5"))[0] == 202
    assert (await ask(url, "POST", path, json={"wave": None, "jump": None}))[0] == 400


async def test_lists_page_with_links_and_refuse_odd_queries(url: str) -> None:
    names, path = [], ROBOTS + "?limit=2"
    while path:
        _, body, _ = await ask(url, "GET", path)
        names += [one["name"] for one in body["robots"]]
        links = body.get("robots_links", [])
        path = links[0]["href"].removeprefix(url) if links else ""
    assert names == ["r0", "r1", "r2", "r3", "r4"]
    assert (await ask(url, "GET", ROBOTS + "?limit=-1"))[0] == 400
    assert (await ask(url, "GET", ROBOTS + "?colour=red"))[0] == 200
    assert (await ask(url, "GET", ROBOTS + "?colour=red", version="2.5"))[0] == 400


async def test_the_project_may_stand_in_the_path_if_it_is_the_tokens(url: str) -> None:
    assert (await ask(url, "GET", f"/robots/v2.1/{'c' * 32}/robots"))[0] == 200
    status, body, _ = await ask(url, "GET", f"/robots/v2.1/{'a' * 32}/robots")
    assert (status, body["badRequest"]["message"]) == (400, "Malformed request url")


@pytest.mark.parametrize(("kind", "status", "key"), [("conflict", 409, "conflictingRequest"), ("quota", 403, "forbidden"), ("away", 503, "serviceUnavailable"), ("host", 500, "computeFault"), ("bug", 500, "computeFault")])  # fmt: skip
async def test_errors_have_the_services_shape_and_tell_nothing_inner(
    url: str, kind: str, status: int, key: str
) -> None:
    got, body, headers = await ask(url, "GET", f"/robots/v2.1/fail?kind={kind}")
    assert got == status and body[key]["code"] == status
    assert "secret" not in body[key]["message"] and "oops" not in body[key]["message"]
    assert ("Retry-After" in headers) == (kind == "away")


async def test_the_openapi_document_is_valid_and_names_every_route(url: str) -> None:
    status, body, _ = await ask(url, "GET", "/openapi.json", who="")
    assert status == 200
    validate(body)
    assert set(body["paths"]) == {
        "/robots",
        ROBOTS,
        ROBOTS + "/{robot_id}",
        ROBOTS + "/{robot_id}/action",
        "/robots/v2.1/fail",
        "/robots/v2.1/new",
    }
    assert body["paths"][ROBOTS]["post"]["x-policy"]["rule"] == "create_robot"
    assert body["servers"] == [{"url": url}]
    elsewhere = await ask(url, "GET", "/openapi.json", who="", headers={"X-Forwarded-Host": "cloud.example"})
    assert elsewhere[1] == {**body, "servers": [{"url": "http://cloud.example"}]}
    assert document([])["paths"] == {}


def test_a_route_without_a_policy_cannot_be_made() -> None:
    with pytest.raises(TypeError):
        Route("GET", "/x", root, policy=None, rule="x")  # type: ignore[arg-type]
