"""What a guest gets for which path: OpenStack's tree and EC2's, rendered by compute (`documents.py` there).

OpenStack's folders list one name a line; EC2's folders end in a slash where a folder is meant, and the list of keys is
`0=name`. An unknown asker gets 404, as a guest that has no server (any more) should.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import structlog
from aiohttp import web

from minicloud.compute import EC2_VERSIONS, VERSIONS, Compute, GuestFacts, ec2_meta_data, openstack_files
from minicloud.core.clock import Clock
from minicloud.core.errors import Conflict, Invalid
from minicloud.core.trace import Tracer
from minicloud.network import Network, PortInfo

log = structlog.get_logger(__name__)
_PLAIN = "text/plain"
BURST, RATE = 200, 50
"""Questions of one guest: at once, and a second after that. A first boot asks some thirty."""
MOST_KNOWN = 4096
"""Guests that are remembered at a time."""


class Pace:
    """How fast one guest may ask: a bucket of `BURST` questions for each address behind each door, filled again at `RATE` a
    second. What one guest asks too much is refused before anything is looked up for it, so that the others are served."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._left: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def allows(self, who: tuple[str, str]) -> bool:
        """Whether one more question may be answered now; counts it."""
        now = self._clock.monotonic()
        left, then = self._left.pop(who, (float(BURST), now))
        left = min(float(BURST), left + (now - then) * RATE)
        self._left[who] = (max(0.0, left - 1), now)
        if len(self._left) > MOST_KNOWN:
            self._left.popitem(last=False)
        return left >= 1


class Answers:
    """The application behind the doors; one `web.Application` a door, all of them the same but for the owner."""

    def __init__(self, *, network: Network, compute: Compute, tracer: Tracer, clock: Clock) -> None:
        self._network, self._compute, self._tracer = network, compute, tracer
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._pace = Pace(clock)

    def application(self, owner_id: str) -> web.Application:
        """The application for requests that arrive in one network's or router's namespace."""

        async def handle(request: web.Request) -> web.Response:
            return await self._answer(owner_id, request)

        application = web.Application(client_max_size=16 * 1024)
        application.router.add_route("*", "/{path:.*}", handle)
        return application

    async def _answer(self, owner_id: str, request: web.Request) -> web.Response:
        if not self._pace.allows((owner_id, request.remote or "")):
            text = "429 Too Many Requests\n"
            return web.Response(status=429, text=text, content_type=_PLAIN, headers={"Retry-After": "1"})
        port = self._network.port_at(owner_id, request.remote or "")
        facts = None if port is None else self._compute.guest(port.device_id)
        if port is None or facts is None:
            log.warning("metadata was asked for by nobody's address", owner=owner_id, address=request.remote)
            return _missing()
        if facts.id not in self._seen:
            self._seen[facts.id] = None
            if len(self._seen) > MOST_KNOWN:
                self._seen.popitem(last=False)
            log.info("a guest asked for its metadata", server=facts.id, path=request.path)
            await self._note(facts, port, request.path)
        parts = [part for part in request.path.split("/") if part]
        if request.method == "POST" and parts[:1] == ["openstack"] and parts[2:] == ["password"]:
            return await self._keep_password(facts, request)
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, text="405 Method Not Allowed\n", content_type=_PLAIN)
        if not parts:
            return _text("\n".join([*EC2_VERSIONS, "openstack"]))
        if parts[0] == "openstack":
            return self._openstack(facts, parts[1:])
        if parts[0] in EC2_VERSIONS:
            return _ec2(facts, parts[1:])
        return _missing()

    def _openstack(self, facts: GuestFacts, parts: list[str]) -> web.Response:
        if not parts:
            return _text("\n".join(VERSIONS))
        if parts[0] not in VERSIONS:
            return _missing()
        files = openstack_files(facts, self._network.network_data(facts.id))
        if len(parts) == 1:
            return _text("\n".join(sorted([*files, "password"])))
        if parts[1:] == ["password"]:
            return _text(facts.guest_password)
        content = files.get("/".join(parts[1:]))
        if content is None:
            return _missing()
        kind = "application/json" if parts[1].endswith(".json") else "application/octet-stream"
        return web.Response(body=content, content_type=kind)

    async def _keep_password(self, facts: GuestFacts, request: web.Request) -> web.Response:
        try:
            await self._compute.leave_password(facts.id, (await request.read()).decode("ascii"))
        except UnicodeDecodeError:
            return web.Response(status=400, text="Cannot keep the password: send plain ASCII.\n", content_type=_PLAIN)
        except (Conflict, Invalid) as refused:
            status = 409 if isinstance(refused, Conflict) else 400
            return web.Response(status=status, text=f"{refused.message}\n", content_type=_PLAIN)
        return _text("")

    async def _note(self, facts: GuestFacts, port: PortInfo, path: str) -> None:
        """Into the server's trace: it took its address, it asked for its metadata."""
        subject = f"server/{facts.id}"
        for lease in await self._network.leases(port.network_id):
            if lease.mac == port.mac:
                await self._tracer.happened(subject, "guest", "dhcp", detail=f"{lease.address} to {lease.mac}")
        await self._tracer.happened(subject, "guest", "metadata", detail=path)


def _ec2(facts: GuestFacts, parts: list[str]) -> web.Response:
    if not parts:
        return _text("\n".join(["meta-data/", *([] if facts.user_data is None else ["user-data"])]))
    if parts == ["user-data"]:
        return _missing() if facts.user_data is None else web.Response(body=facts.user_data)
    if parts[0] != "meta-data":
        return _missing()
    found: Any = ec2_meta_data(facts)
    names = {"0": facts.key["name"]} if facts.key is not None else {}
    for part in parts[1:]:
        if not isinstance(found, Mapping) or part not in found:
            return _missing()
        found = found[part]
    if not isinstance(found, Mapping):
        return _text(found)
    if parts[1:] == ["public-keys"]:
        return _text("\n".join(f"{index}={names[index]}" for index in found))
    return _text("\n".join(f"{name}/" if isinstance(value, Mapping) else name for name, value in found.items()))


def _text(text: str) -> web.Response:
    return web.Response(text=text, content_type=_PLAIN)


def _missing() -> web.Response:
    return web.Response(status=404, text="404 Not Found\n", content_type=_PLAIN)
