"""From kinds of errors to statuses and each service's own error shape.

Shapes as the services answer them: Nova and Cinder `{"itemNotFound": {"code", "message"}}`, Neutron `{"NeutronError":
{...}}`, Keystone `{"error": {...}}`, Placement `{"errors": [...]}`, Glance a small page or JSON of webob's form. A 401 is
Keystone's shape everywhere (the token middleware answers it), but Glance's.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping
from http import HTTPStatus

from aiohttp import web

from minicloud.core import errors
from minicloud.core.errors import MinicloudError

STATUS: Mapping[type[MinicloudError], int] = {
    errors.Invalid: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.OverQuota: 403,
    errors.TooLarge: 413,
    errors.Gone: 410,
    errors.UnsupportedMedia: 415,
    errors.NotAcceptable: 406,
    errors.PreconditionFailed: 412,
    errors.RateLimited: 429,
    errors.NotImplementedHere: 501,
    errors.HostFailure: 500,
    errors.NoCapacity: 409,
    errors.Interrupted: 409,
    errors.Unavailable: 503,
    errors.Stuck: 409,
}
"""Status of each kind where a dialect says nothing else."""


def status_of(error: MinicloudError, overrides: Mapping[type[MinicloudError], int]) -> int:
    """The HTTP status of an error in a service."""
    for kind in type(error).__mro__:
        if kind in overrides:
            return overrides[kind]
        if kind in STATUS:
            return STATUS[kind]
    return 500


def title(status: int) -> str:
    """The standard phrase of a status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


Shape = Callable[[int, MinicloudError, web.BaseRequest, str], tuple[str, str]]
"""(status, error, request, request id) -> (body, content type)."""

_KEYS = {
    400: "badRequest", 401: "unauthorized", 403: "forbidden", 404: "itemNotFound", 405: "badMethod",
    409: "conflictingRequest", 413: "overLimit", 415: "badMediaType", 429: "overLimit", 501: "notImplemented",
    503: "serviceUnavailable",
}  # fmt: skip


def keyed(status: int, error: MinicloudError, request: web.BaseRequest, request_id: str) -> tuple[str, str]:
    """Nova's and Cinder's shape."""
    inner: dict[str, object] = {"code": status, "message": error.message}
    if status in (413, 429, 503) and error.retry_after is not None:
        inner["retryAfter"] = str(error.retry_after)
    return json.dumps({_KEYS.get(status, "computeFault"): inner}), "application/json"


_NEUTRON_TYPES = {
    errors.Invalid: "BadRequest", errors.NotFound: "NotFound", errors.Conflict: "Conflict",
    errors.OverQuota: "OverQuota", errors.Forbidden: "PolicyNotAuthorized",
    errors.PreconditionFailed: "HTTPPreconditionFailed", errors.NotImplementedHere: "HTTPNotImplemented",
}  # fmt: skip


def neutron(status: int, error: MinicloudError, request: web.BaseRequest, request_id: str) -> tuple[str, str]:
    """Neutron's shape; `code` is the type that clients match on."""
    known = next(
        (name for kind, name in _NEUTRON_TYPES.items() if isinstance(error, kind)),
        "HTTP" + title(status).replace(" ", ""),
    )
    kind = error.code if error.code and not isinstance(error, errors.OverQuota | errors.Forbidden) else known
    return json.dumps({"NeutronError": {"type": kind, "message": error.message, "detail": ""}}), "application/json"


def keystone(status: int, error: MinicloudError, request: web.BaseRequest, request_id: str) -> tuple[str, str]:
    """Keystone's shape; also that of every service's 401."""
    inner = {"code": status, "message": error.message, "title": title(status)}
    return json.dumps({"error": inner}), "application/json"


def placement(status: int, error: MinicloudError, request: web.BaseRequest, request_id: str) -> tuple[str, str]:
    """Placement's shape (`code` in it from 1.23 on is always sent by us: older clients ignore it); a page for browsers."""
    accepted = request.headers.get("Accept", "")
    if "text/html" in accepted and "*/*" not in accepted and "json" not in accepted:
        return webob(status, error, request, request_id)
    inner: dict[str, object] = {
        "status": status,
        "request_id": request_id,
        "title": title(status),
        "detail": error.message,
    }
    inner["code"] = error.code or "placement.undefined_code"
    if isinstance(error, errors.NotAcceptable) and error.low:
        inner |= {"min_version": error.low, "max_version": error.high}
    return json.dumps({"errors": [inner]}), "application/json"


def webob(status: int, error: MinicloudError, request: web.BaseRequest, request_id: str) -> tuple[str, str]:
    """Glance's shape, and that of unknown routes in Nova and Cinder: JSON when asked for, else a small page."""
    phrase = title(status)
    if "application/json" in request.headers.get("Accept", ""):
        told = {"message": f"{error.message}<br /><br />\n\n\n", "code": f"{status} {phrase}", "title": phrase}
        return json.dumps(told), "application/json"
    heading = f"{status} {phrase}"
    page = (
        f"<html>\n <head>\n  <title>{heading}</title>\n </head>\n <body>\n"
        f"  <h1>{heading}</h1>\n  {html.escape(error.message)}<br /><br />\n\n\n </body>\n</html>"
    )
    return page, "text/html"
