"""One run of the daemon that is made to fail or die at a point, and the truth check after it. Runs in child processes.

A point is one call of an observer: before and after every effect on the (fake) host and every journal write. A run arms
the observer, carries out one scenario, and either counts the points, raises `HostFailure` at the n-th host effect, or ends the
process with SIGKILL at the n-th point of any kind.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import sqlite3
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from minicloud.core.errors import HostFailure
from minicloud.host import filesystem
from tests.conftest import Cloud, running_cloud
from tests.crash.scenarios import SCENARIOS, prepare

DONE, BROKEN = 0, 3
"""Exit codes of a child: the truth holds (or the scenario ended); it does not (see `report`)."""


class Observer:
    """Counts points once armed, and strikes at one of them."""

    def __init__(self, at: int | None, mode: str) -> None:
        self.at, self.mode = at, mode
        self.armed = False
        self.points: list[str] = []

    def __call__(self, point: str) -> None:
        if not self.armed:
            return
        self.points.append(point)
        if self.at is None or len(self.points) != self.at:
            return
        if self.mode == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise HostFailure("Cannot go on: the crash harness says so.")

    def of_host(self, point: str) -> None:
        """The host's points; journal points are left out where errors are raised (a journal that can't be written is another matter)."""
        self(point)

    def of_journal(self, point: str) -> None:
        if self.mode != "raise":
            self(point)


def make_template(folder: Path) -> None:
    """A stopped cloud that has what the scenarios need."""

    async def run() -> None:
        async with running_cloud(folder) as cloud:
            await prepare(cloud)

    asyncio.run(run())


def child(folder: Path, scenario: str, at: int | None, mode: str) -> None:
    """The child that runs a scenario: writes the points it saw to `points.json`, ends with `DONE` (or is killed)."""

    async def run() -> None:
        observer = Observer(at, mode)
        cloud = Cloud(folder)
        await cloud.start()
        await cloud.as_demo()
        before, act = SCENARIOS[scenario]
        subject = await before(cloud)
        cloud.world.observer = observer.of_host
        cloud.daemon.operations.observer = observer.of_journal
        if scenario.startswith("image "):
            watch_files(observer)
        observer.armed = True
        await act(cloud, subject)
        await cloud.daemon.operations.all_settled()
        observer.armed = False
        (folder / "points.json").write_text(json.dumps(observer.points))
        if mode == "raise":
            await check_truth(cloud)
        await cloud.stop()
        await cloud.session.close()

    _guarded(folder, run)


def watch_files(observer: Observer) -> None:
    """Make a point before and after each piece of file work: the bytes of images come in by many of those."""
    plain = filesystem.in_thread

    async def watched(what: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        observer.of_journal(f"before {what.__qualname__}")
        try:
            return await plain(what, *args, **kwargs)
        finally:
            observer.of_journal(f"after {what.__qualname__}")

    filesystem.in_thread = watched  # this process ends with the run


def recovering_child(folder: Path, at: int | None) -> None:
    """The child that starts after a kill; killed again at its own point `at` of recovery if that is given."""

    async def run() -> None:
        observer = Observer(at, "kill")
        cloud = Cloud(folder)
        cloud.observer = observer
        observer.armed = True
        await cloud.start()
        await cloud.daemon.operations.all_settled()
        observer.armed = False
        await cloud.as_demo()
        await check_images(cloud)
        await check_truth(cloud)
        await cloud.stop()
        await cloud.session.close()

    _guarded(folder, run)


def _guarded(folder: Path, run: Callable[[], Awaitable[None]]) -> None:
    try:
        asyncio.run(asyncio.wait_for(run(), 60))  # type: ignore[arg-type]
    except BaseException:
        (folder / "report").write_text(traceback.format_exc())
        os._exit(BROKEN)
    os._exit(DONE)


# --- the truth check -------------------------------------------------------------------------------------------------

FINAL_SERVER = {"ACTIVE", "SHUTOFF", "ERROR"}
FINAL_VOLUME = {"available", "in-use", "error", "error_deleting"}
FINAL_SNAPSHOT = {"available", "error", "error_deleting"}


async def check_truth(cloud: Cloud) -> None:
    """What must hold after any end: rows in final states that agree with each other and with the host, nothing left when
    everything is deleted, and a second start that changes nothing."""
    assert cloud.daemon.operations.listed() == [], cloud.daemon.operations.listed()
    servers = (await cloud.demo.get("/compute/v2.1/servers/detail"))["servers"]
    volumes = (await cloud.demo.get(f"/volume/v3/{cloud.demo.project_id}/volumes/detail"))["volumes"]
    assert {one["status"] for one in servers} <= FINAL_SERVER, servers
    assert {one["status"] for one in volumes} <= FINAL_VOLUME, volumes
    snapshots = (await cloud.demo.get(f"/volume/v3/{cloud.demo.project_id}/snapshots/detail"))["snapshots"]
    assert {one["status"] for one in snapshots} <= FINAL_SNAPSHOT, snapshots
    made = {f"{one['id']}.qcow2" for one in volumes if one["status"] in ("available", "in-use")}
    assert made <= {path.name for path in (cloud.config.state / "volumes").glob("*")}, volumes
    for server in servers:
        if server["status"] == "ERROR":
            assert server["fault"]["message"], server
        attached = {one["id"] for one in server["os-extended-volumes:volumes_attached"]}
        told = {one["id"] for one in volumes for to in one["attachments"] if to["server_id"] == server["id"]}
        domain = (await cloud.daemon.host.hypervisor.actual()).get(server["id"])
        held = {disk for disk in domain.disks if not disk.startswith(server["id"])} if domain else set()
        assert attached == told, (attached, told)
        assert domain is None or held == attached, (held, attached)
        interfaces = (await cloud.demo.get(f"/compute/v2.1/servers/{server['id']}/os-interface"))[
            "interfaceAttachments"
        ]
        ports = {one["port_id"] for one in interfaces}
        assert domain is None or set(domain.ports) == ports, (domain, ports)
    await check_stored(cloud)
    first = await snapshot(cloud)
    await cloud.restart()
    await cloud.daemon.operations.all_settled()
    assert await snapshot(cloud) == first, "a second start changed something"
    await cloud.as_demo()
    await check_images(cloud)
    await check_emptied(cloud)


async def check_images(cloud: Cloud) -> None:
    """Records in final states, files that are theirs and nothing else, imports that tell what became of them."""
    images = (await cloud.admin.get("/image/v2/images?limit=1000"))["images"]
    assert {one["status"] for one in images} <= {"queued", "uploading", "active"}, images
    for room, status in (("images", "active"), ("staging", "uploading")):
        found = {path.name for path in files_of(cloud, room)}
        assert found == {one["id"] for one in images if one["status"] == status}, (room, found, images)
    for one in images:
        if one["status"] == "active":
            data = (cloud.config.state / "images" / one["id"]).read_bytes()
            assert (one["size"], one["checksum"]) == (len(data), hashlib.md5(data).hexdigest()), one
        for task in (await cloud.admin.get(f"/image/v2/images/{one['id']}/tasks"))["tasks"]:
            assert task["status"] == ("success" if one["status"] == "active" else "failure"), (one, task)
        assert one.get("os_glance_importing_to_stores", "") == "", one


def files_of(cloud: Cloud, room: str) -> list[Path]:
    """What lies in a folder, but for drafts: those of a killed daemon go by themselves, an hour later."""
    found = (cloud.config.state / room).rglob("*")
    return [path for path in found if not (path.name.startswith(".") and path.name.endswith(".new"))]


async def check_stored(cloud: Cloud) -> None:
    """The file is whole, and claims are those of the servers that have one."""
    with sqlite3.connect(f"file:{cloud.daemon.store.path}?mode=ro", uri=True) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("PRAGMA foreign_key_check").fetchall() == []
        assert db.execute("SELECT count(*) FROM undo_records").fetchone() == (0,)


async def snapshot(cloud: Cloud) -> dict[str, Any]:
    """What the cloud and the host say, for comparing before and after a restart."""
    admin = cloud.admin
    return {
        "servers": [
            {key: one[key] for key in ("id", "status", "name", "OS-EXT-STS:task_state")}
            for one in (await admin.get("/compute/v2.1/servers/detail?all_tenants=1"))["servers"]
        ],
        "volumes": [
            {key: one[key] for key in ("id", "status", "size")}
            for one in (await admin.get(f"/volume/v3/{admin.project_id}/volumes/detail?all_tenants=1"))["volumes"]
        ],
        "ports": [
            {key: one[key] for key in ("id", "status", "device_id", "fixed_ips")}
            for one in (await admin.get("/network/v2.0/ports"))["ports"]
        ],
        "world": cloud.world.contents(),
    }


async def check_emptied(cloud: Cloud) -> None:
    """When everything that the scenario made is deleted, host and tables are as the template was."""
    for server in (await cloud.demo.get("/compute/v2.1/servers"))["servers"]:
        await cloud.demo.delete(f"/compute/v2.1/servers/{server['id']}", expect=204)
    await cloud.daemon.operations.all_settled()
    root = f"/volume/v3/{cloud.demo.project_id}/volumes"
    for volume in (await cloud.demo.get(root))["volumes"]:
        await cloud.demo.delete(f"{root}/{volume['id']}?cascade=true", expect=202)
    await cloud.daemon.operations.all_settled()
    for image in (await cloud.demo.get("/image/v2/images?name=crash"))["images"]:
        await cloud.demo.delete(f"/image/v2/images/{image['id']}", expect=204)
    wanted = json.loads((cloud.folder / "template.json").read_text())
    left = await remains(cloud)
    assert left == wanted, {key: (left[key], wanted[key]) for key in wanted if left[key] != wanted[key]}


async def remains(cloud: Cloud) -> dict[str, Any]:
    """What is left: things on the host, rows of what servers hold, files."""
    admin = cloud.admin
    limits = (await cloud.demo.get("/compute/v2.1/limits"))["limits"]["absolute"]
    provider = (await admin.get("/placement/resource_providers"))["resource_providers"][0]["uuid"]
    usages = (await admin.get(f"/placement/resource_providers/{provider}/usages"))["usages"]
    ports = (await admin.get("/network/v2.0/ports"))["ports"]
    return {
        "world": cloud.world.contents(),
        "quota": {key: value for key, value in limits.items() if key.startswith("total")},
        "usages": usages,
        "ports": sorted(one["device_owner"] for one in ports),
        "files": sorted(
            str(path.relative_to(cloud.config.state))
            for room in ("servers", "volumes", "snapshots", "images", "staging")
            for path in files_of(cloud, room)
        ),
    }
