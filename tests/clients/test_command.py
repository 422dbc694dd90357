"""The `openstack` command, as a person types it: one session from login to cleaning up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import Running

PROGRAM = Path(sys.executable).parent / "openstack"


def openstack(running: Running, line: str, *, code: int = 0) -> Any:
    """Run one command line; its JSON where there is some, what it said where it fails as expected."""
    env = {"PATH": os.environ["PATH"], "HOME": str(running.clouds.parent), "OS_CLIENT_CONFIG_FILE": str(running.clouds)}
    words = line.split()
    silent = any(one in words for one in ("delete", "set", "unset", "add", "remove", "stop", "start", "save"))
    argv = [str(PROGRAM), "--os-cloud", "admin", *words, *([] if silent else ["-f", "json"])]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=90)
    assert done.returncode == code, f"{line}: {done.returncode}\n{done.stderr}"
    return (
        done.stderr
        if code
        else (json.loads(done.stdout) if done.stdout.strip().startswith(("{", "[")) else done.stdout)
    )


@pytest.mark.slow
def test_a_session(running: Running, tmp_path: Path) -> None:
    def run(line: str) -> Any:
        return openstack(running, line)

    assert {one["Type"] for one in run("catalog list")} >= {"identity", "image", "network", "compute", "placement"}
    (tmp_path / "disk").write_bytes(bytes(65536))
    image = run(f"image create --disk-format raw --container-format bare --file {tmp_path / 'disk'} cli-image")
    assert run(f"image show {image['id']}")["status"] == "active"
    run("network create cli-net")
    run("subnet create --network cli-net --subnet-range 10.78.0.0/24 cli-subnet")
    run("flavor create --ram 64 --vcpus 1 --disk 1 cli-flavor")
    server = run("server create --wait --image cli-image --flavor cli-flavor --network cli-net cli-server")
    assert server["status"] == "ACTIVE"
    assert [one["Name"] for one in run("server list") if one["Status"] == "ACTIVE"] == ["cli-server"]
    run("volume create --size 1 cli-volume")
    run("server add volume cli-server cli-volume")
    assert run("volume show cli-volume")["status"] == "in-use"
    run("server remove volume cli-server cli-volume")
    run("server delete --wait cli-server")
    run("volume delete cli-volume")
    run("network delete cli-net")
    run("image delete cli-image")


@pytest.mark.slow
def test_mistakes_are_told_in_one_line(running: Running) -> None:
    assert "found for nothing" in openstack(running, "server show nothing", code=1)
    told = openstack(running, "network create --mtu 1 x", code=1)
    assert "BadRequestException: 400" in told and "Traceback" not in told
