"""Machines of the fake host: they boot at once, write a few lines to their console and honour the power button.

The state lives in the world's section "domains", so machines go on while the daemon is away. What a guest does by
itself is a step too ("guest.shutdown"): a test that tells it to fail has a guest that ignores the button.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minicloud.core.errors import HostFailure, Unavailable
from minicloud.core.files import make_folder
from minicloud.host import filesystem
from minicloud.host.fake import disks as fake_disks
from minicloud.host.fake.world import World
from minicloud.host.hypervisor import Capabilities, DiskSpec, DomainEvent, DomainSeen, DomainSpec, NicSpec, Power

GIB = 1024**3
_ON = (Power.RUNNING, Power.PAUSED)


HOST_NAME = "fake-host"


class FakeHypervisor:
    """`Hypervisor` in memory. Beyond the protocol: `power_off_inside`, `crash_inside`, `lose` and `find` again, with
    which tests do what guests and libvirt do on their own."""

    def __init__(self, world: World, *, vcpus: int = 16, memory_mb: int = 64 * 1024) -> None:
        self._world = world
        self._domains = world.section("domains")
        self._vcpus = vcpus
        self._memory_mb = memory_mb
        self._callbacks: list[Callable[[DomainEvent], None]] = []
        self._connected = False
        self._opened = False
        self._guests: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """As promised; tells of every machine that is there."""
        self._connected = self._opened = True
        self._tell_all()

    async def close(self) -> None:
        """As promised; what guests were about to do by themselves ends with the daemon here."""
        self._connected = False
        for task in tuple(self._guests):
            task.cancel()
        await asyncio.gather(*self._guests, return_exceptions=True)

    def lose(self) -> None:
        """The connection breaks: every call raises `Unavailable` until `find`."""
        self._connected = False

    def find(self) -> None:
        """The connection is back: all machines are told anew."""
        self._connected = True
        self._tell_all()

    async def reboot_host(self) -> None:
        """The machine below starts anew: every guest is off, and nobody was told."""
        async with self._world.step("host.reboot"):
            for domain in self._domains.values():
                self._off(domain, Power.SHUTOFF)
            host = self._world.section("host")
            host["boot"] = host.get("boot", "first boot") + " and another"

    async def ready(self) -> None:
        """As promised."""
        self.capabilities()

    def host_name(self) -> str:
        """As promised."""
        return HOST_NAME

    def capabilities(self) -> Capabilities:
        """As promised: a machine of fixed size."""
        if not self._opened:
            raise Unavailable("The hypervisor was not reached yet.", retry_after=5)
        return Capabilities(
            hypervisor_type="QEMU",
            hypervisor_version=7002000,
            domain_type="qemu",
            accelerator_note="This is the fake host: machines are entries in a file.",
            hostname=HOST_NAME,
            architecture="x86_64",
            cpu_model="qemu64",
            vcpus=self._vcpus,
            memory_mb=self._memory_mb,
            cpu_topology={"sockets": 1, "cores": self._vcpus, "threads": 1},
            cpu_features=("aes", "sse4.2", "x2apic"),
            boot_id=self._world.section("host").get("boot", "first boot"),
        )

    def on_event(self, callback: Callable[[DomainEvent], None]) -> None:
        """As promised."""
        self._callbacks.append(callback)

    async def define(self, spec: DomainSpec) -> None:
        """As promised."""
        self._connection()
        async with self._world.step("hypervisor.define", spec.id):
            plain = asdict(spec) | {"metadata": dict(spec.metadata)}
            known = self._domains.get(spec.id, {"power": Power.SHUTOFF, "live": None})
            self._domains[spec.id] = known | {"spec": plain}

    async def start(self, server_id: str, *, paused: bool = False) -> None:
        """As promised; like a real one it wants every disk's file and every card's tap, and no disk
        that another machine writes to."""
        domain = self._domain(server_id, "start")
        if domain["power"] in _ON:
            return
        async with self._world.step("hypervisor.start", server_id):
            disks, nics = domain["spec"]["disks"], domain["spec"]["nics"]
            for disk in disks:
                self._check_disk(server_id, disk, "start")
            for nic in nics:
                self._check_tap(server_id, nic, "start")
            self._boot(domain)
            domain["live"] = {"disks": list(disks), "nics": list(nics)}
            domain["power"] = Power.PAUSED if paused else Power.RUNNING
        self._tell(server_id, "paused" if paused else "booted")

    async def shutdown(self, server_id: str) -> None:
        """As promised: the guest goes off a moment later."""
        domain = self._domain(server_id, "shut down")
        if domain["power"] not in _ON:
            return
        async with self._world.step("hypervisor.shutdown", server_id):
            self._spawn(self._obey_button(server_id))

    async def destroy(self, server_id: str) -> None:
        """As promised."""
        self._connection()
        domain = self._domains.get(server_id)
        if domain is None or domain["power"] not in _ON:
            return
        async with self._world.step("hypervisor.destroy", server_id):
            self._off(domain, Power.SHUTOFF)
        self._tell(server_id, "destroyed")

    async def reset(self, server_id: str) -> None:
        """As promised: the guest boots again."""
        domain = self._running(server_id, "reset")
        async with self._world.step("hypervisor.reset", server_id):
            self._boot(domain)

    async def pause(self, server_id: str) -> None:
        """As promised."""
        await self._set_power("pause", server_id, Power.PAUSED)

    async def resume(self, server_id: str) -> None:
        """As promised."""
        await self._set_power("resume", server_id, Power.RUNNING)

    async def undefine(self, server_id: str) -> None:
        """As promised; refuses a machine that is on."""
        self._connection()
        domain = self._domains.get(server_id)
        if domain is None:
            return
        if domain["power"] in _ON:
            raise HostFailure(f"Cannot forget the machine {server_id}: it is running.")
        async with self._world.step("hypervisor.undefine", server_id):
            self._domains.pop(server_id, None)

    async def attach_disk(self, server_id: str, disk: DiskSpec) -> None:
        """As promised."""
        domain = self._domain(server_id, "attach a disk to")
        self._check_disk(server_id, asdict(disk), "attach a disk to")
        async with self._world.step("hypervisor.attach_disk", server_id):
            self._put(domain, "disks", "id", asdict(disk))

    async def detach_disk(self, server_id: str, disk_id: str) -> None:
        """As promised; a fake guest always lets go."""
        domain = self._domain(server_id, "detach a disk from")
        async with self._world.step("hypervisor.detach_disk", server_id):
            self._take(domain, "disks", "id", disk_id)

    async def attach_nic(self, server_id: str, nic: NicSpec) -> None:
        """As promised."""
        domain = self._domain(server_id, "attach a network card to")
        if domain["power"] in _ON:
            self._check_tap(server_id, asdict(nic), "attach a network card to")
        async with self._world.step("hypervisor.attach_nic", server_id):
            self._put(domain, "nics", "port_id", asdict(nic))

    async def detach_nic(self, server_id: str, port_id: str) -> None:
        """As promised."""
        domain = self._domain(server_id, "detach a network card from")
        async with self._world.step("hypervisor.detach_nic", server_id):
            self._take(domain, "nics", "port_id", port_id)

    async def resize_disk(self, server_id: str, disk_id: str, size: int) -> None:
        """As promised."""
        domain = self._running(server_id, "grow a disk of")
        disk = self._live_disk(domain, server_id, disk_id, "grow")
        async with self._world.step("hypervisor.resize_disk", server_id):
            with filesystem.told("grow the disk", Path(disk["path"])):
                await filesystem.in_thread(fake_disks.grow, Path(disk["path"]), disk["format"], size)

    async def copy_disk(self, server_id: str, disk_id: str, target: Path, *, format: str) -> None:
        """As promised for size and format; raw to raw keeps the content."""
        domain = self._running(server_id, "copy a disk of")
        disk = self._live_disk(domain, server_id, disk_id, "copy")
        source = Path(disk["path"])
        async with (
            self._world.step("hypervisor.copy_disk", server_id),
            filesystem.draft(target, what="copy to the disk") as draft,
        ):
            if disk["format"] == format == "raw":
                await filesystem.in_thread(filesystem.copy, source, draft)
                return
            seen = await filesystem.in_thread(fake_disks.inspected, source, disk["format"])
            await filesystem.in_thread(fake_disks.blank, draft, format, seen.virtual_size)

    async def actual(self) -> dict[str, DomainSeen]:
        """As promised."""
        self._connection()
        return {server_id: self._seen(server_id, domain) for server_id, domain in self._domains.items()}

    async def console_log(self, server_id: str, path: str, *, tail_bytes: int = 1024 * 1024) -> bytes:
        """As promised."""
        return await filesystem.in_thread(filesystem.tail, Path(path), tail_bytes)

    async def power_off_inside(self, server_id: str) -> None:
        """The guest's own `poweroff`."""
        domain = self._running(server_id, "power off")
        async with self._world.step("guest.poweroff", server_id):
            self._off(domain, Power.SHUTOFF)
        self._tell(server_id, "shutdown")

    async def crash_inside(self, server_id: str) -> None:
        """The machine's process dies."""
        domain = self._running(server_id, "crash")
        async with self._world.step("guest.crash", server_id):
            self._off(domain, Power.CRASHED)
        self._tell(server_id, "crashed")

    async def _obey_button(self, server_id: str) -> None:
        try:
            async with self._world.step("guest.shutdown", server_id):
                domain = self._domains.get(server_id)
                if domain is None or domain["power"] != Power.RUNNING:
                    return
                self._off(domain, Power.SHUTOFF)
        except HostFailure:
            return  # a test wants a guest that ignores the button
        self._tell(server_id, "shutdown")

    async def _set_power(self, verb: str, server_id: str, power: Power) -> None:
        domain = self._running(server_id, verb)
        if domain["power"] == power:
            return
        async with self._world.step(f"hypervisor.{verb}", server_id):
            domain["power"] = power
        self._tell(server_id, verb + "d")

    def _connection(self) -> None:
        if not self._connected:
            raise Unavailable("The hypervisor can't be reached at the moment.", retry_after=5)

    def _domain(self, server_id: str, what: str) -> dict[str, Any]:
        self._connection()
        domain = self._domains.get(server_id)
        if domain is None:
            raise HostFailure(f"Cannot {what} the machine {server_id}: the hypervisor does not know it.")
        found: dict[str, Any] = domain
        return found

    def _running(self, server_id: str, what: str) -> dict[str, Any]:
        domain = self._domain(server_id, what)
        if domain["power"] not in _ON:
            raise HostFailure(f"Cannot {what} the machine {server_id}: it is not running.")
        return domain

    def _live_disk(self, domain: dict[str, Any], server_id: str, disk_id: str, what: str) -> dict[str, Any]:
        for disk in domain["live"]["disks"]:
            if disk["id"] == disk_id:
                found: dict[str, Any] = disk
                return found
        raise HostFailure(f"Cannot {what} the disk {disk_id}: the machine {server_id} does not have it.")

    def _check_disk(self, server_id: str, disk: dict[str, Any], what: str) -> None:
        if not os.path.exists(disk["path"]):
            raise HostFailure(f"Cannot {what} the machine {server_id}: the file of disk {disk['id']} is missing.")
        if disk["read_only"]:
            return
        for other_id, other in self._domains.items():
            if other_id == server_id or other["power"] not in _ON:
                continue
            for held in other["live"]["disks"]:
                if held["path"] == disk["path"] and not (held["shareable"] and disk["shareable"]):
                    raise HostFailure(f"Cannot {what} the machine {server_id}: disk {disk['id']} is in use elsewhere.")

    def _check_tap(self, server_id: str, nic: dict[str, Any], what: str) -> None:
        if nic["tap"] not in self._world.section("taps"):
            raise HostFailure(f"Cannot {what} the machine {server_id}: port {nic['port_id']} has no tap.")

    def _put(self, domain: dict[str, Any], kind: str, key: str, thing: dict[str, Any]) -> None:
        self._take(domain, kind, key, thing[key])
        domain["spec"][kind] = [*domain["spec"][kind], thing]
        if domain["live"] is not None:
            domain["live"][kind] = [*domain["live"][kind], thing]

    def _take(self, domain: dict[str, Any], kind: str, key: str, wanted: str) -> None:
        for holder in (domain["spec"], domain["live"]):
            if holder is not None:
                holder[kind] = [thing for thing in holder[kind] if thing[key] != wanted]

    def _off(self, domain: dict[str, Any], power: Power) -> None:
        domain["power"] = power
        domain["live"] = None

    def _boot(self, domain: dict[str, Any]) -> None:
        spec = domain["spec"]
        log = Path(spec["console_log"])
        make_folder(log.parent, mode=filesystem.FOLDER_MODE)
        log.touch(mode=0o600)
        lines = [
            f"fake guest {spec['name']} starts: {spec['vcpus']} processors, {spec['memory_mb']} MiB",
            *(f"disk {disk['target']}: {disk['format']}, {disk['bus']}" for disk in spec["disks"]),
            *(f"network card {nic['mac']}: mtu {nic['mtu']}" for nic in spec["nics"]),
            f"fake guest {spec['name']} booted",
            "",
        ]
        with log.open("a") as file:
            file.write("\r\n".join(lines))

    def _seen(self, server_id: str, domain: dict[str, Any]) -> DomainSeen:
        held = domain["live"] or domain["spec"]
        return DomainSeen(
            id=server_id,
            power=Power(domain["power"]),
            disks=frozenset(disk["id"] for disk in held["disks"]),
            ports=frozenset(nic["port_id"] for nic in held["nics"]),
        )

    def _tell_all(self) -> None:
        for server_id in tuple(self._domains):
            self._tell(server_id, "found")

    def _tell(self, server_id: str, reason: str) -> None:
        """Tell on the loop's next turn, as libvirt's events come: never from inside the call that caused it."""
        domain = self._domains.get(server_id)
        event = DomainEvent(server_id, Power.SHUTOFF if domain is None else Power(domain["power"]), reason)
        asyncio.get_running_loop().call_soon(self._deliver, event)

    def _deliver(self, event: DomainEvent) -> None:
        if not self._connected:
            return
        for callback in self._callbacks:
            callback(event)

    def _spawn(self, doing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(doing)
        self._guests.add(task)
        task.add_done_callback(self._guests.discard)
