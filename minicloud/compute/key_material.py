"""Keys themselves: fingerprints of those that users bring, and new pairs. Called by `keypairs.py`, on threads."""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from minicloud.core.errors import Invalid

KEY_BITS = 2048


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


def generate() -> tuple[str, str]:
    """A new RSA pair: the public half as `authorized_keys` takes it, the private one in PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    return public.decode() + " Generated-by-minicloud", private.decode()


def generate_certificate(name: str, now: datetime) -> tuple[str, str]:
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
