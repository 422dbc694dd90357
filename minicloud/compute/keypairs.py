"""Key pairs: a user's public keys, which guests get at their first boot. Called by the API and by `launch.py`."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import TYPE_CHECKING

from minicloud.compute.tables import KEYPAIRS, KeyPair
from minicloud.core.clock import stamp
from minicloud.core.errors import Conflict, Invalid, NotFound
from minicloud.core.store import Db, Page

if TYPE_CHECKING:
    from minicloud.compute import Compute

_NAME = re.compile(r"^[A-Za-z0-9_ .@-]{1,255}$")


def find_in(db: Db, user_id: str, name: str) -> KeyPair | None:
    """A user's key pair by its name, or None."""
    return KEYPAIRS.first(db, "user_id = ? AND name = ?", (user_id, name))


def show(compute: Compute, user_id: str, name: str) -> KeyPair:
    """A user's key pair by its name."""
    found = compute.store.read(find_in, user_id, name)
    if found is None:
        raise NotFound(f"Keypair {name} not found for user {user_id}.")
    return found


def listed(compute: Compute, user_id: str, page: Page) -> list[KeyPair]:
    """One page of a user's key pairs, by name; the marker is a name."""

    def read(db: Db) -> list[KeyPair]:
        marker = None
        if page.marker is not None:
            found = find_in(db, user_id, page.marker)
            if found is None:
                raise Invalid(f"Cannot continue the list: marker {page.marker} could not be found.")
            marker = str(found.id)
        paged = Page(limit=page.limit, marker=marker, sorts=(("name", True),))
        return KEYPAIRS.page(db, paged, "user_id = ?", (user_id,))

    return compute.store.read(read)


async def create(
    compute: Compute, *, user_id: str, project_id: str, name: str, type: str = "ssh", public_key: str | None = None
) -> tuple[KeyPair, str | None]:
    """Keep a public key, or make a new pair; returns the row and, of a new pair, the private key (told once, not kept).

    Raises:
        Invalid: a bad name, type or key. Conflict: the name is taken. OverQuota: too many keys.
    """
    if not _NAME.match(name) or name != name.strip():
        raise Invalid(
            f"Cannot name a key pair {name!r}: letters, digits, spaces and _-.@ only, none at either end blank."
        )
    from minicloud.compute import key_material  # what it loads takes a while that only the first key pair should pay

    private_key = None
    if public_key is None:
        make = (
            key_material.generate
            if type == "ssh"
            else partial(key_material.generate_certificate, name, compute.clock.now())
        )
        key, private_key = await asyncio.to_thread(make)
    else:
        key = public_key
    fingerprint = await asyncio.to_thread(key_material.fingerprint_of, type, key)
    row = KeyPair(
        id=None, user_id=user_id, name=name, type=type, fingerprint=fingerprint, public_key=key,
        created_at=stamp(compute.clock.now()),
    )  # fmt: skip

    def add(db: Db) -> KeyPair:
        if find_in(db, user_id, name) is not None:
            raise Conflict(f"Key pair '{name}' already exists.")
        compute.require_key_quota_in(db, user_id, project_id)
        KEYPAIRS.insert(db, row)
        found = find_in(db, user_id, name)
        assert found is not None
        return found

    return await compute.store.write(add), private_key


async def delete(compute: Compute, user_id: str, name: str) -> None:
    """Forget a key pair; servers made with it keep the key."""

    def remove(db: Db) -> None:
        found = find_in(db, user_id, name)
        if found is None or found.id is None:
            raise NotFound(f"Keypair {name} not found for user {user_id}.")
        KEYPAIRS.delete(db, found.id)

    await compute.store.write(remove)
