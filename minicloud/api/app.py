"""One HTTP application for all services: from a request to a call to an answer.

A request goes the same way everywhere: token, route, microversion, body, policy, schema, handler, view. What differs is
in the service's `Dialect`. Built by the composition root from the services' route tables.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from aiohttp import web
from yarl import URL

from minicloud.api import faults, policy_file
from minicloud.api.dialect import Dialect
from minicloud.api.openapi import document
from minicloud.api.policy import ANYONE, Policy
from minicloud.api.route import Call, Listed, Reply, Route
from minicloud.api.versions import Version, printed, version, within
from minicloud.core.context import Context, new_request_id
from minicloud.core.errors import (
    Forbidden,
    Invalid,
    MinicloudError,
    NoCapacity,
    NotAcceptable,
    NotFound,
    OverQuota,
    TooLarge,
    Unauthenticated,
    UnsupportedMedia,
)
from minicloud.core.service import Service
from minicloud.core.trace import Tracer, span

log = structlog.get_logger(__name__)

BODY_LIMIT = 114_688
"""Bytes of a JSON body (OpenStack's own limit)."""

PROJECT = "{project_id:[0-9a-fA-F]{32}|[0-9a-fA-F-]{36}}"


class WrongMethod(MinicloudError):
    """The path is a route, the method is none of its own."""

    def __init__(self, message: str, allowed: Sequence[str]) -> None:
        super().__init__(message)
        self.allowed = allowed


class Authenticate(Protocol):
    """Turns a token into its caller, or raises `Unauthenticated` (or `Forbidden`, by an access rule)."""

    def __call__(self, token: str, *, request_id: str, service: str, method: str, path: str) -> Context: ...


class _Router(web.UrlDispatcher):
    """aiohttp's router, for clients' habits: a slash at the end, Neutron's suffixes and underscores."""

    loose: tuple[str, ...] = ()
    strict: tuple[str, ...] = ()

    async def resolve(self, request: web.Request) -> web.UrlMappingMatchInfo:
        path = request.rel_url.raw_path
        plain = path.rstrip("/") or "/"
        if plain.startswith(self.strict) and self.strict and plain != path:
            return await super().resolve(request)
        for root in self.loose:
            if plain.startswith(root):
                collection, slash, rest = plain[len(root) :].removesuffix(".json").partition("/")
                plain = root + collection.replace("_", "-") + slash + rest
        if plain != path:
            request = request.clone(rel_url=URL(plain, encoded=True))
        return await super().resolve(request)


class _Endpoint:
    """All routes of one path of one service."""

    def __init__(self, api: Api, service: Any, dialect: Dialect, path: str) -> None:
        self.api, self.service, self.dialect, self.path = api, service, dialect, path
        self.routes: dict[str, list[Route]] = defaultdict(list)
        self._choices: dict[tuple[str, Version | None], _Choice] = {}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        return await self.api.answer(request, self.dialect, self.path, self._carry_out)

    async def _carry_out(self, request: web.Request, request_id: str, seen: _Seen) -> web.StreamResponse:
        routes = self.routes.get(request.method) or (self.routes.get("GET") if request.method == "HEAD" else None)
        if routes is None:
            self.api.authenticate_unless_public(self.dialect, request, request_id)
            seen.version = _asked_version(self.dialect, request)
            raise WrongMethod(f"The method {request.method} is not allowed for this resource.", sorted(self.routes))
        public = routes[0].policy.public and all(route.policy.public for route in routes)
        ctx = Context("", request_id) if public else self.api.authenticated(self.dialect, request, request_id)
        seen.version = _asked_version(self.dialect, request)
        if self.dialect.project_in_path and request.match_info.get("project_id", ctx.project_id) != ctx.project_id:
            raise Invalid("Malformed request url")
        choice = self._choices.get((request.method, seen.version)) or self._choose(request.method, seen.version, routes)
        fitting = choice.routes
        if self.dialect.only_json:
            _require_json(request)
        body = await _json_of(request, fitting[0].media) if choice.reads else None
        route = fitting[0] if fitting[0].action is None else _chosen(fitting, body, routes)
        call = Call(
            ctx, route, self.dialect, request, request.match_info, request.query, seen.version,
            _origin(request) + self.dialect.prefix,
        )  # fmt: skip
        if not route.takes(ctx, self.dialect) or not route.policy.allows(ctx, call.params):
            raise Forbidden(f"Policy doesn't allow {route.rule} to be performed.", code=route.rule)
        if self.dialect.narrow is not None and route.policy is ANYONE:
            call.ctx = self.dialect.narrow(ctx)
        if route.query is not None:
            _check_query(call, route.query)
        if route.body is not None:
            await route.body.prepare(route.mode, call.version)
        bulk = _read_body(call, body)
        result = await route.handler(self.service, call)
        seen.headers.update(call.headers)
        return _answer_of(call, result, bulk)

    def _choose(self, method: str, version: Version | None, routes: Sequence[Route]) -> _Choice:
        """What a method can mean at a microversion, worked out at its first request.

        Raises:
            WrongMethod, NotFound: nothing.
        """
        fitting = _spoken(routes, version)
        if not fitting:
            others = sorted(method for method, some in self.routes.items() if _spoken(some, version))
            if others and self.dialect.wrong_method == 405:
                raise WrongMethod(f"The method {method} is not allowed for this resource.", others)
            raise NotFound("The resource could not be found.")
        reads = not fitting[0].raw and any(one.body is not None or one.action for one in fitting)
        choice = self._choices[(method, version)] = _Choice(fitting, reads)
        return choice


@dataclass(frozen=True, slots=True)
class _Choice:
    """Routes of one path for a method at a microversion; `reads`: a JSON body decides or is checked."""

    routes: Sequence[Route]
    reads: bool


class _Seen:
    """What is known of a request when its answer is made, also when it failed half-way."""

    def __init__(self) -> None:
        self.version: Version | None = None
        self.headers: dict[str, str] = {}


CarryOut = Callable[[web.Request, str, _Seen], Awaitable[web.StreamResponse]]


class Api:
    """The door of the daemon.

    Args:
        services: those with routes.
        authenticate: the identity service's.
        describe: what `GET /` and `GET /healthz` tell.
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
        self._rules = rules or {}
        self._tasks: set[asyncio.Task[None]] = set()

    def application(self) -> web.Application:
        """The aiohttp application with every route of every service."""
        router = _Router()
        router.loose = tuple(
            one.dialect.prefix + one.dialect.root + "/" for one in self._services if one.dialect.loose_paths
        )
        router.strict = tuple(
            one.dialect.prefix + one.dialect.root + "/" for one in self._services if one.dialect.slash_matters
        )
        app = web.Application(router=router, client_max_size=BODY_LIMIT)
        endpoints: dict[str, _Endpoint] = {}
        for service in self._services:
            dialect: Dialect = service.dialect
            for route in policy_file.applied(service.routes, self._rules):
                for path in _paths(dialect, route):
                    endpoint = endpoints.setdefault(path, _Endpoint(self, service, dialect, path))
                    endpoint.routes[route.method].append(route)
        for path, endpoint in sorted(endpoints.items(), key=lambda item: item[0].count("{")):
            app.router.add_route("*", path, endpoint.handle)
        app.router.add_get("/", self._index)
        app.router.add_get("/healthz", self._health_page)
        app.router.add_get("/openapi.json", self._openapi)
        app.router.add_route("*", "/{nothing:.*}", self._nothing)
        return app

    # --- tokens --------------------------------------------------------------------------------------------------

    def authenticated(self, dialect: Dialect, request: web.Request, request_id: str) -> Context:
        """The caller of a request."""
        token = request.headers.get("X-Auth-Token", "")
        if not token:
            raise Unauthenticated("The request you have made requires authentication.")
        with span("identity", "authenticate"):
            return self._authenticate(
                token, request_id=request_id, service=dialect.service, method=request.method, path=request.path
            )

    def authenticate_unless_public(self, dialect: Dialect, request: web.Request, request_id: str) -> None:
        """Where there is no route, services other than Keystone still ask who is there first."""
        if dialect.service != "identity":
            self.authenticated(dialect, request, request_id)

    # --- the way of every request --------------------------------------------------------------------------------

    async def answer(
        self, request: web.Request, dialect: Dialect, path: str, carry_out: CarryOut
    ) -> web.StreamResponse:
        """Run a request inside its trace and turn whatever it raises into the service's fault."""
        request_id, seen = new_request_id(), _Seen()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        with self._tracer.request(request_id, f"{request.method} {path}"):
            try:
                response = await carry_out(request, request_id, seen)
            except MinicloudError as error:
                response = self._fault(request, dialect, request_id, error, path)
            except web.HTTPRequestEntityTooLarge:
                large = TooLarge(f"Cannot read the body: it is larger than {BODY_LIMIT} bytes.")
                response = self._fault(request, dialect, request_id, large, path)
            except (asyncio.CancelledError, ConnectionError):
                raise
            except Exception:
                log.exception("a request met a bug", method=request.method, path=path)
                bug = MinicloudError(f"Something went wrong inside; the log tells more about {request_id}.")
                response = self._fault(request, dialect, request_id, bug, path)
        if not response.prepared:
            self._mark(response, dialect, request_id, seen)
        return response

    def _fault(
        self, request: web.Request, dialect: Dialect, request_id: str, error: MinicloudError, path: str
    ) -> web.Response:
        headers: dict[str, str] = {}
        shape = dialect.fault
        status = faults.status_of(error, dialect.statuses)
        if isinstance(error, WrongMethod):
            status, headers["Allow"] = dialect.wrong_method, ", ".join(error.allowed)
            if status == 404:  # told as a path that is none
                shape, error = dialect.unknown_route, NotFound("The resource could not be found.")
        elif isinstance(error, Unauthenticated):
            shape = dialect.unauthenticated
            headers["WWW-Authenticate"] = f'Keystone uri="{_origin(request)}/identity"'
        if error.retry_after is not None:
            headers["Retry-After"] = str(error.retry_after)
        if status >= 500:
            log.error(
                "a request failed",
                method=request.method,
                path=path,
                error=error.message,
                detail=getattr(error, "detail", ""),
            )
        if isinstance(error, Forbidden | OverQuota | NoCapacity):
            verdict = f"{type(error).__name__} at {request.method} {path}"
            task = asyncio.ensure_future(self._tracer.decide(verdict, error.message, request_id=request_id))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        text, content_type = shape(status, error, request, request_id)
        charset = None if content_type == "application/json" else "UTF-8"
        return web.Response(
            status=status, body=text.encode(), content_type=content_type, charset=charset, headers=headers
        )

    def _mark(self, response: web.StreamResponse, dialect: Dialect, request_id: str, seen: _Seen) -> None:
        headers = response.headers
        headers.update(seen.headers)
        headers["X-Openstack-Request-Id"] = request_id
        if dialect.request_id_header:
            headers[dialect.request_id_header] = request_id
        if dialect.vary:
            headers.setdefault("Vary", dialect.vary)
        if dialect.microversions is not None:
            spoken = dialect.microversions
            names = "OpenStack-API-Version" + (f", {spoken.old_header}" if spoken.old_header else "")
            headers["Vary"] = dialect.vary or names
            if seen.version is not None:
                headers["OpenStack-API-Version"] = f"{spoken.service_type} {printed(seen.version)}"
                if spoken.old_header:
                    headers[spoken.old_header] = printed(seen.version)

    # --- pages of no service -------------------------------------------------------------------------------------

    async def _index(self, request: web.Request) -> web.Response:
        origin = _origin(request)
        return web.json_response({one.dialect.service: f"{origin}{one.dialect.prefix}" for one in self._services})

    async def _health_page(self, request: web.Request) -> web.Response:
        return web.json_response(self._health())

    async def _openapi(self, request: web.Request) -> web.Response:
        return web.json_response(document(self._services, _origin(request)))

    async def _nothing(self, request: web.Request) -> web.StreamResponse:
        for service in self._services:
            dialect: Dialect = service.dialect
            if request.path == dialect.prefix or request.path.startswith(dialect.prefix + "/"):
                return await self.answer(request, dialect, request.path, self._no_route(dialect))
        raise web.HTTPNotFound(text=json.dumps({"message": f"Nothing is at {request.path}; GET / lists the services."}))

    def _no_route(self, dialect: Dialect) -> CarryOut:
        async def refuse(request: web.Request, request_id: str, seen: _Seen) -> web.StreamResponse:
            self.authenticate_unless_public(dialect, request, request_id)
            error = NotFound("The resource could not be found.")
            text, content_type = dialect.unknown_route(404, error, request, request_id)
            charset = None if content_type == "application/json" else "UTF-8"
            return web.Response(status=404, body=text.encode(), content_type=content_type, charset=charset)

        return refuse


# --- from a request to a call ----------------------------------------------------------------------------------------


def _paths(dialect: Dialect, route: Route) -> list[str]:
    if route.path.startswith("//"):
        return [dialect.prefix + route.path[1:].rstrip("/")]
    path = route.path.rstrip("/")
    if not dialect.project_in_path or not path:
        return [dialect.prefix + dialect.root + path]
    return [dialect.prefix + dialect.root + path, f"{dialect.prefix}{dialect.root}/{PROJECT}{path}"]


def _origin(request: web.Request) -> str:
    scheme = request.headers.get("X-Forwarded-Proto", request.scheme)
    host = request.headers.get("X-Forwarded-Host", request.host)
    return f"{scheme}://{host}{request.headers.get('X-Forwarded-Prefix', '').rstrip('/')}"


def _asked_version(dialect: Dialect, request: web.Request) -> Version | None:
    spoken = dialect.microversions
    if spoken is None:
        return None
    asked = None
    if header := request.headers.get("OpenStack-API-Version"):
        for entry in header.split(","):
            kind, _, number = entry.strip().partition(" ")
            if kind.lower() == spoken.service_type:
                asked = number.strip()
    if asked is None and spoken.old_header:
        asked = request.headers.get(spoken.old_header)
    if asked is None:
        return spoken.default
    if asked == "latest":
        return spoken.high
    wanted = version(asked, from_zero=spoken.from_zero)
    if not within(wanted, spoken.low, spoken.high):
        low, high = printed(spoken.low), printed(spoken.high)
        refused = (
            f"Version {asked} is not supported by the API."
            if not spoken.from_zero
            else f"Unacceptable version header: {asked}."
        )
        raise NotAcceptable(f"{refused} Minimum is {low} and maximum is {high}.", low=low, high=high)
    return wanted


def _require_json(request: web.Request) -> None:
    """Raise for a client that takes no JSON, or sends a body without saying what it is."""
    kinds = [one.partition(";")[0].strip() for one in request.headers.get("Accept", "*/*").split(",")]
    if request.method in ("GET", "HEAD") and not {"application/json", "application/*", "*/*", ""} & set(kinds):
        raise NotAcceptable("Only application/json is provided.")
    if request.can_read_body and "Content-Type" not in request.headers:
        raise Invalid("Cannot read the body: content-type header required.")


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number


async def _json_of(request: web.Request, media: Sequence[str]) -> Any:
    if "Content-Type" in request.headers and request.content_type not in media and request.can_read_body:
        raise UnsupportedMedia(f"Cannot read a body of type {request.content_type[:80]}: send {' or '.join(media)}.")
    raw = await request.read()
    if not raw:
        return None
    try:
        told = json.loads(raw, parse_constant=_refuse_constant, parse_float=_finite)
        if b"\\ud" in raw.lower():  # halves of surrogate pairs are no text: nothing could store or send them
            json.dumps(told, ensure_ascii=False).encode()
        return told
    except (ValueError, RecursionError) as error:
        raise Invalid(f"Cannot read the body: Malformed JSON: {error}.") from None


def _spoken(routes: Sequence[Route], version: Version | None) -> list[Route]:
    """Those of the routes that a microversion has."""
    return [one for one in routes if version is None or within(version, one.since, one.until)]


def _chosen(fitting: Sequence[Route], body: Any, routes: Sequence[Route]) -> Route:
    if not isinstance(body, dict) or len(body) != 1:
        raise Invalid("Cannot choose an action: the body must be an object with one key, the action's name.")
    name = next(iter(body))
    for route in fitting:
        if route.action == name:
            return route
    if any(route.action == name for route in routes):
        raise NotFound(f"The action {name} does not exist at this API version.")
    raise Invalid(f"There is no such action: {name[:80]}")


def _check_query(call: Call, known: Sequence[str]) -> None:
    strict = call.dialect.strict_query
    if strict is False or (strict is not True and not call.at_least(*strict)):
        return
    for name in call.query:
        if name not in known:
            raise Invalid(f"Cannot use the query parameter {name[:80]}: this operation has no such parameter.")


def _read_body(call: Call, body: Any) -> bool:
    """Put the checked body into the call; whether it held many."""
    route = call.route
    if route.body is None:
        return False
    if route.action is not None:
        inner = body[route.action]
        call.body = route.body.read({} if inner is None else inner, route.mode, call)
        return False
    key = route.envelope if isinstance(route.envelope, str) else route.body.name
    if not call.dialect.envelope or route.envelope is False:
        if body is None and call.dialect.only_json:
            raise Invalid("Cannot read the body: Malformed JSON: it is empty.")
        call.body = route.body.read({} if body is None else body, route.mode, call)
        return False
    if not isinstance(body, dict):
        raise Invalid(f"Cannot read the body: it must be an object with the key {key}.")
    if route.bulk and route.body.plural in body:
        many = body[route.body.plural]
        if not isinstance(many, list) or not many:
            raise Invalid(f"Cannot read {route.body.plural}: it must be a list with at least one entry.")
        call.body = [route.body.read(_bare(one, key), route.mode, call) for one in many]
        return True
    if key not in body:
        raise Invalid(f"Cannot read the body: the key {key} is missing.")
    one = route.body.read(body[key], route.mode, call)
    call.body = [one] if route.bulk else one
    return False


def _bare(one: Any, key: str) -> Any:
    """One entry of a bulk body; some clients wrap each once more."""
    return one[key] if isinstance(one, dict) and set(one) == {key} else one


# --- from a result to an answer --------------------------------------------------------------------------------------


def _answer_of(call: Call, result: Any, bulk: bool) -> web.StreamResponse:
    route = call.route
    if isinstance(result, web.StreamResponse):
        return result
    status, body = route.status, result
    if isinstance(result, Reply):
        status, body = result.status or status, result.body
        call.headers.update(result.headers)
    elif route.view is not None and result is not None:
        body = _viewed(call, result, bulk)
    if body is None:
        return web.Response(status=status, headers=call.headers)
    text = body if isinstance(body, str) else json.dumps(body)
    return web.Response(status=status, body=text.encode(), headers={"Content-Type": "application/json", **call.headers})


def _viewed(call: Call, result: Any, bulk: bool) -> Any:
    route, wanted = call.route, None
    assert route.view is not None
    if call.dialect.fields and call.request.method in ("GET", "HEAD"):
        wanted = set(call.query.getall("fields", ())) or None

    def show(row: Any) -> dict[str, Any]:
        seen = route.view.view(row, call)  # type: ignore[union-attr]
        return seen if wanted is None else {key: value for key, value in seen.items() if key in wanted}

    if route.many:
        listed = result if isinstance(result, Listed) else None
        rows = result.rows if listed else result
        shown = {route.view.plural: [show(row) for row in rows]}
        if listed is None:
            return shown
        return {**shown, **listed.extra, **call.dialect.list_extra(call, route.view.plural, listed)}
    if route.bulk:
        if bulk:
            return {route.view.plural: [show(row) for row in result]}
        result = result[0]
    key = route.envelope if isinstance(route.envelope, str) else route.view.name
    return show(result) if not call.dialect.envelope or route.envelope is False else {key: show(result)}
