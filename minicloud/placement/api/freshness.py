"""From 1.15 on every answer with a body says when what it tells was last changed, and that it must not be cached."""

from __future__ import annotations

from collections.abc import Iterable
from email.utils import format_datetime
from typing import Any

from minicloud.api.route import Call, Reply
from minicloud.core.clock import Clock, moment


def fresh(
    call: Call, clock: Clock, body: Any, *stamps: str | None, status: int | None = None, location: str | None = None
) -> Reply:
    """A reply with the two headers; the newest of `stamps` counts, without any the present moment."""
    headers = {} if location is None else {"Location": location}
    if call.at_least(1, 15):
        headers |= {"Last-Modified": _newest(clock, stamps), "Cache-Control": "no-cache"}
    return Reply(body, status=status, headers=headers)


def _newest(clock: Clock, stamps: Iterable[str | None]) -> str:
    known = [one for one in stamps if one is not None]
    return format_datetime(moment(max(known)) if known else clock.now(), usegmt=True)
