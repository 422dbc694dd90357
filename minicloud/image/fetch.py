"""Downloads for imports: a stranger names the URL, so the cloud's own neighbourhood is off limits.

Addresses that are not public (loopback, private, link-local: metadata services), this host's own, and ports that are not
the web's are refused after the name was resolved and at each redirect, but for the networks that `image.import_networks`
of the configuration allows.
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

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
REDIRECTS = 5
PORTS = {"http": 80, "https": 443}
NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""IPv4 as networks of IPv6 alone see it (RFC 6052): the address is in the last four bytes."""
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
        kept = [one for one in found if may_ask(one["host"], port, self._allowed)]
        if not kept:
            raise OSError("no address of that name may be asked at that port")
        return kept

    async def close(self) -> None:
        await self._resolver.close()


def may_ask(address: str, port: int, allowed: Sequence[str]) -> bool:
    """Whether a download may go there: to the web's ports of a public address that is not our own, or to any port in an
    allowed network."""
    plain = _plain(ipaddress.ip_address(address.partition("%")[0]))
    networks = [ipaddress.ip_network(one, strict=False) for one in allowed]
    if any(plain.version == one.version and plain in one for one in networks):
        return True
    return port in PORTS.values() and _is_public(plain) and not _is_own(plain)


def _plain(address: _Address) -> _Address:
    """An IPv4 address that stands in an IPv6 one, or the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address


def _is_public(address: _Address) -> bool:
    if not address.is_global or address.is_multicast or address.is_reserved:
        return False
    # left from the time of transition: 6to4 holds an IPv4 address that was not looked at, site-local is private
    return isinstance(address, ipaddress.IPv4Address) or not (address.sixtofour or address.is_site_local)


def _is_own(address: _Address) -> bool:
    """Whether an address is this machine's: then what it would send to it would come from it. Nothing is sent."""
    with socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect((str(address), PORTS["http"]))
            return ipaddress.ip_address(asked.getsockname()[0]) == address
        except OSError:  # no way there
            return False


def check(uri: str, allowed: Sequence[str]) -> None:
    """Raise unless a URL may be downloaded as far as can be seen without asking for its name.

    Raises:
        Invalid: it is no http or https URL, or it names an address that is off limits.
    """
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise Invalid(f"Invalid import URI: {uri[:200]!r} is no URL.") from None
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        raise Invalid(f"Invalid import URI: {uri[:200]!r} must be an http or https URL without a user name.")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return
    if not may_ask(host, port or PORTS[parts.scheme], allowed):
        raise Invalid(
            f"Cannot download from {host}: it is no public address at port 80 or 443, nor one that this cloud allows."
        )


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
