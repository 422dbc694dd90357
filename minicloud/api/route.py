"""What a route is, and what a handler gets and gives.

    ROUTES = [
        Route("POST", "/ports", create_port, body=PORT, view=PORT, status=201, policy=MEMBER, rule="create_port"),
        Route("GET", "/ports", list_ports, view=PORT, many=True, policy=READER, rule="get_port"),
        Route("POST", "/servers/{server_id}/action", start, action="os-start", status=202, policy=MEMBER, rule="..."),
    ]

A handler is `async def start(compute: Compute, call: Call) -> ...`: the service first, then the call. It returns a row
(or mapping) that `view` shows, a list or `Listed` with `many`, a `Reply` where status or headers are its own matter, a
`web.StreamResponse` for streams, or None for an empty body. It never names a status for an error: it raises.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web
from multidict import MultiMapping

from minicloud.api.policy import ANYONE, Policy, kind_of_scope
from minicloud.api.schema import Schema
from minicloud.api.versions import Version
from minicloud.core.context import Context
from minicloud.core.store import Page

if TYPE_CHECKING:
    from minicloud.api.dialect import Dialect

ROOT = f"{Path(__file__).resolve().parents[2]}/"
"""Where the package lies: places in it are told from there."""

Handler = Callable[[Any, "Call"], Awaitable[Any]]


@dataclass(frozen=True)
class Route:
    """One documented operation.

    Attributes:
        method, path: the path is relative to the service's versioned root (`Dialect.root`); one that begins with "//" is
            relative to the service's prefix instead.
        handler: see the module.
        policy, rule: who may, and OpenStack's name of that rule.
        status: of a success.
        body: what the request's body holds; None: no body is read. `mode` says whether its create or update fields apply
            (by default POST creates, PUT and PATCH update).
        envelope: False where the body stands bare although the service wraps others; a string names another key.
        view, many: what the reply tells, of one row or of a list.
        action: key of the body that chooses this route among those of the same path.
        since, until: microversions that have it.
        query: query parameters beside paging; None takes any (the handler looks at them).
        media: content types that the body may have.
        bulk: the body may hold many under the plural key (Neutron): the handler then always gets a list and returns one.
        raw: the body is a stream that the handler reads (uploads).
        scopes: kinds of scopes whose tokens may be used here at all ("system", "domain", "project"); None: those of the dialect; () is any.
    """

    method: str
    path: str
    handler: Handler
    policy: Policy
    rule: str
    status: int = 200
    body: Schema | None = None
    mode: str = ""
    envelope: bool | str = True
    view: Schema | None = None
    many: bool = False
    action: str | None = None
    since: Version | None = None
    until: Version | None = None
    query: tuple[str, ...] | None = None
    media: tuple[str, ...] = ("application/json",)
    bulk: bool = False
    raw: bool = False
    summary: str = ""
    scopes: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.policy, Policy):
            raise TypeError(f"{self.method} {self.path} has no policy")
        if not self.mode:
            object.__setattr__(self, "mode", "create" if self.method == "POST" else "update")

    def takes(self, ctx: Context, dialect: Dialect) -> bool:
        """Whether tokens of the caller's kind of scope may be used here."""
        scopes = self.scopes
        if scopes is None:
            rows_decide = dialect.narrow is not None and self.policy is ANYONE
            scopes = () if self.policy.public or rows_decide else dialect.scopes
        return not scopes or kind_of_scope(ctx) in scopes

    @property
    def source(self) -> str:
        """Where the handler stands, for `minicloud routes`."""
        code = getattr(self.handler, "__code__", None)
        if code is None:  # an object that can be called
            return f"{type(self.handler).__module__}.{type(self.handler).__qualname__}"
        return f"{code.co_filename.removeprefix(ROOT)}:{code.co_firstlineno}"


@dataclass(slots=True)
class Call:
    """One request as a handler sees it.

    Attributes:
        ctx: the caller. `params`: the path's parameters. `query`: the query's. `body`: the checked body in its newest form, without envelope.
        version: the microversion, None for services without. `headers`: what the reply shall bear beside the usual.
        base: scheme, host and prefix that the client used, "http://host:port/compute".
    """

    ctx: Context
    route: Route
    dialect: Dialect
    request: web.BaseRequest
    params: Mapping[str, str]
    query: MultiMapping[str]
    version: Version | None
    base: str
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def root(self) -> str:
        """The versioned root that the client used, "http://host:port/compute/v2.1"."""
        return self.base + self.dialect.root

    def at_least(self, major: int, minor: int) -> bool:
        """Whether the client speaks this microversion. For views' functions only: handlers see the newest form."""
        return self.version is None or self.version >= (major, minor)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer whose status, headers or shape is the handler's own matter; `body` is sent as it is, None is empty."""

    body: Any = None
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Listed:
    """One page of a list. `more`: whether rows follow (precede, for a reversed page); `extra`: further keys beside the list."""

    rows: Sequence[Any]
    page: Page
    more: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
