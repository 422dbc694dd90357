"""The external network of a new cloud, made at its first start from the configuration.

It is made once: an administrator who deletes it does not get it back. Called by `reconcile.run`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minicloud.core.context import Context
from minicloud.core.store import Db
from minicloud.network import networks, subnets
from minicloud.network.tables import NETWORKS

if TYPE_CHECKING:
    from minicloud.network import Network

WHAT = "external network"


async def make_once(service: Network) -> None:
    """Write the rows of the configured external network, unless that was done before or none is configured."""
    if service.config.network.external_cidr and not service.store.read(_is_done):
        await service.store.write(_make_in, service)


def _is_done(db: Db) -> bool:
    return db.execute("SELECT 1 FROM network_done_once WHERE what = ?", (WHAT,)).fetchone() is not None


def _make_in(db: Db, service: Network) -> None:
    options = service.config.network
    db.execute("INSERT INTO network_done_once VALUES (?)", (WHAT,))
    if NETWORKS.count(db, "physical_network = ?", (options.external_physical,)):
        return
    ctx = Context.internal("first start", project_id=service.owner_of_external)
    network = networks.create_in(
        db,
        service,
        ctx,
        {
            "name": options.external_name, "external": True, "network_type": "flat",
            "physical_network": options.external_physical,
        },
    )  # fmt: skip
    version = 6 if ":" in options.external_cidr else 4
    subnets.create_in(
        db,
        service,
        ctx,
        {
            "network_id": network.id, "name": f"{options.external_name}-subnet", "ip_version": version,
            "cidr": options.external_cidr, "gateway_ip": options.external_gateway or None, "enable_dhcp": False,
        },
    )  # fmt: skip
