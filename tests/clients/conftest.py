"""A daemon of its own process on the fake host, as a person would start it, for the stock clients to speak with."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import openstack
import pytest
from openstack.connection import Connection

PASSWORD = "a-clients-password"


@dataclass(frozen=True)
class Running:
    """Where the daemon is, and the file that tells stock clients."""

    url: str
    clouds: Path


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`minicloud serve --fake`, until the last test is over."""
    state = tmp_path_factory.mktemp("clients")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "minicloud", "serve", "--fake", "--state", str(state), "--port", str(port)]
    with (state / "log").open("wb") as log:
        daemon = subprocess.Popen(
            command, env={**os.environ, "MINICLOUD_ADMIN_PASSWORD": PASSWORD}, stderr=log, stdout=log
        )
    try:
        _wait(f"http://127.0.0.1:{port}/healthz", state / "clouds.yaml", daemon, state / "log")
        yield Running(f"http://127.0.0.1:{port}", state / "clouds.yaml")
    finally:
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(timeout=20) == 0
        log_text = (state / "log").read_text()
    assert "Traceback" not in log_text, log_text


def _wait(url: str, clouds: Path, daemon: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        assert daemon.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=5):
                if clouds.exists():
                    return
        except urllib.error.URLError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"the daemon did not come up: {log.read_text()}")


@pytest.fixture(scope="session")
def sdk(running: Running) -> Iterator[Connection]:
    """openstacksdk, logged in as the administrator."""
    os.environ.pop("OS_CLOUD", None)
    config = openstack.config.OpenStackConfig(config_files=[str(running.clouds)])
    with Connection(config=config.get_one(cloud="admin")) as connection:
        yield connection
