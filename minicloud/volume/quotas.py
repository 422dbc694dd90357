"""How much of volumes, gigabytes and snapshots a project may have (Cinder's `os-quota-sets`).

Beside the overall limits each volume type has its own three (`volumes_TYPE`, `gigabytes_TYPE`, `snapshots_TYPE`),
unlimited unless set. Defaults for all projects can be changed as the class `default`.
"""

from __future__ import annotations

from collections.abc import Mapping

from minicloud.core.quota import UNLIMITED, Counter, Quotas
from minicloud.core.store import Db
from minicloud.volume.tables import VOLUME_TYPES

DEFAULTS: Mapping[str, int] = {
    "volumes": 10, "per_volume_gigabytes": UNLIMITED, "snapshots": 10, "gigabytes": 1000, "backups": 10,
    "backup_gigabytes": 1000, "groups": 10,
}  # fmt: skip
CLASS = "class:default"
"""Stands for a project in the table of limits: those that hold where a project has none of its own."""


def _counted(sql: str, *params: str) -> Counter:
    def count(db: Db, project_id: str) -> int:
        return int(db.execute(sql, (project_id, *params)).fetchone()[0])

    return count


_GIGABYTES = (
    "SELECT coalesce((SELECT sum(size) FROM volumes WHERE project_id = ?1{v}), 0)"
    " + coalesce((SELECT sum(snapshots.size) FROM snapshots JOIN volumes ON volumes.id = volume_id"
    " WHERE snapshots.project_id = ?1{s}), 0)"
)
COUNTERS: Mapping[str, Counter] = {
    "volumes": _counted("SELECT count(*) FROM volumes WHERE project_id = ?"),
    "snapshots": _counted("SELECT count(*) FROM snapshots WHERE project_id = ?"),
    "gigabytes": _counted(_GIGABYTES.format(v="", s="")),
}


def of_now(db: Db) -> Quotas:
    """The quotas with the volume types that there are, and with the defaults of the class."""
    defaults, counters = dict(DEFAULTS), dict(COUNTERS)
    for kind in VOLUME_TYPES.where(db, order="created_at DESC, id"):
        for noun in ("volumes", "gigabytes", "snapshots"):
            defaults[f"{noun}_{kind.name}"] = UNLIMITED
        counters[f"volumes_{kind.name}"] = _counted(
            "SELECT count(*) FROM volumes WHERE project_id = ? AND type_id = ?", kind.id
        )
        counters[f"snapshots_{kind.name}"] = _counted(
            "SELECT count(*) FROM snapshots JOIN volumes ON volumes.id = volume_id"
            " WHERE snapshots.project_id = ? AND volumes.type_id = ?", kind.id,
        )  # fmt: skip
        of_type = {"v": " AND type_id = ?2", "s": " AND volumes.type_id = ?2"}
        counters[f"gigabytes_{kind.name}"] = _counted(_GIGABYTES.format(**of_type), kind.id)
    of_class = Quotas("volume", defaults, {}).limits(db, CLASS)
    return Quotas("volume", {name: of_class[name] for name in defaults}, counters)


def check_volume_in(db: Db, project_id: str, type_name: str, size: int) -> None:
    """Raise `OverQuota` if the project may not have one more volume of `size` GiB."""
    wanted = {"volumes": 1, f"volumes_{type_name}": 1, "per_volume_gigabytes": size}
    _check_in(db, project_id, type_name, size, wanted)


def check_snapshot_in(db: Db, project_id: str, type_name: str, size: int) -> None:
    """Raise `OverQuota` if the project may not have one more snapshot of `size` GiB."""
    _check_in(db, project_id, type_name, size, {"snapshots": 1, f"snapshots_{type_name}": 1})


def check_growth_in(db: Db, project_id: str, type_name: str, *, more: int, size: int) -> None:
    """Raise `OverQuota` if a volume of the project may not grow by `more` GiB to `size`."""
    _check_in(db, project_id, type_name, more, {"per_volume_gigabytes": size})


def check_retype_in(db: Db, project_id: str, type_name: str, size: int) -> None:
    """Raise `OverQuota` if the project may not have one more volume of that type (the overall sums stay as they are)."""
    of_now(db).check_in(db, project_id, **{f"volumes_{type_name}": 1, f"gigabytes_{type_name}": size})


def _check_in(db: Db, project_id: str, type_name: str, gigabytes: int, wanted: dict[str, int]) -> None:
    wanted = {"gigabytes": gigabytes, f"gigabytes_{type_name}": gigabytes, **wanted}
    of_now(db).check_in(db, project_id, **wanted)
