"""Driver calls that run to their end once they have begun, even if the caller is cancelled.

Half a change would leave the kernel and what a driver remembers of it apart. Used by the drivers that remember.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_running: set[asyncio.Task[Any]] = set()
"""The loop itself holds tasks weakly."""


def whole(
    method: Callable[Arguments, Coroutine[Any, Any, Result]],
) -> Callable[Arguments, Coroutine[Any, Any, Result]]:
    """Let a coroutine function run on when its caller is cancelled; the caller is released at once."""

    @functools.wraps(method)
    async def protected(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        task = asyncio.create_task(method(*arguments, **named))
        _running.add(task)
        task.add_done_callback(_running.discard)
        return await asyncio.shield(task)

    return protected
