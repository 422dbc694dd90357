"""The usual routes of a noun whose rights are the same for all of its rows: list, create, show, change, remove.

Called by the files of such nouns; those where the rule looks at the row (users, projects) write their handlers themselves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN, ADMIN_OR_SYSTEM_READER, Policy
from minicloud.api.route import Call, Handler, Listed, Route
from minicloud.api.schema import Schema
from minicloud.identity.api.fields import values_of
from minicloud.identity.api.lists import page
from minicloud.identity.api.rules import NO_DOMAIN
from minicloud.identity.nouns import Noun

if TYPE_CHECKING:
    from minicloud.identity import Identity


@dataclass(frozen=True)
class Resource:
    """A noun on the wire.

    Attributes:
        schema: its fields.
        noun: the domain's side of it.
        create: makes one of the keyword arguments that the body gives.
        filters: attributes that lists can be filtered by.
        path: of the collection below the root; `parameter` is what the path of one calls its id.
        rules: how policies call one and many: ("region", "regions").
        texts: attributes that a client may send as null and that are empty then.
        scopes: kinds of tokens that may be used.
        read, read_scopes: who may list and show; by default those who read the whole system.
        taken: turns the body's attributes into those that the domain knows.
        shown: what this client is told instead of a row.
    """

    schema: Schema
    noun: Noun[Any]
    create: Callable[..., Awaitable[Any]]
    filters: tuple[str, ...] = ()
    path: str = ""
    parameter: str = ""
    rules: tuple[str, str] = ("", "")
    texts: tuple[str, ...] = ()
    scopes: tuple[str, ...] = NO_DOMAIN
    read: Policy = ADMIN_OR_SYSTEM_READER
    read_scopes: tuple[str, ...] | None = NO_DOMAIN
    taken: Callable[[dict[str, Any]], dict[str, Any]] = lambda values: values
    shown: Callable[[Identity, Call, Any], Any] = lambda identity, call, row: row

    def values(self, call: Call) -> dict[str, Any]:
        """The body as the domain takes it."""
        values = values_of(self.schema, call.body)
        return self.taken(values | {name: values[name] or "" for name in self.texts if name in values})

    def key(self, call: Call) -> str:
        """The id in the path."""
        return call.params[self._parameter]

    @property
    def _parameter(self) -> str:
        return self.parameter or f"{self.schema.name}_id"

    def routes(self, *, create_at: Handler | None = None) -> list[Route]:
        """List, create, show, change, remove. With `create_at` things are made by that handler, by PUT at the id of their choice."""
        schema, noun = self.schema, self.noun
        one, many = self.rules if self.rules[0] else (schema.name, schema.plural)
        place = self.path or f"/{schema.plural}"

        async def list_all(identity: Identity, call: Call) -> Listed:
            found = page(call, noun.listed(identity), *self.filters)
            return dataclasses.replace(found, rows=[self.shown(identity, call, row) for row in found.rows])

        async def create(identity: Identity, call: Call) -> Any:
            return self.shown(identity, call, await self.create(identity, **self.values(call)))

        async def show(identity: Identity, call: Call) -> Any:
            return self.shown(identity, call, noun.show(identity, self.key(call)))

        async def update(identity: Identity, call: Call) -> Any:
            return self.shown(identity, call, await noun.update(identity, self.key(call), self.values(call)))

        async def delete(identity: Identity, call: Call) -> None:
            await noun.delete(identity, self.key(call))

        def route(method: str, path: str, handler: Handler, rule: str, words: str, **more: Any) -> Route:
            policy, scopes = (self.read, self.read_scopes) if method == "GET" else (ADMIN, self.scopes)
            return Route(
                method, path, handler, policy=policy, rule=f"identity:{rule}", summary=words, scopes=scopes, **more
            )

        single = f"{place}/{{{self._parameter}}}"
        whole: dict[str, Any] = {"body": schema, "view": schema}
        verb, at, maker = ("POST", place, create) if create_at is None else ("PUT", single, create_at)
        return [
            route("GET", place, list_all, f"list_{many}", f"List every {noun.name}", view=schema, many=True),
            route(verb, at, maker, f"create_{one}", f"Make one {noun.name}", status=201, mode="create", **whole),
            route("GET", single, show, f"get_{one}", f"Show one {noun.name}", view=schema),
            route("PATCH", single, update, f"update_{one}", f"Change one {noun.name}", **whole),
            route("DELETE", single, delete, f"delete_{one}", f"Remove one {noun.name}", status=204),
        ]
