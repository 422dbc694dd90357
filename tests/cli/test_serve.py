"""`minicloud serve` and `init` as a person meets them: one process, one state folder, the fake host."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MINICLOUD_", "OS_"))}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


def minicloud(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "minicloud", *arguments],
        env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts `minicloud serve --fake` and returns when it says that it is ready."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        (tmp_path / "notify").unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
            door.bind(str(tmp_path / "notify"))
            door.settimeout(60)
            command = [
                sys.executable,
                "-m",
                "minicloud",
                "serve",
                "--fake",
                "--state",
                str(tmp_path / "state"),
                "--port",
                "0",
            ]
            daemon = subprocess.Popen(
                command, env=environment(NOTIFY_SOCKET=str(tmp_path / "notify")), stderr=subprocess.PIPE, text=True
            )
            started.append(daemon)
            assert door.recv(100) == b"READY=1"
        return daemon

    yield start
    for daemon in started:
        daemon.kill()
        daemon.wait()


def stopped(daemon: subprocess.Popen[str]) -> str:
    """End it as systemd does; what it said."""
    daemon.send_signal(signal.SIGTERM)
    said = daemon.communicate(timeout=60)[1]
    assert daemon.returncode == 0, said
    return said


def test_the_first_start_tells_the_password_once_and_later_ones_do_not(
    serve: Callable[[], subprocess.Popen[str]], tmp_path: Path
) -> None:
    first = stopped(serve())
    clouds = tmp_path / "state" / "clouds.yaml"
    password = json.loads(clouds.read_text())["clouds"]["admin"]["auth"]["password"]
    assert first.count(password) == 1
    assert clouds.stat().st_mode & 0o777 == 0o600
    assert password not in stopped(serve())


def test_a_second_daemon_on_the_same_state_is_refused(
    serve: Callable[[], subprocess.Popen[str]], tmp_path: Path
) -> None:
    daemon = serve()
    second = minicloud("serve", "--fake", "--state", str(tmp_path / "state"), "--port", "0")
    assert second.returncode == 1
    assert f"the daemon with process id {daemon.pid} does" in second.stderr


def test_a_daemon_that_the_watchdog_ends_names_where_it_was_and_leaves_no_core(
    serve: Callable[[], subprocess.Popen[str]],
) -> None:
    daemon = serve()
    limits = Path(f"/proc/{daemon.pid}/limits").read_text()
    assert re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE)
    daemon.send_signal(signal.SIGABRT)
    said = daemon.communicate(timeout=60)[1]
    assert daemon.returncode == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in said
    assert "(most recent call first)" in said and "cli/serve.py" in said, said


def test_the_password_of_init_logs_in(serve: Callable[[], subprocess.Popen[str]], tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    (tmp_path / "password").write_text("from a file\n")
    done = minicloud("init", "--fake", "--state", state, "--admin-password-file", str(tmp_path / "password"))
    assert done.returncode == 0, done.stderr
    assert "from a file" not in done.stdout
    assert "there is one already" in minicloud("init", "--fake", "--state", state).stderr
    daemon = serve()
    assert daemon.stderr is not None
    url = next(word for line in daemon.stderr for word in line.split() if word.startswith("url=")).removeprefix("url=")
    user = {"name": "admin", "domain": {"id": "default"}, "password": "from a file"}
    body = json.dumps({"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}).encode()
    request = urllib.request.Request(f"{url}/identity/v3/auth/tokens", body, {"Content-Type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
        assert answer.status == 201


def test_a_wrong_option_refuses_the_start_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text("[api]\nport = '5050'\n")
    done = minicloud("serve", "--fake", "--config", str(tmp_path / "wrong.toml"))
    assert (done.returncode, done.stderr) == (
        1,
        "Error: Cannot use '5050' for the option api.port: a whole number is wanted.\n",
    )


def test_every_route_names_a_file_that_is_there() -> None:
    lines = minicloud("routes").stdout.splitlines()
    assert len(lines) > 50
    for line in lines:
        file, _, number = line.split()[-1].partition(":")
        assert (ROOT / file).is_file()
        assert number.isdigit()
