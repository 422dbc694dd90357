"""Placement's wire: every answer is bare JSON, errors are a list, and a generation guards every write."""

from __future__ import annotations

from minicloud.api import faults
from minicloud.api.dialect import Dialect, Microversions
from minicloud.api.route import Route

DIALECT = Dialect(
    service="placement",
    root="",
    fault=faults.placement,
    unknown_route=faults.placement,
    envelope=False,
    microversions=Microversions("placement", low=(1, 0), high=(1, 39), default=(1, 0)),
    catalog=(("placement", ""),),
)
ROUTES: list[Route] = []
