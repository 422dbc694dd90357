"""Microversions: what a client asks for and what a service speaks (API SIG guideline "microversion specification")."""

from __future__ import annotations

import functools
import re

from minicloud.core.errors import Invalid

Version = tuple[int, int]
_FORM = re.compile(r"^(0|[1-9]\d{0,8})\.(0|[1-9]\d{0,8})\Z", re.ASCII)


@functools.lru_cache(256)
def version(text: str, *, from_zero: bool = False) -> Version:
    """(2, 93) of "2.93"; raises `Invalid` for anything else, and for "0.9" unless versions start there."""
    match = _FORM.match(text)
    if match is None or (match[1] == "0" and not from_zero):
        raise Invalid(
            f"Cannot use the API version, invalid version string: {text[:40]}; it must be of the form MAJOR.MINOR."
        )
    return int(match[1]), int(match[2])


def printed(value: Version) -> str:
    """ "2.93" of (2, 93)."""
    return f"{value[0]}.{value[1]}"


def within(value: Version, since: Version | None, until: Version | None) -> bool:
    """Whether a version lies in a range, both ends included; None is open."""
    return (since is None or value >= since) and (until is None or value <= until)
