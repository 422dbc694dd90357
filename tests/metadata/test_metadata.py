"""What guests are told, by the service and on the config drive, over real sockets on the fake host."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from typing import Any

import pycdlib
import pytest

from minicloud import metadata
from minicloud.core.clock import SystemClock
from minicloud.metadata.answers import BURST, RATE, Pace
from minicloud.network import MetadataDoor, PortInfo
from tests.compute.conftest import Yard, yard_of
from tests.conftest import Cloud

SCRIPT = b"#!/bin/sh\necho hello\n"


@pytest.fixture
async def yard(cloud: Cloud) -> Yard:
    return await yard_of(cloud)


class Asker:
    """A guest behind the yard's network. Its requests come from the loopback, so its port answers to that address."""

    def __init__(self, yard: Yard, monkeypatch: pytest.MonkeyPatch, server_id: str) -> None:
        self.yard = yard
        network = yard.cloud.daemon.network
        ports = {port.device_id: port for port in network.ports_of(server_id)}

        def port_at(owner_id: str, address: str) -> PortInfo | None:
            return ports.get(server_id) if owner_id == yard.network_id and address == "127.0.0.1" else None

        monkeypatch.setattr(network, "port_at", port_at)

    async def get(self, path: str, *, expect: int = 200) -> bytes:
        return await self.ask("GET", path, expect=expect)

    async def ask(self, method: str, path: str, data: bytes | None = None, *, expect: int = 200) -> bytes:
        metadata = self.yard.cloud.daemon.metadata
        await metadata.reconcilers()[0].once()
        addresses: dict[MetadataDoor, tuple[str, int]] = metadata.addresses()
        place = next(where for door, where in addresses.items() if door.owner_id == self.yard.network_id)
        url = f"http://{place[0]}:{place[1]}{path}"
        async with self.yard.cloud.session.request(method, url, data=data) as response:
            assert response.status == expect, path
            return await response.read()


async def launched(yard: Yard, **more: Any) -> str:
    await yard.demo.post("/compute/v2.1/os-keypairs", {"keypair": {"name": "k"}}, expect=200)
    return await yard.launch(
        name="guest", key_name="k", user_data=base64.b64encode(SCRIPT).decode(), metadata={"role": "web"}, **more
    )


async def test_a_guest_reads_who_it_is(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    server_id = await launched(yard)
    asker = Asker(yard, monkeypatch, server_id)
    told = json.loads(await asker.get("/openstack/latest/meta_data.json"))
    assert (told["uuid"], told["name"], told["hostname"]) == (server_id, "guest", "guest.novalocal")
    assert told["meta"] == {"role": "web"}
    assert "admin_pass" not in told
    assert told["keys"][0]["data"] == told["public_keys"]["k"]
    assert await asker.get("/openstack/2012-08-10/user_data") == SCRIPT
    assert b"meta_data.json" in await asker.get("/openstack/latest/")
    assert b"links" in await asker.get("/openstack/latest/network_data.json")


async def test_ec2_habits_work(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    server_id = await launched(yard)
    asker = Asker(yard, monkeypatch, server_id)
    assert await asker.get("/latest/meta-data/hostname") == b"guest.novalocal"
    assert await asker.get("/2009-04-04/meta-data/public-keys/") == b"0=k"
    assert (await asker.get("/latest/meta-data/public-keys/0/openssh-key")).startswith(b"ssh-rsa ")
    assert (await asker.get("/latest/meta-data/local-ipv4")).startswith(b"10.7.0.")
    assert await asker.get("/latest/user-data") == SCRIPT
    assert b"placement/" in await asker.get("/latest/meta-data/")
    await asker.get("/latest/meta-data/nothing", expect=404)


async def test_a_guest_leaves_its_owner_a_password_once(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    server_id = await launched(yard)
    asker, path = Asker(yard, monkeypatch, server_id), "/openstack/2013-04-04/password"
    owners = f"/compute/v2.1/servers/{server_id}/os-server-password"
    assert await asker.get(path) == b""
    await asker.ask("POST", path, b"x" * 1021, expect=400)
    await asker.ask("POST", path, b"\xff", expect=400)
    await asker.ask("POST", path, b"c2VjcmV0")
    await asker.ask("POST", path, b"another", expect=409)
    assert await asker.get(path) == b"c2VjcmV0"
    assert (await yard.demo.get(owners))["password"] == "c2VjcmV0"
    await yard.demo.delete(owners, expect=204)
    assert (await yard.demo.get(owners))["password"] == ""
    await asker.ask("POST", path, b"another")
    await asker.ask("POST", "/openstack/latest/meta_data.json", b"x", expect=405)


async def test_an_address_of_nobody_learns_nothing(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    asker = Asker(yard, monkeypatch, "none")
    await asker.get("/openstack/latest/meta_data.json", expect=404)


async def test_headers_are_not_believed(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    server_id = await launched(yard)
    asker = Asker(yard, monkeypatch, "none")
    yard.cloud.session.headers["X-Instance-ID"] = server_id
    yard.cloud.session.headers["X-Forwarded-For"] = "10.7.0.2"
    await asker.get("/openstack/latest/meta_data.json", expect=404)


async def test_the_first_question_stands_in_the_trace(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    server_id = await launched(yard)
    asker = Asker(yard, monkeypatch, server_id)
    await asker.get("/latest/meta-data/instance-id")
    steps = [(one.service, one.step) for one in yard.cloud.daemon.tracer.spans(f"server/{server_id}")]
    assert ("guest", "metadata") in steps


async def test_the_config_drive_tells_the_same_and_the_password(yard: Yard) -> None:
    server_id = await launched(yard, config_drive=True, adminPass="only-for-the-guest")
    drive = pycdlib.PyCdlib()
    drive.open(str(yard.cloud.config.state / "servers" / server_id / "config.iso"))
    try:
        content = io.BytesIO()
        drive.get_file_from_iso_fp(content, joliet_path="/openstack/latest/meta_data.json")
    finally:
        drive.close()
    assert b"only-for-the-guest" in content.getvalue()
    shown = await yard.show(server_id)
    assert shown["config_drive"] == "True"
    stored = yard.cloud.daemon.store.read(lambda db: db.execute("SELECT admin_password FROM servers").fetchall())
    assert stored == [(None,)]


def test_a_guest_that_asks_without_end_is_slowed_down_and_no_other() -> None:
    clock = StandingClock()
    pace, greedy, modest = Pace(clock), ("network", "10.7.0.3"), ("network", "10.7.0.4")
    assert sum(pace.allows(greedy) for _ in range(1000)) == BURST
    assert pace.allows(modest) and not pace.allows(greedy)
    clock.seconds += 1.0
    assert sum(pace.allows(greedy) for _ in range(1000)) == RATE


async def test_who_asks_too_often_is_told_to_wait(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    asker = Asker(yard, monkeypatch, "none")
    monkeypatch.setattr(Pace, "allows", lambda pace, who: False)
    assert b"429" in await asker.ask("GET", "/openstack", expect=429)


class StandingClock(SystemClock):
    """A clock that goes on when it is told to."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


@pytest.mark.parametrize(
    "said", [b"", b"GET / HT", b"no HTTP at all\r\n\r\n"], ids=["nothing", "half a line", "garbage"]
)
async def test_a_guest_that_does_not_come_to_its_point_is_hung_up_on_without_a_line_in_the_log(
    yard: Yard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, said: bytes
) -> None:
    monkeypatch.setattr(metadata, "IDLE_SECONDS", 0.3)
    doors = yard.cloud.daemon.metadata
    await doors.stop()
    await doors.reconcilers()[0].once()
    host, port = next(where for door, where in doors.addresses().items() if door.owner_id == yard.network_id)
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(said)
    async with asyncio.timeout(30):
        told = await reader.read()
    writer.close()
    assert told == b"" if not said.endswith(b"\n") else told.startswith(b"HTTP/1.0 400")
    assert "aiohttp.server" not in {one.name for one in caplog.records}
