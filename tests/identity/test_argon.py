"""Our hashes are everybody's: what the library makes we check, and the other way round."""

from __future__ import annotations

import concurrent.futures

import pytest
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError

from minicloud.identity.argon import Argon

OTHERS = PasswordHasher(time_cost=2, memory_cost=128, parallelism=1)


def test_others_check_what_we_hash_and_we_what_they_hash() -> None:
    ours = Argon(time=2, memory_kib=128)
    made = ours.hash("Pässwörd")
    assert OTHERS.verify(made, "Pässwörd") and ours.matches(made, "Pässwörd") and not ours.matches(made, "password")
    with pytest.raises(VerifyMismatchError):
        OTHERS.verify(made, "password")
    for hasher in (OTHERS, PasswordHasher(time_cost=1, memory_cost=512, parallelism=2, hash_len=16, salt_len=8)):
        assert ours.matches(hasher.hash("x"), "x") and not ours.matches(hasher.hash("x"), "y")


def test_hashes_with_other_numbers_are_old() -> None:
    ours = Argon(time=2, memory_kib=128)
    assert not ours.is_old(ours.hash("x")) and not ours.is_old(OTHERS.hash("x"))
    assert Argon(time=3, memory_kib=128).is_old(ours.hash("x"))
    with pytest.raises(InvalidHashError):
        ours.matches("no hash", "x")


def test_memory_is_kept_shared_and_given_back() -> None:
    ours = Argon(time=1, memory_kib=256)
    kept = ours.hash("x")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert all(pool.map(lambda _: ours.matches(kept, "x"), range(40)))
    assert not ours._used and 1 <= sum(map(len, ours._free.values())) <= 4
    ours.release()
    assert not any(ours._free.values()) and ours.matches(kept, "x")
