"""A cloud with one of everything in it, owned by demo, for the tests that go through every route of every service.

`places` lists the routes as the daemon serves them; `Town.path` fills their parameters with the ids of demo's things, so
that a test can ask the same question of all of them. Called by the tests of this folder only.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import re
import sqlite3
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

from yarl import URL

from minicloud.api.dialect import Dialect
from minicloud.api.route import Route
from minicloud.api.versions import printed
from tests.conftest import Answer, Client, Cloud, plain_config, running_cloud

BOOKKEEPING = {"spans", "decisions", "login_failures", "sqlite_sequence", "_sqlite_migrations"}
"""Tables that also remember what was refused."""

PARAMETER = re.compile(r"\{(\w+)(?::[^{}]*(?:\{[^{}]*\}[^{}]*)*)?\}")
NOBODY = "00000000-0000-4000-8000-000000000000"


@dataclasses.dataclass(frozen=True)
class Place:
    """One route of one service; `template` is its whole path, parameters in braces."""

    dialect: Dialect
    route: Route
    template: str

    @property
    def parameters(self) -> list[str]:
        return PARAMETER.findall(self.template)

    @property
    def service(self) -> str:
        return self.dialect.service

    def __str__(self) -> str:
        action = f" {{{self.route.action}}}" if self.route.action else ""
        return f"{self.route.method} {self.template}{action}"


@dataclasses.dataclass
class Town:
    """The cloud, its places, a member of another project, and the ids of demo's things by (service, parameter)."""

    cloud: Cloud
    places: list[Place]
    stranger: Client
    own: dict[tuple[str, str], str]
    common: dict[tuple[str, str], str]
    ledger: Ledger

    def path(self, place: Place, fill: Callable[[str], str] | None = None) -> str:
        """The place's URL path, with known ids, or with what `fill` makes of a parameter's name."""
        return PARAMETER.sub(lambda match: (fill or (lambda name: self.id_of(place, name)))(match[1]), place.template)

    def id_of(self, place: Place, name: str) -> str:
        """Demo's thing of this kind; if there is none, the id of nothing."""
        key = (place.service, name)
        return self.own.get(key) or self.common.get(key) or self.common.get(("", name)) or NOBODY

    def is_own(self, place: Place) -> bool:
        """Whether the path names something that demo owns."""
        return any((place.service, name) in self.own for name in place.parameters)

    def body(self, place: Place, **more: Any) -> Any:
        """The smallest body that the place's schema lets through; `more` goes in beside the fields."""
        route = place.route
        if route.body is None:
            return {route.action: None} if route.action else None
        fields = smallest(route.body.json_schema(route.mode, None), lambda name: self.id_of(place, name))
        return self.wrapped(place, {**fields, **more} if isinstance(fields, dict) else fields)

    def wrapped(self, place: Place, fields: Any) -> Any:
        """Fields in the envelope that the place wants."""
        route = place.route
        if route.action is not None:
            return {route.action: fields}
        if route.body is None or not place.dialect.envelope or route.envelope is False:
            return fields
        return {route.envelope if isinstance(route.envelope, str) else route.body.name: fields}

    async def ask(self, place: Place, client: Client, *, path: str = "", **options: Any) -> Answer:
        """Send a request to the place, at its newest microversion; `options` go to aiohttp."""
        token = {"X-Auth-Token": client.token} if client.token else {}
        headers = {"Accept": "application/json", **token, **version_headers(place), **options.pop("headers", {})}
        url = URL(client.url + (path or self.path(place)), encoded=True)  # as it stands: aiohttp would tidy it up
        method = options.pop("method", place.route.method)
        async with client.session.request(method, url, headers=headers, **options) as response:
            raw = await response.read()
            told: Any = raw
            if raw and "json" in response.headers.get("Content-Type", ""):
                told = json.loads(raw)
            return Answer(response.status, response.headers, told)

    async def refuse(self, place: Place, client: Client, offences: list[str], **options: Any) -> Answer:
        """Ask; a refusal that changed a table all the same is an offence."""
        before = self.ledger.read()
        answer = await self.ask(place, client, **options)
        if answer.status >= 400:
            after = self.ledger.read()
            offences += [
                f"{place}: {answer.status}, but table {name} changed"
                for name in after
                if before.get(name) != after[name]
            ]
        return answer


class Ledger:
    """Digests of all tables but those that remember refusals; read again only when something was written."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        self._version = -1
        self._known: dict[str, str] = {}

    def read(self) -> dict[str, str]:
        """Table -> digest of its rows."""
        version = self._db.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            names = [name for (name,) in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            self._known = {name: self._digest(name) for name in names if name not in BOOKKEEPING}
            self._version = version
        return self._known

    def close(self) -> None:
        self._db.close()

    def _digest(self, name: str) -> str:
        rows = sorted(map(repr, self._db.execute(f"SELECT * FROM {name}")))
        return hashlib.sha256("".join(rows).encode()).hexdigest()


def version_headers(place: Place) -> dict[str, str]:
    """The headers that ask for the newest microversion that has this route."""
    spoken = place.dialect.microversions
    if spoken is None:
        return {}
    return {"OpenStack-API-Version": f"{spoken.service_type} {printed(place.route.until or spoken.high)}"}


def media(place: Place) -> dict[str, str]:
    """The content type that the place reads."""
    return {"Content-Type": place.route.media[0]}


def smallest(schema: Mapping[str, Any], known: Callable[[str], str]) -> Any:
    """A small value that a JSON Schema of ours lets through; `known` gives ids for fields that name other things."""
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return smallest(schema["anyOf"][-1 if schema["anyOf"][0] == {"type": "null"} else 0], known)
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        wanted = schema.get("required", ())
        return {name: _named(name, schema["properties"].get(name, {}), known) for name in wanted}
    if kind == "array":
        return [smallest(schema.get("items", {}), known) for _ in range(schema.get("minItems", 0))]
    if kind in ("integer", "number"):
        return max(schema.get("minimum", 1), 1)
    if kind == "boolean":
        return True
    if kind == "null":
        return None
    return _text(schema)


def _named(name: str, schema: Mapping[str, Any], known: Callable[[str], str]) -> Any:
    found = known(name)
    return (
        found
        if found != NOBODY and schema.get("type") == "string" and "enum" not in schema
        else smallest(schema, known)
    )


def _text(schema: Mapping[str, Any]) -> str:
    formats = {"uuid": NOBODY, "ip": "10.9.0.9", "cidr": "10.9.0.0/24", "mac": "fa:16:3e:00:00:09"}
    if schema.get("format") in formats:
        return formats[schema["format"]]
    pattern = re.compile(schema.get("pattern", ""))
    return next((one for one in ("x", "1", "nova", "http://x") if pattern.search(one)), "x").ljust(
        schema.get("minLength", 0), "x"
    )


def places_of(cloud: Cloud) -> list[Place]:
    """Every route of every service."""
    found = []
    for service in cloud.daemon.services:
        dialect = service.dialect
        if dialect is None:
            continue
        for route in service.routes:
            rest = route.path[1:] if route.path.startswith("//") else dialect.root + route.path
            path = dialect.prefix + (rest if rest == "/" else rest.rstrip("/"))
            found.append(Place(dialect, route, PARAMETER.sub(r"{\1}", path)))
    return found


@contextlib.asynccontextmanager
async def furnished(folder: Path) -> AsyncIterator[Town]:
    """A town for the length of a block. Its images are small: hashing what random requests would make of its volumes
    takes minutes."""
    config = plain_config(folder)
    config = dataclasses.replace(config, image=dataclasses.replace(config.image, size_limit=1024**3))
    async with running_cloud(folder, config) as cloud:
        stranger = await cloud.person("stranger", project="elsewhere")
        with contextlib.closing(Ledger(cloud.daemon.store.path)) as ledger:
            town = Town(cloud, places_of(cloud), stranger, {}, {}, ledger)
            await _furnish(town)
            yield town


async def _furnish(town: Town) -> None:
    demo, admin = town.cloud.demo, town.cloud.admin
    offered = {place.template for place in town.places}
    town.common |= {
        ("", "project_id"): demo.project_id,
        ("", "tenant_id"): demo.project_id,
        ("", "user_id"): demo.user_id,
        ("", "domain_id"): "default",
        ("", "role_id"): (await admin.get("/identity/v3/roles?name=member"))["roles"][0]["id"],
        ("", "trustor_user_id"): demo.user_id,
        ("", "target_id"): demo.project_id,
        ("", "tag"): "blue",
        ("", "key"): "colour",
        ("identity", "group"): "ldap",
        ("identity", "option"): "url",
        ("identity", "rule"): "password_regex",
    }

    async def make(client: Client, path: str, parameter: str, key: str, body: dict[str, Any]) -> str:
        """Make one thing, if its service is there, and remember its id under the parameter's name."""
        if path not in offered:
            return ""
        answer = await client.post(path, {key: body} if key else body)
        assert answer.status < 300, f"POST {path}: {answer.status} {answer.body!r}"
        made = str((answer[key] if key else answer.body).get("id") or answer[key]["name"])
        kept = town.own if client is demo else town.common
        kept[(path.split("/")[1], parameter)] = made
        return made

    image = await make(demo, "/image/v2/images", "image_id", "", {"disk_format": "raw", "container_format": "bare"})
    octets = {"Content-Type": "application/octet-stream"}
    await demo.put(f"/image/v2/images/{image}/file", data=bytes(4096), headers=octets, expect=204)
    root = "/network/v2.0"
    net = await make(demo, f"{root}/networks", "network_id", "network", {"name": "net"})
    subnet = {"network_id": net, "ip_version": 4, "cidr": "10.5.0.0/24"}
    subnet_id = await make(demo, f"{root}/subnets", "subnet_id", "subnet", subnet)
    await make(demo, f"{root}/ports", "port_id", "port", {"network_id": net})
    group = await make(demo, f"{root}/security-groups", "security_group_id", "security_group", {"name": "web"})
    rule = {"security_group_id": group, "direction": "ingress", "protocol": "tcp"}
    await make(demo, f"{root}/security-group-rules", "security_group_rule_id", "security_group_rule", rule)
    router = await make(demo, f"{root}/routers", "router_id", "router", {"name": "r"})
    if router:
        await demo.put(f"{root}/routers/{router}/add_router_interface", {"subnet_id": subnet_id}, expect=200)
        outside = (await demo.get(f"{root}/networks?router:external=true"))["networks"][0]["id"]
        await make(demo, f"{root}/floatingips", "floatingip_id", "floatingip", {"floating_network_id": outside})
    await make(demo, f"{root}/subnetpools", "subnetpool_id", "subnetpool", {"name": "p", "prefixes": ["10.6.0.0/16"]})
    volume = await make(demo, "/volume/v3/volumes", "volume_id", "volume", {"size": 1, "metadata": {"colour": "blue"}})
    await town.cloud.daemon.operations.all_settled()
    await make(demo, "/volume/v3/snapshots", "snapshot_id", "snapshot", {"volume_id": volume})
    await make(admin, "/volume/v3/types", "type_id", "volume_type", {"name": "t"})
    await town.cloud.daemon.operations.all_settled()
    flavor = {"name": "f", "ram": 64, "vcpus": 1, "disk": 1}
    flavor_id = await make(admin, "/compute/v2.1/flavors", "flavor_id", "flavor", flavor)
    await make(demo, "/compute/v2.1/os-keypairs", "keypair_name", "keypair", {"name": "k"})
    await make(
        demo, "/compute/v2.1/os-server-groups", "group_id", "server_group", {"name": "g", "policies": ["affinity"]}
    )
    if flavor_id:
        body = {
            "name": "s",
            "imageRef": image,
            "flavorRef": flavor_id,
            "networks": [{"uuid": net}],
            "metadata": {"colour": "blue"},
        }
        await make(demo, "/compute/v2.1/servers", "server_id", "server", body)
        await town.cloud.daemon.operations.all_settled()
        server = town.own[("compute", "server_id")]
        shown = (await demo.get(f"/compute/v2.1/servers/{server}"))["server"]
        assert shown["status"] == "ACTIVE", shown
    region = {"id": "elsewhere", "description": ""}
    await make(admin, "/identity/v3/regions", "region_id", "region", region)
    await make(admin, "/identity/v3/groups", "group_id", "group", {"name": uuid.uuid4().hex})
    for_demo = f"/identity/v3/users/{demo.user_id}"
    blob = {"type": "cert", "blob": "x", "user_id": demo.user_id}
    await make(demo, "/identity/v3/credentials", "credential_id", "credential", blob)
    made = await demo.post(f"{for_demo}/credentials/OS-EC2", {"tenant_id": demo.project_id}, expect=201)
    rules = [{"service": "compute", "method": "GET", "path": "/v2.1/servers"}]
    lent = {"application_credential": {"name": "a", "access_rules": rules}}
    shown = (await demo.post(f"{for_demo}/application_credentials", lent, expect=201))["application_credential"]
    town.own |= {
        ("identity", "access"): made["credential"]["access"],
        ("identity", "application_credential_id"): shown["id"],
        ("identity", "access_rule_id"): shown["access_rules"][0]["id"],
    }
    await make(admin, "/identity/v3/services", "service_id", "service", {"type": "x", "name": "x"})
