"""Neutron's front page and what can be asked: versions, resources, extensions, availability zones, who provides what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ANYONE, PUBLIC, READER
from minicloud.api.route import Call, Reply, Route
from minicloud.core.errors import NotFound
from minicloud.network.api.extensions import EXTENSIONS, Extension

if TYPE_CHECKING:
    from minicloud.network import Network

RESOURCES = {"network": "networks", "subnet": "subnets", "subnetpool": "subnetpools", "port": "ports"}


async def list_versions(service: Network, call: Call) -> Reply:
    """List API versions."""
    link = {"rel": "self", "href": f"{call.base}/v2.0/"}
    return Reply({"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]})


async def show_version(service: Network, call: Call) -> Reply:
    """List the core resources of v2.0."""
    told = [
        {"name": name, "collection": many, "links": [{"rel": "self", "href": f"{call.root}/{many}"}]}
        for name, many in RESOURCES.items()
    ]
    return Reply({"resources": told})


async def list_extensions(service: Network, call: Call) -> Reply:
    """List extensions: only those that work here."""
    return Reply({"extensions": [_shown(one) for one in EXTENSIONS]})


async def show_extension(service: Network, call: Call) -> Reply:
    """Show one extension."""
    alias = call.params["alias"]
    found = next((one for one in EXTENSIONS if one.alias == alias), None)
    if found is None:
        raise NotFound(f"Extension with alias {alias[:80]} does not exist")
    return Reply({"extension": _shown(found)})


def _shown(one: Extension) -> dict[str, Any]:
    return {"alias": one.alias, "name": one.name, "description": one.description, "updated": one.updated, "links": []}


async def list_zones(service: Network, call: Call) -> Reply:
    """List availability zones: this host is the one."""
    zones = [{"name": "nova", "resource": kind, "state": "available"} for kind in ("network", "router")]
    return Reply({"availability_zones": _asked(call, zones)})


async def list_providers(service: Network, call: Call) -> Reply:
    """List service providers: routers are this daemon's; clients look here for what else there might be (VPN)."""
    routers = {"service_type": "L3_ROUTER_NAT", "name": "single_node", "default": True}
    return Reply({"service_providers": _asked(call, [routers])})


def _asked(call: Call, every: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in every if all(str(one[key]) == value for key, value in call.query.items() if key in one)]


ROUTES = [
    Route("GET", "//", list_versions, PUBLIC, "get_versions"),
    Route("GET", "/", show_version, ANYONE, "get_resources", scopes=()),
    Route("GET", "/extensions", list_extensions, ANYONE, "get_extension", scopes=()),
    Route("GET", "/extensions/{alias}", show_extension, ANYONE, "get_extension", scopes=()),
    Route("GET", "/availability-zones", list_zones, ANYONE, "get_availability_zone", scopes=("project",)),
    Route("GET", "/service-providers", list_providers, READER, "get_service_provider"),
]
