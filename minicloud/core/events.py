"""Facts: something low tells whoever cares that something happened, after it is durable.

A fact is a frozen dataclass published inside a transaction; subscribers are called on the loop once the transaction is
committed, and never if it is rolled back. Those that keep rows of their own about it subscribe within the transaction:
what both sides write holds or falls together. Facts inform, they do not veto.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeVar

import structlog

from minicloud.core.store import Db

log = structlog.get_logger(__name__)
Fact = TypeVar("Fact")


class Events:
    """The subscriptions of one daemon."""

    def __init__(self) -> None:
        self._subscribers: dict[type, list[Callable[[Any], None]]] = defaultdict(list)
        self._writers: dict[type, list[Callable[[Db, Any], None]]] = defaultdict(list)

    def subscribe(self, kind: type[Fact], call: Callable[[Fact], None]) -> None:
        """Have `call(fact)` run on the loop for each fact of this kind; it must not block (start a task)."""
        self._subscribers[kind].append(call)

    def subscribe_in(self, kind: type[Fact], call: Callable[[Db, Fact], None]) -> None:
        """Have `call(db, fact)` run within the transaction that publishes a fact of this kind."""
        self._writers[kind].append(call)

    def publish_in(self, db: Db, fact: object) -> None:
        """Tell a fact when the transaction of `db` is durable; those who write about it are told at once."""
        for call in self._writers[type(fact)]:
            call(db, fact)
        db.after_commit(self.tell, fact)

    def tell(self, fact: object) -> None:
        """Tell a fact now (one that comes from the host rather than from a transaction)."""
        for call in self._subscribers[type(fact)]:
            try:
                call(fact)
            except Exception:
                log.exception("a subscriber failed", fact=type(fact).__name__)
