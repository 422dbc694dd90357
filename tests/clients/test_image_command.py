"""`openstack image ...`: a life of an image by the stock command, from a file with a progress bar to nothing left."""

from __future__ import annotations

import contextlib
import hashlib
import os
import pty
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import Running
from tests.clients.test_command import PROGRAM, openstack

FORMATS = "--disk-format raw --container-format bare"


def on_terminal(running: Running, line: str) -> str:
    """What a person sees on a terminal, where alone the command draws its bars."""
    env = {"PATH": os.environ["PATH"], "HOME": str(running.clouds.parent), "OS_CLIENT_CONFIG_FILE": str(running.clouds)}
    here, there = pty.openpty()
    argv = [str(PROGRAM), "--os-cloud", "admin", *line.split()]
    process = subprocess.Popen(argv, env=env, stdin=there, stdout=there, stderr=there)
    os.close(there)
    seen = b""
    with contextlib.suppress(OSError):  # how a terminal ends
        while some := os.read(here, 4096):
            seen += some
    os.close(here)
    assert process.wait(timeout=90) == 0, seen.decode()
    return seen.decode()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_life_of_an_image(running: Running, tmp_path: Path) -> None:
    def run(line: str, code: int = 0) -> Any:
        return openstack(running, line, code=code)

    data, file, saved = os.urandom(3_000_000), tmp_path / "disk", tmp_path / "saved"
    file.write_bytes(data)
    words = f"image create {FORMATS} --progress --tag blue --property os_distro=debian --min-ram 64 --file {file} lives"
    assert "=>] 100%" in on_terminal(running, words)

    shown = run("image show lives")
    assert (shown["status"], shown["size"], shown["checksum"]) == ("active", len(data), hashlib.md5(data).hexdigest())
    assert (shown["tags"], shown["min_ram"]) == (["blue"], 64)
    run(f"image save --file {saved} lives")
    assert saved.read_bytes() == data

    run("image set --property hw_disk_bus=scsi --property os_version=12 --community --tag green lives")
    run("image unset --property os_version --tag blue lives")
    shown = run("image show lives")
    assert (shown["properties"]["hw_disk_bus"], shown["visibility"], shown["tags"]) == ("scsi", "community", ["green"])
    assert "os_version" not in shown["properties"]
    listed = run("image list --community --tag green --property hw_disk_bus=scsi --sort name:asc --long")
    assert [one["Name"] for one in listed] == ["lives"]

    run("image set --shared lives")
    friends = run("project create friends")["id"]
    run(f"image add project lives {friends}")
    assert [one["Status"] for one in run("image member list lives")] == ["pending"]
    run(f"image remove project lives {friends}")
    run("project delete friends")
    run("image set --deactivate lives")
    assert run("image show lives")["status"] == "deactivated"
    run("image set --activate --protected lives")
    assert "protected" in run("image delete lives", code=1)
    run("image set --unprotected lives")
    run("image delete lives")


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_staged_imports_tasks_and_definitions(running: Running, tmp_path: Path) -> None:
    def run(line: str, code: int = 0) -> Any:
        return openstack(running, line, code=code)

    (tmp_path / "disk").write_bytes(b"staged bytes")
    image = run(f"image create {FORMATS} --import --file {tmp_path / 'disk'} staged")["id"]
    shown = run(f"image show {image}")
    while shown["status"] == "importing":
        shown = run(f"image show {image}")
    assert (shown["status"], shown["size"]) == ("active", 12)
    assert "glance-direct" in str(run("image import info"))
    assert [one["Status"] for one in run("image task list")] == ["success"]
    assert run("image stores list")[0]["ID"] == "file"

    on_terminal(running, f"image create {FORMATS} empty")  # elsewhere it would take its input for the data
    shown = run("image import --method web-download --uri http://127.0.0.1/x empty")
    assert shown["status"] == "queued"  # refused: that address is off limits
    run(f"image delete {image} empty")

    names = [one["namespace"] for one in run("image metadef namespace list")]
    assert "OS::Compute::LibvirtImage" in names
    properties = run("image metadef property list OS::Compute::LibvirtImage")
    assert "hw_disk_bus" in {one["name"] for one in properties}
