"""THE STORY of the demo, inside the sandbox: from a password to machines that talk, and back to nothing."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from minicloud.core.errors import MinicloudError
from minicloud.demo.client import Client, Guest, NotAsPromised, Told, until
from minicloud.host.run import run

USER_DATA = "#!/bin/sh\necho user-data ran on $(hostname)\n"
MARK = "user-data ran on web1"
EXTERNAL_GATEWAY = "172.24.4.1"
PORT = 8099


@dataclass
class Scene:
    """What the steps know of each other's work."""

    folder: Path
    image: Path
    admin: Client = field(default_factory=lambda: Client("admin"))
    demo: Client = field(default_factory=lambda: Client("demo"))
    told: Told = field(default_factory=Told)
    key: Path = Path()
    guests: dict[str, Guest] = field(default_factory=dict)
    callers: list[str] = field(default_factory=list)
    asked: float = 0.0
    created: float = 0.0
    entered: float = 0.0

    def guest(self, name: str) -> Guest:
        return self.guests[name]


async def play(image: Path) -> int:
    """Play every step; 0 when all showed what they should."""
    with tempfile.TemporaryDirectory(prefix="minicloud-demo-") as folder:
        scene = Scene(Path(folder), image)
        try:
            await prepare(scene)
            await launch(scene)
            await reach(scene)
            await keep_data(scene)
            await stay_out(scene)
            await look_back(scene)
            await crash(scene)
            await delete_all(scene)
        except MinicloudError as error:
            click.secho(f"\nThe demo stopped: {error.message}", fg="red", err=True)
            click.echo(await tail_of_log(), err=True)
            return 1
        scene.told.line(f"{scene.admin.calls + scene.demo.calls} calls of the stock openstack command")
    return 0


async def prepare(scene: Scene) -> None:
    """Login, image, flavor, key, networks, rules, a volume."""
    admin, demo, told = scene.admin, scene.demo, scene.told
    told.step("Login, catalogue, and what a machine needs")
    scene.key = scene.folder / "key"
    catalog, _, _, keypair = await asyncio.gather(
        admin("catalog", "list"),
        admin("image", "create", "tiny", "--file", str(scene.image), "--disk-format", "qcow2", "--public"),
        admin("flavor", "create", "m1.tiny", "--ram", "128", "--vcpus", "1", "--disk", "1"),
        demo("keypair", "create", "key", text=True),
    )
    scene.key.write_text(keypair)
    scene.key.chmod(0o600)
    told.line("services: " + ", ".join(sorted(one["Type"] for one in catalog)))
    await asyncio.gather(
        demo("network", "create", "net"), demo("router", "create", "router", "--external-gateway", "public")
    )
    await asyncio.gather(
        demo("subnet", "create", "subnet", "--network", "net", "--subnet-range", "10.10.0.0/24"),
        demo("security", "group", "create", "open"),
        demo("security", "group", "create", "closed"),
        demo("volume", "create", "data", "--size", "1"),
    )
    await asyncio.gather(
        demo("router", "add", "subnet", "router", "subnet"),
        demo("security", "group", "rule", "create", "open", "--protocol", "icmp"),
        demo("security", "group", "rule", "create", "open", "--protocol", "tcp", "--dst-port", "22"),
    )
    told.line("image, flavor, key pair, network, subnet, router with gateway, two security groups, a volume: there")


async def launch(scene: Scene) -> None:
    """Three servers; the first one's console proves DHCP, metadata, key and user data."""
    demo, told = scene.demo, scene.told
    told.step("Three machines")
    script = scene.folder / "user-data"
    script.write_text(USER_DATA)
    common = ("--image", "tiny", "--flavor", "m1.tiny", "--network", "net", "--key-name", "key", "--wait")
    scene.asked = time.monotonic()
    first = await demo("server", "create", "web1", *common, "--security-group", "open", "--user-data", str(script))
    scene.created = time.monotonic()
    told.line(f"web1 is {first['status']} at {first['addresses']}")
    others = asyncio.gather(
        demo("server", "create", "web2", *common, "--security-group", "open"),
        demo("server", "create", "shy", *common, "--security-group", "closed"),
    )

    async def ran() -> bool:
        return MARK in await demo("console", "log", "show", "web1", text=True)

    await until("user data's output on web1's console", ran, pause=1.0)
    log = await demo("console", "log", "show", "web1", text=True)
    for line in log.splitlines():
        if any(mark in line for mark in ("tiny: hostname", "tiny: ip eth0", "ssh public keys", "datasource", MARK)):
            told.line("console: " + line.strip())
    for one in await others:
        told.line(f"{one['name']} is {one['status']} at {one['addresses']}")


async def reach(scene: Scene) -> None:
    """Floating IPs: ping and ssh in, NAT out."""
    demo, told = scene.demo, scene.told
    told.step("Floating IPs: in by ping and ssh, out by NAT")
    made = await asyncio.gather(*(demo("floating", "ip", "create", "public") for _ in range(3)))
    for name, one in zip(("web1", "web2", "shy"), made, strict=True):
        scene.guests[name] = Guest(one["floating_ip_address"], scene.key)
    await asyncio.gather(
        *(demo("server", "add", "floating", "ip", name, one.address) for name, one in scene.guests.items())
    )
    web1, web2 = scene.guest("web1"), scene.guest("web2")
    await until("a ping of web1", web1.pings)
    took = await until("ssh to web1", web1.answers)
    scene.entered = time.monotonic()
    told.line(
        f"ping and ssh to web1 at {web1.address} work ({took:.0f} s waited); it calls itself {await web1.ssh('hostname')}"
    )
    await until("ssh to web2", web2.answers)
    server = await asyncio.start_server(lambda reader, writer: _note_caller(scene, writer), EXTERNAL_GATEWAY, PORT)
    async with server:
        await web1.ssh(f"echo x | nc -w 2 {EXTERNAL_GATEWAY} {PORT}", check=False)
    if scene.callers != [web1.address]:
        raise NotAsPromised(f"web1 went out as {scene.callers}, not as its floating IP {web1.address}.")
    told.line(f"web1 talks to the outside as {scene.callers[0]}")


async def _note_caller(scene: Scene, writer: asyncio.StreamWriter) -> None:
    scene.callers.append(writer.get_extra_info("peername")[0])
    writer.close()


async def keep_data(scene: Scene) -> None:
    """A volume carries data from one machine to another."""
    demo, told = scene.demo, scene.told
    web1, web2 = scene.guest("web1"), scene.guest("web2")
    told.step("A volume goes from one machine to another")
    disk = "/dev/vdb"
    await demo("server", "add", "volume", "web1", "data")
    await until("the volume in web1", lambda: _has(web1, disk))
    await web1.ssh(f"sudo mkfs -t ext4 -q {disk} && sudo mkdir -p /mnt/d && sudo mount {disk} /mnt/d")
    await web1.ssh("echo carried over | sudo tee /mnt/d/note && sync && sudo umount /mnt/d")
    told.line("formatted and written in web1")
    await demo("server", "remove", "volume", "web1", "data")

    async def free() -> bool:
        return bool((await demo("volume", "show", "data"))["status"] == "available")

    await until("the volume to be available again", free)
    await demo("server", "add", "volume", "web2", "data")
    await until("the volume in web2", lambda: _has(web2, disk))
    note = await web2.ssh(f"sudo mkdir -p /mnt/d && sudo mount {disk} /mnt/d && cat /mnt/d/note && sudo umount /mnt/d")
    if note != "carried over":
        raise NotAsPromised(f"web2 read {note!r} from the volume.")
    told.line(f"web2 reads: {note}")


async def _has(guest: Guest, disk: str) -> bool:
    return await guest.ssh(f"test -b {disk} && echo yes", check=False) == "yes"


async def stay_out(scene: Scene) -> None:
    """What may not pass does not pass."""
    told = scene.told
    web1, shy = scene.guest("web1"), scene.guest("shy")
    told.step("What may not pass does not pass")
    shy_inside = await _fixed_address(scene, "shy")
    web2_inside = await _fixed_address(scene, "web2")
    tries = (f"ping -c 1 -W 2 {shy_inside}", f"nc -w 2 {shy_inside} 22 </dev/null")
    if await shy.pings() or any(
        [(await web1.ssh(f"{one} && echo passed", check=False)).endswith("passed") for one in tries]
    ):
        raise NotAsPromised("shy was reached, though its security group allows nothing.")
    told.line("shy, whose security group allows nothing, can't be reached from outside or from its neighbour")
    told.line(
        f"web1 pings web2 with its own address: {await web1.ssh(f'ping -c 1 -W 2 {web2_inside} >/dev/null && echo yes')}"
    )
    spoof = f"sudo ip addr add 10.10.0.222/24 dev eth0; ping -c 1 -W 2 -I 10.10.0.222 {web2_inside} >/dev/null && echo passed; sudo ip addr del 10.10.0.222/24 dev eth0"
    if "passed" in await web1.ssh(spoof, check=False):
        raise NotAsPromised("A packet with a spoofed source address got through.")
    told.line("web1 with the spoofed source 10.10.0.222: nothing gets out")


async def _fixed_address(scene: Scene, name: str) -> str:
    addresses = (await scene.demo("server", "show", name))["addresses"]
    return str(next(one for one in addresses["net"] if one.startswith("10.10.")))


async def look_back(scene: Scene) -> None:
    """The launch as it really happened."""
    scene.told.step("The request flow of web1's launch, as it happened (minicloud trace)")
    server = (await scene.demo("server", "show", "web1"))["id"]
    config = os.environ["MINICLOUD_CONFIG"]
    shown = await run(
        [sys.executable, "-m", "minicloud", "trace", "--config", config, server], env=_python(), check=True
    )
    click.echo(
        f"   client: openstack server create --wait took {scene.created - scene.asked:.1f} s, its own start included"
    )
    click.echo("\n".join(f"   {line}" for line in shown.text.splitlines()))
    click.echo(f"   guest: first login by ssh {scene.entered - scene.asked:.1f} s after the command began")


async def crash(scene: Scene) -> None:
    """kill -9 of the daemon; guests don't notice, and the next daemon knows them."""
    demo, told = scene.demo, scene.told
    told.step("kill -9 of the daemon")
    web1 = scene.guest("web1")
    uptime = float((await web1.ssh("cat /proc/uptime")).split()[0])
    lock = Path(os.environ["MINICLOUD_STATE"], "lock")
    pid = int(lock.read_text())
    os.kill(pid, signal.SIGKILL)
    alive = await web1.ssh("echo here")
    told.line(f"daemon {pid} is dead; web1 answers: {alive}")
    took = await until("the restarted daemon", _serving, pause=0.05)
    servers = await demo("server", "list")
    told.line(
        f"a new daemon serves again after {took:.1f} s; it lists "
        + ", ".join(f"{one['Name']} {one['Status']}" for one in servers)
    )
    if {one["Status"] for one in servers} != {"ACTIVE"} or len(servers) != 3:
        raise NotAsPromised(f"After the restart the servers are {json.dumps(servers)}.")
    if float((await web1.ssh("cat /proc/uptime")).split()[0]) < uptime:
        raise NotAsPromised("web1 was rebooted.")
    told.line("ssh to web1 still works, and it never rebooted")


async def _serving() -> bool:
    def ask() -> bool:
        try:
            with urllib.request.urlopen(os.environ["MINICLOUD_URL"] + "/healthz", timeout=2) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except OSError:
            return False

    return await asyncio.to_thread(ask)


async def delete_all(scene: Scene) -> None:
    """Everything is deleted, in the order that a person would take."""
    admin, demo, told = scene.admin, scene.demo, scene.told
    told.step("Everything is deleted")
    await demo("server", "remove", "volume", "web2", "data")
    addresses = [one.address for one in scene.guests.values()]
    await asyncio.gather(
        demo("server", "delete", "--wait", "web1", "web2", "shy"), demo("floating", "ip", "delete", *addresses)
    )
    await asyncio.gather(
        demo("router", "remove", "subnet", "router", "subnet"),
        demo("volume", "delete", "data"),
        demo("keypair", "delete", "key"),
    )
    await asyncio.gather(demo("router", "delete", "router"), demo("network", "delete", "net"))
    await asyncio.gather(
        demo("security", "group", "delete", "open", "closed"),
        admin("image", "delete", "tiny"),
        admin("flavor", "delete", "m1.tiny"),
    )
    left: dict[str, Any] = {}
    for noun in ("server", "volume", "floating ip", "router"):
        if found := await demo(*noun.split(), "list"):
            left[noun] = found
    if left:
        raise NotAsPromised(f"Still there: {json.dumps(left)}.")
    told.line("no server, volume, floating IP or router is left")


def _python() -> dict[str, str]:
    return {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}


async def tail_of_log() -> str:
    """The end of the daemon's log, for a demo that failed."""
    log = Path(os.environ.get("MINICLOUD_SANDBOX_FOLDER", "/nonexistent"), "daemon.log")
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-30:])
    except FileNotFoundError:
        return ""
