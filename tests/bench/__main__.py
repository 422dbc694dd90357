"""`make bench`: every promised figure, measured now. Ends with 1 if one is missed.

Run in a bare sandbox (namespaces and libvirtd, no daemon): `minicloud sandbox run --bare -- python -m tests.bench`. With `--fake` only the figures
that need no real host.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
import uuid
import xml.etree.ElementTree as ET
from pathlib import Path

import libvirt

from minicloud.host.run import run
from tests.bench import identities, images
from tests.bench.measure import Figure, Served, ask, bare_handler, login, machine, ratio, served

LAUNCHES = 5
NETWORKS = 50


def median_start(starts: list[float]) -> float:
    return statistics.median(starts)


async def starting(folder: Path, *, fake: bool) -> tuple[Figure, Figure]:
    """Start to the first 200 (of a state that exists), and idle memory."""
    async with served(folder, fake=fake):
        pass
    starts, rss = [], []
    for _ in range(5):
        async with served(folder, fake=fake) as one:
            starts.append(one.seconds)
            await asyncio.sleep(1)
            rss.append(one.rss_mb())
    kind = "fake host" if fake else "real host"
    return (
        Figure(f"start to first 200, {kind}", median_start(starts), "s", 0.7 if fake else 1.0),
        Figure(f"idle RSS, {kind}", statistics.median(rss), "MB", 100),
    )


async def with_networks(one: Served, token: str) -> Figure:
    before = one.rss_mb()
    for number in range(NETWORKS):
        _, _, made = await asyncio.to_thread(
            ask,
            f"{one.url}/network/v2.0/networks",
            method="POST",
            token=token,
            body={"network": {"name": f"n{number}"}},
        )
        subnet = {"network_id": made["network"]["id"], "ip_version": 4, "cidr": f"10.{number}.0.0/24"}
        status, _, told = await asyncio.to_thread(
            ask, f"{one.url}/network/v2.0/subnets", method="POST", token=token, body={"subnet": subnet}
        )
        assert status == 201, told
    await asyncio.sleep(2)
    return Figure(f"RSS added by {NETWORKS} networks", one.rss_mb() - before, "MB", 20)


async def launches(one: Served, token: str, image_file: Path, folder: Path, *, fake: bool) -> tuple[str, list[float]]:
    """Seconds from POST /servers to ACTIVE with a cached image, each alone; and the id of a server that is left running."""
    url = one.url
    image = {"name": "tiny", "disk_format": "qcow2", "container_format": "bare"}
    _, _, made = await asyncio.to_thread(ask, f"{url}/image/v2/images", method="POST", token=token, body=image)
    status, _, told = await asyncio.to_thread(
        ask, f"{url}/image/v2/images/{made['id']}/file", method="PUT", token=token, raw=image_file.read_bytes()
    )
    assert status == 204, told
    flavor = {"flavor": {"name": "b", "id": "b", "ram": 128, "vcpus": 1, "disk": 1}}
    await asyncio.to_thread(ask, f"{url}/compute/v2.1/flavors", method="POST", token=token, body=flavor)
    _, _, net = await asyncio.to_thread(
        ask, f"{url}/network/v2.0/networks", method="POST", token=token, body={"network": {"name": "bench"}}
    )
    subnet = {"network_id": net["network"]["id"], "ip_version": 4, "cidr": "10.250.0.0/24"}
    await asyncio.to_thread(ask, f"{url}/network/v2.0/subnets", method="POST", token=token, body={"subnet": subnet})
    body = {
        "server": {"name": "b", "imageRef": made["id"], "flavorRef": "b", "networks": [{"uuid": net["network"]["id"]}]}
    }
    took: list[float] = []
    server = ""
    for _ in range(LAUNCHES + 1):
        if server:
            await asyncio.to_thread(ask, f"{url}/compute/v2.1/servers/{server}", method="DELETE", token=token)
            while (await asyncio.to_thread(ask, f"{url}/compute/v2.1/servers/{server}", token=token))[0] != 404:
                await asyncio.sleep(0.05)
        began = time.monotonic()
        status, _, told = await asyncio.to_thread(
            ask, f"{url}/compute/v2.1/servers", method="POST", token=token, body=body
        )
        assert status == 202, told
        server = told["server"]["id"]
        while True:
            shown = (await asyncio.to_thread(ask, f"{url}/compute/v2.1/servers/{server}", token=token))[2]["server"]
            if shown["status"] != "BUILD":
                break
            await asyncio.sleep(0.01)
        assert shown["status"] == "ACTIVE", shown
        took.append(time.monotonic() - began)
    return server, took[1:]  # the first one fills the image cache


async def raw_launches(server: str, folder: Path) -> list[float]:
    """Seconds of what can't be left out: qemu-img overlay and libvirt create of the same XML, on a tap of its own that was
    made before the clock starts."""
    connection = libvirt.open("qemu:///system")
    text = connection.lookupByUUIDString(server).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)
    disk = ET.fromstring(text).find("devices/disk[@device='disk']/source")
    assert disk is not None
    told = json.loads((await run(["qemu-img", "info", "-U", "--output=json", disk.attrib["file"]])).text)
    took = []
    room = folder / "raw"
    room.mkdir()
    room.chmod(0o777)  # QEMU's own user makes a socket in it
    for number in range(LAUNCHES):
        await run(["ip", "tuntap", "add", f"raw{number}", "mode", "tap"])
        overlay = room / f"raw-{number}.qcow2"
        definition = _another(text, number, room, overlay)
        began = time.monotonic()
        backing = ["-b", told["full-backing-filename"], "-F", told["backing-filename-format"]]
        await run(["qemu-img", "create", "-q", "-f", "qcow2", *backing, str(overlay), "1G"])
        domain = await asyncio.to_thread(connection.createXML, definition)
        took.append(time.monotonic() - began)
        with contextlib.suppress(libvirt.libvirtError):  # a guest without its network may have ended by itself
            await asyncio.to_thread(domain.destroy)
    connection.close()
    return took


def _another(text: str, number: int, folder: Path, overlay: Path) -> str:
    """The same machine again: other names, files, sockets and tap."""
    xml = ET.fromstring(text)
    fresh = str(uuid.uuid4())
    for path, value in (("name", f"raw-{number}"), ("uuid", fresh), ("sysinfo/system/entry[@name='uuid']", fresh)):
        for one in xml.iterfind(path):
            one.text = value
    for one in xml.iterfind("devices/disk[@device='disk']/source"):
        one.attrib["file"] = str(overlay)
    for one in xml.iterfind("devices/interface/target"):
        one.attrib["dev"] = f"raw{number}"
    for place, key, name in (
        ("log", "file", "log"),
        ("source", "path", "sock"),
        ("listen", "socket", "vnc"),
        ("graphics", "socket", "vnc"),
    ):
        for one in xml.iter(place):
            if key in one.attrib:
                one.attrib[key] = str(folder / f"{number}.{name}")
    return ET.tostring(xml, encoding="unicode")


async def rates(one: Served, token: str, server: str) -> list[Figure]:
    figures = []
    async with bare_handler() as floor:
        for name, path, headers in (
            ("GET of one server", f"/compute/v2.1/servers/{server}", ()),
            ("validate of a token", "/identity/v3/auth/tokens", (f"X-Subject-Token: {token}",)),
        ):
            value, ours, floors = await ratio(one.url + path, floor, headers=(f"X-Auth-Token: {token}", *headers))
            note = f"{ours:.0f} against {floors:.0f} requests/s"
            figures.append(Figure(f"{name}, rate against a bare aiohttp handler", value, "x", 0.4, "more", note))
    return figures


async def main(*, fake: bool, image: Path) -> int:
    print(f"machine: {machine()}")
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="mcb-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        figures += await starting(folder / "fake", fake=True)
        if not fake:
            figures += await starting(folder / "real", fake=False)
        async with bare_handler() as floor:
            figures += await identities.people(folder / "people", floor)
        async with served(folder / "work", fake=fake) as one:
            token = await asyncio.to_thread(login, one.url)
            server, took = await launches(one, token, image, folder, fake=fake)
            figures += await rates(one, token, server)
            figures += await images.copying(one, token, folder)
            figures.append(await images.parallel(one, token, size=1024**3))
            if not fake:
                raw = await raw_launches(server, folder)
                ours, floor = statistics.median(took), statistics.median(raw)
                note = f"{ours:.2f} s against {floor:.2f} s"
                figures.append(
                    Figure(
                        "POST /servers to ACTIVE against raw overlay + libvirt create",
                        ours / floor,
                        "x",
                        1.5,
                        note=note,
                    )
                )
            figures.append(await with_networks(one, token))
            await asyncio.to_thread(ask, f"{one.url}/compute/v2.1/servers/{server}", method="DELETE", token=token)
            await asyncio.sleep(2)
    for figure in figures:
        print(figure)
    return 0 if all(figure.kept for figure in figures) else 1


if __name__ == "__main__":
    from minicloud.guest import tiny

    with contextlib.suppress(KeyboardInterrupt):
        picture = asyncio.run(tiny(Path("/var/cache/minicloud"), progress=print))
        sys.exit(asyncio.run(main(fake="--fake" in sys.argv, image=picture)))
