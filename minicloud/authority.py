"""This cloud's own certificate authority: for those who have no other, and want TLS all the same.

Clients trust `authority.pem`; its key signs certificates for our door and never leaves its folder. Imported only when
something is signed (it costs megabytes): by `minicloud certificate make`, and by the daemon when it is time to renew.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from minicloud.certificates import AUTHORITY, AUTHORITY_KEY, CERTIFICATE, LASTS, RENEWED_AFTER
from minicloud.core.errors import Invalid
from minicloud.core.files import write_whole

AUTHORITY_LASTS = timedelta(days=3650)
SKEW = timedelta(hours=1)
"""How late a client's clock may be."""


def make(folder: Path, names: Sequence[str], now: datetime) -> None:
    """Make a certificate for some host names and addresses, and before it the authority if there is none.

    Raises:
        Invalid: one of the names is none.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not ((folder / AUTHORITY).exists() and (folder / AUTHORITY_KEY).exists()):
        _make_authority(folder, now)
    _issue(folder, _alternatives(names), now)


def renew(folder: Path, now: datetime) -> bool:
    """Make the certificate anew, for the same names, once two thirds of its time are over; whether it was.

    One that this folder's authority did not make, or that there is none of, is left alone.
    """
    if not ((folder / AUTHORITY_KEY).exists() and (folder / CERTIFICATE).exists()):
        return False
    present = x509.load_pem_x509_certificate((folder / CERTIFICATE).read_bytes())
    begins, ends = present.not_valid_before_utc, present.not_valid_after_utc
    if now < begins + (ends - begins) * RENEWED_AFTER:
        return False
    _issue(folder, present.extensions.get_extension_for_class(x509.SubjectAlternativeName).value, now)
    return True


def _alternatives(names: Sequence[str]) -> x509.SubjectAlternativeName:
    told: list[x509.GeneralName] = []
    for name in names:
        try:
            told.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            try:
                told.append(x509.DNSName(name))
            except ValueError:
                raise Invalid(f"Cannot make a certificate for {name!r}: it is no host name and no address.") from None
    return x509.SubjectAlternativeName(told)


def _make_authority(folder: Path, now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        _dated(now, AUTHORITY_LASTS)
        .subject_name(_called(f"minicloud authority {identifier.digest.hex()[:8]}"))
        .issuer_name(_called(f"minicloud authority {identifier.digest.hex()[:8]}"))
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_others=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    write_whole(folder / AUTHORITY_KEY, _private(key))
    write_whole(folder / AUTHORITY, _public(certificate), mode=0o644)


def _issue(folder: Path, names: x509.SubjectAlternativeName, now: datetime) -> None:
    authority = x509.load_pem_x509_certificate((folder / AUTHORITY).read_bytes())
    signing = load_pem_private_key((folder / AUTHORITY_KEY).read_bytes(), password=None)
    if not isinstance(signing, ec.EllipticCurvePrivateKey):
        raise Invalid(f"Cannot make a certificate: {folder / AUTHORITY_KEY} is not the key that was made for it.")
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _dated(now, LASTS)
        .subject_name(_called("minicloud"))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_others=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(signing, hashes.SHA256())
    )
    write_whole(folder / CERTIFICATE, _private(key) + _public(certificate))


def _dated(now: datetime, lasts: timedelta) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().serial_number(x509.random_serial_number())
    return builder.not_valid_before(now - SKEW).not_valid_after(now + lasts)


def _called(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _usage(*, signs_others: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_others, key_cert_sign=signs_others, crl_sign=signs_others, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _public(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)
