"""Makes the host follow the rows, one scope at a time: a network, a port, a router, a group.

Each call reads the rows when its turn comes and makes the host look like them, removing what has no row: so it does not
matter in which order calls come or whether one is lost. A failing host does not fail the caller, whose rows are right: the
status of the thing tells, and the reconciler tries again. Only `plug_in` raises, since a machine must not start without
its network. Called by the noun files after their transactions, and by `reconcile.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

import structlog

from minicloud.config import Network as Options
from minicloud.core.errors import Failure
from minicloud.core.store import Db
from minicloud.host import Host
from minicloud.host.firewall import GroupFilter, PortFilter, Uplink
from minicloud.host.links import bridge_name, inner_name, tap_name
from minicloud.host.namespaces import dhcp_space, router_space
from minicloud.network import plan, ports
from minicloud.network.tables import (
    FLOATINGIPS,
    NETWORKS,
    PORTS,
    ROUTERS,
    SECURITY_GROUP_RULES,
    SECURITY_GROUPS,
    SUBNETS,
    NetworkRow,
    Port,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
)

if TYPE_CHECKING:
    from minicloud.network import Network

log = structlog.get_logger(__name__)
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds until what failed again is tried again."""
PLUGGED = "host_id != '' AND device_owner NOT LIKE 'network:%'"
"""SQL for `Port.is_plugged`."""


class Converge:
    """The host's side of the network service.

    Attributes:
        doors: where metadata requests arrive, by network or router; only those whose namespace stands.
        known_uplinks: the ways out as they were set last. `filters_loaded`: whether this daemon loaded all filters once,
            and no change of one failed since.
    """

    def __init__(self, service: Network, host: Host) -> None:
        self._service, self._host = service, host
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._filtering = asyncio.Lock()
        self._announced: dict[str, set[str]] = {}
        self.doors: dict[str, tuple[plan.MetadataDoor, ...]] = {}
        self.known_uplinks: tuple[Uplink, ...] | None = None
        self.filters_loaded = False
        self._failures = 0
        self._pause = 0.0
        self._timer: asyncio.TimerHandle | None = None

    # --- what others call: these never raise -------------------------------------------------------------------------

    async def network(self, network_id: str) -> None:
        """A network's bridge, taps, DHCP server and ways out."""
        await self._try("network", network_id, self.network_now)

    async def port(self, port_id: str, *, groups: Iterable[str] = ()) -> None:
        """A port, its filter and the groups that it is (or, by `groups`, was) in."""

        async def run(key: str) -> None:
            row = self._service.store.read(PORTS.get, key)
            if row is not None and row.is_plugged:
                await self.port_now(row)
            for group_id in groups:
                await self.group_now(group_id)

        await self._try("port", port_id, run)

    async def machines(self, network_id: str) -> None:
        """The ports of all machines on a network, whose addresses have changed."""
        condition = f"network_id = ? AND {PLUGGED}"
        for row in self._service.store.read(PORTS.where, condition, (network_id,), order="number"):
            await self.port(row.id)

    async def gone(self, port: Port) -> None:
        """A port that was deleted or that its machine let go: its tap, filter, lease and memberships."""

        async def run(_: str) -> None:
            await self.gone_now(port)

        await self._try("port", port.id, run)

    async def router(self, router_id: str) -> None:
        """A router's namespace, translation and advertisements."""
        await self._try("router", router_id, self.router_now)

    async def group(self, group_id: str) -> None:
        """A security group's filter."""
        await self._try("group", group_id, self.group_now)

    # --- the work itself: these raise `Failure` ----------------------------------------------------------------------

    async def filters_now(self) -> None:
        """All port filters, if the host's are not the rows' (always at boot: a rule may have changed unseen)."""
        async with self._filtering:
            filters, groups, uplinks = self._service.store.read(all_filters, self._service.config.network)
            present = await self._host.firewall.actual()
            if self.filters_loaded and present == {one.tap for one in filters}:
                return
            await self._host.firewall.load(ports=filters, groups=groups, uplinks=uplinks)
            self.filters_loaded, self.known_uplinks = True, uplinks

    async def network_now(self, network_id: str) -> None:
        """See `network`."""
        async with self._turn(network_id):
            row = self._service.store.read(NETWORKS.get, network_id)
            if row is None:
                await self._remove_dhcp(network_id)
                await self._host.links.remove_bridge(bridge_name(network_id))
            else:
                subnets, plugged = self._rows_of(network_id)
                await self._host.links.converge_bridge(
                    plan.bridge_of(row, subnets, plugged, self._service.config.network)
                )
                await self._serve_dhcp(row, subnets, plugged)
        await self.uplinks_now()

    async def uplinks_now(self) -> None:
        """All ways out."""
        async with self._filtering:
            wanted = self._service.store.read(all_uplinks, self._service.config.network)
            if wanted != self.known_uplinks:
                await self._host.firewall.set_uplinks(wanted)
                self.known_uplinks = wanted

    async def port_now(self, port: Port) -> None:
        """Have a machine's port be ready: filtered first, then connected, then known to the DHCP server."""
        network = self._service.store.read(NETWORKS.need, port.network_id)
        for group_id in port.security_groups:
            await self.group_now(group_id)
        async with self._filtering:
            await self._host.firewall.set_port(plan.port_filter_of(port, network))
        async with self._turn(port.network_id):
            await self._host.links.converge_tap(bridge_name(network.id), plan.tap_of(port, network))
            await self._serve_dhcp(network, *self._rows_of(network.id))

    async def gone_now(self, port: Port) -> None:
        """See `gone`."""
        if port.device_owner.startswith("network:"):
            await self.network_now(port.network_id)
            return
        async with self._turn(port.network_id):
            await self._host.links.remove_link(tap_name(port.id))
            network = self._service.store.read(NETWORKS.get, port.network_id)
            if network is not None and port.host_id:
                await self._serve_dhcp(network, *self._rows_of(network.id))
                for address in port.addresses:
                    await self._host.dhcp.release(network.id, mac=port.mac_address, address=address)
        async with self._filtering:
            await self._host.firewall.remove_port(port.id)
        for group_id in port.security_groups:
            await self.group_now(group_id)

    async def group_now(self, group_id: str) -> None:
        """A group's rules and members, and those groups that its rules name."""
        async with self._filtering:
            wanted = [group_id, *self._service.store.read(_remote_groups, group_id)]
            for one in dict.fromkeys(wanted):
                group, rules, members = self._service.store.read(group_rows, one)
                if group is None:
                    await self._host.firewall.remove_group(one)
                else:
                    await self._host.firewall.set_group(plan.group_filter_of(group, rules, members))

    async def router_now(self, router_id: str) -> None:
        """See `router`."""
        async with self._turn(router_id):
            scene = self._service.store.read(router_scene, router_id)
            space = router_space(router_id)
            if scene is None:
                await self._host.dhcp.remove(router_id)
                await self._host.namespaces.remove(space)
                self._set_doors(router_id, ())
                return
            metadata_port = self._service.config.network.metadata_port
            wanted, nat = plan.router_space_of(scene), plan.nat_of(scene, metadata_port)
            incarnation = await self._host.namespaces.ensure(space)
            # Translation stands before the links do, so that no packet leaves with an inside address.
            await self._host.firewall.set_nat(nat)
            await self._host.links.converge_space(wanted)
            await self._host.dhcp.converge_advertiser(plan.advertiser_of(scene))
            await self._announce(scene, nat.floating)
            self._set_doors(router_id, plan.router_doors(scene, metadata_port, incarnation))

    async def _announce(self, scene: plan.RouterScene, floating: Iterable[tuple[str, str]]) -> None:
        """Tell neighbours outside of addresses that are new here; those told before are not told again."""
        gateway = scene.gateway
        if gateway is None or not scene.router.admin_state_up:
            self._announced.pop(scene.router.id, None)
            return
        outside = {*(one for one in gateway.addresses), *(address for address, _ in floating)}
        fresh = outside - self._announced.get(scene.router.id, set())
        for address in sorted(fresh):
            await self._host.links.announce(router_space(scene.router.id), inner_name(gateway.id), address)
        self._announced[scene.router.id] = outside

    # --- DHCP ----------------------------------------------------------------------------------------------------

    async def _serve_dhcp(self, network: NetworkRow, subnets: list[Subnet], plugged: list[Port]) -> None:
        port = self._service.store.read(PORTS.first, "network_id = ? AND device_owner = ?", (network.id, ports.DHCP))
        if port is None or not network.admin_state_up:
            await self._remove_dhcp(network.id)
            return
        space = plan.dhcp_space_of(network, subnets, port)
        incarnation = await self._host.namespaces.ensure(space.name)
        await self._host.links.converge_space(space)
        domain = self._service.config.compute.dhcp_domain
        server = plan.dhcp_server_of(network, subnets, port, plugged, self._service.config.network, domain)
        await self._host.dhcp.converge(server)
        self._set_doors(network.id, plan.network_doors(network, space, incarnation))

    async def _remove_dhcp(self, network_id: str) -> None:
        self._set_doors(network_id, ())
        await self._host.dhcp.remove(network_id)
        await self._host.namespaces.remove(dhcp_space(network_id))

    # --- small change --------------------------------------------------------------------------------------------

    def _rows_of(self, network_id: str) -> tuple[list[Subnet], list[Port]]:
        def read(db: Db) -> tuple[list[Subnet], list[Port]]:
            subnets = SUBNETS.where(db, "network_id = ?", (network_id,), order="created_at, id")
            return subnets, PORTS.where(db, f"network_id = ? AND {PLUGGED}", (network_id,), order="number")

        return self._service.store.read(read)

    def _set_doors(self, owner_id: str, doors: tuple[plan.MetadataDoor, ...]) -> None:
        if self.doors.get(owner_id, ()) == doors:
            return
        if doors:
            self.doors[owner_id] = doors
        else:
            self.doors.pop(owner_id, None)
        self._service.doors_changed()

    def _turn(self, key: str) -> asyncio.Lock:
        return self._turns.setdefault(key, asyncio.Lock())

    async def _try(self, kind: str, key: str, run: Callable[[str], Awaitable[None]]) -> None:
        try:
            await run(key)
        except Failure as failure:
            log.warning(
                "the host does not follow yet",
                scope=kind,
                id=key,
                error=failure.message,
                detail=getattr(failure, "detail", ""),
            )
            await self._note_failure(kind, key)
            return
        except Exception:  # rows that make no plan, values that no file can carry: one odd network stops no other
            log.exception("the host cannot follow", scope=kind, id=key)
            await self._note_failure(kind, key)
            return
        if self._service.store.read(_is_told_down, kind, key):
            await self._service.store.write(_tell, kind, key, True)

    async def _note_failure(self, kind: str, key: str) -> None:
        """Say so, and have all be tried again: at once the first time, after growing pauses while it goes on failing."""
        self._failures += 1
        if kind in ("port", "group"):
            self.filters_loaded = False  # it may be the filter that did not follow: the next look loads them all
        await self._service.store.write(_tell, kind, key, False)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._pause, self._try_again)

    def _try_again(self) -> None:
        self._timer, self._pause = None, min(LONGEST_PAUSE, 2 * self._pause or FIRST_PAUSE)
        for one in self._service.reconcilers():
            one.wake()

    @contextlib.contextmanager
    def one_look(self) -> Iterator[None]:
        """Around a look at everything: one in which nothing failed ends the growing of the pauses."""
        before = self._failures
        yield
        if self._failures == before:
            self._pause = 0.0

    def stop(self) -> None:
        """Nothing is tried again any more."""
        if self._timer is not None:
            self._timer.cancel()


def all_filters(db: Db, options: Options) -> tuple[tuple[PortFilter, ...], tuple[GroupFilter, ...], tuple[Uplink, ...]]:
    """What every port, group and way out should be."""
    networks = {row.id: row for row in NETWORKS.where(db)}
    plugged = PORTS.where(db, PLUGGED, order="number")
    filters = tuple(plan.port_filter_of(port, networks[port.network_id]) for port in plugged)
    groups = tuple(
        plan.group_filter_of(group, *group_rows(db, group.id)[1:])
        for group in SECURITY_GROUPS.where(db, order="number")
    )
    return filters, groups, all_uplinks(db, options)


def all_uplinks(db: Db, options: Options) -> tuple[Uplink, ...]:
    """The ways out of this host."""
    external = NETWORKS.where(db, "external = 1", order="id")
    return plan.uplinks_of(
        [(row, SUBNETS.where(db, "network_id = ?", (row.id,), order="id")) for row in external], options
    )


def router_scene(db: Db, router_id: str) -> plan.RouterScene | None:
    """Every row about one router."""
    router = ROUTERS.get(db, router_id)
    if router is None:
        return None
    held = PORTS.where(db, "device_id = ? AND device_owner LIKE 'network:router%'", (router_id,), order="number")
    ids = {port.network_id for port in held}
    return plan.RouterScene(
        router=router,
        ports=held,
        networks={key: NETWORKS.need(db, key) for key in ids},
        subnets={key: SUBNETS.where(db, "network_id = ?", (key,), order="created_at, id") for key in ids},
        floating=FLOATINGIPS.where(db, "router_id = ?", (router_id,), order="id"),
    )


def group_rows(db: Db, group_id: str) -> tuple[SecurityGroup | None, list[SecurityGroupRule], list[Port]]:
    """A group, its rules and the ports in it."""
    group = SECURITY_GROUPS.get(db, group_id)
    rules = SECURITY_GROUP_RULES.where(db, "security_group_id = ?", (group_id,), order="created_at, id")
    members = PORTS.where(db, "id IN (SELECT port_id FROM port_groups WHERE group_id = ?)", (group_id,), order="number")
    return group, rules, members


def _remote_groups(db: Db, group_id: str) -> list[str]:
    rows = db.execute(
        "SELECT DISTINCT remote_group_id FROM security_group_rules WHERE security_group_id = ? AND remote_group_id IS NOT NULL",
        (group_id,),
    )
    return [one for (one,) in rows]


_DOWN = {"network": ("networks", "DOWN"), "router": ("routers", "ERROR")}


def _is_told_down(db: Db, kind: str, key: str) -> bool:
    if kind not in _DOWN:
        return False
    table, down = _DOWN[kind]
    return db.execute(f"SELECT 1 FROM {table} WHERE id = ? AND status = ?", (key, down)).fetchone() is not None


def _tell(db: Db, kind: str, key: str, good: bool) -> None:
    """Have the status of a network or router, and of the cloud's own ports on it, say whether the host follows."""
    if kind not in _DOWN:
        return
    table, down = _DOWN[kind]
    db.execute(f"UPDATE {table} SET status = ? WHERE id = ?", ("ACTIVE" if good else down, key))
    owned = "device_id = ?" if kind == "router" else f"network_id = ? AND device_owner = '{ports.DHCP}'"
    db.execute(
        f"UPDATE ports SET status = ? WHERE {owned} AND device_owner LIKE 'network:%'",
        ("ACTIVE" if good else "DOWN", key),
    )
