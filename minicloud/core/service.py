"""What a service is to the daemon: the "plugin" that the composition root puts together.

The built-in services are a literal list in `daemon.py`; others come through the entry point group `minicloud.services`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from minicloud.core.migrations import Migrations
from minicloud.core.reconcile import Reconciler


class Service(Protocol):
    """A module of the cloud."""

    @property
    def name(self) -> str:
        """ "identity", "image", "placement", "network", "volume", "compute"; the first word of undo records."""

    @property
    def migrations(self) -> Migrations:
        """Its part of the schema, append only."""

    @property
    def dialect(self) -> Any:
        """How its API differs from the others' (`api.dialect.Dialect`), None for a service without a wire."""

    @property
    def routes(self) -> Sequence[Any]:
        """Its operations (`api.route.Route`)."""

    def reconcilers(self) -> Sequence[Reconciler]:
        """Its loops; they run once, in this order, before the door opens."""

    async def start(self) -> None:
        """Begin what lives as long as the daemon (listeners, subscriptions)."""

    async def stop(self) -> None:
        """End that."""
