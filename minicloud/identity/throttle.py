"""Bounded guessing: after some failures an account is closed to one address for a while, after each further one for longer.

Keyed by account *and* address, so that nobody can lock out somebody else; unknown accounts are counted like known ones.
`Lockout` is the other bound, off unless the operator asks for it: so many wrong passwords in a row close an account to everyone.
Both are in memory: a restart forgives. Called by `login.py` around each proof.
"""

from __future__ import annotations

import functools
import ipaddress
import math
from collections import OrderedDict, deque

from minicloud.core.clock import Clock
from minicloud.core.errors import RateLimited

MOST = 10_000
"""Pairs remembered; the longest unused goes first."""

LONGEST, STEPS = 60.0, 7
"""Seconds that one failure closes an account for at most, and failures beyond the free ones until it does (2**6 s)."""


class Throttle:
    """Failures of late.

    Args:
        failures: how many are free; after each further one an account is closed for longer, up to a minute.
        window: seconds during which one counts.
    """

    def __init__(self, clock: Clock, *, failures: int, window: float) -> None:
        self._clock, self._failures, self._window = clock, failures, window
        self._seen: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    def check(self, account: str, address: str) -> None:
        """Raise `RateLimited` if this account had too many failures from this address."""
        times = self._seen.get((account, origin(address)))
        if times is None:
            return
        now = self._clock.monotonic()
        while times and times[0] <= now - self._window:
            times.popleft()
        if len(times) < self._failures:
            return
        opens = times[-1] + min(LONGEST, 2.0 ** (len(times) - self._failures))
        if now < opens:
            raise RateLimited(
                "Cannot log in now: too many failed tries; wait and try again.", retry_after=math.ceil(opens - now)
            )

    def failed(self, account: str, address: str) -> None:
        """Remember a failure."""
        key = (account, origin(address))
        self._seen.setdefault(key, deque(maxlen=self._failures + STEPS)).append(self._clock.monotonic())
        self._seen.move_to_end(key)
        if len(self._seen) > MOST:
            self._seen.popitem(last=False)

    def passed(self, account: str, address: str) -> None:
        """Forget the failures of one who got in."""
        self._seen.pop((account, origin(address)), None)


@functools.lru_cache(maxsize=1024)
def origin(address: str) -> str:
    """What counts as one address: with IPv6 a host has a whole /64 to choose from."""
    try:
        told = ipaddress.IPv6Address(address)
    except ValueError:
        return address
    return str(told.ipv4_mapped or ipaddress.IPv6Address(int(told) >> 64 << 64))


class Lockout:
    """Accounts that too many wrong passwords in a row have closed.

    Args:
        failures: how many close one; 0: none ever is.
        seconds: for how long, from the last failure on.
    """

    def __init__(self, clock: Clock, *, failures: int, seconds: float) -> None:
        self._clock, self._failures, self._seconds = clock, failures, seconds
        self._seen: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def is_closed(self, account: str) -> bool:
        """Whether an account is closed now."""
        count, last = self._seen.get(account, (0, 0.0))
        if not self._failures or count < self._failures:
            return False
        if last + self._seconds > self._clock.monotonic():
            return True
        del self._seen[account]
        return False

    def failed(self, account: str) -> None:
        """Count a wrong password; of accounts that don't exist too, so that they take the same time."""
        if not self._failures or self.is_closed(account):
            return
        self._seen[account] = (self._seen.get(account, (0, 0.0))[0] + 1, self._clock.monotonic())
        self._seen.move_to_end(account)
        if len(self._seen) > MOST:
            self._seen.popitem(last=False)

    def passed(self, account: str) -> None:
        """Forget the failures of one who got in."""
        self._seen.pop(account, None)
