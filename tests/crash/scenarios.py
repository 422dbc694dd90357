"""What the crash harness does to a cloud: for each kind of operation, what must be there before, and the request."""

from __future__ import annotations

import gzip
import json
from collections.abc import Awaitable, Callable
from typing import Any

from minicloud.host import qcow2
from tests.conftest import Cloud
from tests.image.corpus import sparse_vmdk

IMAGE_BYTES = b"\x00" * 4096
Before = Callable[[Cloud], Awaitable[Any]]
Act = Callable[[Cloud, Any], Awaitable[None]]


async def prepare(cloud: Cloud) -> None:
    """The template: an image, a flavor, a network, and what is left of the host in that state."""
    from tests.crash.runs import remains

    image = await cloud.admin.post(
        "/image/v2/images",
        {"name": "tiny", "disk_format": "raw", "container_format": "bare", "visibility": "public"},
        expect=201,
    )
    headers = {"Content-Type": "application/octet-stream"}
    await cloud.admin.put(f"/image/v2/images/{image['id']}/file", data=IMAGE_BYTES, headers=headers, expect=204)
    flavor = {"flavor": {"name": "tiny", "ram": 64, "vcpus": 1, "disk": 1, "id": "1"}}
    await cloud.admin.post("/compute/v2.1/flavors", flavor, expect=200)
    network = (await cloud.demo.post("/network/v2.0/networks", {"network": {"name": "net"}}, expect=201))["network"]
    subnet = {"network_id": network["id"], "ip_version": 4, "cidr": "10.1.0.0/24"}
    await cloud.demo.post("/network/v2.0/subnets", {"subnet": subnet}, expect=201)
    server = await make_server(cloud)  # warms the image's base, which stays
    await cloud.demo.delete(f"/compute/v2.1/servers/{server}", expect=204)
    await cloud.daemon.operations.all_settled()
    (cloud.folder / "template.json").write_text(json.dumps(await remains(cloud)))


async def request_server(cloud: Cloud) -> str:
    images = (await cloud.demo.get("/image/v2/images?name=tiny"))["images"]
    body = {"server": {"name": "s", "imageRef": images[0]["id"], "flavorRef": "1", "networks": "auto"}}
    networks = (await cloud.demo.get("/network/v2.0/networks?name=net"))["networks"]
    body["server"]["networks"] = [{"uuid": networks[0]["id"]}]
    answer = await cloud.demo.post("/compute/v2.1/servers", body, expect=202)
    return str(answer["server"]["id"])


async def make_server(cloud: Cloud) -> str:
    server = await request_server(cloud)
    await cloud.daemon.operations.all_settled()
    shown = (await cloud.demo.get(f"/compute/v2.1/servers/{server}"))["server"]
    assert shown["status"] == "ACTIVE", shown
    return server


async def make_volume(cloud: Cloud) -> str:
    root = f"/volume/v3/{cloud.demo.project_id}/volumes"
    volume = (await cloud.demo.post(root, {"volume": {"size": 1}}, expect=202))["volume"]["id"]
    await cloud.daemon.operations.all_settled()
    return str(volume)


async def nothing(cloud: Cloud) -> None:
    return None


async def server_alone(cloud: Cloud) -> str:
    return await make_server(cloud)


async def server_and_volume(cloud: Cloud) -> tuple[str, str]:
    return await make_server(cloud), await make_volume(cloud)


async def server_with_volume(cloud: Cloud) -> tuple[str, str]:
    server, volume = await server_and_volume(cloud)
    await attach_volume(cloud, (server, volume))
    await cloud.daemon.operations.all_settled()
    return server, volume


async def server_with_two_ports(cloud: Cloud) -> tuple[str, str]:
    server = await make_server(cloud)
    await attach_interface(cloud, server)
    await cloud.daemon.operations.all_settled()
    listed = (await cloud.demo.get(f"/compute/v2.1/servers/{server}/os-interface"))["interfaceAttachments"]
    return server, listed[-1]["port_id"]


async def create_server(cloud: Cloud, _: None) -> None:
    await request_server(cloud)


async def delete_server(cloud: Cloud, subject: Any) -> None:
    server = subject if isinstance(subject, str) else subject[0]
    await cloud.demo.delete(f"/compute/v2.1/servers/{server}", expect=204)


async def attach_volume(cloud: Cloud, subject: tuple[str, str]) -> None:
    body = {"volumeAttachment": {"volumeId": subject[1]}}
    await cloud.demo.post(f"/compute/v2.1/servers/{subject[0]}/os-volume_attachments", body)


async def detach_volume(cloud: Cloud, subject: tuple[str, str]) -> None:
    await cloud.demo.delete(f"/compute/v2.1/servers/{subject[0]}/os-volume_attachments/{subject[1]}")


async def attach_interface(cloud: Cloud, server: str) -> None:
    await cloud.demo.post(f"/compute/v2.1/servers/{server}/os-interface", {"interfaceAttachment": {}})


async def detach_interface(cloud: Cloud, subject: tuple[str, str]) -> None:
    await cloud.demo.delete(f"/compute/v2.1/servers/{subject[0]}/os-interface/{subject[1]}")


async def create_volume(cloud: Cloud, _: None) -> None:
    await cloud.demo.post(f"/volume/v3/{cloud.demo.project_id}/volumes", {"volume": {"size": 1}}, expect=202)


async def volume_alone(cloud: Cloud) -> str:
    return await make_volume(cloud)


async def volume_with_snapshot(cloud: Cloud) -> tuple[str, str]:
    volume = await make_volume(cloud)
    await create_snapshot(cloud, volume)
    await cloud.daemon.operations.all_settled()
    listed = (await cloud.demo.get(f"/volume/v3/{cloud.demo.project_id}/snapshots"))["snapshots"]
    return volume, listed[0]["id"]


async def create_volume_of_image(cloud: Cloud, _: None) -> None:
    image = (await cloud.demo.get("/image/v2/images?name=tiny"))["images"][0]["id"]
    await cloud.demo.post(
        f"/volume/v3/{cloud.demo.project_id}/volumes", {"volume": {"size": 1, "imageRef": image}}, expect=202
    )


async def clone_volume(cloud: Cloud, volume: str) -> None:
    await cloud.demo.post(
        f"/volume/v3/{cloud.demo.project_id}/volumes", {"volume": {"source_volid": volume}}, expect=202
    )


async def delete_volume(cloud: Cloud, volume: str) -> None:
    await cloud.demo.delete(f"/volume/v3/{cloud.demo.project_id}/volumes/{volume}", expect=202)


async def extend_volume(cloud: Cloud, volume: str) -> None:
    await _act_on_volume(cloud, volume, {"os-extend": {"new_size": 2}})


async def upload_volume(cloud: Cloud, volume: str) -> None:
    await _act_on_volume(cloud, volume, {"os-volume_upload_image": {"image_name": "crash", "disk_format": "qcow2"}})


async def _act_on_volume(cloud: Cloud, volume: str, action: dict[str, Any]) -> None:
    await cloud.demo.post(f"/volume/v3/{cloud.demo.project_id}/volumes/{volume}/action", action, expect=202)


async def create_snapshot(cloud: Cloud, volume: str) -> None:
    body = {"snapshot": {"volume_id": volume}}
    await cloud.demo.post(f"/volume/v3/{cloud.demo.project_id}/snapshots", body, expect=202)


async def delete_snapshot(cloud: Cloud, subject: tuple[str, str]) -> None:
    await cloud.demo.delete(f"/volume/v3/{cloud.demo.project_id}/snapshots/{subject[1]}", expect=202)


async def revert_volume(cloud: Cloud, subject: tuple[str, str]) -> None:
    path, headers = (
        f"/volume/v3/{cloud.demo.project_id}/volumes/{subject[0]}/action",
        {"OpenStack-API-Version": "volume 3.40"},
    )
    await cloud.demo.post(path, {"revert": {"snapshot_id": subject[1]}}, headers=headers, expect=202)


async def image_record(cloud: Cloud, disk_format: str = "qcow2") -> str:
    body = {"name": "crash", "disk_format": disk_format, "container_format": "bare"}
    return str((await cloud.demo.post("/image/v2/images", body, expect=201))["id"])


async def put_bytes(cloud: Cloud, image: str, data: bytes, *, to: str) -> None:
    headers = {"Content-Type": "application/octet-stream"}
    await cloud.demo.put(f"/image/v2/images/{image}/{to}", data=data, headers=headers)


async def image_without_bytes(cloud: Cloud) -> str:
    return await image_record(cloud)


async def image_with_bytes(cloud: Cloud) -> str:
    image = await image_record(cloud)
    await upload_image(cloud, image)
    return image


async def staged_image(cloud: Cloud) -> str:
    image = await image_record(cloud)
    await put_bytes(cloud, image, gzip.compress(blank_qcow2(cloud)), to="stage")
    return image


async def staged_vmdk(cloud: Cloud) -> str:
    image = await image_record(cloud, "vmdk")
    await put_bytes(cloud, image, sparse_vmdk(), to="stage")
    return image


def blank_qcow2(cloud: Cloud) -> bytes:
    path = cloud.folder / "blank.qcow2"
    qcow2.write_blank(path, size=16 * 1024**2)
    return path.read_bytes()


async def upload_image(cloud: Cloud, image: str) -> None:
    await put_bytes(cloud, image, blank_qcow2(cloud), to="file")


async def import_image(cloud: Cloud, image: str) -> None:
    body = {"method": {"name": "glance-direct"}}
    await cloud.demo.post(f"/image/v2/images/{image}/import", body, expect=202)


async def delete_image(cloud: Cloud, image: str) -> None:
    await cloud.demo.delete(f"/image/v2/images/{image}")


SCENARIOS: dict[str, tuple[Before, Act]] = {
    "server create": (nothing, create_server),
    "server delete": (server_with_volume, delete_server),
    "volume attach": (server_and_volume, attach_volume),
    "volume detach": (server_with_volume, detach_volume),
    "interface attach": (server_alone, attach_interface),
    "interface detach": (server_with_two_ports, detach_interface),
    "volume create": (nothing, create_volume),
    "image upload": (image_without_bytes, upload_image),
    "image import": (staged_image, import_image),
    "image conversion": (staged_vmdk, import_image),
    "image delete": (image_with_bytes, delete_image),
    "volume of image": (nothing, create_volume_of_image),
    "volume clone": (volume_alone, clone_volume),
    "volume delete": (volume_alone, delete_volume),
    "volume extend": (volume_alone, extend_volume),
    "volume upload": (volume_alone, upload_volume),
    "volume revert": (volume_with_snapshot, revert_volume),
    "snapshot create": (volume_alone, create_snapshot),
    "snapshot delete": (volume_with_snapshot, delete_snapshot),
}
