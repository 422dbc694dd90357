"""One door for all services: finds what stands at a path, asks who is there, and answers in the service's own way.

A request goes the same way everywhere: here it gets its id, its trace and its place (`paths.py`); `endpoint.py` carries
it out; whatever is raised comes back here and is told in the service's shape. What differs is in the service's
`Dialect`. Built by the composition root from the services' route tables.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import structlog
from aiohttp import ClientPayloadError, HttpVersion11, web
from aiohttp.http_exceptions import HttpProcessingError

from minicloud.api import faults, incoming, outgoing, policy_file
from minicloud.api.crowd import Crowd, bearable
from minicloud.api.dialect import Dialect
from minicloud.api.endpoint import Endpoint, Nowhere, Place, Seen, WrongMethod
from minicloud.api.paths import Paths
from minicloud.api.policy import Policy
from minicloud.api.route import Route
from minicloud.api.versions import Version, printed
from minicloud.core.context import Context, new_request_id
from minicloud.core.errors import (
    Forbidden,
    MinicloudError,
    NoCapacity,
    NotFound,
    OverQuota,
    TooLarge,
    Unauthenticated,
)
from minicloud.core.service import Service
from minicloud.core.trace import Tracer, span

log = structlog.get_logger(__name__)

BODY_LIMIT = 114_688
"""Bytes of a JSON body (OpenStack's own limit)."""

IDLE_SECONDS = 75.0
"""How long a connection may say nothing, or take for the head of its next request; proxies keep theirs for 60."""

PROJECT = "{project_id:[0-9a-fA-F]{32}|[0-9a-fA-F-]{36}}"

Page = Callable[[web.BaseRequest], Awaitable[web.Response]]


class Authenticate(Protocol):
    """Turns a token into its caller, or raises `Unauthenticated` (or `Forbidden`, by an access rule)."""

    def __call__(self, token: str, *, request_id: str, service: str, method: str, path: str) -> Context: ...


class Api:
    """The door of the daemon.

    Args:
        services: those with routes.
        authenticate: the identity service's.
        health: what `GET /healthz` tells.
        rules: policies by rule that stand for those of the routes.
    """

    def __init__(
        self,
        services: Sequence[Service],
        authenticate: Authenticate,
        tracer: Tracer,
        *,
        health: Callable[[], Mapping[str, Any]] = dict,
        rules: Mapping[str, Policy] | None = None,
    ) -> None:
        self._services = [one for one in services if one.dialect is not None]
        self._authenticate, self._tracer, self._health = authenticate, tracer, health
        self._tasks: set[asyncio.Task[None]] = set()
        self._marks: dict[tuple[str, Version | None], Mapping[str, str]] = {}
        self._document: bytes | None = (
            None  # /openapi.json but for where it was asked: everybody may, and it takes a while
        )
        self._pages: dict[str, Page] = {
            "/": self._index, "/healthz": self._health_page, "/openapi.json": self._openapi,
        }  # fmt: skip
        self._loose = self._roots(lambda dialect: dialect.loose_paths)
        self._strict = self._roots(lambda dialect: dialect.slash_matters)
        self._paths: Paths[Endpoint] = Paths()
        for service in self._services:
            self._open(service, rules or {})

    def _roots(self, which: Callable[[Dialect], bool]) -> tuple[str, ...]:
        dialects: list[Dialect] = [one.dialect for one in self._services]
        return tuple(one.prefix + one.root + "/" for one in dialects if which(one))

    def _open(self, service: Service, rules: Mapping[str, Policy]) -> None:
        dialect: Dialect = service.dialect
        endpoints: dict[str, Endpoint] = {}
        for route in policy_file.applied(service.routes, rules):
            for path in _paths(dialect, route):
                if path not in endpoints:
                    endpoints[path] = Endpoint(service, dialect, path, self._authenticated)
                    self._paths.add(path, endpoints[path])
                endpoints[path].add(route)

    def server(self, *, most: int | None = None) -> Any:
        """What a `web.ServerRunner` listens with; called in the loop. `most`: connections at a time.

        aiohttp's low-level server rather than an `Application`: one handler that knows the way needs no second router.
        """
        server = web.Server(
            self._handle,
            request_factory=_request,
            access_log=None,
            logger=Silence(),
            keepalive_timeout=IDLE_SECONDS,
            auto_decompress=False,  # nobody sends bodies like that; what is small on the wire must not grow in here
        )
        return Crowd(server, most or bearable())

    # --- where a request goes ------------------------------------------------------------------------------------

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if "Expect" in request.headers:
            await _go_on(request)
        path = request.rel_url.raw_path
        found = self._paths.find(self._plain(path))
        if found is not None:
            place, params = found
            return await self._answer(request, place, params)
        if path in self._pages and request.method in ("GET", "HEAD"):
            return await self._pages[path](request)
        for service in self._services:
            dialect: Dialect = service.dialect
            if request.path == dialect.prefix or request.path.startswith(dialect.prefix + "/"):
                return await self._answer(request, Nowhere(dialect, request.path, self._authenticated), {})
        return outgoing.told(404, _nothing(request.path))

    def _plain(self, path: str) -> str:
        """A path without clients' habits: a slash at the end, Neutron's suffixes and underscores."""
        plain = path.rstrip("/") or "/"
        if plain != path and self._strict and plain.startswith(self._strict):
            return path
        for root in self._loose:
            if plain.startswith(root):
                collection, slash, rest = plain[len(root) :].removesuffix(".json").partition("/")
                plain = root + collection.replace("_", "-") + slash + rest
        return plain

    async def _answer(self, request: web.BaseRequest, place: Place, params: Mapping[str, str]) -> web.StreamResponse:
        """Run a request inside its trace and turn whatever it raises into the service's fault."""
        request_id, seen = new_request_id(), Seen()
        with self._tracer.request(request_id, f"{request.method} {place.path}"):
            try:
                response = await place.answer(request, params, request_id, seen)
            except MinicloudError as error:
                response = self._fault(request, place, request_id, error)
            except web.HTTPRequestEntityTooLarge:
                large = TooLarge(f"Cannot read the body: it is larger than {BODY_LIMIT} bytes.")
                response = self._fault(request, place, request_id, large)
            except (asyncio.CancelledError, ConnectionError):
                raise
            except Exception:
                log.exception("a request met a bug", method=request.method, path=place.path)
                bug = MinicloudError(f"Something went wrong inside; the log tells more about {request_id}.")
                response = self._fault(request, place, request_id, bug)
        if not response.prepared:
            self._mark(response, place.dialect, request_id, seen)
        return response

    # --- tokens --------------------------------------------------------------------------------------------------

    def _authenticated(self, dialect: Dialect, request: web.BaseRequest, request_id: str) -> Context:
        """The caller of a request."""
        token = request.headers.get("X-Auth-Token", "")
        if not token:
            raise Unauthenticated("The request you have made requires authentication.")
        with span("identity", "authenticate"):
            return self._authenticate(
                token, request_id=request_id, service=dialect.service, method=request.method, path=request.path
            )

    # --- what all answers bear -----------------------------------------------------------------------------------

    def _fault(self, request: web.BaseRequest, place: Place, request_id: str, error: MinicloudError) -> web.Response:
        headers: dict[str, str] = {}
        dialect, shape = place.dialect, place.dialect.fault
        status = faults.status_of(error, dialect.statuses)
        if isinstance(error, WrongMethod):
            status, headers["Allow"] = dialect.wrong_method, ", ".join(error.allowed)
            if status == 404:  # told as a path that is none
                shape, error = dialect.unknown_route, NotFound("The resource could not be found.")
        elif isinstance(error, Unauthenticated):
            shape = dialect.unauthenticated
            headers["WWW-Authenticate"] = f'Keystone uri="{incoming.origin(request)}/identity"'
        if error.retry_after is not None:
            headers["Retry-After"] = str(error.retry_after)
        if status >= 500:
            log.error(
                "a request failed",
                method=request.method,
                path=place.path,
                error=error.message,
                detail=getattr(error, "detail", ""),
            )
        if isinstance(error, Forbidden | OverQuota | NoCapacity):
            verdict = f"{type(error).__name__} at {request.method} {place.path}"
            task = asyncio.ensure_future(self._tracer.decide(verdict, error.message, request_id=request_id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return outgoing.told(status, shape(status, error, request, request_id), headers)

    def _mark(self, response: web.StreamResponse, dialect: Dialect, request_id: str, seen: Seen) -> None:
        headers = response.headers
        marks = self._marks.get((dialect.service, seen.version))
        if marks is None:
            marks = self._marks[(dialect.service, seen.version)] = _marks(dialect, seen.version)
        headers.update(marks)
        headers.update(seen.headers)
        headers["X-Openstack-Request-Id"] = request_id
        if dialect.request_id_header:
            headers[dialect.request_id_header] = request_id

    # --- pages of no service -------------------------------------------------------------------------------------

    async def _index(self, request: web.BaseRequest) -> web.Response:
        origin = incoming.origin(request)
        return web.json_response({one.dialect.service: f"{origin}{one.dialect.prefix}" for one in self._services})

    async def _health_page(self, request: web.BaseRequest) -> web.Response:
        return web.json_response(self._health())

    async def _openapi(self, request: web.BaseRequest) -> web.Response:
        if self._document is None:
            from minicloud.api.openapi import document  # few ask for it

            self._document = await asyncio.to_thread(lambda: outgoing.encoded(document(self._services)))
        servers = outgoing.encoded({"servers": [{"url": incoming.origin(request)}]})
        return web.Response(body=servers[:-1] + b"," + self._document[1:], headers=outgoing.JSON)


def _paths(dialect: Dialect, route: Route) -> list[str]:
    if route.path.startswith("//"):
        return [dialect.prefix + route.path[1:].rstrip("/")]
    path = route.path.rstrip("/")
    if not dialect.project_in_path or not path:
        return [dialect.prefix + dialect.root + path]
    return [dialect.prefix + dialect.root + path, f"{dialect.prefix}{dialect.root}/{PROJECT}{path}"]


def _marks(dialect: Dialect, version: Version | None) -> Mapping[str, str]:
    """Headers of every answer of a service that spoke a version; None: none, or none that was understood."""
    marks = {"Vary": dialect.vary} if dialect.vary else {}
    spoken = dialect.microversions
    if spoken is None:
        return marks
    marks.setdefault("Vary", "OpenStack-API-Version" + (f", {spoken.old_header}" if spoken.old_header else ""))
    if version is not None:
        marks["OpenStack-API-Version"] = f"{spoken.service_type} {printed(version)}"
        if spoken.old_header:
            marks[spoken.old_header] = printed(version)
    return marks


class Silence:
    """What aiohttp says of requests that are no HTTP and of clients that go away: whoever sent one is told, and its lines may
    hold secrets. What it says of bugs is logged."""

    def debug(self, *args: object, **more: object) -> None:
        """Nothing."""

    def exception(self, text: str, *args: object, exc_info: BaseException | None = None) -> None:
        """A line, with its place, unless the client is to blame."""
        if not isinstance(exc_info, HttpProcessingError | ClientPayloadError | ConnectionError):
            log.error("the door met a bug", text=text, exc_info=exc_info)


def _nothing(path: str) -> tuple[str, str]:
    return json.dumps({"message": f"Nothing is at {path[:200]}; GET / lists the services."}), "application/json"


def _request(message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
    loop = asyncio.get_running_loop()
    return web.BaseRequest(message, payload, protocol, writer, task, loop, client_max_size=BODY_LIMIT)


async def _go_on(request: web.BaseRequest) -> None:
    """Tell a client that waits for it to send its body (RFC 9110, 10.1.1)."""
    if request.version < HttpVersion11:
        return
    if request.headers["Expect"].lower() != "100-continue":
        raise web.HTTPExpectationFailed(text="Cannot do what Expect asks for: only 100-continue is known.")
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0
