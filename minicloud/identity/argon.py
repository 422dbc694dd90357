"""Argon2id in work memory that is kept from one hash to the next.

A hash fills 19 MiB. The daemon gives memory back at once (`daemon.settle_memory`), so each hash would have the kernel find and clear
its pages again, which takes nearly as long as the hash itself. Here the pages stay until `release` is called, after some quiet
seconds. The library wipes them after each use. Called by `passwords.py`, in its threads.
"""

from __future__ import annotations

import base64
import hmac
import mmap
import secrets
from dataclasses import dataclass
from typing import Any

from argon2 import Parameters, extract_parameters
from argon2.exceptions import HashingError
from argon2.low_level import ARGON2_VERSION, Type, core, error_to_str, ffi

SALT, LENGTH = 16, 32
"""Bytes of salt and hash (RFC 9106, section 4)."""


@dataclass
class _Block:
    """Pages that some hash works in."""

    pages: mmap.mmap
    view: Any

    def give_back(self) -> None:
        ffi.release(self.view)
        self.pages.close()


class Argon:
    """Hashes and checks, with the numbers of today for new hashes.

    Args:
        time: passes. memory_kib: of work memory.
    """

    def __init__(self, *, time: int, memory_kib: int) -> None:
        self._today = Parameters(Type.ID, ARGON2_VERSION, SALT, LENGTH, time, memory_kib, 1)
        self._free: dict[int, list[_Block]] = {}
        self._used: dict[int, _Block] = {}
        self._allocate = ffi.callback("int(uint8_t **, size_t)", self._lend, error=-22)
        self._deallocate = ffi.callback("void(uint8_t *, size_t)", self._take_back)

    def hash(self, password: str) -> str:
        """A new hash, in the usual text form ("$argon2id$v=19$...")."""
        salt, told = secrets.token_bytes(SALT), self._today
        numbers = f"m={told.memory_cost},t={told.time_cost},p={told.parallelism}"
        return f"$argon2id$v={told.version}${numbers}${_text(salt)}${_text(self._raw(password, salt, told))}"

    def matches(self, kept: str, password: str) -> bool:
        """Whether a password is the one of a hash; raises argon2's `InvalidHashError` for what is no hash."""
        told = extract_parameters(kept)
        *_, salt, expected = kept.split("$")
        return hmac.compare_digest(self._raw(password, _bytes(salt), told), _bytes(expected))

    def is_old(self, kept: str) -> bool:
        """Whether a hash was made with other numbers than today's."""
        return extract_parameters(kept) != self._today

    def release(self) -> None:
        """Give back the memory that no hash works in."""
        for blocks in self._free.values():
            while blocks:
                blocks.pop().give_back()

    def _raw(self, password: str, salt: bytes, told: Parameters) -> bytes:
        secret = password.encode()
        made, given, seed = (
            ffi.new("uint8_t[]", told.hash_len),
            ffi.new("uint8_t[]", secret),
            ffi.new("uint8_t[]", salt),
        )
        values = {
            "version": told.version, "out": made, "outlen": told.hash_len, "pwd": given, "pwdlen": len(secret), "salt": seed,
            "saltlen": len(salt), "secret": ffi.NULL, "secretlen": 0, "ad": ffi.NULL, "adlen": 0, "t_cost": told.time_cost,
            "m_cost": told.memory_cost, "lanes": told.parallelism, "threads": told.parallelism,
            "allocate_cbk": self._allocate, "free_cbk": self._deallocate, "flags": 0,
        }  # fmt: skip
        code = core(ffi.new("argon2_context *", values), told.type.value)
        if code:
            raise HashingError(error_to_str(code))
        return bytes(ffi.buffer(made, told.hash_len))

    def _lend(self, place: Any, size: int) -> int:
        blocks = self._free.setdefault(size, [])
        try:
            block = blocks.pop()
        except IndexError:
            pages = mmap.mmap(-1, size)
            block = _Block(pages, ffi.from_buffer("uint8_t[]", pages))
        place[0] = ffi.cast("uint8_t *", block.view)
        self._used[int(ffi.cast("uintptr_t", place[0]))] = block
        return 0

    def _take_back(self, place: Any, size: int) -> None:
        block = self._used.pop(int(ffi.cast("uintptr_t", place)), None)
        if block is not None:
            self._free[size].append(block)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4))
