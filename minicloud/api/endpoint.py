"""What stands at one path of one service: its routes by method, microversion and action, and the way of a request there.

A request goes the same way everywhere: token, microversion, body, policy, schema, handler, view. Made and called by
`app.py`, which finds the path and turns what is raised here into the service's fault.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from aiohttp import web

from minicloud.api import incoming, outgoing
from minicloud.api.dialect import Dialect
from minicloud.api.policy import ANYONE
from minicloud.api.route import Call, Listed, Route
from minicloud.api.versions import Version, within
from minicloud.core.context import Context
from minicloud.core.errors import Forbidden, Invalid, MinicloudError, NotFound
from minicloud.core.reserve import urgent

ORDINARY = contextlib.nullcontext()
MANY = 500
"""Rows of a list that are shown beside the loop: making text of more would hold it for longer than it may be."""

Authenticated = Callable[[Dialect, web.BaseRequest, str], Context]
"""(dialect, request, request id) -> who asks; raises `Unauthenticated` or `Forbidden`."""


class WrongMethod(MinicloudError):
    """The path is a route, the method is none of its own."""

    def __init__(self, method: str, allowed: Sequence[str]) -> None:
        super().__init__(f"The method {method} is not allowed for this resource.")
        self.allowed = allowed


class Seen:
    """What is known of a request when its answer is made, also when it failed half-way."""

    __slots__ = ("headers", "version")

    def __init__(self) -> None:
        self.version: Version | None = None
        self.headers: Mapping[str, str] = {}


class Place(Protocol):
    """Where a request may go; `path` is how traces and logs name it."""

    dialect: Dialect
    path: str

    async def answer(
        self, request: web.BaseRequest, params: Mapping[str, str], request_id: str, seen: Seen
    ) -> web.StreamResponse:
        """Carry a request out; raises what the client shall be told."""


@dataclass(frozen=True, slots=True)
class _Choice:
    """Routes of one path for a method at a microversion; `reads`: a JSON body decides or is checked."""

    routes: Sequence[Route]
    reads: bool


class Endpoint:
    """All routes of one path of one service."""

    def __init__(self, service: Any, dialect: Dialect, path: str, authenticated: Authenticated) -> None:
        self.service, self.dialect, self.path = service, dialect, path
        self._authenticated = authenticated
        self._routes: dict[str, list[Route]] = defaultdict(list)
        self._closed: set[str] = set()
        self._choices: dict[tuple[str, Version | None], _Choice] = {}

    def add(self, route: Route) -> None:
        """Have one more route here."""
        self._routes[route.method].append(route)
        if not route.policy.public:
            self._closed.add(route.method)

    async def answer(
        self, request: web.BaseRequest, params: Mapping[str, str], request_id: str, seen: Seen
    ) -> web.StreamResponse:
        """See `Place`."""
        method, dialect = request.method, self.dialect
        if method == "HEAD" and method not in self._routes and "GET" in self._routes:
            method = "GET"
        if method in self._closed:
            ctx = self._authenticated(dialect, request, request_id)
        else:
            if method not in self._routes and dialect.service != "identity":
                self._authenticated(dialect, request, request_id)
            ctx = Context("", request_id)
        version = seen.version = incoming.asked_version(dialect, request)
        if method not in self._routes:
            raise WrongMethod(method, sorted(self._routes))
        if dialect.project_in_path and params.get("project_id", ctx.project_id) != ctx.project_id:
            raise Invalid("Malformed request url")
        choice = self._choices.get((method, version)) or self._choose(method, version)
        route = choice.routes[0]
        if dialect.only_json:
            incoming.require_json(request)
        body = await incoming.json_of(request, route.media) if choice.reads else None
        if route.action is not None:
            route = incoming.chosen(choice.routes, body, self._routes[method])
        call = Call(
            ctx, route, dialect, request, params, request.query, version, incoming.origin(request) + dialect.prefix
        )
        if not route.takes(ctx, dialect) or not route.policy.allows(ctx, params):
            raise Forbidden(f"Policy doesn't allow {route.rule} to be performed.", code=route.rule)
        if dialect.narrow is not None and route.policy is ANYONE:
            call.ctx = dialect.narrow(ctx)
        if route.query is not None and call.query:
            incoming.check_query(call, route.query)
        bulk = False
        if route.body is not None:
            await route.body.prepare(route.mode, version)
            bulk = incoming.read_body(call, body)
        with urgent() if route.method == "DELETE" else ORDINARY:  # a full disk must not refuse to be made emptier
            result = await route.handler(self.service, call)
        seen.headers = call.headers
        if isinstance(result, Listed) and len(result.rows) > MANY:
            return await asyncio.to_thread(outgoing.answer_of, call, result, bulk)
        return outgoing.answer_of(call, result, bulk)

    def _choose(self, method: str, version: Version | None) -> _Choice:
        """What a method can mean at a microversion, worked out at its first request.

        Raises:
            WrongMethod, NotFound: nothing.
        """
        fitting = _spoken(self._routes[method], version)
        if not fitting:
            others = sorted(method for method, some in self._routes.items() if _spoken(some, version))
            if others and self.dialect.wrong_method == 405:
                raise WrongMethod(method, others)
            raise NotFound("The resource could not be found.")
        reads = not fitting[0].raw and any(one.body is not None or one.action for one in fitting)
        choice = self._choices[(method, version)] = _Choice(fitting, reads)
        return choice


class Nowhere:
    """A path below a service's prefix that is no route."""

    def __init__(self, dialect: Dialect, path: str, authenticated: Authenticated) -> None:
        self.dialect, self.path, self._authenticated = dialect, path, authenticated

    async def answer(
        self, request: web.BaseRequest, params: Mapping[str, str], request_id: str, seen: Seen
    ) -> web.StreamResponse:
        """See `Place`; services other than Keystone ask who is there before they say that nothing is."""
        if self.dialect.service != "identity":
            self._authenticated(self.dialect, request, request_id)
        error = NotFound("The resource could not be found.")
        return outgoing.told(404, self.dialect.unknown_route(404, error, request, request_id))


def _spoken(routes: Sequence[Route], version: Version | None) -> list[Route]:
    """Those of the routes that a microversion has."""
    return [one for one in routes if version is None or within(version, one.since, one.until)]
