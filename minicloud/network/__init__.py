"""The network service: Neutron's objects as rows, and bridges, DHCP servers, routers and filters that follow them.

`Network` is all that other services may call. Machines get their interfaces in three steps: `choose_nics` decides before
anything is written, `plug` makes one interface ready, `unplug` lets it go. Tenant networks are plain bridges of this one
host, and say so: their `provider:network_type` is "local".
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from minicloud.config import Config
from minicloud.core.context import Context
from minicloud.core.foundation import Foundation
from minicloud.core.operations import undo
from minicloud.core.quota import Quotas
from minicloud.core.reconcile import Reconciler
from minicloud.core.store import Db
from minicloud.host import Host
from minicloud.host.dhcp import Lease
from minicloud.network import machine_addresses, machine_groups, nics, reconcile, security_groups
from minicloud.network.converge import Converge
from minicloud.network.nics import Nic, NicRequest, PortInfo
from minicloud.network.plan import MetadataDoor
from minicloud.network.ports import PortGone
from minicloud.network.tables import SecurityGroup, SecurityGroupRule, migrations

__all__ = ["DoorsChanged", "MetadataDoor", "Network", "Nic", "NicRequest", "PortGone", "PortInfo",
           "SecurityGroup", "SecurityGroupRule"]  # fmt: skip

DEFAULT_QUOTAS = {
    "network": 100, "subnet": 100, "subnetpool": -1, "port": 500, "router": 10, "floatingip": 50, "rbac_policy": 10,
    "security_group": 10, "security_group_rule": 100,
}  # fmt: skip
_TABLES = {
    "network": "networks", "subnet": "subnets", "subnetpool": "subnetpools", "port": "ports", "router": "routers",
    "floatingip": "floatingips", "rbac_policy": "rbac_policies", "security_group": "security_groups",
    "security_group_rule": "security_group_rules",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class DoorsChanged:
    """Fact: `Network.metadata_doors()` answers differently now."""


def _counter(table: str) -> Any:
    def count(db: Db, project_id: str) -> int:
        return int(db.execute(f"SELECT count(*) FROM {table} WHERE project_id = ?", (project_id,)).fetchone()[0])

    return count


class Network:
    """The public interface of the network service."""

    name = "network"
    migrations = migrations

    def __init__(self, foundation: Foundation, host: Host, config: Config) -> None:
        from minicloud.network.api import DIALECT, ROUTES

        self.store, self.events, self.clock = foundation.store, foundation.events, foundation.clock
        self.config, self.host = config, host
        self.host_name = socket.gethostname()
        self.quotas = Quotas("network", DEFAULT_QUOTAS, {name: _counter(table) for name, table in _TABLES.items()})
        self.converge = Converge(self, host)
        self.reconciler = Reconciler("network", self._reconcile)
        self._filters = Reconciler("filters", self.converge.filters_now)
        self.dialect, self.routes = DIALECT, ROUTES
        self.owner_of_external = ""
        foundation.operations.undo_by(self)

    def reconcilers(self) -> Sequence[Reconciler]:
        """One for all port filters, which come first, and one that has all else on the host follow the rows."""
        return [self._filters, self.reconciler]

    async def start(self) -> None:
        """Filters that somebody else takes away are put back at once."""
        self.host.firewall.on_lost(self._filters.wake)

    async def stop(self) -> None:
        """Bridges, DHCP servers, routers and filters go on without us."""
        self.converge.stop()

    async def _reconcile(self) -> None:
        await reconcile.run(self, self.host)

    # --- machines ------------------------------------------------------------------------------------------------

    def choose_nics(
        self,
        ctx: Context,
        requested: Sequence[NicRequest] | Literal["auto", "none"] | None,
        *,
        security_groups: Sequence[str] = (),
    ) -> tuple[Nic, ...]:
        """Decide a new machine's interfaces; writes nothing. See `nics.choose`."""
        return nics.choose(self, ctx, requested, groups=security_groups)

    def hold_in(self, db: Db, port_ids: Sequence[str], server_id: str) -> None:
        """Promise ports of the user's to a machine until it is plugged. Raises `Conflict` for one that a device has."""
        nics.hold_in(self, db, port_ids, server_id)

    def let_go_in(self, db: Db, port_ids: Sequence[str], server_id: str) -> None:
        """Take back what `hold_in` promised to that machine and it did not get; shrugs at all else."""
        nics.let_go_in(self, db, port_ids, server_id)

    def require_room_in(self, db: Db, project_id: str, *, ports: int) -> None:
        """Raise `OverQuota` if a project may not have so many ports more."""
        self.quotas.check_in(db, project_id, port=ports)

    async def plug(
        self, ctx: Context, nic: Nic, server_id: str, *, hostname: str = "", availability_zone: str = "nova"
    ) -> PortInfo:
        """Have one interface be ready to start on. Raises `Conflict` or `HostFailure`. See `nics.plug`."""
        return await nics.plug(self, ctx, nic, server_id, hostname=hostname, availability_zone=availability_zone)

    @undo
    async def unplug(self, port_id: str, server_id: str) -> None:
        """Let an interface go if that machine holds it; shrugs otherwise."""
        await nics.unplug(self, port_id, server_id)

    async def activate(self, server_id: str) -> None:
        """A machine runs: its ports are ACTIVE."""
        await nics.set_status(self, server_id, active=True)

    async def deactivate(self, server_id: str) -> None:
        """A machine stands still: its ports are DOWN."""
        await nics.set_status(self, server_id, active=False)

    def ports_of(self, device_id: str) -> list[PortInfo]:
        """The interfaces of a machine, in the order in which it got them."""
        return self.ports_of_all([device_id]).get(device_id, [])

    def ports_of_all(self, device_ids: Sequence[str]) -> dict[str, list[PortInfo]]:
        """The interfaces of many machines; those that have none are left out."""
        return self.store.read(nics.of_devices_in, device_ids)

    def network_data(self, server_id: str) -> dict[str, Any]:
        """network_data.json of a machine."""
        return nics.network_data(self, server_id)

    # --- security groups, as compute's older API speaks of them ---------------------------------------------------

    async def groups_of_project(self, ctx: Context, *, everyone: bool = False) -> list[SecurityGroup]:
        """A project's groups (the default one is made if need be), or everybody's."""
        await security_groups.ensure_default(self, ctx.project_id)
        return machine_groups.listed(self, ctx, everyone=everyone)

    def groups_of(self, server_id: str) -> list[SecurityGroup]:
        """The groups of a machine's ports, each once."""
        return machine_groups.of_machine(self, server_id)

    def incoming_rules(self, groups: list[SecurityGroup]) -> dict[str, list[SecurityGroupRule]]:
        """What the groups let in, by group."""
        return machine_groups.incoming(self, groups)

    async def change_groups(self, ctx: Context, server_id: str, group: str, *, add: bool) -> None:
        """Add a group to every port of a machine, or take it away. See `machine_groups.change_machine`."""
        await machine_groups.change_machine(self, ctx, server_id, group, add=add)

    async def add_address(self, ctx: Context, server_id: str, network_id: str) -> None:
        """One more address for a machine. See `machine_addresses.add`."""
        await machine_addresses.add(self, ctx, server_id, network_id)

    async def remove_address(self, ctx: Context, server_id: str, address: str) -> None:
        """One address less for a machine. See `machine_addresses.remove`."""
        await machine_addresses.remove(self, ctx, server_id, address)

    def group(self, ctx: Context, group_id: str) -> SecurityGroup:
        """One group that the caller may know of."""
        return security_groups.show(self, ctx, group_id)

    async def create_group(self, ctx: Context, *, name: str, description: str) -> SecurityGroup:
        """A new group of the caller's project."""
        return (await security_groups.create(self, ctx, [{"name": name, "description": description}]))[0]

    async def update_group(self, ctx: Context, group_id: str, *, name: str, description: str) -> SecurityGroup:
        """Another name and description."""
        return await security_groups.update(self, ctx, group_id, {"name": name, "description": description})

    async def delete_group(self, ctx: Context, group_id: str) -> None:
        """Remove a group that nobody uses."""
        await security_groups.delete(self, ctx, group_id)

    async def create_incoming_rule(self, ctx: Context, group_id: str, **values: Any) -> SecurityGroupRule:
        """Let something in: protocol, port_range_min, port_range_max, remote_ip_prefix or remote_group_id."""
        rule = {"security_group_id": group_id, "direction": "ingress", **values}
        return (await security_groups.create_rules(self, ctx, [rule]))[0]

    async def delete_rule(self, ctx: Context, rule_id: str) -> None:
        """Remove a rule."""
        await security_groups.delete_rule(self, ctx, rule_id)

    # --- metadata ------------------------------------------------------------------------------------------------

    def metadata_doors(self) -> list[MetadataDoor]:
        """Where metadata requests arrive now; `DoorsChanged` tells of changes."""
        return [door for doors in self.converge.doors.values() for door in doors]

    def doors_changed(self) -> None:
        """Tell that the doors are others now."""
        self.events.tell(DoorsChanged())

    def port_at(self, owner_id: str, address: str) -> PortInfo | None:
        """Whose address that is, on a network or on one of the networks behind a router. See `nics.at_in`."""
        return self.store.read(nics.at_in, owner_id, address)

    async def leases(self, network_id: str) -> tuple[Lease, ...]:
        """What a network's DHCP server has given out."""
        return await self.host.dhcp.leases(network_id)
