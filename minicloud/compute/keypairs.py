"""Key pairs: a user's public keys, which guests get at their first boot. Called by the API and by `launch.py`."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from minicloud.compute.tables import KEYPAIRS, KeyPair
from minicloud.core.clock import stamp
from minicloud.core.errors import Conflict, Invalid, NotFound
from minicloud.core.store import Db, Page

if TYPE_CHECKING:
    from minicloud.compute import Compute

KEY_BITS = 2048
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
    private_key = None
    if public_key is None:
        make = _generate if type == "ssh" else partial(_generate_certificate, name, compute.clock.now())
        key, private_key = await asyncio.to_thread(make)
    else:
        key = public_key
    fingerprint = await asyncio.to_thread(fingerprint_of, type, key)
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


def fingerprint_of(type: str, public_key: str) -> str:
    """MD5 of an SSH key's blob, SHA-1 of a certificate, as colon-separated hex (what Nova's clients print)."""
    if type == "x509":
        try:
            certificate = x509.load_pem_x509_certificate(public_key.encode())
            return certificate.fingerprint(hashes.SHA1()).hex(":")  # noqa: S303 - the API's own kind of fingerprint
        except (ValueError, UnsupportedAlgorithm):
            raise Invalid("Keypair data is invalid: the certificate could not be read.") from None
    parts = public_key.strip().split(None, 2)
    if len(parts) < 2 or "\n" in public_key.strip():
        raise Invalid("Keypair data is invalid: an SSH public key is one line of a type and its base64 data.")
    try:
        blob = base64.b64decode(parts[1], validate=True)
        length = int.from_bytes(blob[:4], "big")
    except ValueError:  # no ASCII, or no base64 (binascii.Error is one)
        raise Invalid("Keypair data is invalid: the key's data is no base64.") from None
    if blob[4 : 4 + length] != parts[0].encode() or length == 0:
        raise Invalid("Keypair data is invalid: the key's data is not of the type that it names.")
    return hashlib.md5(blob, usedforsecurity=False).digest().hex(":")


def _generate() -> tuple[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return public.decode() + " Generated-by-minicloud", private.decode()


def _generate_certificate(name: str, now: datetime) -> tuple[str, str]:
    """A self-signed certificate for ten years, as Windows guests take it for logging in without a password."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()
