"""The OpenAPI document at `/openapi.json`, generated from the services' route tables: it can't drift from the code."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from minicloud import __version__
from minicloud.api.dialect import Dialect
from minicloud.api.route import Route
from minicloud.api.versions import printed
from minicloud.core.service import Service

_PARAMETER = re.compile(r"\{(\w+)(?::[^{}]*(?:\{[^{}]*\}[^{}]*)*)?\}")


def document(services: Sequence[Service]) -> dict[str, Any]:
    """OpenAPI 3.1 of every route of every service at its newest microversion; where it is (`servers`) is for the caller."""
    paths: dict[str, dict[str, Any]] = {}
    for service in services:
        dialect: Dialect = service.dialect
        for route in service.routes:
            place = route.path[1:] if route.path.startswith("//") else dialect.root + route.path
            path = _PARAMETER.sub(r"{\1}", (dialect.prefix + place).rstrip("/"))
            item = paths.setdefault(path, {})
            method = route.method.lower()
            operation = _operation(dialect, route, path)
            if method in item:
                _merge(item[method], operation)
            else:
                item[method] = operation
    schemes = {"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "minicloud", "version": __version__},
        "paths": paths,
        "components": {"securitySchemes": schemes},
    }


def _operation(dialect: Dialect, route: Route, path: str) -> dict[str, Any]:
    name = route.handler.__name__ + (f"-{route.action}" if route.action else "")
    told: dict[str, Any] = {
        "operationId": f"{dialect.service}.{route.method.lower()}.{path.strip('/').replace('/', '.')}.{name}",
        "tags": [dialect.service],
        "summary": route.summary or (route.handler.__doc__ or route.rule).strip().splitlines()[0],
        "x-policy": {"rule": route.rule, "check": route.policy.text},
        "x-source": route.source,
        "security": [] if route.policy.public else [{"token": []}],
        "responses": {str(route.status): _reply(dialect, route), "default": {"description": "The service's fault."}},
    }
    if route.since or route.until:
        ends = [printed(end) if end else "" for end in (route.since, route.until)]
        told["x-microversions"] = "-".join(ends)
    names = _PARAMETER.findall(path)
    parameters: list[dict[str, Any]] = [
        {"name": one, "in": "path", "required": True, "schema": {"type": "string"}} for one in names
    ]
    parameters += [{"name": one, "in": "query", "schema": {"type": "string"}} for one in route.query or ()]
    if parameters:
        told["parameters"] = parameters
    if route.raw:
        told["requestBody"] = {
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        }
    elif (schema := _request(dialect, route)) is not None:
        told["requestBody"] = {"required": True, "content": {media: {"schema": schema} for media in route.media}}
    return told


def _request(dialect: Dialect, route: Route) -> Mapping[str, Any] | None:
    if route.action is not None:
        inner = route.body.json_schema(route.mode, None) if route.body else {}
        return {"type": "object", "properties": {route.action: inner}, "required": [route.action]}
    if route.body is None:
        return None
    inner = route.body.json_schema(route.mode, None)
    if not dialect.envelope or route.envelope is False:
        return inner
    key = route.envelope if isinstance(route.envelope, str) else route.body.name
    return {"type": "object", "properties": {key: inner}, "required": [key]}


def _reply(dialect: Dialect, route: Route) -> dict[str, Any]:
    told: dict[str, Any] = {"description": "Done."}
    if route.view is None:
        return told
    schema: dict[str, Any] = route.view.reply_schema()
    if route.many:
        schema = {"type": "object", "properties": {route.view.plural: {"type": "array", "items": schema}}}
    elif dialect.envelope and route.envelope is not False:
        key = route.envelope if isinstance(route.envelope, str) else route.view.name
        schema = {"type": "object", "properties": {key: schema}}
    return told | {"content": {"application/json": {"schema": schema}}}


def _merge(known: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Several actions or versions share a method and path: their bodies are alternatives."""
    known["summary"] += f"; {more['summary']}"
    known["responses"].update(more["responses"])
    if "requestBody" in more:
        ours = known.setdefault("requestBody", {"content": {}})["content"].setdefault("application/json", {})
        theirs = more["requestBody"]["content"].get("application/json", {}).get("schema", {})
        mine = ours.get("schema")
        alternatives = [] if mine is None else mine.get("anyOf", [mine])
        ours["schema"] = {"anyOf": [*alternatives, theirs]}
