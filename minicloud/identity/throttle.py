"""Bounded guessing: after some failures an account is closed to one address for a while.

Keyed by account *and* address, so that nobody can lock out somebody else; unknown accounts are counted like known ones.
In memory: a restart forgives. Called by `login.py` around each proof.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from minicloud.core.clock import Clock
from minicloud.core.errors import RateLimited

MOST = 10_000
"""Pairs remembered; the longest unused goes first."""


class Throttle:
    """Failures of late.

    Args:
        failures: how many are free.
        window: seconds during which one counts.
    """

    def __init__(self, clock: Clock, *, failures: int, window: float) -> None:
        self._clock, self._failures, self._window = clock, failures, window
        self._seen: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    def check(self, account: str, address: str) -> None:
        """Raise `RateLimited` if this account had too many failures from this address."""
        times = self._seen.get((account, address))
        if times is None:
            return
        now = self._clock.monotonic()
        while times and times[0] <= now - self._window:
            times.popleft()
        if len(times) >= self._failures:
            raise RateLimited(
                "Cannot log in now: too many failed tries; wait and try again.",
                retry_after=max(1, round(times[0] + self._window - now)),
            )

    def failed(self, account: str, address: str) -> None:
        """Remember a failure."""
        times = self._seen.setdefault((account, address), deque(maxlen=self._failures))
        times.append(self._clock.monotonic())
        self._seen.move_to_end((account, address))
        if len(self._seen) > MOST:
            self._seen.popitem(last=False)

    def passed(self, account: str, address: str) -> None:
        """Forget the failures of one who got in."""
        self._seen.pop((account, address), None)
