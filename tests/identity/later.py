"""A clock that a test moves: given to a running identity service. Called by the tests of this folder."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.conftest import Cloud


class Later:
    """The machine's clock, some time ahead."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def monotonic(self) -> float:
        return self.ahead.total_seconds()


def run_ahead(cloud: Cloud) -> Later:
    """Give the identity service a clock that the test moves."""
    clock = Later()
    identity = cloud.daemon.identity
    identity.clock = identity.lockout._clock = identity.throttle._clock = clock
    return clock
