"""`/servers`: make, list, show, change, delete."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from minicloud.api.paging import listed, page_of
from minicloud.api.policy import ADMIN, MEMBER, READER, require
from minicloud.api.route import Call, Listed, Reply, Route
from minicloud.api.schema import OPTIONAL, Field, Schema, Type
from minicloud.compute import launch, servers, services, states, teardown
from minicloud.compute.api import new_server, server_view
from minicloud.compute.api.types import DESCRIPTION, DISK_CONFIG, FQDN, HOSTNAME, NAME
from minicloud.compute.servers import Filter
from minicloud.compute.tables import Server
from minicloud.core.clock import stamp
from minicloud.core.errors import Invalid

if TYPE_CHECKING:
    from minicloud.compute import Compute

_ADDRESS_V4 = Type(
    {"anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "maxLength": 0}, {"type": "null"}]}
)
_ADDRESS_V6 = Type(
    {"anyOf": [{"type": "string", "format": "ipv6"}, {"type": "string", "maxLength": 0}, {"type": "null"}]}
)
CHANGED_SERVER = Schema(
    "server",
    Field("name", NAME, update=OPTIONAL),
    Field("OS-DCF:diskConfig", DISK_CONFIG, update=OPTIONAL),
    Field("accessIPv4", _ADDRESS_V4, update=OPTIONAL),
    Field("accessIPv6", _ADDRESS_V6, update=OPTIONAL),
    Field("description", DESCRIPTION, update=OPTIONAL, since=(2, 19)),
    Field("hostname", HOSTNAME, update=OPTIONAL, since=(2, 90), until=(2, 93)),
    Field("hostname", FQDN, update=OPTIONAL, since=(2, 94)),
)
_COLUMNS_OF_CHANGE = {
    "name": "name", "OS-DCF:diskConfig": "disk_config", "accessIPv4": "access_ipv4", "accessIPv6": "access_ipv6",
    "description": "description", "hostname": "hostname",
}  # fmt: skip

SORT_COLUMNS = {
    "created_at": "created_at", "updated_at": "updated_at", "display_name": "name", "display_description": "description",
    "uuid": "id", "vm_state": "vm_state", "task_state": "task_state", "power_state": "power_state",
    "launched_at": "launched_at", "terminated_at": "terminated_at", "key_name": "key_name", "project_id": "project_id",
    "user_id": "user_id", "hostname": "hostname", "image_ref": "image_id", "availability_zone": "availability_zone",
    "config_drive": "config_drive", "access_ip_v4": "access_ipv4", "access_ip_v6": "access_ipv6", "progress": "progress",
    "launch_index": "launch_index", "locked": "locked", "instance_type_id": "flavor_id", "auto_disk_config": "disk_config",
}  # fmt: skip
_FOR_ALL = ("all_tenants", "changes-since", "changes-before", "flavor", "image", "ip", "ip6", "name", "reservation_id", "status",
            "tenant_id", "tags", "tags-any", "not-tags", "not-tags-any", "locked")  # fmt: skip
_FOR_ADMINS = {
    "user_id": "user_id", "uuid": "id", "vm_state": "vm_state", "task_state": "task_state", "power_state": "power_state",
    "key_name": "key_name", "display_description": "description", "description": "description", "launch_index": "launch_index",
    "availability_zone": "availability_zone", "progress": "progress", "hostname": "hostname", "created_at": "created_at",
    "launched_at": "launched_at", "terminated_at": "terminated_at",
}  # fmt: skip
"""Filters that compare one column; open to everyone from 2.83 on."""

_PAGING = ("limit", "marker", "sort_key", "sort_dir")
_IGNORED = ("host", "node", "deleted", "project_id", "hypervisor_hostname", "soft_deleted", "config_drive", "access_ip_v4",
            "access_ip_v6", "auto_disk_config", "kernel_id", "ramdisk_id", "instance_type_id", "image_ref", "cell_name",
            "host_status")  # fmt: skip
QUERY = tuple(dict.fromkeys((*_FOR_ALL, *_FOR_ADMINS, *_PAGING, *_IGNORED)))


async def create_server(compute: Compute, call: Call) -> Reply:
    """`POST /servers`."""
    new, password, only_reservation = await new_server.read(call)
    rows = await launch.accept(compute, call.ctx, new)
    if only_reservation:
        return Reply({"reservation_id": rows[0].reservation_id})
    row = rows[0]
    groups = list(new.security_groups) or ["default"]
    body = {
        "id": row.id,
        "links": server_view.links(call, "servers", row.id),
        "OS-DCF:diskConfig": row.disk_config,
        "security_groups": [{"name": name} for name in groups],
        "adminPass": password,
    }
    return Reply({"server": body}, headers={"Location": f"{call.root}/servers/{row.id}"})


async def list_servers(compute: Compute, call: Call) -> Listed:
    """`GET /servers`."""
    return _list(compute, call, rule="os_compute_api:servers:index:get_all_tenants", details=False)


async def list_details(compute: Compute, call: Call) -> Listed:
    """`GET /servers/detail`."""
    return _list(compute, call, rule="os_compute_api:servers:detail:get_all_tenants", details=True)


def _list(compute: Compute, call: Call, *, rule: str, details: bool) -> Listed:
    everyone = _flag(call.query.get("all_tenants"), "all_tenants")
    if everyone:
        require(call.ctx, ADMIN, rule)
    filters = _filters(compute, call, everyone=everyone)
    page = page_of(call, columns=SORT_COLUMNS, default_sort=(("created_at", False), ("id", False)))
    deleted: bool | None = False
    if call.ctx.is_admin and "deleted" in call.query:
        deleted = _flag(call.query["deleted"], "deleted")
    elif "changes-since" in call.query or call.query.get("status", "").upper() == "DELETED":
        deleted = None
    found = listed(
        lambda part: servers.listed(compute, call.ctx, part, filters=filters, all_projects=everyone, deleted=deleted),
        page,
    )
    rows = server_view.shown(compute, found.rows) if details else [_brief(row) for row in found.rows]
    return Listed(rows, found.page, found.more)


def _brief(row: Server) -> server_view.Shown:
    return server_view.Shown(row)


def _flag(text: str | None, name: str) -> bool:
    if text is None:
        return False
    if text.lower() in ("", "1", "true", "t", "yes", "y", "on"):
        return True
    if text.lower() in ("0", "false", "f", "no", "n", "off"):
        return False
    raise Invalid(f"Cannot use {name} {text[:40]!r}: it must be true or false.")


def _filters(compute: Compute, call: Call, *, everyone: bool) -> list[Filter]:
    query, found = call.query, []
    if "name" in query:
        found.append(_by_name(compute, query["name"]))
    if "status" in query:
        found.append(_by_status(call))
    for name, column in (("image", "image_id"), ("flavor", "flavor_id"), ("reservation_id", "reservation_id")):
        if name in query:
            found.append(Filter(f"{column} = ?", (query[name],)))
    for name, sign in (("changes-since", ">="), ("changes-before", "<=")):
        if name in query and (name == "changes-since" or call.at_least(2, 66)):
            found.append(Filter(f"updated_at {sign} ?", (moment_of(query[name], name),)))
    project = query.get("tenant_id") or query.get("project_id")
    if project and everyone:
        found.append(Filter("project_id = ?", (project,)))
    if "locked" in query and call.at_least(2, 73):
        found.append(Filter("locked != ''" if _flag(query["locked"], "locked") else "locked = ''"))
    if call.ctx.is_admin or call.at_least(2, 83):
        for name, column in _FOR_ADMINS.items():
            if name in query:
                found.append(Filter(f"{column} = ?", (query[name],)))
        if "config_drive" in query:
            found.append(Filter("config_drive = ?", (int(_flag(query["config_drive"], "config_drive")),)))
    if call.ctx.is_admin and "host" in query:
        found.append(Filter("placed = 1" if query["host"] == services.host_name(compute) else "0"))
    if call.at_least(2, 26):
        found += _by_tags(call)
    for name in ("ip", "ip6"):
        if name in query:
            found.append(_by_address(compute, query[name], version=6 if name == "ip6" else 4))
    return found


def _by_status(call: Call) -> Filter:
    states_wanted: list[str] = []
    for word in call.query.getall("status"):
        known = states.vm_states_of(word)
        if not known and call.at_least(2, 38):
            raise Invalid(f"Invalid status value: {word[:40]}")
        states_wanted += known
    if not states_wanted:
        return Filter("0")
    return Filter(f"vm_state IN ({', '.join('?' for _ in states_wanted)})", tuple(states_wanted))


def _by_name(compute: Compute, text: str) -> Filter:
    """Names are matched by a regular expression; one that could take for ever is refused: many repeats or choices, or a
    group that is repeated."""
    repeats, choices = len(re.findall(r"(?<!\\)[*+{]", text)), len(re.findall(r"(?<!\\)[?|]", text))
    if len(text) > 255 or repeats > 2 or choices > 3 or re.search(r"\)[*+?{]|\(\?", text):
        raise Invalid(
            "Cannot search by this name: a pattern may have at most 255 characters, two repeats and three choices, and"
            " no group that is repeated."
        )
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise Invalid(f"Cannot search by this name: it is no regular expression ({error}).") from None
    names = compute.store.read(lambda db: db.execute("SELECT id, name FROM servers").fetchall())
    ids = [server_id for server_id, name in names if pattern.search(name)]
    return _ids(ids)


def _by_address(compute: Compute, text: str, *, version: int) -> Filter:
    """Addresses that begin with the text, as clients use this filter."""
    plain = text.replace("\\", "").removeprefix("^").removesuffix("$").removesuffix(".*")
    matching = []
    living = compute.store.read(lambda db: db.execute("SELECT id FROM servers WHERE deleted = 0").fetchall())
    for server_id, ports in compute.network.ports_of_all([server_id for (server_id,) in living]).items():
        fixed = [address for port in ports for _, address in port.fixed_ips]
        if any(plain in address for address in fixed if (":" in address) == (version == 6)):
            matching.append(server_id)
    return _ids(matching)


def _ids(ids: list[str]) -> Filter:
    return Filter("id IN (SELECT value FROM json_each(?))", (json.dumps(ids),))


def _by_tags(call: Call) -> list[Filter]:
    found = []
    one = "EXISTS (SELECT 1 FROM json_each(servers.tags) WHERE value = ?)"
    for name, joint, negated in (("tags", " AND ", ""), ("tags-any", " OR ", ""), ("not-tags", " AND ", "NOT "),
                                 ("not-tags-any", " OR ", "NOT ")):  # fmt: skip
        if name in call.query:
            wanted = [tag for tag in call.query[name].split(",") if tag]
            if wanted:
                found.append(Filter(f"{negated}({joint.join(one for _ in wanted)})", tuple(wanted)))
    return found


def moment_of(text: str, name: str) -> str:
    """A moment of the query (ISO 8601) as rows keep it; `name` is the parameter's."""
    try:
        told = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(f"Invalid input for query parameters {name}. Value: {text[:60]}. It is no date-time.") from None
    return stamp(told if told.tzinfo else told.replace(tzinfo=UTC))


async def show_server(compute: Compute, call: Call) -> server_view.Shown:
    """`GET /servers/{id}`."""
    return server_view.found(compute, call.ctx, call.params["server_id"])


async def update_server(compute: Compute, call: Call) -> Reply:
    """`PUT /servers/{id}`."""
    values = {
        _COLUMNS_OF_CHANGE[key]: new_server.canonical(value) if key.startswith("accessIP") else value
        for key, value in call.body.items()
    }
    row = await servers.update(compute, call.ctx, call.params["server_id"], values)
    view = server_view.SERVER if call.at_least(2, 75) else server_view.SHORT
    return Reply({"server": view.view(server_view.one(compute, row), call)})


async def delete_server(compute: Compute, call: Call) -> None:
    """`DELETE /servers/{id}`."""
    await teardown.accept(compute, call.ctx, call.params["server_id"])


ROUTES = [
    Route("POST", "/servers", create_server, body=new_server.NEW_SERVER, status=202, policy=MEMBER,
          rule="os_compute_api:servers:create"),
    Route("GET", "/servers", list_servers, view=server_view.BRIEF, many=True, policy=READER,
          rule="os_compute_api:servers:index", query=QUERY),
    Route("GET", "/servers/detail", list_details, view=server_view.DETAILS, many=True, policy=READER,
          rule="os_compute_api:servers:detail", query=QUERY),
    Route("GET", "/servers/{server_id}", show_server, view=server_view.SERVER, policy=READER, rule="os_compute_api:servers:show"),
    Route("PUT", "/servers/{server_id}", update_server, body=CHANGED_SERVER, policy=MEMBER,
          rule="os_compute_api:servers:update"),
    Route("DELETE", "/servers/{server_id}", delete_server, status=204, policy=MEMBER, rule="os_compute_api:servers:delete"),
]  # fmt: skip
