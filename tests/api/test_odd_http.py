"""The frame, spoken to by clients that are odd, slow or broken: byte by byte over a socket, as no library would.

Where it is in doubt how long a request is, its connection ends with the answer: what follows could be anything.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import resource
from urllib.parse import urlsplit

import pytest

from minicloud.api import app, incoming
from minicloud.api.crowd import bearable
from tests.api.test_frame import ROBOTS, ask, seen, url

__all__ = ["url"]

POST = f"POST {ROBOTS} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: member\r\nContent-Type: application/json\r\n".encode()
BODY = b'{"robot": {"name": "x"}}'


async def spoken(url: str, *parts: bytes) -> tuple[int, bytes, bytes]:
    """Send the parts, each after the one before was taken, and read until the server ends the connection: status, head,
    body."""
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    try:
        async with asyncio.timeout(30):
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0.05 if len(parts) > 1 else 0)  # so that it comes by itself
            told = await reader.read()
    finally:
        writer.close()
    head, _, body = told.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else 0, head, body


def get(path: str, *headers: str, method: str = "GET") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", "X-Auth-Token: member", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


@pytest.mark.parametrize(
    ("request_", "wanted"),
    [
        (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}   \r\n0\r\n\r\n", 400),
        (POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{} ", 400),
        (POST + b"Content-Length: -2\r\n\r\n{}", 400),
        (POST + b"Content-Length: 99999999999999999999\r\n\r\n{}", 400),
        (POST + b"Transfer-Encoding: odd\r\n\r\n{}", 400),
        (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", 400),
        (POST + b"X-A : 1\r\n\r\n", 400),
        (POST.replace(b"\r\n", b"\n") + b"\n", 400),
        (get(ROBOTS, *(f"X-A{number}: 1" for number in range(200))), 400),
        (get(ROBOTS, "X-A: " + "a" * 9000), 400),
        (get(f"{ROBOTS}?name={'a' * 9000}"), 400),
        (get(ROBOTS, method="BREW"), 400),
        (get(ROBOTS + "/\xff"), 400),
        (get(ROBOTS + "/\x00"), 400),
        (get(ROBOTS, "Expect: \xff"), 417),
    ],
    ids=lambda one: one[60:100].hex() if isinstance(one, bytes) else None,
)
async def test_what_is_no_http_is_refused_and_its_connection_ends(url: str, request_: bytes, wanted: int) -> None:
    status, _, _ = await spoken(url, request_)
    assert status == wanted
    assert seen == []


async def test_requests_that_are_no_http_leave_no_line_with_what_they_held(
    url: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    await spoken(url, b"GET / HTTP/1.1\r\nHost: x\r\nX-Auth-Token : a-secret\r\n\r\n")
    told = capfd.readouterr()
    assert "a-secret" not in told.out + told.err + caplog.text and "Traceback" not in told.out + told.err + caplog.text


@pytest.mark.parametrize(
    "path",
    [
        "//robots/v2.1/robots", "/robots//v2.1/robots", "/robots/v2.1/../v2.1/robots", "/robots/v2.1/%2e%2e/robots",
        "/robots%2fv2.1%2frobots", "//evil.example/robots/v2.1/robots", "///", "/robots/v2.1/%", "/robotsx", "/nothing%3Cb%3E",
    ],
)  # fmt: skip
async def test_paths_are_taken_as_they_are_written(url: str, path: str) -> None:
    status, head, body = await spoken(url, get(path))
    assert status == 404 and (body.startswith(b"{") == (b"application/json" in head))


@pytest.mark.parametrize("method", ["OPTIONS", "TRACE", "PATCH"])
async def test_methods_that_a_path_has_not_are_told_which_it_has(url: str, method: str) -> None:
    status, head, _ = await spoken(url, get(ROBOTS, method=method))
    assert status == 404 and b"Allow: GET, POST" in head


@pytest.mark.parametrize(
    "name", ["X-Forwarded-Host", "X-Forwarded-Proto", "OpenStack-API-Version", "Accept", "X-Auth-Token"]
)
async def test_headers_that_are_no_text_are_no_bug(url: str, name: str) -> None:
    for path in (ROBOTS, "/", "/robots/v2.1/nothing", "/openapi.json"):
        status, _, _ = await spoken(url, get(path, f"{name}: robots \xff\xfe"))
        assert status in (200, 300, 400, 401, 404, 406), (path, status)


# --- many ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A door with room for two."""
    monkeypatch.setattr(app, "bearable", lambda: 2)
    return str(request.getfixturevalue("url"))


async def test_more_connections_than_can_be_borne_are_told_to_come_later(narrow: str) -> None:
    place = urlsplit(narrow)
    taken = [await asyncio.open_connection(place.hostname, place.port) for _ in range(2)]
    for reader, writer in taken:
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
    status, head, body = await spoken(narrow)
    assert status == 503 and b"Retry-After: " in head and json.loads(body)["message"]
    taken[0][1].close()
    async with asyncio.timeout(30):
        while (await spoken(narrow, get("/healthz")))[0] != 200:
            await asyncio.sleep(0.01)
    taken[1][1].close()


def test_descriptors_are_kept_for_the_daemons_own_work(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, wanted in ((64, 8), (1024, 480), (65536, 4096), (resource.RLIM_INFINITY, 4096)):
        monkeypatch.setattr(resource, "getrlimit", lambda kind, limit=limit: (limit, limit))
        assert bearable() == wanted


# --- bodies ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ('{"robot": {"name": "x", "name": "y"}}', "name stands there more than once"),
        ('{"robot": {"name": "x"}, "robot": {"name": "y"}}', "robot stands there more than once"),
        ('{"robot": {"name": "x", "metadata": {"n": ' + "9" * 5000 + "}}}", "too large a number"),
        ('{"robot": {"name": "x", "metadata": {"n": -' + "9" * 5000 + "}}}", "too large a number"),
        ('{"robot": {"name": "\\udc00"}}', "Malformed JSON"),
    ],
)
async def test_json_that_can_be_taken_in_two_ways_is_refused(url: str, raw: str, words: str) -> None:
    status, body, _ = await ask(url, "POST", ROBOTS, data=raw, headers={"Content-Type": "application/json"})
    assert status == 400 and words in body["badRequest"]["message"], body
    assert "int_max_str" not in str(body)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "odd"])
async def test_a_compressed_body_is_refused_unopened(url: str, encoding: str) -> None:
    for data in (gzip.compress(b" " * 10_000_000), BODY):
        head = (
            POST + f"Content-Encoding: {encoding}\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode()
        )
        status, _, body = await spoken(url, head + data)
        assert status == 415 and encoding in json.loads(body)["badMediaType"]["message"]


# --- slow ones -------------------------------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A door that waits for hardly anybody."""
    monkeypatch.setattr(app, "IDLE_SECONDS", 0.3)
    return str(request.getfixturevalue("url"))


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (b"GET / HT",),
        (POST + b"X-A: ",),
        (get("/").replace(b"Connection: close\r\n", b""), b"GET / HTTP/1.1\r\nHo"),
    ],
    ids=["says nothing", "first line", "headers", "second request"],
)
async def test_a_connection_that_does_not_come_to_its_point_is_ended(impatient: str, parts: tuple[bytes, ...]) -> None:
    status, _, _ = await spoken(impatient, *parts)
    assert status == (200 if len(parts) == 2 else 0)


@pytest.mark.parametrize(
    "parts",
    [
        (b"Content-Length: 24\r\n\r\n" + BODY[:5],),
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\n", b"{   }\r\n", b"no number\r\n"),  # aiohttp keeps this to itself
    ],
    ids=["short", "chunks"],
)
async def test_a_body_that_does_not_come_is_not_waited_for(
    url: str, monkeypatch: pytest.MonkeyPatch, parts: tuple[bytes, ...]
) -> None:
    monkeypatch.setattr(incoming, "BODY_SECONDS", 0.3)
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    writer.write(POST)
    for part in parts:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(0.05)
    async with asyncio.timeout(30):
        head = await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 400") and seen == []
