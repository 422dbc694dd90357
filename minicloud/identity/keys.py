"""Keys on disk: a folder of numbered Fernet keys, the highest one in use, older ones still understood.

The files are the truth: where another process rotated them (`minicloud keys rotate`), the next use reads them again.
The folder is 0700, each file 0600, written whole, so that a power cut leaves the old set or the new one. Called by the identity service for tokens and for sealed columns.
"""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

from cryptography.fernet import Fernet, MultiFernet

from minicloud.core.errors import Unavailable
from minicloud.core.files import make_folder, write_whole

QUIET = 50_000_000
"""Nanoseconds after which a folder's time tells of every change: the kernel's clock for files is coarse."""


class KeyRing:
    """The keys of one purpose.

    Args:
        folder: made if it is missing; its parent exists.
        kept: how many keys stay readable after a rotation.
    """

    def __init__(self, folder: Path, *, kept: int) -> None:
        self._folder, self._kept = folder, kept
        self._keys: list[bytes] = []
        self._generation = 0
        self._cipher = MultiFernet([Fernet(Fernet.generate_key())])
        self._read_at = 0

    @property
    def cipher(self) -> MultiFernet:
        """What the keys that lie there now seal and unseal with."""
        self._follow()
        return self._cipher

    @property
    def generation(self) -> int:
        """A number that grows when the keys that lie there are others than before."""
        self._follow()
        return self._generation

    def open(self) -> None:
        """Read the keys, making the first one.

        Raises:
            Unavailable: somebody else could read or replace the keys, or a file is no key.
        """
        make_folder(self._folder, mode=0o700)
        self._refuse_if_shared(self._folder)
        if not self._numbers():
            self._add(1)
        self._load()

    def rotate(self) -> None:
        """Use a new key from now on and forget the oldest beyond `kept`."""
        self._add(max(self._numbers(), default=0) + 1)
        for number in self._numbers()[: -self._kept]:
            (self._folder / str(number)).unlink()
        self._load()

    def ages(self, now: float) -> list[tuple[int, float]]:
        """(number, seconds since it came into use) of each key, the newest first; `now` since the epoch."""
        paths = [self._folder / str(number) for number in reversed(self._numbers())]
        return [(int(path.name), now - path.stat().st_mtime) for path in paths]

    def newest_seconds(self, now: float) -> float:
        """Age of the key in use, seconds; `now` since the epoch."""
        return self.ages(now)[0][1]

    def _follow(self) -> None:
        if self._folder.stat().st_mtime_ns != self._read_at:
            self._load()

    def _numbers(self) -> list[int]:
        return sorted(int(path.name) for path in self._folder.iterdir() if path.name.isdigit())

    def _load(self) -> None:
        keys, ciphers, changed = [], [], self._folder.stat().st_mtime_ns
        for number in reversed(self._numbers()):
            path = self._folder / str(number)
            self._refuse_if_shared(path)
            keys.append(path.read_bytes())
            try:
                ciphers.append(Fernet(keys[-1]))
            except ValueError:
                raise Unavailable(f"Cannot use the key file {path}: it holds no key.") from None
        if keys != self._keys:
            self._keys, self._cipher, self._generation = keys, MultiFernet(ciphers), self._generation + 1
        self._read_at = changed if time.time_ns() - changed > QUIET else 0

    def _add(self, number: int) -> None:
        write_whole(self._folder / str(number), Fernet.generate_key())

    def _refuse_if_shared(self, path: Path) -> None:
        found = path.stat()
        wanted = 0o700 if stat.S_ISDIR(found.st_mode) else 0o600
        if found.st_mode & 0o077 or found.st_uid != os.geteuid():
            mode = stat.S_IMODE(found.st_mode)
            raise Unavailable(
                f"Cannot use the keys in {path}: its mode is {mode:o} and its owner {found.st_uid}; "
                f"wanted are {wanted:o} and {os.geteuid()}."
            )
