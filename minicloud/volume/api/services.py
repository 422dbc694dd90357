"""What administrators' tools ask about the service itself: services, pools, hosts, zones, extensions, filters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from minicloud.api.policy import ADMIN, ANYONE
from minicloud.api.route import Call, Route
from minicloud.api.schema import MISSING, OPTIONAL, REQUIRED, TEXT, Field, Schema, micros, string
from minicloud.core.errors import Invalid, NotFound
from minicloud.core.store import Db
from minicloud.volume import services, types
from minicloud.volume.api import attachments, lists, messages, snapshots, volumes
from minicloud.volume.services import Service
from minicloud.volume.tables import VOLUMES

if TYPE_CHECKING:
    from minicloud.volume import Volume

GIB = 1024**3
SERVICE = Schema(
    "service",
    Field("binary", TEXT, out=True),
    Field("host", TEXT, out=True),
    Field("zone", TEXT, lambda row, call: services.ZONE, out=True),
    Field("status", TEXT, lambda row, call: "disabled" if row.disabled else "enabled", out=True),
    Field("state", TEXT, lambda row, call: "up", out=True),
    Field("updated_at", TEXT, lambda row, call: micros(row.updated_at), out=True),
    Field("cluster", TEXT, lambda row, call: None, out=True, since=(3, 7)),
    Field(
        "disabled_reason",
        TEXT,
        lambda row, call: row.reason if lists.flag(call, "detail", otherwise=True) else MISSING,
        out=True,
    ),
    Field("replication_status", TEXT, lambda row, call: "disabled" if _is_volume(row) else MISSING, out=True),
    Field("active_backend_id", TEXT, lambda row, call: None if _is_volume(row) else MISSING, out=True),
    Field("frozen", TEXT, lambda row, call: False if _is_volume(row) else MISSING, out=True),
    Field("backend_state", TEXT, lambda row, call: "up" if _is_volume(row) else MISSING, out=True, since=(3, 49)),
)
WHICH = Schema(
    "body",
    Field("host", string(low=1), update=REQUIRED),
    Field("binary", string(low=1), update=OPTIONAL),
    Field("service", string(low=1), update=OPTIONAL),
    Field("disabled_reason", string(low=1, pattern=r"\S"), update=OPTIONAL),
    extra=True,
)


def _is_volume(row: Service) -> bool:
    return row.binary == services.VOLUME


async def list_services(volume: Volume, call: Call) -> list[Service]:
    """Both services, or those of a binary or host."""
    binary, host = call.query.get("binary") or call.query.get("service"), call.query.get("host")
    return [
        one
        for one in services.listed(volume)
        if (not binary or one.binary == binary) and (not host or one.host == host or one.host.partition("@")[0] == host)
    ]


async def _set(volume: Volume, call: Call, *, disabled: bool, reason: str | None = None) -> dict[str, Any]:
    body = call.body
    binary = body.get("binary") or body.get("service")
    if not binary:
        raise Invalid("Cannot change a service: give its binary.")
    one = await services.set_disabled(volume, binary, body["host"], disabled=disabled, reason=reason)
    told = {"host": one.host, "service": one.binary, "binary": one.binary, "disabled": one.disabled}
    return (
        told | {"status": "disabled" if one.disabled else "enabled"} | ({"disabled_reason": reason} if reason else {})
    )


async def enable_service(volume: Volume, call: Call) -> dict[str, Any]:
    """Let it take work again."""
    return await _set(volume, call, disabled=False)


async def disable_service(volume: Volume, call: Call) -> dict[str, Any]:
    """Let it take no new work."""
    return await _set(volume, call, disabled=True)


async def disable_service_with_reason(volume: Volume, call: Call) -> dict[str, Any]:
    """The same, and why."""
    reason = call.body.get("disabled_reason")
    if not reason:
        raise Invalid("Cannot disable a service with a reason: disabled_reason is missing.")
    return await _set(volume, call, disabled=True, reason=reason)


async def refuse_freezing(volume: Volume, call: Call) -> None:
    """One host's files have no second place to fail over to, so nothing can be frozen."""
    known = {one.host for one in services.listed(volume)}
    if call.body["host"] not in known:
        raise Invalid(f"Cannot freeze or thaw {call.body['host']}: there is no such host.")
    raise Invalid("Cannot freeze or thaw this backend: it isn't replicated. Disable the service instead.")


async def list_pools(volume: Volume, call: Call) -> dict[str, Any]:
    """The one pool; with `detail` how much room it has."""
    pool: dict[str, Any] = {"name": services.pool(volume)}
    if lists.flag(call, "detail"):
        pool["capabilities"] = await _capabilities(volume)
    wanted = call.query.get("name")
    return {"pools": [pool] if wanted in (None, pool["name"]) else []}


async def _capabilities(volume: Volume) -> dict[str, Any]:
    folder = volume.folder if volume.folder.exists() else volume.config.state
    space = await volume.host.disks.space(folder)

    def promised(db: Db) -> int:
        return int(db.execute(f"SELECT coalesce(sum(size), 0) FROM {VOLUMES.name}").fetchone()[0])

    return {
        **types.BACKEND, "driver_version": "1.0.0", "total_capacity_gb": round(space.total / GIB, 2),
        "free_capacity_gb": round(space.free / GIB, 2), "reserved_percentage": 0, "QoS_support": False,
        "multiattach": True, "provisioned_capacity_gb": float(volume.store.read(promised)),
        "allocated_capacity_gb": float(volume.store.read(promised)), "max_over_subscription_ratio": "20.0",
        "thin_provisioning_support": True, "thick_provisioning_support": False, "online_extend_support": True,
        "filter_function": None, "goodness_function": None, "location_info": None, "timestamp": micros(volume.now()),
        "pool_name": services.BACKEND,
    }  # fmt: skip


async def show_capabilities(volume: Volume, call: Call) -> dict[str, Any]:
    """What the backend can do."""
    host = services.host_name(volume)
    if call.params["host"].partition("#")[0] not in (host, f"{host}@{services.BACKEND}"):
        raise NotFound(
            f"Capabilities of {call.params['host']} could not be found: there is only {services.pool(volume)}."
        )
    return {
        "namespace": f"OS::Storage::Capabilities::{host}@{services.BACKEND}", "vendor_name": types.BACKEND["vendor_name"],
        "volume_backend_name": types.BACKEND["volume_backend_name"], "pool_name": None, "driver_version": "1.0.0",
        "storage_protocol": types.BACKEND["storage_protocol"], "display_name": None, "description": None,
        "visibility": None, "replication_targets": [],
        "properties": {
            "thin_provisioning": {"title": "Thin Provisioning", "description": "Volumes take room as they are written.", "type": "boolean"},
        },
    }  # fmt: skip


async def list_hosts(volume: Volume, call: Call) -> dict[str, Any]:
    """Each service as a host, in the old form."""
    return {
        "hosts": [
            {
                "service-status": "available", "service": one.binary, "zone": services.ZONE, "host_name": one.host,
                "service-state": "disabled" if one.disabled else "enabled", "last-update": micros(one.updated_at),
            }
            for one in services.listed(volume)
        ]
    }  # fmt: skip


async def show_host(volume: Volume, call: Call) -> dict[str, Any]:
    """How much each project has on a host."""
    host = call.params["host"]
    if not any(one.host == host for one in services.listed(volume)):
        raise NotFound(f"Host {host} could not be found.")
    here = "@" in host

    def read(db: Db) -> list[tuple[str, int, int, int, int]]:
        rows = db.execute(
            "SELECT project_id, count(*), sum(size), (SELECT count(*) FROM snapshots s WHERE s.project_id = v.project_id),"
            " (SELECT coalesce(sum(size), 0) FROM snapshots s WHERE s.project_id = v.project_id)"
            " FROM volumes v GROUP BY project_id ORDER BY project_id"
        )
        return list(rows) if here else []

    def told(project: str, volumes: int, gigabytes: int, snapshots: int, snapshot_gigabytes: int) -> dict[str, Any]:
        return {
            "resource": {
                "host": host, "project": project, "volume_count": str(volumes), "total_volume_gb": str(gigabytes),
                "snapshot_count": str(snapshots), "total_snapshot_gb": str(snapshot_gigabytes),
            }
        }  # fmt: skip

    rows = volume.store.read(read)
    sums = [sum(column) for column in zip(*(row[1:] for row in rows), strict=True)] or [0, 0, 0, 0]
    return {"host": [told("(total)", *sums), *(told(*row) for row in rows)]}


async def list_zones(volume: Volume, call: Call) -> dict[str, Any]:
    """The one zone."""
    return {"availabilityZoneInfo": [{"zoneName": services.ZONE, "zoneState": {"available": True}}]}


EXTENSIONS = (
    ("os-availability-zone", "AvailabilityZones", "Availability zones."),
    ("os-extended-snapshot-attributes", "ExtendedSnapshotAttributes", "Project and progress of snapshots."),
    ("os-hosts", "Hosts", "Hosts, for administrators."),
    ("os-quota-sets", "Quotas", "Quotas of projects."),
    ("os-quota-class-sets", "QuotaClasses", "Default quotas."),
    ("os-services", "Services", "Services, and whether they take work."),
    ("os-types-extra-specs", "TypesExtraSpecs", "Extra specs of volume types."),
    ("os-types-manage", "TypesManage", "Volume types can be made and changed."),
    ("os-used-limits", "UsedLimits", "Use beside limits."),
    ("os-vol-host-attr", "VolumeHostAttribute", "The host of a volume, for administrators."),
    ("os-vol-image-meta", "VolumeImageMetadata", "What is remembered of a volume's image."),
    ("os-vol-mig-status-attr", "VolumeMigStatusAttribute", "Migration status of volumes."),
    ("os-vol-tenant-attr", "VolumeTenantAttribute", "The project of a volume."),
    ("os-volume-actions", "VolumeActions", "Attach, extend, upload and other actions."),
    ("os-volume-transfer", "VolumeTransfer", "Volumes handed from project to project."),
    ("os-volume-type-access", "VolumeTypeAccess", "Private volume types."),
    ("qos-specs", "Qos_specs_manage", "Limits that volume types name."),
    ("scheduler-stats", "Scheduler_stats", "Pools and their room."),
    ("capabilities", "Capabilities", "What the backend can do."),
    ("os-admin-actions", "AdminActions", "Resetting and forcing, for administrators."),
    ("os-snapshot-actions", "SnapshotActions", "Snapshots' status."),
    ("OS-SCH-HNT", "SchedulerHints", "Hints, which one host takes and ignores."),
)
"""(alias, name, description): clients look for either of the first two, which are Cinder's."""


async def list_extensions(volume: Volume, call: Call) -> dict[str, Any]:
    """What is offered beyond the core."""
    return {
        "extensions": [
            {"name": name, "alias": alias, "description": text, "updated": "2024-01-01T00:00:00+00:00", "links": []}
            for alias, name, text in EXTENSIONS
        ]
    }


async def list_filters(volume: Volume, call: Call) -> dict[str, Any]:
    """Which filters each list takes (3.33)."""
    known = {
        "volume": volumes.LISTS, "snapshot": snapshots.LISTS, "attachment": attachments.LISTS, "message": messages.LISTS,
    }  # fmt: skip
    wanted = call.query.get("resource")
    return {
        "resource_filters": [
            {"resource": name, "filters": sorted(one.filters)} for name, one in known.items() if wanted in (None, name)
        ]
    }


SERVICES, RULE = "/os-services", "volume_extension:services:"
ROUTES = [
    Route("GET", SERVICES, list_services, policy=ADMIN, rule=RULE + "index", view=SERVICE, many=True),
    Route("PUT", SERVICES + "/enable", enable_service, policy=ADMIN, rule=RULE + "update", body=WHICH, envelope=False),
    Route(
        "PUT", SERVICES + "/disable", disable_service, policy=ADMIN, rule=RULE + "update", body=WHICH, envelope=False
    ),
    Route(
        "PUT",
        SERVICES + "/disable-log-reason",
        disable_service_with_reason,
        policy=ADMIN,
        rule=RULE + "update",
        body=WHICH,
        envelope=False,
    ),
    Route(
        "PUT",
        SERVICES + "/freeze",
        refuse_freezing,
        policy=ADMIN,
        rule="volume:freeze_host",
        body=WHICH,
        envelope=False,
    ),
    Route(
        "PUT", SERVICES + "/thaw", refuse_freezing, policy=ADMIN, rule="volume:thaw_host", body=WHICH, envelope=False
    ),
    Route(
        "GET",
        "/scheduler-stats/get_pools",
        list_pools,
        policy=ADMIN,
        rule="scheduler_extension:scheduler_stats:get_pools",
    ),
    Route("GET", "/capabilities/{host}", show_capabilities, policy=ADMIN, rule="volume_extension:capabilities"),
    Route("GET", "/os-hosts", list_hosts, policy=ADMIN, rule="volume_extension:hosts"),
    Route("GET", "/os-hosts/{host}", show_host, policy=ADMIN, rule="volume_extension:hosts"),
    Route("GET", "/os-availability-zone", list_zones, policy=ANYONE, rule="-"),
    Route("GET", "/extensions", list_extensions, policy=ANYONE, rule="-"),
    Route("GET", "/resource_filters", list_filters, policy=ANYONE, rule="-", since=(3, 33)),
]
