"""From a request to a call: what version it asks for, what its body holds, which of a path's actions it means.

Each function raises the refusal that the client shall see. Called by `app.py` for each request.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from typing import Any

from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import HttpProcessingError

from minicloud.api.dialect import Dialect
from minicloud.api.route import Call, Route
from minicloud.api.versions import Version, printed, version, within
from minicloud.core.errors import Invalid, NotAcceptable, NotFound, UnsupportedMedia

BODY_SECONDS = 60.0
"""How long a body that is read as a whole may take to come."""

DIGITS = 400
"""Of a whole number; beyond them Python takes its time, and nothing counts so far."""


def printable(text: str) -> str:
    """The beginning of what a client sent, fit for a message."""
    return "".join(one if one.isprintable() else "?" for one in text[:80])


def origin(request: web.BaseRequest) -> str:
    """Scheme, host and prefix that the client used, also in front of a proxy (`X-Forwarded-*`)."""
    told = request.headers
    scheme = told.get("X-Forwarded-Proto") or request.scheme
    host = told.get("X-Forwarded-Host") or request.host
    return f"{scheme}://{host}{told.get('X-Forwarded-Prefix', '').rstrip('/')}"


def asked_version(dialect: Dialect, request: web.BaseRequest) -> Version | None:
    """The microversion that a request asks for, None for services without; `NotAcceptable` for one that isn't spoken."""
    spoken = dialect.microversions
    if spoken is None:
        return None
    asked = None
    if header := request.headers.get("OpenStack-API-Version"):
        for entry in header.split(","):
            kind, _, number = entry.strip().partition(" ")
            if kind.lower() == spoken.service_type:
                asked = number.strip()
    if asked is None and spoken.old_header:
        asked = request.headers.get(spoken.old_header)
    if asked is None:
        return spoken.default
    if asked == "latest":
        return spoken.high
    wanted = version(asked, from_zero=spoken.from_zero)
    if not within(wanted, spoken.low, spoken.high):
        low, high = printed(spoken.low), printed(spoken.high)
        refused = (
            f"Version {asked} is not supported by the API."
            if not spoken.from_zero
            else f"Unacceptable version header: {asked}."
        )
        raise NotAcceptable(f"{refused} Minimum is {low} and maximum is {high}.", low=low, high=high)
    return wanted


def require_json(request: web.BaseRequest) -> None:
    """Raise for a client that takes no JSON, or sends a body without saying what it is."""
    kinds = [one.partition(";")[0].strip() for one in request.headers.get("Accept", "*/*").split(",")]
    if request.method in ("GET", "HEAD") and not {"application/json", "application/*", "*/*", ""} & set(kinds):
        raise NotAcceptable("Only application/json is provided.")
    if request.can_read_body and "Content-Type" not in request.headers:
        raise Invalid("Cannot read the body: content-type header required.")


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON number")


def _whole(text: str) -> int:
    if len(text) > DIGITS:
        raise ValueError(f"{text[:20]}... is too large a number")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):  # whoever looked at the body before us may have taken the other one
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {printable(twice)} stands there more than once")
    return found


async def _bytes_of(request: web.BaseRequest) -> bytes:
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await request.read()
    except TimeoutError:
        raise Invalid(f"Cannot read the body: it did not come within {BODY_SECONDS:g} seconds.") from None
    except (ClientPayloadError, HttpProcessingError):
        raise Invalid("Cannot read the body: it ends too early, or its parts do not say how long they are.") from None


async def json_of(request: web.BaseRequest, media: Sequence[str]) -> Any:
    """A request's body as JSON, None if it is empty; `media` are the types that it may have."""
    if "Content-Type" in request.headers and request.content_type not in media and request.can_read_body:
        raise UnsupportedMedia(f"Cannot read a body of type {request.content_type[:80]}: send {' or '.join(media)}.")
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity" and request.can_read_body:
        raise UnsupportedMedia(f"Cannot read a body with the content encoding {printable(encoding)}: send it as it is.")
    raw = await _bytes_of(request)
    if not raw:
        return None
    try:
        told = json.loads(
            raw, parse_constant=_refuse_constant, parse_float=_finite, parse_int=_whole, object_pairs_hook=_object
        )
        if b"\\ud" in raw.lower():  # halves of surrogate pairs are no text: nothing could store or send them
            json.dumps(told, ensure_ascii=False).encode()
        return told
    except (ValueError, RecursionError) as error:
        raise Invalid(f"Cannot read the body: Malformed JSON: {error}.") from None


def chosen(fitting: Sequence[Route], body: Any, routes: Sequence[Route]) -> Route:
    """The route that a body names by its only key, of those that `fitting` the version; `routes` are those of every one."""
    if not isinstance(body, dict) or len(body) != 1:
        raise Invalid("Cannot choose an action: the body must be an object with one key, the action's name.")
    name = next(iter(body))
    for route in fitting:
        if route.action == name:
            return route
    if any(route.action == name for route in routes):
        raise NotFound(f"The action {name} does not exist at this API version.")
    raise Invalid(f"There is no such action: {name[:80]}")


def check_query(call: Call, known: Sequence[str]) -> None:
    """Raise `Invalid` for a parameter that isn't `known`, where the service is strict about them."""
    strict = call.dialect.strict_query
    if strict is False or (strict is not True and not call.at_least(*strict)):
        return
    for name in call.query:
        if name not in known:
            raise Invalid(f"Cannot use the query parameter {name[:80]}: this operation has no such parameter.")


def read_body(call: Call, body: Any) -> bool:
    """Put the checked body into the call; whether it held many."""
    route = call.route
    if route.body is None:
        return False
    if route.action is not None:
        inner = body[route.action]
        call.body = route.body.read({} if inner is None else inner, route.mode, call)
        return False
    key = route.envelope if isinstance(route.envelope, str) else route.body.name
    if not call.dialect.envelope or route.envelope is False:
        if body is None and call.dialect.only_json:
            raise Invalid("Cannot read the body: Malformed JSON: it is empty.")
        call.body = route.body.read({} if body is None else body, route.mode, call)
        return False
    if not isinstance(body, dict):
        raise Invalid(f"Cannot read the body: it must be an object with the key {key}.")
    if route.bulk and route.body.plural in body:
        many = body[route.body.plural]
        if not isinstance(many, list) or not many:
            raise Invalid(f"Cannot read {route.body.plural}: it must be a list with at least one entry.")
        call.body = [route.body.read(_bare(one, key), route.mode, call) for one in many]
        return True
    if key not in body:
        raise Invalid(f"Cannot read the body: the key {key} is missing.")
    one = route.body.read(body[key], route.mode, call)
    call.body = [one] if route.bulk else one
    return False


def _bare(one: Any, key: str) -> Any:
    """One entry of a bulk body; some clients wrap each once more."""
    return one[key] if isinstance(one, dict) and set(one) == {key} else one
