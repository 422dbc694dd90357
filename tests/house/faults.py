"""What a refusal looks like, service by service, and how its words read. Called by the tests that collect refusals."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tests.conftest import Answer

WELL_KNOWN = (
    re.compile(r"There is no such action: "),
    re.compile(r"Malformed request url$"),
    re.compile(r"Extension with alias .* does not exist$", re.DOTALL),
    re.compile(r"No (image|task) found with ID ", re.DOTALL),
    re.compile(r"Invalid (status|visibility) value: ", re.DOTALL),
    re.compile(r"No token in the request$"),
)
"""Texts that clients and test suites match; they stay as OpenStack has them."""

CLUMSY = re.compile(
    r"<[\w.]+ object|0x[0-9a-f]{6,}|Traceback|\bNone\b|dataclass|\b[A-Z]\w+\((\w+=|')|/(tmp|var|home|usr|etc|root)/"
)
"""Signs of Python or of this machine showing through."""


def message_of(answer: Answer) -> str:
    """The sentence in a fault of whatever shape; "" if there is none."""
    return _message(answer.body) if isinstance(answer.body, Mapping) else ""


def _message(body: Mapping[str, Any]) -> str:
    inner = next(iter(body.values()), {}) if len(body) == 1 else body
    if isinstance(inner, list) and inner:
        inner = inner[0]
    if not isinstance(inner, Mapping):
        return ""
    return str(inner.get("message") or inner.get("detail") or "").removesuffix("<br /><br />\n\n\n")


def misshapen(service: str, answer: Answer) -> str:
    """What is wrong with the shape of a fault, "" if nothing."""
    body, status = answer.body, answer.status
    if not isinstance(body, Mapping):
        return f"{status} without a JSON object: {body!r:.80}"
    if status == 401 and service != "image":
        return "" if _fits(body.get("error"), code=status, keys={"code", "message", "title"}) else f"401 as {body}"
    if service == "image" or set(body) == {"message", "code", "title"}:  # Glance; Nova and Cinder where no route is
        return (
            "" if set(body) == {"message", "code", "title"} and str(body["code"]).startswith(str(status)) else f"{body}"
        )
    if service == "network":
        return "" if set(body.get("NeutronError", ())) == {"type", "message", "detail"} else f"{body}"
    if service == "identity":
        return "" if _fits(body.get("error"), code=status, keys={"code", "message", "title"}) else f"{body}"
    if service == "placement":
        errors = body.get("errors") or [{}]
        return (
            ""
            if {"status", "title", "detail", "request_id"} <= set(errors[0]) and errors[0]["status"] == status
            else f"{body}"
        )
    inner = next(iter(body.values()), None) if len(body) == 1 else None
    return "" if _fits(inner, code=status, keys={"code", "message"}) else f"{body}"


def _fits(inner: object, *, code: int, keys: set[str]) -> bool:
    return isinstance(inner, Mapping) and keys <= set(inner) and inner["code"] == code


def unreadable(answer: Answer) -> str:
    """What is wrong with the words of a fault, "" if nothing: one or more whole sentences, for people."""
    message = message_of(answer)
    if any(one.match(message) for one in WELL_KNOWN):
        return ""
    if not message:
        return f"{answer.status} says nothing"
    if not (message[0].isupper() or message[0].isdigit()) or not message.endswith((".", "?")):
        return f"no sentence: {message!r}"
    return f"not for people: {message!r}" if CLUMSY.search(message) else ""
