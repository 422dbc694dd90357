"""A server's network cards: `/servers/{id}/os-interface`, and the actions on addresses that ended with 2.44."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import MEMBER, READER
from minicloud.api.route import Call, Reply, Route
from minicloud.api.schema import IP, OPTIONAL, REQUIRED, UUID, Field, Schema, array
from minicloud.compute import attach
from minicloud.compute.api.types import DEVICE_TAG
from minicloud.core.errors import Invalid, NotFound
from minicloud.network import NicRequest

if TYPE_CHECKING:
    from minicloud.compute import Compute
    from minicloud.network import PortInfo

FIXED = Schema("fixed_ip", Field("ip_address", IP, create=REQUIRED))
NEW = Schema(
    "interfaceAttachment",
    Field("net_id", UUID, create=OPTIONAL),
    Field("port_id", UUID, create=OPTIONAL),
    Field("fixed_ips", array(FIXED, low=1, high=1), create=OPTIONAL),
    Field("tag", DEVICE_TAG, create=OPTIONAL, since=(2, 49)),
)
ADDED = Schema("action", Field("networkId", UUID, create=REQUIRED))
REMOVED = Schema("action", Field("address", IP, create=REQUIRED))
RULE = "os_compute_api:os-attach-interfaces"


def _view(compute: Compute, call: Call, port: PortInfo) -> dict[str, Any]:
    told: dict[str, Any] = {
        "net_id": port.network_id,
        "port_id": port.id,
        "mac_addr": port.mac,
        "port_state": port.status,
        "fixed_ips": [{"subnet_id": subnet, "ip_address": address} for subnet, address in port.fixed_ips],
    }
    if call.at_least(2, 70):
        nics = compute.server(call.ctx, call.params["server_id"]).nics
        told["tag"] = next((nic.get("tag") for nic in nics if nic["port_id"] == port.id), None)
    return told


async def list_interfaces(compute: Compute, call: Call) -> Reply:
    """`GET .../os-interface`."""
    server = compute.server(call.ctx, call.params["server_id"])
    return Reply({"interfaceAttachments": [_view(compute, call, port) for port in compute.ports_in_order(server)]})


async def show_interface(compute: Compute, call: Call) -> Reply:
    """`GET .../os-interface/{port_id}`."""
    server = compute.server(call.ctx, call.params["server_id"])
    for port in compute.network.ports_of(server.id):
        if port.id == call.params["port_id"]:
            return Reply({"interfaceAttachment": _view(compute, call, port)})
    raise NotFound(f"Instance {server.id} does not have a port with id {call.params['port_id']}.")


async def create_interface(compute: Compute, call: Call) -> Reply:
    """`POST .../os-interface`."""
    body = call.body
    if body.get("port_id") and (body.get("net_id") or body.get("fixed_ips")):
        raise Invalid(
            "Must not input both network_id and port_id"
            if body.get("net_id")
            else "Cannot use fixed_ips with a port_id."
        )
    if body.get("fixed_ips") and not body.get("net_id"):
        raise Invalid("Cannot choose an address without a network: fixed_ips needs net_id.")
    request = None
    if body.get("net_id") or body.get("port_id"):
        fixed = body["fixed_ips"][0]["ip_address"] if body.get("fixed_ips") else None
        request = NicRequest(
            network_id=body.get("net_id"), port_id=body.get("port_id"), fixed_ip=fixed, tag=body.get("tag")
        )
    port = await attach.attach_interface(compute, call.ctx, call.params["server_id"], request)
    return Reply({"interfaceAttachment": _view(compute, call, port)})


async def delete_interface(compute: Compute, call: Call) -> None:
    """`DELETE .../os-interface/{port_id}`."""
    await attach.detach_interface(compute, call.ctx, call.params["server_id"], call.params["port_id"])


async def add_address(compute: Compute, call: Call) -> None:
    """`addFixedIp`."""
    server = compute.server(call.ctx, call.params["server_id"])
    await compute.network.add_address(call.ctx, server.id, call.body["networkId"])


async def remove_address(compute: Compute, call: Call) -> None:
    """`removeFixedIp`."""
    server = compute.server(call.ctx, call.params["server_id"])
    await compute.network.remove_address(call.ctx, server.id, call.body["address"])


_ACTION, _UNTIL = "/servers/{server_id}/action", (2, 43)
_ALL, _ONE = "/servers/{server_id}/os-interface", "/servers/{server_id}/os-interface/{port_id}"
ROUTES = [
    Route("GET", _ALL, list_interfaces, policy=READER, rule=f"{RULE}:list"),
    Route("POST", _ALL, create_interface, body=NEW, policy=MEMBER, rule=f"{RULE}:create"),
    Route("GET", _ONE, show_interface, policy=READER, rule=f"{RULE}:show"),
    Route("DELETE", _ONE, delete_interface, status=202, policy=MEMBER, rule=f"{RULE}:delete"),
    Route("POST", _ACTION, add_address, action="addFixedIp", body=ADDED, status=202, until=_UNTIL, policy=MEMBER,
          rule="os_compute_api:os-multinic:add"),
    Route("POST", _ACTION, remove_address, action="removeFixedIp", body=REMOVED, status=202, until=_UNTIL, policy=MEMBER,
          rule="os_compute_api:os-multinic:remove"),
]  # fmt: skip
