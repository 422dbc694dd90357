"""The packet filter of this machine: nftables, changed by differences.

Remembers what it has loaded, as one `nft_text.Part` for each port, group and bridge, and tells the kernel only what a
call changes. Tables of an earlier daemon go on filtering until `load`; what is set before that is remembered and
becomes true with it, and taps that the old tables don't know stay closed. Called through
`minicloud.host.Host.firewall`. Sources: nft(8), conntrack(8), the kernel's bridge sysctls (br_netfilter).
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from minicloud.core.errors import HostFailure, Unavailable
from minicloud.host.firewall import GroupFilter, NatPlan, PortFilter, Uplink
from minicloud.host.real import nft_text
from minicloud.host.real.conntrack import cut
from minicloud.host.real.libnftables import execute
from minicloud.host.real.namespaces import MountedNamespaces, run_inside, write_sysctl
from minicloud.host.real.nft_nat import floating_in, nat_text
from minicloud.host.real.nft_text import Part
from minicloud.host.real.nft_watch import NftWatch
from minicloud.host.real.whole import whole
from minicloud.host.run import program

BRIDGE_SYSCTLS = ("net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables")
FIRST_CHAINS = ((nft_text.BRIDGE, "from_bridge"), (nft_text.INET, "forwarded"))
IPV6_INTERFACES = Path("/proc/sys/net/ipv6/conf")
PAUSE = 0.02
"""Seconds in which one loss, told in many messages, ends."""


class NftFirewall:
    """`Firewall` of this machine.

    Args:
        namespaces: where routers live.
    """

    def __init__(self, namespaces: MountedNamespaces) -> None:
        self._namespaces = namespaces
        self._lock = asyncio.Lock()
        self._inherited = False
        self._ports: dict[str, PortFilter] = {}
        self._groups: dict[str, GroupFilter] = {}
        self._uplinks: tuple[Uplink, ...] = ()
        self._on_bridge: dict[str, set[str]] = defaultdict(set)
        self._in_group: dict[str, set[str]] = defaultdict(set)
        self._parts: dict[str, Part] = {}
        self._nat: dict[str, NatPlan] = {}
        self._watch: NftWatch | None = None
        self._looking: asyncio.Task[None] | None = None
        self._callbacks: list[Callable[[], None]] = []

    async def open(self) -> None:
        """See `Firewall.open`."""
        program("conntrack")
        await asyncio.to_thread(_filter_bridges)
        async with self._lock:
            tables = await asyncio.to_thread(execute, "list tables")
            self._inherited = all(f"table {table}\n" in tables for table in (nft_text.BRIDGE, nft_text.INET))
            if not self._inherited:
                await asyncio.to_thread(execute, nft_text.everything(()))
        chains = [(table.split()[1], chain) for table, chain in FIRST_CHAINS]
        self._watch = NftWatch(chains, self._suspect)

    async def close(self) -> None:
        """See `Firewall.close`."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        if self._looking is not None:
            await asyncio.gather(self._looking, return_exceptions=True)

    def on_lost(self, callback: Callable[[], None]) -> None:
        """See `Firewall.on_lost`."""
        self._callbacks.append(callback)

    @whole
    async def load(
        self, *, ports: tuple[PortFilter, ...], groups: tuple[GroupFilter, ...], uplinks: tuple[Uplink, ...]
    ) -> None:
        """See `Firewall.load`."""
        async with self._lock:
            draft = NftFirewall(self._namespaces)
            draft._groups = {group.id: group for group in groups}
            draft._uplinks = uplinks
            for port in ports:
                draft._remember(port)
            await asyncio.to_thread(_forward, uplinks)
            present = await asyncio.to_thread(draft._replace_all)
            self._ports, self._groups, self._uplinks = draft._ports, draft._groups, draft._uplinks
            self._on_bridge, self._in_group = draft._on_bridge, draft._in_group
            self._parts = present
            self._inherited = False

    @whole
    async def set_group(self, group: GroupFilter) -> None:
        """See `Firewall.set_group`."""
        async with self._lock:
            old = self._groups.get(group.id)
            self._groups[group.id] = group
            try:
                await self._change(self._touched_by_group(group, old))
            except BaseException:
                self._restore_group(group.id, old)
                raise
        if old is not None:
            await self._cut_group(old, group)

    @whole
    async def remove_group(self, group_id: str) -> None:
        """See `Firewall.remove_group`."""
        async with self._lock:
            old = self._groups.get(group_id)
            if old is None:
                return
            if self._in_group.get(group_id):
                raise HostFailure(f"Cannot forget security group {group_id}: a port's filter still uses it.")
            del self._groups[group_id]
            try:
                await self._change({f"group/{group_id}", *self._referring(group_id)})
            except BaseException:
                self._restore_group(group_id, old)
                raise
        await self._cut_group(old, GroupFilter(group_id, old.number, ()))

    @whole
    async def set_port(self, port: PortFilter) -> None:
        """See `Firewall.set_port`."""
        async with self._lock:
            old = self._ports.get(port.port_id)
            self._forget(port.port_id)
            self._remember(port)
            try:
                await self._change(_touched_by_port(port, old))
            except BaseException:
                self._forget(port.port_id)
                if old is not None:
                    self._remember(old)
                raise
        if old is not None and _narrower(old, port):
            await self._cut_ports([old])

    @whole
    async def remove_port(self, port_id: str) -> None:
        """See `Firewall.remove_port`."""
        async with self._lock:
            old = self._ports.get(port_id)
            if old is None:
                return
            self._forget(port_id)
            try:
                await self._change(_touched_by_port(old, None))
            except BaseException:
                self._remember(old)
                raise
        await self._cut_ports([old])

    @whole
    async def set_uplinks(self, uplinks: tuple[Uplink, ...]) -> None:
        """See `Firewall.set_uplinks`. Switches IP forwarding of the machine on when there is one."""
        async with self._lock:
            await asyncio.to_thread(_forward, uplinks)
            old = self._uplinks
            bridges = {uplink.bridge for uplink in (*old, *uplinks)}
            self._uplinks = uplinks
            try:
                await self._change({"uplinks", *(f"bridge/{bridge}" for bridge in bridges)})
            except BaseException:
                self._uplinks = old
                raise

    @whole
    async def set_nat(self, nat: NatPlan) -> None:
        """See `Firewall.set_nat`."""
        async with self._lock:
            old = self._nat.get(nat.router_id)
            if old is None:  # what an earlier run of the daemon left
                maps = await self._namespaces.run_in(nat.space, execute, "list maps")
                old = replace(nat, floating=floating_in(maps))
            await self._namespaces.run_in(nat.space, execute, nat_text(nat))
            self._nat[nat.router_id] = nat
        await self._cut_nat(old, nat)

    async def actual(self) -> frozenset[str] | None:
        """See `Firewall.actual`."""
        return await asyncio.to_thread(_filtered_taps)

    def _suspect(self) -> None:
        if self._looking is None:
            self._looking = asyncio.create_task(self._look(), name="look at the packet filter")

    async def _look(self) -> None:
        """Tell of a loss, unless it was our own replacing of everything."""
        await asyncio.sleep(PAUSE)
        self._looking = None
        async with self._lock:
            lost = await asyncio.to_thread(_filtered_taps) is None
        if lost:
            for callback in self._callbacks:
                callback()

    def _remember(self, port: PortFilter) -> None:
        self._ports[port.port_id] = port
        self._on_bridge[port.bridge].add(port.port_id)
        for group in port.groups:
            self._in_group[group].add(port.port_id)

    def _forget(self, port_id: str) -> None:
        port = self._ports.pop(port_id, None)
        if port is None:
            return
        self._on_bridge[port.bridge].discard(port_id)
        for group in port.groups:
            self._in_group[group].discard(port_id)

    def _restore_group(self, group_id: str, old: GroupFilter | None) -> None:
        """After a failure memory says again what the kernel still does."""
        if old is None:
            del self._groups[group_id]
        else:
            self._groups[group_id] = old

    def _all_names(self) -> set[str]:
        bridges = {uplink.bridge for uplink in self._uplinks} | set(self._on_bridge)
        return {
            "uplinks",
            *(f"port/{port_id}" for port_id in self._ports),
            *(f"group/{group_id}" for group_id in self._groups),
            *(f"bridge/{bridge}" for bridge in bridges),
        }

    def _touched_by_group(self, group: GroupFilter, old: GroupFilter | None) -> set[str]:
        """The group; those that refer to it if they see it in another way now; its ports if it is new to them."""
        names = {f"group/{group.id}"}
        renamed = old is None or old.number != group.number
        if renamed or _has_ranges(old) != _has_ranges(group):
            names |= self._referring(group.id)
        if renamed or (old is not None and old.stateful != group.stateful):
            names |= {f"port/{port_id}" for port_id in self._in_group.get(group.id, ())}
        return names

    def _referring(self, group_id: str) -> set[str]:
        groups = self._groups.values()
        return {f"group/{group.id}" for group in groups if any(rule.remote_group == group_id for rule in group.rules)}

    def _compute(self, names: Iterable[str]) -> dict[str, Part | None]:
        """What each name contributes now; None for what is not there any more."""
        return {name: self._part(*name.split("/", 1)) for name in names}

    def _part(self, kind: str, key: str = "") -> Part | None:
        if kind == "port":
            return nft_text.port_part(self._ports[key], self._groups) if key in self._ports else None
        if kind == "group":
            return nft_text.group_part(self._groups[key], self._groups) if key in self._groups else None
        if kind == "uplinks":
            return nft_text.uplinks_part(self._uplinks)
        uplinked = any(uplink.bridge == key for uplink in self._uplinks)
        ports = [self._ports[port_id] for port_id in sorted(self._on_bridge.get(key, ()))]
        if not ports and not uplinked:
            return None
        part = nft_text.bridge_part(key, zone=ports[0].zone if ports else 0, uplinked=uplinked)
        return nft_text.merged([part, nft_text.reachable_part(key, ports)]) if uplinked else part

    async def _change(self, names: set[str]) -> None:
        """Bring the kernel from what was loaded under these names to what memory says now."""
        if self._inherited:
            return
        new = await asyncio.to_thread(self._apply, names)
        for name, part in new.items():
            if part is None:
                self._parts.pop(name, None)
            else:
                self._parts[name] = part

    def _apply(self, names: set[str]) -> dict[str, Part | None]:
        """Runs in a thread, under the lock; returns what holds now."""
        new = self._compute(names)
        before = nft_text.merged(self._parts[name] for name in sorted(names) if name in self._parts)
        after = nft_text.merged(part for _, part in sorted(new.items()) if part is not None)
        if commands := nft_text.difference(before, after):
            execute(commands)
        return new

    def _replace_all(self) -> dict[str, Part]:
        """Runs in a thread; returns what holds now."""
        parts = self._compute(self._all_names())
        present = {name: part for name, part in parts.items() if part is not None}
        execute(nft_text.everything(present.values()))
        return present

    async def _cut_group(self, old: GroupFilter, new: GroupFilter) -> None:
        """End flows that a rule or member which is gone may have allowed."""
        if set(old.rules) - set(new.rules) or old.stateful != new.stateful:
            await self._cut_ports([self._ports[port_id] for port_id in self._in_group.get(old.id, ())])
        gone = set(old.members) - set(new.members)
        if not gone:
            return
        referring = {name.split("/", 1)[1] for name in self._referring(old.id)}
        ports = [self._ports[port_id] for group in referring for port_id in self._in_group.get(group, ())]
        for zone in {self._zone(port) for port in ports}:
            await cut(zone, gone)

    async def _cut_ports(self, ports: Iterable[PortFilter]) -> None:
        by_zone: dict[int, set[str]] = defaultdict(set)
        for port in ports:
            by_zone[self._zone(port)].update(address for _, address in port.addresses)
        for zone, addresses in by_zone.items():
            await cut(zone, addresses)

    def _zone(self, port: PortFilter) -> int:
        return 0 if any(uplink.bridge == port.bridge for uplink in self._uplinks) else port.zone

    async def _cut_nat(self, old: NatPlan, new: NatPlan) -> None:
        """End flows over floating IPs that are gone, and those that still leave with a former address."""
        ways: list[tuple[str, str]] = []
        for floating, fixed in sorted(set(old.floating) - set(new.floating)):
            ways += [("--orig-dst", floating), ("--orig-src", fixed)]
        if old.gateway_address is not None and old.gateway_address != new.gateway_address:
            ways.append(("--reply-dst", old.gateway_address))
        for option, address in ways:
            await run_inside(
                self._namespaces, new.space, ["conntrack", "-D", option, address], timeout=10.0, check=False
            )


def _touched_by_port(port: PortFilter, old: PortFilter | None) -> set[str]:
    bridges = {port.bridge} | ({old.bridge} if old is not None else set())
    return {f"port/{port.port_id}", *(f"bridge/{bridge}" for bridge in bridges)}


def _narrower(old: PortFilter, new: PortFilter) -> bool:
    """Whether something that the port was allowed may not be any more."""
    if new.guarded and not old.guarded:
        return True
    lost = set(old.groups) - set(new.groups) or set(old.addresses) - set(new.addresses)
    return bool(lost) or (old.zone, old.bridge) != (new.zone, new.bridge)


def _has_ranges(group: GroupFilter | None) -> bool:
    return group is not None and nft_text.has_ranges(group.members)


def _filtered_taps() -> frozenset[str] | None:
    """The taps in our tables; None where a table is gone, or was flushed: then its first chain, which is never changed,
    has lost its rules."""
    for table, chain in FIRST_CHAINS:
        present = execute("list chains").partition(f"table {table} {{\n")[2].partition("\n}")[0]
        if f"chain {chain} {{" not in present:
            return None
        lines = [line.strip() for line in execute(f"list chain {table} {chain}").splitlines()]
        if not any(line and not line.startswith(("table ", "chain ", "type ", "}")) for line in lines):
            return None
    sets = [execute(f"list set {nft_text.BRIDGE} {name}") for name in ("guarded", "open")]
    return frozenset(re.findall(r'"([^"]+)"', "".join(sets)))


def _filter_bridges() -> None:
    """Have the kernel show bridged packets to the filter; without that no security group would hold."""
    for key in BRIDGE_SYSCTLS:
        try:
            write_sysctl(key, "1")
        except FileNotFoundError:
            raise Unavailable(
                "Cannot filter ports: the kernel does not show bridged packets to nftables. "
                "Load the module with `modprobe br_netfilter`."
            ) from None


def _forward(uplinks: Iterable[Uplink]) -> None:
    """Switch forwarding on for the families that lead out. With IPv6 that makes the kernel ignore router
    advertisements, so links that listened to them are told to go on."""
    versions = {ipaddress.ip_network(uplink.cidr).version for uplink in uplinks}
    if 4 in versions:
        write_sysctl("net/ipv4/ip_forward", "1")
    if 6 in versions:
        for setting in IPV6_INTERFACES.glob("*/accept_ra"):
            if setting.read_text().strip() == "1":
                setting.write_text("2")
        write_sysctl("net/ipv6/conf/all/forwarding", "1")
