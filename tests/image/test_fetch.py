"""Downloads over TLS: from who this machine's authorities vouch for, and from nobody else."""

from __future__ import annotations

import contextlib
import ipaddress
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from minicloud.core.errors import Unavailable
from minicloud.image import fetch

LOOPBACK = ("127.0.0.0/8",)


def certificate(folder: Path) -> Path:
    """A key and its self-signed certificate for 127.0.0.1, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "both.pem"
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@contextlib.asynccontextmanager
async def secure_server(pem: Path) -> AsyncIterator[str]:
    """A file behind TLS on the loopback."""

    async def file(request: web.Request) -> web.Response:
        return web.Response(body=b"from afar")

    app = web.Application()
    app.router.add_get("/file", file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield f"https://127.0.0.1:{runner.addresses[0][1]}/file"
    finally:
        await runner.cleanup()


async def test_authorities_are_those_of_the_machine_when_a_download_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate(tmp_path)
    async with secure_server(pem) as url:
        with pytest.raises(Unavailable):
            _ = [piece async for piece in fetch.stream(url, LOOPBACK, seconds=60)]
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        assert b"".join([piece async for piece in fetch.stream(url, LOOPBACK, seconds=60)]) == b"from afar"


@pytest.mark.parametrize(
    ("address", "port", "allowed", "wanted"),
    [
        ("1.1.1.1", 443, (), True), ("2606:4700::1111", 80, (), True), ("64:ff9b::101:101", 443, (), True),
        ("1.1.1.1", 22, (), False), ("1.1.1.1", 8080, ("1.1.1.0/24",), True), ("10.0.0.5", 8080, ("10.0.0.0/8",), True),
        ("10.0.0.5", 80, ("11.0.0.0/8",), False), ("::ffff:10.0.0.5", 80, ("10.0.0.0/8",), True),
    ],
)  # fmt: skip
def test_downloads_go_to_the_public_web_and_to_what_is_allowed(
    address: str, port: int, allowed: tuple[str, ...], wanted: bool
) -> None:
    assert fetch.may_ask(address, port, allowed) is wanted


def test_an_address_of_this_machine_is_never_public(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_is_public", lambda address: True)
    assert not fetch.may_ask("127.0.0.1", 80, ())
