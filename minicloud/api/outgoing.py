"""From a handler's result to an answer: the view of a row or of a list, in the service's envelope, as JSON.

Called by `app.py` for each request.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from minicloud.api.route import Call, Listed, Reply

JSON = {"Content-Type": "application/json"}


def answer_of(call: Call, result: Any, bulk: bool) -> web.StreamResponse:
    """What a handler's result is told as; `bulk`: the request held many. The call's headers are put on by `app.py`."""
    route = call.route
    if isinstance(result, web.StreamResponse):
        return result
    status, body = route.status, result
    if isinstance(result, Reply):
        status, body = result.status or status, result.body
        call.headers.update(result.headers)
    elif route.view is not None and result is not None:
        body = _viewed(call, result, bulk)
    if body is None:
        return web.Response(status=status)
    return web.Response(status=status, body=encoded(body), headers=JSON)


def encoded(body: Any) -> bytes:
    """A body as JSON; text is JSON already."""
    if isinstance(body, str):
        return body.encode()
    try:
        return orjson.dumps(body)
    except TypeError:  # Python's own knows numbers beyond 64 bits, numbers as keys and halves of surrogate pairs
        return json.dumps(body).encode()


def told(status: int, shape: tuple[str, str], headers: Mapping[str, str] | None = None) -> web.Response:
    """A text and its type as an answer."""
    text, content_type = shape
    charset = None if content_type == "application/json" else "UTF-8"
    return web.Response(status=status, body=text.encode(), content_type=content_type, charset=charset, headers=headers)


def _viewed(call: Call, result: Any, bulk: bool) -> Any:
    route, view, wanted = call.route, call.route.view, None
    assert view is not None
    if call.dialect.fields and call.request.method in ("GET", "HEAD"):
        wanted = set(call.query.getall("fields", ())) or None

    def show(row: Any) -> dict[str, Any]:
        seen = view.view(row, call)
        return seen if wanted is None else {key: value for key, value in seen.items() if key in wanted}

    if route.many:
        listed = result if isinstance(result, Listed) else None
        rows = result.rows if listed else result
        shown = {view.plural: [show(row) for row in rows]}
        if listed is None:
            return shown
        return {**shown, **listed.extra, **call.dialect.list_extra(call, view.plural, listed)}
    if route.bulk:
        if bulk:
            return {view.plural: [show(row) for row in result]}
        result = result[0]
    key = route.envelope if isinstance(route.envelope, str) else view.name
    return show(result) if not call.dialect.envelope or route.envelope is False else {key: show(result)}
