"""When the machine below or the other end lets us down: one sentence in the service's own shape, and nothing left behind."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from minicloud import daemon as module
from minicloud.cli import root
from minicloud.core.errors import Conflict, Failure, HostFailure, Unavailable
from minicloud.core.store import Db
from minicloud.daemon import Daemon
from minicloud.host.fake import fake_host
from tests.conftest import PASSWORD, Cloud, plain_config, running_cloud
from tests.house.faults import message_of, misshapen, unreadable

OCTETS = {"Content-Type": "application/octet-stream"}


async def make_image(cloud: Cloud) -> str:
    body = {"disk_format": "raw", "container_format": "bare"}
    return str((await cloud.demo.post("/image/v2/images", body, expect=201))["id"])


def blobs(cloud: Cloud) -> list[str]:
    folder = cloud.config.state / "images"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


async def status_of(cloud: Cloud, image_id: str) -> str:
    return str((await cloud.demo.get(f"/image/v2/images/{image_id}"))["status"])


# --- uploads ---------------------------------------------------------------------------------------------------------


async def test_an_upload_that_breaks_off_leaves_nothing(cloud: Cloud) -> None:
    image = await make_image(cloud)
    place = urlsplit(cloud.daemon.url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    head = f"PUT /image/v2/images/{image}/file HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {cloud.demo.token}\r\n"
    writer.write(
        f"{head}Content-Type: application/octet-stream\r\nContent-Length: 9000000\r\n\r\n".encode() + bytes(300_000)
    )
    await writer.drain()
    while await status_of(cloud, image) != "saving":
        await asyncio.sleep(0.01)
    writer.close()
    while await status_of(cloud, image) != "queued":
        await asyncio.sleep(0.01)
    assert blobs(cloud) == []
    assert await reader.read() == b""
    await cloud.demo.put(f"/image/v2/images/{image}/file", data=bytes(512), headers=OCTETS, expect=204)


async def test_an_upload_to_a_full_disk_is_told_so_and_can_be_tried_again(cloud: Cloud) -> None:
    image = await make_image(cloud)
    folder = cloud.config.state / "images"
    folder.mkdir(exist_ok=True)
    (folder / f"{image}.new").symlink_to("/dev/full")  # where the bytes go first; writing there is ENOSPC
    answer = await cloud.demo.put(f"/image/v2/images/{image}/file", data=b"x" * 70_000, headers=OCTETS)
    assert answer.status in (503, 413), answer.body
    assert "disk is full" in message_of(answer) and not misshapen("image", answer) and not unreadable(answer)
    assert (await status_of(cloud, image), blobs(cloud)) == ("queued", [])
    await cloud.demo.put(f"/image/v2/images/{image}/file", data=bytes(512), headers=OCTETS, expect=204)


async def test_a_corrupt_image_is_refused_before_anything_boots_from_it(cloud: Cloud) -> None:
    body = {"disk_format": "qcow2", "container_format": "bare"}
    image = (await cloud.demo.post("/image/v2/images", body, expect=201))["id"]
    answer = await cloud.demo.put(
        f"/image/v2/images/{image}/file", data=b"QFI\xfb" + b"\xff" * 2000, headers=OCTETS, expect=400
    )
    assert not unreadable(answer)
    assert (await status_of(cloud, image), blobs(cloud)) == ("queued", [])


# --- the machine below -----------------------------------------------------------------------------------------------


@pytest.fixture
async def ready(cloud: Cloud) -> AsyncIterator[dict[str, Any]]:
    """The body of a request for a server."""
    image = await make_image(cloud)
    await cloud.demo.put(f"/image/v2/images/{image}/file", data=bytes(512), headers=OCTETS, expect=204)
    flavor = {"flavor": {"name": "f", "ram": 64, "vcpus": 1, "disk": 1, "id": "f"}}
    await cloud.admin.post("/compute/v2.1/flavors", flavor, expect=200)
    network = (await cloud.demo.post("/network/v2.0/networks", {"network": {}}, expect=201))["network"]["id"]
    subnet = {"subnet": {"network_id": network, "ip_version": 4, "cidr": "10.3.0.0/24"}}
    await cloud.demo.post("/network/v2.0/subnets", subnet, expect=201)
    yield {"server": {"name": "s", "imageRef": image, "flavorRef": "f", "networks": [{"uuid": network}]}}


LIBVIRT_GONE = Unavailable("Cannot start the machine: the hypervisor can't be reached at the moment.", retry_after=5)
NO_DNSMASQ = HostFailure("Cannot start the DHCP server: dnsmasq is not installed.", detail="exec dnsmasq: no such file")
DISK_FULL = Unavailable("Cannot make the disk: the host's disk is full.", retry_after=60)


@pytest.mark.parametrize(
    ("verb", "kind"),
    [
        ("hypervisor.start", LIBVIRT_GONE),
        ("dhcp.converge", NO_DNSMASQ),
        ("disks.overlay", DISK_FULL),
        ("links.converge_tap", None),
    ],
    ids=["no libvirt", "no dnsmasq", "full disk", "no tap"],
)
async def test_a_launch_that_the_machine_refuses_says_why_and_holds_nothing(
    cloud: Cloud, ready: dict[str, Any], verb: str, kind: Failure | None
) -> None:
    cloud.world.fail(verb, times=50, kind=kind)
    server = (await cloud.demo.post("/compute/v2.1/servers", ready, expect=202))["server"]["id"]
    await cloud.daemon.operations.all_settled()
    shown = (await cloud.demo.get(f"/compute/v2.1/servers/{server}"))["server"]
    assert shown["status"] == "ERROR", shown
    told = shown["fault"]["message"]
    assert told.endswith(".") and "Traceback" not in told and str(cloud.folder) not in told, told
    assert kind is None or kind.message in told
    cloud.world.fail(verb, times=0)
    assert (await cloud.admin.get(f"/placement/allocations/{server}"))["allocations"] == {}
    assert (await cloud.demo.get(f"/network/v2.0/ports?device_id={server}"))["ports"] == []
    await cloud.demo.delete(f"/compute/v2.1/servers/{server}", expect=204)
    await cloud.daemon.operations.all_settled()
    await cloud.demo.get(f"/compute/v2.1/servers/{server}", expect=404)
    assert "domains" not in cloud.world.contents()


async def test_a_volume_on_a_full_disk_is_in_error_and_has_a_message(cloud: Cloud) -> None:
    cloud.world.fail("disks.create", kind=DISK_FULL)
    volume = (await cloud.demo.post("/volume/v3/volumes", {"volume": {"size": 1}}, expect=202))["volume"]["id"]
    await cloud.daemon.operations.all_settled()
    assert (await cloud.demo.get(f"/volume/v3/volumes/{volume}"))["volume"]["status"] == "error"
    await cloud.demo.delete(f"/volume/v3/volumes/{volume}", expect=202)
    await cloud.daemon.operations.all_settled()
    await cloud.demo.get(f"/volume/v3/volumes/{volume}", expect=404)


async def test_a_database_that_cannot_grow_refuses_writes_and_goes_on_reading(cloud: Cloud) -> None:
    def limit(db: Db, pages: int) -> int:
        return int(db.execute(f"PRAGMA max_page_count = {pages}").fetchone()[0])

    await cloud.daemon.store.write(limit, 1)  # SQLite takes the present size, then: no page more
    long = "x" * 200
    refused = None
    for number in range(400):
        body = {"network": {"name": f"{number}", "description": long}}
        answer = await cloud.demo.post("/network/v2.0/networks", body)
        if answer.status >= 400:
            refused = answer
            break
    assert refused is not None and refused.status in (503, 409), refused
    if refused.status == 503:
        assert not misshapen("network", refused) and not unreadable(refused)
        assert refused.headers["Retry-After"]
    await cloud.demo.get("/network/v2.0/networks")
    await cloud.daemon.store.write(limit, 2**30)
    await cloud.demo.post("/network/v2.0/security-groups", {"security_group": {"name": "again"}}, expect=201)


async def test_the_daemon_ends_when_its_disk_fails_and_the_next_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = plain_config(tmp_path)
    daemon, started = Daemon(config, fake_host(None)[0], admin_password=PASSWORD), asyncio.Event()
    running = asyncio.create_task(daemon.run(started=started.set))
    await started.wait()
    plain = Db.execute

    def failing(db: Db, sql: str, *args: Any) -> Any:
        if sql == "COMMIT" and threading.current_thread().name == "store-write":
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_IOERR_FSYNC, "SQLITE_IOERR_FSYNC"
            raise error
        return plain(db, sql, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Db, "execute", failing)
        with pytest.raises(Unavailable, match="cannot be written now"):
            await daemon.store.write(lambda db: None)
        with pytest.raises(Unavailable, match="Cannot go on"):
            async with asyncio.timeout(30):
                await running
    async with running_cloud(tmp_path, config) as cloud:
        await cloud.demo.post("/network/v2.0/networks", {"network": {"name": "again"}}, expect=201)


async def test_a_daemon_that_cannot_let_go_of_one_thing_lets_go_of_all_the_others(tmp_path: Path) -> None:
    host = fake_host(None)[0]

    class Clinging:
        def __getattr__(self, name: str) -> Any:
            return getattr(host.hypervisor, name)

        async def close(self) -> None:
            raise HostFailure("Cannot close the connection.")

    config = plain_config(tmp_path)
    first = Daemon(config, replace(host, hypervisor=Clinging()), admin_password=PASSWORD)
    await first.start()
    with pytest.raises(HostFailure):
        await first.stop()
    second = Daemon(config, fake_host(None)[0])
    await second.start()
    await second.stop()


# --- starting --------------------------------------------------------------------------------------------------------


async def test_a_second_daemon_on_the_same_folder_is_refused(cloud: Cloud) -> None:
    second = Daemon(cloud.config, fake_host(None)[0])
    with pytest.raises(Conflict, match="process id"):
        await second.start()
    await cloud.demo.get("/network/v2.0/networks")


async def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        config = plain_config(tmp_path)
        config = replace(config, api=replace(config.api, port=holder.getsockname()[1]))
        with pytest.raises(Unavailable, match="Cannot listen on"):
            await Daemon(config, fake_host(None)[0]).start()


async def test_without_libvirt_the_daemon_serves_all_the_rest_and_says_what_is_missing(tmp_path: Path) -> None:
    pytest.importorskip("libvirt", reason="a fake-only installation")
    from minicloud.host.real import real_host

    uri = f"qemu+unix:///system?socket={tmp_path}/nothing"
    real = real_host(libvirt_uri=uri, state=tmp_path, cache=tmp_path, namespaces=tmp_path / "ns")
    host = replace(fake_host(None)[0], hypervisor=real.hypervisor)
    daemon = Daemon(plain_config(tmp_path), host, admin_password=PASSWORD)
    try:
        await daemon.start()
        with pytest.raises(Unavailable) as told:
            await host.hypervisor.actual()
        assert told.value.message.endswith(".") and "hypervisor" in told.value.message
    finally:
        await daemon.stop()


async def test_doctor_names_a_hypervisor_that_does_not_answer(tmp_path: Path) -> None:
    file = tmp_path / "minicloud.toml"
    file.write_text(f'[compute]\nlibvirt_uri = "qemu+unix:///system?socket={tmp_path}/nothing"\n')
    done = await asyncio.to_thread(
        CliRunner().invoke, root, ["doctor", "--config", str(file), "--state", str(tmp_path)]
    )
    lines = [line for line in done.output.splitlines() if "libvirt" in line.lower()]
    assert lines and done.exit_code != 0, done.output


async def test_what_the_loop_meets_again_and_again_is_told_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(module.log, "error", lambda event, **more: told.append(more), raising=False)
    loop, tell = asyncio.get_running_loop(), module._Unheard()
    for _ in range(100):
        tell(loop, {"message": "it cannot accept", "exception": OSError(24, "Too many open files")})
    assert [one["error"] for one in told] == ["[Errno 24] Too many open files"]
