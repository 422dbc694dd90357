"""Room on the disk that is kept for what must be written when there is none left.

A full disk refuses new work, but what is under way has to end and things must be removable, or nobody could ever make
room again. So the store holds some room by a file of its own, gives it up for urgent writes when the disk is full, and
takes it back as soon as there is enough. Called by `store.Store` only. Source: posix_fallocate(3).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

ROOM = 8 * 1024 * 1024
"""Bytes: some thousand journal writes."""

_urgent: ContextVar[bool] = ContextVar("urgent", default=False)


@contextlib.contextmanager
def urgent() -> Iterator[None]:
    """What is written within may use the room that is kept: it ends or removes something."""
    token = _urgent.set(True)
    try:
        yield
    finally:
        _urgent.reset(token)


def is_urgent() -> bool:
    """Whether the caller is within `urgent`."""
    return _urgent.get()


class Reserve:
    """The room, as a file beside the database.

    Attributes:
        held: whether it is there.
    """

    def __init__(self, path: Path, *, room: int) -> None:
        self._path, self._room, self.held = path, room, False

    def take(self) -> bool:
        """Hold the room; False if the disk has not as much. Blocks."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self._room)
            finally:
                os.close(descriptor)
            self.held = True
        except OSError:
            self.give_up()
        return self.held

    def give_up(self) -> None:
        """Let others write there."""
        self.held = False
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)
