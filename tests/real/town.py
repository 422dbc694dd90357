"""A cloud on the real host with what every suite here wants: an image that boots, a key, a network behind a router.

`Town` speaks the public API as one ordinary member; `traces` looks at the machine itself, past all drivers, with the
tools that a person would use. Used by the suites of this folder and by the crash suite of the real host.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from minicloud.config import Config, Paths
from minicloud.demo.client import Guest, until
from minicloud.guest import tiny
from minicloud.host.run import run
from tests.conftest import PASSWORD, Client, plain_config, running_cloud

CACHE = Path(Config().paths.cache)
GATEWAY = Config().network.external_gateway
"""The host's own address on the external network: what guests reach when they go out."""

COMPUTE, NETWORK, IMAGE = "/compute/v2.1", "/network/v2.0", "/image/v2"
NEW = {"OpenStack-API-Version": "compute 2.79"}
FINAL = ("ACTIVE", "ERROR", "SHUTOFF")


@contextlib.contextmanager
def short_folder() -> Iterator[Path]:
    """A folder with a short name (socket paths end at 107 bytes), through which the hypervisor's user may pass."""
    with tempfile.TemporaryDirectory(prefix="mc-", ignore_cleanup_errors=True) as name:
        os.chmod(name, 0o711)
        yield Path(name)


def real_config(folder: Path) -> Config:
    """The defaults on the real host, everything below one folder but what is worth keeping from run to run."""
    paths = Paths(state=str(folder / "s"), cache=str(CACHE), run=str(folder / "r"))
    return replace(plain_config(folder), paths=paths, fake=False)


@dataclass
class Town:
    """One member's view of a cloud. `admin` may be anybody for suites that need no more than a member."""

    client: Client
    admin: Client
    folder: Path
    image_id: str = ""
    network_id: str = ""
    router_id: str = ""
    open_id: str = ""
    key: Path = Path()
    names: dict[str, str] = field(default_factory=dict)

    @property
    def volumes(self) -> str:
        """The root of the volume API, which names the project."""
        return f"/volume/v3/{self.client.project_id}"

    # --- what must be there first --------------------------------------------------------------------------------

    async def settle(self, *, cidr: str = "10.10.0.0/24") -> None:
        """A key, a network with a router to the outside, and a security group that lets ping and ssh in."""
        made = (await self.client.post(f"{COMPUTE}/os-keypairs", {"keypair": {"name": "key"}}, expect=200))["keypair"]
        self.key = self.folder / f"key-{self.client.project_id[:8]}"
        self.key.write_text(made["private_key"])
        self.key.chmod(0o600)
        self.network_id, subnet = await self.network(cidr)
        outside = (await self.client.get(f"{NETWORK}/networks?router:external=true"))["networks"][0]["id"]
        body = {"router": {"name": "router", "external_gateway_info": {"network_id": outside}}}
        self.router_id = (await self.client.post(f"{NETWORK}/routers", body, expect=201))["router"]["id"]
        await self.client.put(
            f"{NETWORK}/routers/{self.router_id}/add_router_interface", {"subnet_id": subnet}, expect=200
        )
        body = {"security_group": {"name": "open"}}
        self.open_id = (await self.client.post(f"{NETWORK}/security-groups", body, expect=201))["security_group"]["id"]
        await self.rule("icmp")
        await self.rule("tcp", port=22)

    async def image(self) -> None:
        """The tiny image, public, and a flavor for it; by the administrator."""
        path = await tiny(CACHE, progress=print)
        body = {"name": "tiny", "disk_format": "qcow2", "container_format": "bare", "visibility": "public"}
        self.image_id = (await self.admin.post(f"{IMAGE}/images", body, expect=201))["id"]
        headers = {"Content-Type": "application/octet-stream"}
        data = await asyncio.to_thread(path.read_bytes)
        await self.admin.put(f"{IMAGE}/images/{self.image_id}/file", data=data, headers=headers, expect=204)
        flavor = {"flavor": {"name": "tiny", "id": "1", "ram": 128, "vcpus": 1, "disk": 1}}
        await self.admin.post(f"{COMPUTE}/flavors", flavor, expect=200)

    async def network(self, cidr: str, **subnet: Any) -> tuple[str, str]:
        """A network with one subnet; both ids."""
        network = (await self.client.post(f"{NETWORK}/networks", {"network": {"name": cidr}}, expect=201))["network"]
        body = {"network_id": network["id"], "ip_version": 6 if ":" in cidr else 4, "cidr": cidr, **subnet}
        made = await self.client.post(f"{NETWORK}/subnets", {"subnet": body}, expect=201)
        return network["id"], made["subnet"]["id"]

    async def rule(self, protocol: str, *, port: int | None = None, group_id: str = "", version: int = 4) -> str:
        """Let something in from everywhere; the rule's id."""
        body = {
            "security_group_id": group_id or self.open_id, "direction": "ingress", "protocol": protocol,
            "ethertype": f"IPv{version}", "port_range_min": port, "port_range_max": port,
        }  # fmt: skip
        made = await self.client.post(f"{NETWORK}/security-group-rules", {"security_group_rule": body}, expect=201)
        return str(made["security_group_rule"]["id"])

    # --- servers -------------------------------------------------------------------------------------------------

    async def request(self, name: str, **more: Any) -> str:
        """Ask for a server; its id. `more` goes into the body."""
        body = {
            "name": name, "imageRef": self.image_id, "flavorRef": "1", "key_name": "key",
            "networks": [{"uuid": self.network_id}], "security_groups": [{"name": "open"}], **more,
        }  # fmt: skip
        body = {key: value for key, value in body.items() if value is not None}
        answer = await self.client.post(f"{COMPUTE}/servers", {"server": body}, headers=NEW, expect=202)
        self.names[name] = str(answer["server"]["id"])
        return self.names[name]

    async def server(self, name: str, **more: Any) -> str:
        """A server that is ACTIVE (its guest may still be booting); its id."""
        server_id = await self.request(name, **more)
        shown = await self.settled(server_id)
        assert shown["status"] == "ACTIVE", shown
        return server_id

    async def show(self, server_id: str) -> dict[str, Any]:
        """The server as the API shows it."""
        return dict((await self.client.get(f"{COMPUTE}/servers/{server_id}", headers=NEW))["server"])

    async def settled(self, server_id: str, *finals: str) -> dict[str, Any]:
        """The server once it is in one of the final states and nothing is being done to it."""
        shown: dict[str, Any] = {}

        async def holds() -> bool:
            nonlocal shown
            shown = await self.show(server_id)
            return shown["status"] in (finals or FINAL) and shown["OS-EXT-STS:task_state"] is None

        await until(f"{server_id} to settle as {finals or FINAL}, last {shown}", holds, pause=0.1)
        return shown

    async def act(self, server_id: str, **action: Any) -> Any:
        """An action on a server."""
        answer = await self.client.post(f"{COMPUTE}/servers/{server_id}/action", action)
        assert answer.status in (200, 202), answer
        return answer.body

    async def console(self, server_id: str, **options: Any) -> str:
        """What the guest wrote on its serial line."""
        return str((await self.act(server_id, **{"os-getConsoleOutput": options}))["output"])

    async def said(self, server_id: str, words: str, *, times: int = 1) -> str:
        """The console log once `words` are in it."""

        async def holds() -> bool:
            return (await self.console(server_id)).count(words) >= times

        await until(f"{words!r} on the console of {server_id}", holds, pause=0.5)
        return await self.console(server_id)

    async def booted(self, server_id: str) -> str:
        """The console log once the guest has booted."""
        return await self.said(server_id, "tiny: boot done")

    async def delete(self, *server_ids: str) -> None:
        """Delete servers and wait until they are gone."""
        for server_id in server_ids:
            await self.client.delete(f"{COMPUTE}/servers/{server_id}", expect=204)
        for server_id in server_ids:
            await self.gone(f"{COMPUTE}/servers/{server_id}")

    async def gone(self, path: str) -> None:
        """Wait until something is not found any more."""

        async def holds() -> bool:
            return (await self.client.get(path, expect=None)).status == 404

        await until(f"{path} to be gone", holds, pause=0.1)

    async def port_of(self, server_id: str) -> dict[str, Any]:
        """The first port of a server, as Neutron shows it."""
        return dict((await self.client.get(f"{NETWORK}/ports?device_id={server_id}"))["ports"][0])

    async def address_of(self, server_id: str) -> str:
        """Its fixed address."""
        return str((await self.port_of(server_id))["fixed_ips"][0]["ip_address"])

    async def floating(self, server_id: str) -> Guest:
        """Give it a floating IP: a guest that one can log in to, once it has booted."""
        outside = (await self.client.get(f"{NETWORK}/networks?router:external=true"))["networks"][0]["id"]
        port_id = (await self.port_of(server_id))["id"]
        body = {"floatingip": {"floating_network_id": outside, "port_id": port_id}}
        made = (await self.client.post(f"{NETWORK}/floatingips", body, expect=201))["floatingip"]
        return Guest(made["floating_ip_address"], self.key)

    async def reachable(self, server_id: str) -> Guest:
        """Like `floating`, and ssh answers."""
        guest = await self.floating(server_id)
        await until(f"ssh to {guest.address}", guest.answers)
        return guest

    # --- volumes -------------------------------------------------------------------------------------------------

    async def volume(self, *, size: int = 1, **more: Any) -> str:
        """A volume that is available; its id."""
        answer = await self.client.post(f"{self.volumes}/volumes", {"volume": {"size": size, **more}}, expect=202)
        volume_id = str(answer["volume"]["id"])
        await self.volume_is(volume_id, "available")
        return volume_id

    async def volume_is(self, volume_id: str, status: str) -> None:
        """Wait until the volume has a status."""
        told = ""

        async def holds() -> bool:
            nonlocal told
            told = (await self.client.get(f"{self.volumes}/volumes/{volume_id}"))["volume"]["status"]
            assert told == status or not told.startswith("error"), told
            return told == status

        await until(f"the volume {volume_id} to be {status}", holds, pause=0.1)

    async def attach(self, server_id: str, volume_id: str) -> None:
        """Attach a volume."""
        body = {"volumeAttachment": {"volumeId": volume_id}}
        await self.client.post(f"{COMPUTE}/servers/{server_id}/os-volume_attachments", body, expect=200)
        await self.volume_is(volume_id, "in-use")

    async def detach(self, server_id: str, volume_id: str) -> None:
        """Take it away again."""
        path = f"{COMPUTE}/servers/{server_id}/os-volume_attachments/{volume_id}"
        await self.client.delete(path, expect=202)
        await self.volume_is(volume_id, "available")


@contextlib.asynccontextmanager
async def running_town(**network: Any) -> AsyncIterator[tuple[Any, Town]]:
    """A cloud on the real host, in this process, and its town, for the length of a block."""
    with short_folder() as folder:
        config = real_config(folder)
        async with running_cloud(folder, config) as cloud:
            for one in cloud.daemon.reconcilers:  # what an earlier cloud of this sandbox left goes
                await one.once()
            town = Town(cloud.demo, cloud.admin, folder)
            await town.image()
            await town.settle(**network)
            try:
                yield cloud, town
            finally:
                await empty(cloud.admin)
                await cloud.daemon.operations.all_settled()
        await sweep(folder)


async def second_town(cloud: Any, town: Town, *, cidr: str) -> Town:
    """Another project's member, with the same image."""
    person = await cloud.person("other", project="other")
    other = Town(person, town.admin, town.folder, image_id=town.image_id)
    await other.settle(cidr=cidr)
    return other


async def empty(admin: Client) -> None:
    """Delete all servers, so that nothing of them is left running when the daemon stops."""
    for server in (await admin.get(f"{COMPUTE}/servers?all_tenants=1"))["servers"]:
        await admin.delete(f"{COMPUTE}/servers/{server['id']}")


async def sweep(folder: Path) -> None:
    """Take away what outlives a stopped daemon by design, so that the sandbox's next suite finds it bare."""
    for number in processes("dnsmasq", str(folder)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGTERM)
    left = await traces(folder)
    await run(["nft", "flush", "ruleset"])
    for name in left["namespaces"]:
        await run(["ip", "netns", "del", name])
    links = (await run(["ip", "-o", "link"])).text
    for name in re.findall(r"^\d+: (mcb[^:@]*)", links, re.MULTILINE):
        await run(["ip", "link", "del", name])


# --- the machine itself ----------------------------------------------------------------------------------------------


async def traces(folder: Path) -> dict[str, set[str]]:
    """What there is on this machine (the sandbox) that a cloud could leave behind, by kind."""
    links = (await run(["ip", "-o", "link"])).text
    spaces = set((await run(["ip", "netns", "list"])).text.split("\n"))
    rules = (await run(["nft", "list", "ruleset"])).text
    domains = (await run(["virsh", "-c", "qemu:///system", "list", "--all", "--name"])).text
    rooms = ("servers", "volumes", "snapshots", "dhcp", "staging", "images")
    return {
        "links": set(re.findall(r"^\d+: ([^:@]+)", links, re.MULTILINE)),
        "namespaces": {line.split(" ")[0] for line in spaces if line},
        "rules": set(statements(rules)),
        "domains": set(domains.split()),
        "processes": {told for told in processes("qemu-system", str(folder)).values()}
        | {told for told in processes("dnsmasq", str(folder)).values()},
        "files": {
            str(path.relative_to(folder))
            for room in rooms
            for path in (folder / "s" / room).rglob("*")
            if path.name not in ("leases", "pid")
        }
        | {str(path.relative_to(folder)) for path in (folder / "r").rglob("*")},
    }


def difference(before: dict[str, set[str]], after: dict[str, set[str]]) -> dict[str, tuple[list[str], list[str]]]:
    """What is gone and what is new between two `traces`, by kind; kinds without a difference are left out."""
    gone = {kind: (sorted(before[kind] - after[kind]), sorted(after[kind] - before[kind])) for kind in before}
    return {kind: pair for kind, pair in gone.items() if pair != ([], [])}


def statements(ruleset: str) -> Iterator[str]:
    """The rules and set elements of `nft list ruleset`, each with what it is in; order, line breaks and counts aside."""
    where: list[str] = []
    for line in re.sub(r"counter packets \d+ bytes \d+", "counter", ruleset).splitlines():
        text = line.strip()
        if re.match(r"(table|chain|set|map) ", text):
            where = [text] if text.startswith("table ") else [*where[:1], text]
        for word in text.removeprefix("elements = {").removesuffix("}").split(", "):
            if word := word.strip(" ,"):
                yield " ".join([*where, word])


def processes(program: str, word: str) -> dict[int, str]:
    """Processes of a program whose command line has `word` in it: process id -> command line."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            told = Path("/proc", name, "cmdline").read_bytes().decode("utf-8", "replace").replace("\0", " ")
        except OSError:
            continue
        if program in told.split(" ")[0] and word in told:
            found[int(name)] = told
    return found


class Pings:
    """A ping five times a second, from start to end, counted."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._process: asyncio.subprocess.Process

    async def __aenter__(self) -> Pings:
        self._process = await asyncio.create_subprocess_exec(
            "ping", "-i", "0.2", "-W", "5", self._address, stdout=asyncio.subprocess.PIPE
        )
        return self

    async def __aexit__(self, *_: Any) -> None:
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def lost(self) -> tuple[int, int]:
        """End it: how many were sent, and how many of them were not answered. One that is on its way counts as
        answered."""
        self._process.send_signal(2)
        out, _ = await self._process.communicate()
        found = re.search(r"(\d+) packets transmitted, (\d+) received", out.decode())
        assert found, out
        sent, received = int(found[1]), int(found[2])
        return sent, max(0, sent - received - 1)


__all__ = [
    "CACHE", "COMPUTE", "GATEWAY", "IMAGE", "NETWORK", "NEW", "PASSWORD", "Guest", "Pings", "Town", "difference", "empty",
    "processes", "real_config", "running_town", "second_town", "short_folder", "sweep", "traces", "until",
]  # fmt: skip
