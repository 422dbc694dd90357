"""Data on volumes, as guests see it."""

from __future__ import annotations

import pytest
import pytest_asyncio

from tests.conftest import Cloud
from tests.real.town import Guest, Town, until

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.asyncio(loop_scope="module")]

DISK = "/dev/vdb"
GIB = 1024**3


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ids(city: tuple[Cloud, Town]) -> tuple[str, str]:
    """Two servers."""
    return await city[1].server("one"), await city[1].server("two")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def guests(city: tuple[Cloud, Town], ids: tuple[str, str]) -> tuple[Guest, Guest]:
    """Logged in to."""
    return await city[1].reachable(ids[0]), await city[1].reachable(ids[1])


async def disk_comes(guest: Guest, *, there: bool = True) -> None:
    """Wait until the guest has the disk, or has it no more."""

    async def holds() -> bool:
        return await guest.ssh(f"test -b {DISK} && echo yes || echo no", check=False) == ("yes" if there else "no")

    await until(f"{DISK} to be {'there' if there else 'gone'}", holds)


async def test_what_one_guest_writes_another_reads(
    town: Town, ids: tuple[str, str], guests: tuple[Guest, Guest]
) -> None:
    volume_id = await town.volume()
    await town.attach(ids[0], volume_id)
    await disk_comes(guests[0])
    assert (await guests[0].ssh("cat /sys/block/vdb/serial")) == volume_id[:20]
    await guests[0].ssh(f"sudo mkfs -t ext4 -q {DISK} && sudo mkdir -p /mnt/d && sudo mount {DISK} /mnt/d")
    await guests[0].ssh("echo carried over | sudo tee /mnt/d/note && sync && sudo umount /mnt/d")
    await town.detach(ids[0], volume_id)
    await disk_comes(guests[0], there=False)
    await town.attach(ids[1], volume_id)
    await disk_comes(guests[1])
    note = await guests[1].ssh(
        f"sudo mkdir -p /mnt/d && sudo mount {DISK} /mnt/d && cat /mnt/d/note && sudo umount /mnt/d"
    )
    assert note == "carried over"
    await town.detach(ids[1], volume_id)
    await town.client.delete(f"{town.volumes}/volumes/{volume_id}", expect=202)
    await town.gone(f"{town.volumes}/volumes/{volume_id}")


async def test_a_volume_that_is_extended_in_use_grows_in_the_guest(
    town: Town, ids: tuple[str, str], guests: tuple[Guest, Guest]
) -> None:
    volume_id = await town.volume()
    await town.attach(ids[0], volume_id)
    await disk_comes(guests[0])
    await guests[0].ssh(f"sudo mkfs -t ext4 -q {DISK} && sudo mkdir -p /mnt/d && sudo mount {DISK} /mnt/d")
    path = f"{town.volumes}/volumes/{volume_id}/action"
    headers = {"OpenStack-API-Version": "volume 3.59"}
    await town.client.post(path, {"os-extend": {"new_size": 2}}, headers=headers, expect=202)
    await town.volume_is(volume_id, "in-use")

    async def grown() -> bool:
        return int(await guests[0].ssh("cat /sys/block/vdb/size")) * 512 == 2 * GIB

    await until("the disk to be larger in the guest", grown, seconds=20)
    await guests[0].ssh("sudo umount /mnt/d")
    await town.detach(ids[0], volume_id)
    await disk_comes(guests[0], there=False)


async def test_a_server_boots_from_a_volume_and_finds_what_it_wrote_there(town: Town) -> None:
    disk = {
        "boot_index": 0, "uuid": town.image_id, "source_type": "image", "destination_type": "volume", "volume_size": 1,
        "delete_on_termination": False,
    }  # fmt: skip
    server_id = await town.server("rooted", imageRef="", block_device_mapping_v2=[disk])
    guest = await town.reachable(server_id)
    await guest.ssh("echo kept > note && sync")
    shown = await town.show(server_id)
    volume_id = shown["os-extended-volumes:volumes_attached"][0]["id"]
    await town.delete(server_id)
    await town.volume_is(volume_id, "available")
    again = {**disk, "uuid": volume_id, "source_type": "volume", "delete_on_termination": True}
    server_id = await town.server("again", imageRef="", block_device_mapping_v2=[again])
    guest = await town.reachable(server_id)
    assert await guest.ssh("cat note; hostname") == "kept\nagain"
    await town.delete(server_id)
    await town.gone(f"{town.volumes}/volumes/{volume_id}")
