"""The tiny guest image: what it is made of, that it is built once, and that it boots and obeys the power button."""

from __future__ import annotations

import asyncio
import io
import json
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pycdlib
import pytest

from minicloud.cli.image_build import CACHE
from minicloud.core.errors import Forbidden
from minicloud.guest import build_tiny, recipe, tiny
from minicloud.host.run import run, spawn

KEYS = [
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMjUu1zNNoxAlmsXWU66g47OX01uk6lRE7hrG9sxrg8V first@example",
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBH2iieVXO3XzofnpvirdfNCT6NY= second",
]
SERVER = "0d1e2f30-1111-4222-8333-444455556666"
SCRIPT = b'#!/bin/sh\necho "user data ran as $(id -un) on $(hostname)"\nexit 7\n'
KERNEL = recipe.Kernel(package="linux-image-6.1.0-1-cloud-amd64", version="6.1.1-1")


def test_every_script_of_the_guest_is_valid_shell_and_says_what_it_is_for() -> None:
    scripts = [path for path in recipe.FOLDER.rglob("*") if path.is_file() and path.read_bytes().startswith(b"#!")]
    assert len(scripts) > 5
    for script in scripts:
        assert script.read_text().splitlines()[1].startswith("# "), script
        asyncio.run(run(["sh", "-n", str(script)]))


def test_each_mode_of_the_layout_belongs_to_a_file_that_the_recipe_brings() -> None:
    plan = recipe.read()
    brought = {path for paths in plan.packages.values() for path in paths}
    brought |= {str(path.relative_to(recipe.OVERLAY)) for path in recipe.OVERLAY.rglob("*") if path.is_file()}
    assert {entry.path for entry in plan.layout if entry.kind == "file"} <= brought


def test_another_kernel_makes_another_image() -> None:
    newer = recipe.Kernel(package=KERNEL.package, version="6.1.1-2")
    assert recipe.fingerprint(KERNEL) == recipe.fingerprint(KERNEL) != recipe.fingerprint(newer)


async def test_an_image_in_the_cache_is_not_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def kernel() -> recipe.Kernel:
        return KERNEL

    monkeypatch.setattr(recipe, "kernel", kernel)
    kept = tmp_path / f"tiny-{recipe.fingerprint(KERNEL)}.qcow2"
    kept.write_bytes(b"image")
    said: list[str] = []
    assert await tiny(tmp_path, progress=said.append) == kept
    assert not said and kept.read_bytes() == b"image"


async def test_who_is_not_root_is_told_so_before_anything_is_downloaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def kernel() -> recipe.Kernel:
        return KERNEL

    monkeypatch.setattr(recipe, "kernel", kernel)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(Forbidden, match="only root"):
        await build_tiny(tmp_path / "tiny.qcow2", progress=lambda line: None)
    assert list(tmp_path.iterdir()) == []


@dataclass(frozen=True)
class Guest:
    """A running guest: its console by lines, its monitor, its process."""

    console: asyncio.StreamReader
    monitor: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    process: asyncio.subprocess.Process

    async def lines_until(self, text: str) -> list[str]:
        lines: list[str] = []
        while not lines or text not in lines[-1]:
            line = await self.console.readline()
            assert line, "\n".join(lines)
            lines.append(line.decode("utf-8", "replace").strip())
        return lines

    async def command(self, name: str) -> None:
        reader, writer = self.monitor
        writer.write(json.dumps({"execute": name}).encode())
        while "return" not in json.loads(await reader.readline()):
            continue


def config_drive(path: Path) -> None:
    """An ISO 9660 image labelled config-2, as a cloud makes it."""
    meta = {
        "uuid": SERVER,
        "hostname": "web-1.novalocal",
        "name": "web-1",
        "public_keys": {"mine": KEYS[0] + "\n", 'odd "name"': KEYS[1]},
        "devices": [],
        "meta": {"role": "web"},
    }
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident="config-2")
    for folder, name in (("/OPENSTACK", "openstack"), ("/OPENSTACK/LATEST", "openstack/latest")):
        iso.add_directory(folder, rr_name=name.rsplit("/", 1)[-1], joliet_path=f"/{name}")
    for short, name, content in (
        ("META.JSO", "meta_data.json", json.dumps(meta).encode()),
        ("USER.DAT", "user_data", SCRIPT),
    ):
        iso.add_fp(
            io.BytesIO(content),
            len(content),
            f"/OPENSTACK/LATEST/{short};1",
            rr_name=name,
            joliet_path=f"/openstack/latest/{name}",
        )
    iso.write(str(path))
    iso.close()


@asynccontextmanager
async def booted(image: Path, folder: Path, machine: str) -> AsyncIterator[Guest]:
    """A guest of 128 MiB without KVM, on a disk of 256 MiB backed by the image; gone when the block is left."""
    disk, drive = folder / "disk.qcow2", folder / "config.iso"
    await run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(image), str(disk), "256M"])
    config_drive(drive)
    called: dict[str, asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]] = {}
    servers = []
    for name in ("console", "monitor"):
        called[name] = asyncio.get_running_loop().create_future()
        answer = lambda reader, writer, name=name: called[name].set_result((reader, writer))  # noqa: E731
        servers.append(await asyncio.start_unix_server(answer, folder / name))
    process = await spawn(
        [
            *("qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-machine", machine, "-m", "128"),
            *("-nodefaults", "-display", "none", "-device", "virtio-rng-pci"),
            *("-chardev", f"socket,id=console,path={folder}/console", "-serial", "chardev:console"),
            *("-chardev", f"socket,id=monitor,path={folder}/monitor", "-mon", "chardev=monitor,mode=control"),
            *("-drive", f"if=none,id=disk,format=qcow2,file={disk}", "-device", "virtio-blk-pci,drive=disk"),
            *("-drive", f"if=none,id=config,format=raw,readonly=on,media=cdrom,file={drive}"),
            *("-device", "virtio-scsi-pci", "-device", "scsi-cd,drive=config"),
            *("-netdev", "user,id=net,restrict=on", "-device", "virtio-net-pci,netdev=net,romfile="),
        ],
        log=str(folder / "qemu.log"),
    )
    try:
        console, _ = await called["console"]
        reader, writer = await called["monitor"]
        await reader.readline()
        guest = Guest(console=console, monitor=(reader, writer), process=process)
        await guest.command("qmp_capabilities")
        yield guest
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        for server in servers:
            server.close()


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.parametrize("machine", ["pc", "q35"])
async def test_a_guest_boots_from_its_config_drive_and_obeys_the_power_button(machine: str) -> None:
    image = await tiny(CACHE, progress=print)
    with tempfile.TemporaryDirectory(prefix="tiny-") as name:
        async with asyncio.timeout(100), booted(image, Path(name), machine) as guest:
            said = await guest.lines_until("tiny: boot done")
            for expected in (
                "tiny: datasource: config drive on /dev/sr0",
                f"tiny: instance-id: {SERVER}",
                "tiny: hostname: web-1",
                "tiny: ssh public keys: 2",
                "user data ran as root on web-1",
                "tiny: user-data: done rc=7",
            ):
                assert expected in said, "\n".join(said)
            assert any(line.startswith("tiny: root: grown to 2") for line in said), "\n".join(said)
            assert any(line.startswith("tiny: ip eth0 inet 10.0.2.15/24") for line in said), "\n".join(said)
            await guest.command("system_powerdown")
            assert "tiny: power button, shutting down" in await guest.lines_until("tiny: system halted")
            assert await guest.process.wait() == 0
