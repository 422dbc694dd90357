"""What one project may have of compute, and how its use is counted."""

from __future__ import annotations

from collections.abc import Mapping

from minicloud.core.errors import OverQuota
from minicloud.core.quota import UNLIMITED, Quotas
from minicloud.core.store import Db

DEFAULTS = {
    "instances": 10,
    "cores": 20,
    "ram": 51200,
    "key_pairs": 100,
    "metadata_items": 128,
    "server_groups": 10,
    "server_group_members": 10,
    "injected_files": 5,
    "injected_file_content_bytes": 10240,
    "injected_file_path_bytes": 255,
    "fixed_ips": -1,
    "floating_ips": -1,
    "security_groups": -1,
    "security_group_rules": -1,
}
"""RAM in MiB. The last five are shown to clients before 2.57 and 2.36 and limit nothing here: Neutron has its own."""


def _instances(db: Db, project_id: str) -> int:
    return int(
        db.execute("SELECT count(*) FROM servers WHERE project_id = ? AND deleted = 0", (project_id,)).fetchone()[0]
    )


def _sum(db: Db, project_id: str, attribute: str) -> int:
    found = db.execute(
        "SELECT coalesce(sum(json_extract(flavor, ?)), 0) FROM servers WHERE project_id = ? AND deleted = 0",
        (f"$.{attribute}", project_id),
    )
    return int(found.fetchone()[0])


def _server_groups(db: Db, project_id: str) -> int:
    return int(db.execute("SELECT count(*) FROM server_groups WHERE project_id = ?", (project_id,)).fetchone()[0])


def made() -> Quotas:
    """Compute's quotas."""
    return Quotas(
        "compute",
        DEFAULTS,
        {
            "instances": _instances,
            "cores": lambda db, project_id: _sum(db, project_id, "vcpus"),
            "ram": lambda db, project_id: _sum(db, project_id, "ram_mb"),
            "server_groups": _server_groups,
        },
    )


def require_key_in(quotas: Quotas, db: Db, *, user_id: str, project_id: str) -> None:
    """Key pairs belong to users; the project in scope says how many one may have."""
    limit = quotas.limits(db, project_id)["key_pairs"]
    used = int(db.execute("SELECT count(*) FROM keypairs WHERE user_id = ?", (user_id,)).fetchone()[0])
    if limit != UNLIMITED and used >= limit:
        raise OverQuota(f"Quota exceeded for key_pairs: {used} of {limit} used.", code="key_pairs")


def require_metadata_in(quotas: Quotas, db: Db, project_id: str, metadata: Mapping[str, str]) -> None:
    """A server's metadata may have so many items."""
    limit = quotas.limits(db, project_id)["metadata_items"]
    if limit != UNLIMITED and len(metadata) > limit:
        raise OverQuota(f"Maximum number of metadata items exceeds {limit}.", code="metadata_items")
