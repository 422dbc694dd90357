"""What every service is built on, in one handful: made once by the composition root."""

from __future__ import annotations

from dataclasses import dataclass

from minicloud.core.clock import Clock
from minicloud.core.events import Events
from minicloud.core.operations import Operations
from minicloud.core.store import Store
from minicloud.core.trace import Tracer


@dataclass(frozen=True)
class Foundation:
    """The core's parts that services use."""

    store: Store
    events: Events
    operations: Operations
    tracer: Tracer
    clock: Clock
