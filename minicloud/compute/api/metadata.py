"""What is said about a server: `/servers/{id}/metadata`, `/servers/{id}/ips`, `/servers/{id}/os-server-password`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicloud.api.policy import MEMBER, READER
from minicloud.api.route import Call, Reply, Route
from minicloud.api.schema import Schema, Type
from minicloud.compute import servers
from minicloud.compute.api import server_view
from minicloud.compute.tables import SERVERS
from minicloud.core.errors import Invalid, NotFound

if TYPE_CHECKING:
    from minicloud.compute import Compute

_RULES = {"propertyNames": {"pattern": r"^[a-zA-Z0-9\-_:. ]{1,255}$"}}
_VALUE = Type({"type": "string", "maxLength": 255})
METADATA = Schema("metadata", extra=_VALUE, rules=_RULES)
META = Schema("meta", extra=_VALUE, rules={**_RULES, "minProperties": 1, "maxProperties": 1})
RULE = "os_compute_api:server-metadata"


async def list_metadata(compute: Compute, call: Call) -> Reply:
    """`GET .../metadata`."""
    return Reply({"metadata": compute.server(call.ctx, call.params["server_id"]).metadata})


async def merge_metadata(compute: Compute, call: Call) -> Reply:
    """`POST .../metadata`."""
    edited = await servers.change_metadata(
        compute, call.ctx, call.params["server_id"], lambda known: {**known, **call.body}
    )
    return Reply({"metadata": edited})


async def replace_metadata(compute: Compute, call: Call) -> Reply:
    """`PUT .../metadata`."""
    edited = await servers.change_metadata(compute, call.ctx, call.params["server_id"], lambda known: dict(call.body))
    return Reply({"metadata": edited})


async def show_item(compute: Compute, call: Call) -> Reply:
    """`GET .../metadata/{key}`."""
    known, key = compute.server(call.ctx, call.params["server_id"]).metadata, call.params["key"]
    if key not in known:
        raise NotFound("Metadata item was not found.")
    return Reply({"meta": {key: known[key]}})


async def set_item(compute: Compute, call: Call) -> Reply:
    """`PUT .../metadata/{key}`."""
    if call.params["key"] not in call.body:
        raise Invalid("Request body and URI mismatch.")
    await servers.change_metadata(compute, call.ctx, call.params["server_id"], lambda known: {**known, **call.body})
    return Reply({"meta": call.body})


async def delete_item(compute: Compute, call: Call) -> None:
    """`DELETE .../metadata/{key}`."""
    key = call.params["key"]

    def without(known: dict[str, str]) -> dict[str, str]:
        if key not in known:
            raise NotFound("Metadata item was not found.")
        return {name: value for name, value in known.items() if name != key}

    await servers.change_metadata(compute, call.ctx, call.params["server_id"], without, action="delete_server_metadata")


async def list_addresses(compute: Compute, call: Call) -> Reply:
    """`GET .../ips`."""
    row = server_view.found(compute, call.ctx, call.params["server_id"])
    return Reply({"addresses": server_view.addresses(row.ports, extended=False)})


async def show_addresses(compute: Compute, call: Call) -> Reply:
    """`GET .../ips/{network}`."""
    row = server_view.found(compute, call.ctx, call.params["server_id"])
    known, name = server_view.addresses(row.ports, extended=False), call.params["network_label"]
    if name not in known:
        raise NotFound("Instance is not a member of specified network.")
    return Reply({name: known[name]})


async def show_password(compute: Compute, call: Call) -> Reply:
    """`GET .../os-server-password`: what the guest left, as a rule encrypted for its owner."""
    return Reply({"password": compute.server(call.ctx, call.params["server_id"]).guest_password or ""})


async def clear_password(compute: Compute, call: Call) -> None:
    """`DELETE .../os-server-password`: forget it, here; the guest's own stays as it is."""
    server = compute.server(call.ctx, call.params["server_id"])
    await compute.store.write(SERVERS.change, server.id, guest_password=None)


_LEFT_BY_GUEST = "/servers/{server_id}/os-server-password"
_ALL, _ITEM = "/servers/{server_id}/metadata", "/servers/{server_id}/metadata/{key}"
ROUTES = [
    Route("GET", _ALL, list_metadata, policy=READER, rule=f"{RULE}:index"),
    Route("POST", _ALL, merge_metadata, body=METADATA, policy=MEMBER, rule=f"{RULE}:create"),
    Route("PUT", _ALL, replace_metadata, body=METADATA, mode="create", policy=MEMBER, rule=f"{RULE}:update_all"),
    Route("GET", _ITEM, show_item, policy=READER, rule=f"{RULE}:show"),
    Route("PUT", _ITEM, set_item, body=META, mode="create", policy=MEMBER, rule=f"{RULE}:update"),
    Route("DELETE", _ITEM, delete_item, status=204, policy=MEMBER, rule=f"{RULE}:delete"),
    Route("GET", _LEFT_BY_GUEST, show_password, policy=READER, rule="os_compute_api:os-server-password:show"),
    Route(
        "DELETE",
        _LEFT_BY_GUEST,
        clear_password,
        status=204,
        policy=MEMBER,
        rule="os_compute_api:os-server-password:clear",
    ),
    Route("GET", "/servers/{server_id}/ips", list_addresses, policy=READER, rule="os_compute_api:ips:index"),
    Route(
        "GET", "/servers/{server_id}/ips/{network_label}", show_addresses, policy=READER, rule="os_compute_api:ips:show"
    ),
]
