"""Version documents and the extension list, with which clients begin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ANYONE, PUBLIC
from minicloud.api.route import Call, Reply, Route
from minicloud.core.errors import NotFound

if TYPE_CHECKING:
    from minicloud.compute import Compute

HIGH = (2, 96)
"""The newest microversion that is honoured (OpenStack 2024.2)."""

_UPDATED = "2013-07-23T11:33:21Z"
_MEDIA = [{"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"}]
EXTENSIONS = (
    ("OS-DCF", "DiskConfig", "Disk configuration of servers."),
    ("OS-EXT-AZ", "ExtendedAvailabilityZone", "Availability zone of servers."),
    ("OS-EXT-IMG-SIZE", "ImageSize", "Size of images."),
    ("OS-EXT-IPS", "ExtendedIps", "Type of each address of a server."),
    ("OS-EXT-IPS-MAC", "ExtendedIpsMac", "MAC of each address of a server."),
    ("OS-EXT-SRV-ATTR", "ExtendedServerAttributes", "What administrators see of servers."),
    ("OS-EXT-STS", "ExtendedStatus", "Task, power and machine state of servers."),
    ("OS-FLV-DISABLED", "FlavorDisabled", "Flavors out of use."),
    ("OS-FLV-EXT-DATA", "FlavorExtraData", "Ephemeral disks of flavors."),
    ("OS-SCH-HNT", "SchedulerHints", "Hints about the host of a server."),
    ("OS-SRV-USG", "ServerUsage", "When servers were launched and ended."),
    ("os-access-ips", "AccessIPs", "Addresses that owners say of servers."),
    ("os-admin-actions", "AdminActions", "Setting the state of a server."),
    ("os-aggregates", "Aggregates", "Host aggregates."),
    ("os-attach-interfaces", "AttachInterfaces", "Network cards added to and taken from servers."),
    ("os-availability-zone", "AvailabilityZone", "Availability zones."),
    ("os-block-device-mapping", "BlockDeviceMapping", "Booting from volumes."),
    ("os-config-drive", "ConfigDrive", "Config drives."),
    ("os-console-output", "ConsoleOutput", "What servers wrote to their console."),
    ("os-extended-volumes", "ExtendedVolumes", "Volumes in server details."),
    ("os-consoles", "Consoles", "Consoles of the first API; part of every list, and gone since 2.6."),
    ("os-flavor-access", "FlavorAccess", "Private flavors."),
    ("os-flavor-extra-specs", "FlavorExtraSpecs", "Extra specs of flavors."),
    ("os-flavor-manage", "FlavorManage", "Making and removing flavors."),
    ("os-hosts", "Hosts", "The host, until 2.42."),
    ("os-hypervisors", "Hypervisors", "The host."),
    ("os-instance-actions", "InstanceActions", "What was done with a server."),
    ("os-keypairs", "Keypairs", "Key pairs."),
    ("os-lock-server", "LockServer", "Locks on servers."),
    ("os-multiple-create", "MultipleCreate", "Several servers with one request."),
    ("os-pause-server", "PauseServer", "Pausing servers."),
    ("os-quota-class-sets", "QuotaClasses", "Quotas of those that have none of their own."),
    ("os-quota-sets", "Quotas", "Quotas of projects."),
    ("os-security-groups", "SecurityGroups", "Security groups, as Neutron keeps them."),
    ("os-server-diagnostics", "ServerDiagnostics", "Diagnostics of servers."),
    ("os-server-groups", "ServerGroups", "Server groups."),
    ("os-server-sort-keys", "ServerSortKeys", "Servers in any order."),
    ("os-server-start-stop", "ServerStartStop", "Starting and stopping servers."),
    ("os-services", "Services", "Service records."),
    ("os-simple-tenant-usage", "SimpleTenantUsage", "Usage of projects."),
    ("os-used-limits", "UsedLimits", "Use beside limits."),
    ("os-user-data", "UserData", "User data."),
    ("os-volumes", "Volumes", "Attaching volumes."),
)
"""(alias, name, description) of Nova's extensions whose behaviour is here, and one name that clients of 2.1 look for."""


def _old(call: Call) -> dict[str, Any]:
    links = [{"rel": "self", "href": f"{call.base}/v2/"}]
    return {
        "id": "v2.0", "status": "SUPPORTED", "version": "", "min_version": "", "updated": "2011-01-21T11:33:21Z", "links": links,
    }  # fmt: skip


def _new(call: Call) -> dict[str, Any]:
    return {
        "id": "v2.1", "status": "CURRENT", "version": f"{HIGH[0]}.{HIGH[1]}", "min_version": "2.1", "updated": _UPDATED,
        "links": [{"rel": "self", "href": f"{call.base}/v2.1/"}],
    }  # fmt: skip


async def list_versions(compute: Compute, call: Call) -> Reply:
    """`GET /compute`."""
    return Reply({"versions": [_old(call), _new(call)]})


async def show_version(compute: Compute, call: Call) -> Reply:
    """`GET /compute/v2.1`."""
    described = {"rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/"}
    document = _new(call)
    return Reply({"version": {**document, "links": [*document["links"], described], "media-types": _MEDIA}})


async def show_old_version(compute: Compute, call: Call) -> Reply:
    """`GET /compute/v2`: told of, and not spoken: the version document's `version` is empty."""
    media = [{"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2"}]
    described = {"rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/"}
    document = _old(call)
    return Reply({"version": {**document, "links": [*document["links"], described], "media-types": media}})


def _extension(alias: str, name: str, description: str) -> dict[str, Any]:
    return {
        "alias": alias, "name": name, "description": description, "links": [],
        "namespace": "http://docs.openstack.org/compute/ext/fake_xml", "updated": "2014-12-03T00:00:00Z",
    }  # fmt: skip


async def list_extensions(compute: Compute, call: Call) -> Reply:
    """`GET /extensions`."""
    return Reply({"extensions": [_extension(*one) for one in EXTENSIONS]})


async def show_extension(compute: Compute, call: Call) -> Reply:
    """`GET /extensions/{alias}`."""
    for one in EXTENSIONS:
        if one[0] == call.params["alias"]:
            return Reply({"extension": _extension(*one)})
    raise NotFound(f"Extension {call.params['alias']} could not be found.")


ROUTES = [
    Route("GET", "//", list_versions, policy=PUBLIC, rule="public"),
    Route("GET", "//v2", show_old_version, policy=PUBLIC, rule="public"),
    Route("GET", "", show_version, policy=PUBLIC, rule="public"),
    Route("GET", "/extensions", list_extensions, policy=ANYONE, rule="os_compute_api:extensions"),
    Route("GET", "/extensions/{alias}", show_extension, policy=ANYONE, rule="os_compute_api:extensions"),
]
