"""Time, as the cloud sees it: one clock handed to everything, so that tests can own it.

Moments are kept in rows as text in UTC, `2026-11-22T21:28:59.123456`, which sorts as it reads. How a service prints
them to its clients is that service's business (`api/schema.py` has the forms).
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time for records, monotonic time for intervals."""

    def now(self) -> datetime:
        """The present moment, aware, in UTC."""

    def monotonic(self) -> float:
        """Seconds that never jump."""


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> datetime:
        """The present moment, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return time.monotonic()


def stamp(moment: datetime) -> str:
    """A moment as rows keep it."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


def moment(text: str) -> datetime:
    """A moment from a row."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
