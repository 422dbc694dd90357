"""Downloads for imports: a stranger names the URL, so the cloud's own neighbourhood is off limits.

Addresses that are not public (loopback, private, link-local: metadata services, this host) are refused after the name was
resolved and at each redirect, but for the networks that `image.import_networks` of the configuration allows.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import time
from collections.abc import AsyncIterator, Sequence
from typing import cast
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from minicloud.core.errors import Invalid, Unavailable

REDIRECTS = 5
SILENCE = 60.0
"""Seconds without a byte after which a server is given up."""


class _Guarded:
    """Resolves names, and only to addresses that may be asked."""

    def __init__(self, allowed: Sequence[str]) -> None:
        self._allowed, self._resolver = allowed, ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        kept = [one for one in found if may_ask(one["host"], self._allowed)]
        if not kept:
            raise OSError("no address of that name may be asked")
        return kept

    async def close(self) -> None:
        await self._resolver.close()


def may_ask(address: str, allowed: Sequence[str]) -> bool:
    """Whether a download may go to an address: a public one, or one of an allowed network."""
    plain = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(plain, ipaddress.IPv6Address) and plain.ipv4_mapped is not None:
        plain = plain.ipv4_mapped
    networks = [ipaddress.ip_network(one, strict=False) for one in allowed]
    return plain.is_global or any(plain.version == one.version and plain in one for one in networks)


def check(uri: str, allowed: Sequence[str]) -> None:
    """Raise unless a URL may be downloaded as far as can be seen without asking for its name.

    Raises:
        Invalid: it is no http or https URL, or it names an address that is off limits.
    """
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise Invalid(f"Invalid import URI: {uri[:200]!r} is no URL.") from None
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        raise Invalid(f"Invalid import URI: {uri[:200]!r} must be an http or https URL without a user name.")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return
    if not may_ask(host, allowed):
        raise Invalid(f"Cannot download from {host}: it is no public address, nor one that this cloud allows.")


async def stream(uri: str, allowed: Sequence[str], *, seconds: float) -> AsyncIterator[bytes]:
    """The bytes behind a URL.

    Args:
        seconds: how long all of it may take.

    Raises:
        Unavailable: the server can't be reached, answers with anything but the file, or takes too long.
    """
    deadline = time.monotonic() + seconds
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=15, sock_read=min(SILENCE, seconds))
    trusted = await asyncio.to_thread(ssl.create_default_context)
    connector = aiohttp.TCPConnector(resolver=cast(AbstractResolver, _Guarded(allowed)), ssl=trusted)
    try:
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session:
            for _ in range(REDIRECTS):
                check(uri, allowed)
                async with session.get(uri, allow_redirects=False) as response:
                    if response.status in (301, 302, 303, 307, 308):
                        uri = urljoin(uri, response.headers.get("Location", ""))
                        continue
                    if response.status != 200:
                        raise Unavailable(f"Cannot download {uri[:200]}: the server answered {response.status}.")
                    async for piece, _end in response.content.iter_chunks():
                        if time.monotonic() > deadline:
                            raise Unavailable(f"Cannot download {uri[:200]}: it takes longer than {seconds:g} s.")
                        yield piece
                    return
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise Unavailable(f"Cannot download {uri[:200]}: {type(error).__name__}.") from None
    raise Unavailable(f"Cannot download {uri[:200]}: more than {REDIRECTS} redirects.")
