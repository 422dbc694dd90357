"""Ports on the wire, and who may set which of their attributes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from minicloud.api.policy import MANAGER, MEMBER, READER, SERVICE, require
from minicloud.api.route import Call, Listed, Route
from minicloud.api.schema import (
    BOOLEAN,
    IP,
    MAC,
    OPTIONAL,
    REQUIRED,
    TEXT,
    Field,
    Schema,
    Setting,
    Type,
    array,
    nullable,
    string,
)
from minicloud.core.errors import Forbidden, Invalid
from minicloud.network import ports
from minicloud.network.api.listing import Collection, fixed_ips_filter, in_json
from minicloud.network.api.standard import ADMIN_OR_SERVICE, DNS_NAME, TAGS, columns, revision_of, shown, standard
from minicloud.network.plan import hostname_of
from minicloud.network.tables import NETWORKS, PORTS, Port

if TYPE_CHECKING:
    from minicloud.network import Network

PLUMBER = Setting(policy=ADMIN_OR_SERVICE)
FIXED_IPS = array(
    Schema(
        "fixed_ip",
        Field("subnet_id", nullable(TEXT), create=OPTIONAL, update=OPTIONAL),
        Field("ip_address", IP, create=OPTIONAL, update=OPTIONAL),
    ),
    high=32,
)
ADDRESS_PAIRS = array(
    Schema("pair", Field("ip_address", Type({"anyOf": [{"type": "string", "format": "ip"}, {"type": "string", "format": "cidr"}]}),
                         create=OPTIONAL), Field("mac_address", MAC, create=OPTIONAL)), high=10
)  # fmt: skip
OPTION_NAME = string(low=1, high=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
_TOLD = r"\x21\x23-\x5b\x5d-\x7e"  # printable, without quote and backslash, which the server's files read otherwise
OPTION_VALUE = nullable(string(low=1, high=255, pattern=rf"^(?!#)(?!.* #)[{_TOLD}]([ {_TOLD}]*[{_TOLD}])?$"))
DHCP_OPTIONS = array(
    Schema(
        "option",
        Field("opt_name", OPTION_NAME, create=REQUIRED),
        Field("opt_value", OPTION_VALUE, create=OPTIONAL),
        Field("ip_version", Type({"enum": [4, 6, "4", "6"]}, int), create=OPTIONAL, default=4),
    ),
    high=20,
)
RENAMED = {"binding:vnic_type": "vnic_type", "binding:host_id": "host_id", "binding:profile": "profile"}
PORT = Schema(
    "port",
    *standard(
        Field("network_id", string(low=1), out=True, create=REQUIRED),
        Field("admin_state_up", BOOLEAN, out=True, create=OPTIONAL, update=OPTIONAL),
        Field("status", TEXT, out=True),
        Field("mac_address", nullable(MAC), out=True, create=OPTIONAL, update=Setting(policy=MANAGER)),
        Field("fixed_ips", nullable(FIXED_IPS), out=True, create=OPTIONAL, update=OPTIONAL),
        Field("device_id", nullable(TEXT), out=True, create=OPTIONAL, update=OPTIONAL),
        Field("device_owner", nullable(TEXT), out=True, create=OPTIONAL, update=OPTIONAL),
        Field("security_groups", nullable(array(string(low=1), unique=True)), out=True, create=OPTIONAL, update=OPTIONAL),
        Field("port_security_enabled", BOOLEAN, out=True, create=OPTIONAL, update=OPTIONAL),
        Field("allowed_address_pairs", nullable(ADDRESS_PAIRS), out=True, create=OPTIONAL, update=OPTIONAL),
        Field("extra_dhcp_opts", nullable(DHCP_OPTIONS), out=True, create=OPTIONAL, update=OPTIONAL),
        Field("dns_name", nullable(DNS_NAME), out=True, create=OPTIONAL, update=OPTIONAL),
        Field("dns_assignment", Type({"type": "array"}), out=True),
        Field("binding:vnic_type", string(enum=("normal",)), attr="vnic_type", out=True, create=OPTIONAL, update=OPTIONAL),
        Field("binding:profile", nullable(Type({"type": "object"})), attr="profile", out=True, create=PLUMBER, update=PLUMBER,
              show=ADMIN_OR_SERVICE),
        Field("binding:host_id", nullable(TEXT), attr="host_id", out=True, create=PLUMBER, update=PLUMBER,
              show=ADMIN_OR_SERVICE),
        Field("binding:vif_type", TEXT, out=True, show=ADMIN_OR_SERVICE),
        Field("binding:vif_details", Type({"type": "object"}), out=True, show=ADMIN_OR_SERVICE),
        Field("tags", TAGS, create=OPTIONAL),
    ),
)  # fmt: skip
COLLECTION = Collection(
    PORTS,
    columns=RENAMED | {"mac_address": "mac_address"},
    special={"fixed_ips": fixed_ips_filter, "security_groups": in_json("ports.security_groups")},
    hidden=frozenset({"number", "tags", "made_for_device", "profile", "extra_dhcp_opts", "allowed_address_pairs"}),
)


async def list_ports(service: Network, call: Call) -> Listed:
    """List ports that the caller may know of."""
    page = COLLECTION.list(service.store.read, call, ports.visible_sql(call.ctx))
    return Listed([_shown(service, row) for row in page.rows], page.page, page.more)


async def create_ports(service: Network, call: Call) -> list[dict[str, Any]]:
    """Create one or many ports."""
    many = [_read(service, call, one, one["network_id"]) for one in call.body]
    return [_shown(service, row) for row in await ports.create(service, call.ctx, many)]


async def show_port(service: Network, call: Call) -> dict[str, Any]:
    """Show a port."""
    return _shown(service, ports.show(service, call.ctx, call.params["port_id"]))


async def update_port(service: Network, call: Call) -> dict[str, Any]:
    """Change a port."""
    network_id = ports.show(service, call.ctx, call.params["port_id"]).network_id
    values = _read(service, call, call.body, network_id)
    return _shown(service, await ports.update(service, call.ctx, call.params["port_id"], values, revision_of(call)))


async def delete_port(service: Network, call: Call) -> None:
    """Delete a port."""
    await ports.delete(service, call.ctx, call.params["port_id"], revision_of(call))


def _read(service: Network, call: Call, body: Mapping[str, Any], network_id: str) -> dict[str, Any]:
    """A checked body as columns. On a network of another project a member may set little that others there would notice."""
    network = service.store.read(NETWORKS.get, network_id)
    if network is not None and not call.ctx.sees(network.project_id):
        guarded = ["mac_address", "port_security_enabled", "allowed_address_pairs"]
        if any(one.get("ip_address") for one in body.get("fixed_ips") or ()):
            guarded.append("fixed_ips")
        if str(body.get("device_owner") or "").startswith("network:"):
            guarded.append("device_owner")
        resets = call.request.method == "PUT"  # a null is a change there, too
        for name in guarded:
            if body.get(name) is not None or (resets and name in body):
                rule = f"{call.route.rule}:{name}"
                raise Forbidden(f"Policy doesn't allow {rule} to be performed.", code=rule)
    elif body.get("allowed_address_pairs"):
        require(call.ctx, MEMBER, f"{call.route.rule}:allowed_address_pairs")
    values = columns(body, RENAMED)
    if values.get("allowed_address_pairs"):
        values["allowed_address_pairs"] = _pairs(values["allowed_address_pairs"])
    if values.get("security_groups", ()) is None:
        values["security_groups"] = []
    return values


def _pairs(pairs: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    kept: list[dict[str, str]] = []
    for pair in pairs:
        if "ip_address" not in pair:
            raise Invalid(
                "Cannot use an allowed address pair without an ip_address.", code="AllowedAddressPairsMissingIP"
            )
        if dict(pair) in kept:
            raise Invalid(
                f"Cannot use the address pair {pair['ip_address']} twice.", code="DuplicateAddressPairInRequest"
            )
        kept.append(dict(pair))
    return kept


_TRAILING_DOT = re.compile(r"\.*$")


def _shown(service: Network, row: Port) -> dict[str, Any]:
    domain = _TRAILING_DOT.sub(".", service.config.compute.dhcp_domain)
    names = []
    for fixed in row.fixed_ips:
        name = row.dns_name or hostname_of(fixed["ip_address"])
        names.append({"hostname": name, "ip_address": fixed["ip_address"], "fqdn": f"{name}.{domain}"})
    pairs = [{"mac_address": row.mac_address, **pair} for pair in row.allowed_address_pairs]
    bound = bool(row.host_id)
    return shown(
        row,
        allowed_address_pairs=pairs,
        dns_assignment=names,
        **{
            "binding:vif_type": "bridge" if bound else "unbound",
            "binding:vif_details": {"port_filter": True, "connectivity": "l2"} if bound else {},
        },
    )


ROUTES = [
    Route("GET", "/ports", list_ports, READER | SERVICE, "get_port", view=PORT, many=True),
    Route("POST", "/ports", create_ports, MEMBER | SERVICE, "create_port", 201, body=PORT, view=PORT, bulk=True),
    Route("GET", "/ports/{port_id}", show_port, READER | SERVICE, "get_port", view=PORT),
    Route("PUT", "/ports/{port_id}", update_port, MEMBER | SERVICE, "update_port", body=PORT, view=PORT),
    Route("DELETE", "/ports/{port_id}", delete_port, MEMBER | SERVICE, "delete_port", 204),
]
