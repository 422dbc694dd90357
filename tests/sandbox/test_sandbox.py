"""A sandbox runs one command in a cloud of its own and leaves nothing behind, however it ends."""

from __future__ import annotations

import contextlib
import os
import pty
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MESS = """
ip link add mc-br type bridge; ip link set mc-br up
ip link add mct-left type veth peer name mct-right
ip netns add mc-room; ip netns exec mc-room sleep 1000 &
setsid --fork sleep 1001
setsid --fork dnsmasq --no-daemon --port=0 --conf-file=/dev/null --interface=lo 2>/dev/null
"""
"""What clouds leave lying about: links, namespaces, processes that detached themselves."""

GUEST = """
<domain type='qemu'><name>left</name><memory unit='MiB'>32</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator><memballoon model='none'/></devices></domain>
"""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "minicloud", "sandbox", "run", *arguments]


def options(kind: str) -> tuple[str, ...]:
    return ("--fake",) if kind == "fake" else ()


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def sandboxed(script: str, *flags: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
    """Run a shell script in a sandbox to its end."""
    return subprocess.run(
        command(*flags, "--", "bash", "-c", textwrap.dedent(script)),
        env=environment(), capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip


@dataclass
class Running:
    """A sandbox under way: its guard, and the first line that its command printed (the folder)."""

    guard: subprocess.Popen[str]
    folder: Path

    @property
    def inside(self) -> int:
        """The sandbox's first process."""
        return int(Path(f"/proc/{self.guard.pid}/task/{self.guard.pid}/children").read_text().split()[0])


@pytest.fixture
def begin() -> Iterator[Callable[..., Running]]:
    """Starts a sandbox whose command makes a mess, says where it is, then waits."""
    guards = []

    def start(*flags: str, script: str = MESS, then: str = "exec sleep 1002") -> Running:
        guard = subprocess.Popen(
            command(*flags, "--", "bash", "-c", f"{script}\necho $MINICLOUD_SANDBOX_FOLDER\n{then}"),
            env=environment(), stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        guards.append(guard)
        assert guard.stdout is not None
        folder = Path(guard.stdout.readline().strip())
        assert folder.is_dir()
        return Running(guard, folder)

    yield start
    for guard in guards:
        guard.kill()
        guard.wait()
        assert guard.stdout is not None
        guard.stdout.close()


def members(folder: Path) -> list[str]:
    """Processes that see the sandbox's mounts or have it in their command line: found without the code under test."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                text = (process / "mountinfo").read_text() + (process / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if folder.name in text:
                found.append((process / "cmdline").read_bytes().decode(errors="replace"))
    return found


def links() -> set[str]:
    return set(os.listdir("/sys/class/net"))


def nothing_is_left(folder: Path) -> None:
    assert members(folder) == []
    assert not folder.exists()
    assert folder.name not in Path("/proc/self/mountinfo").read_text()


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        os.sched_yield()


@pytest.mark.real
@pytest.mark.parametrize("code", [0, 7])
def test_the_command_decides_the_exit_code_and_nothing_is_left(code: int) -> None:
    before = links()
    done = sandboxed(f"{MESS}\necho $MINICLOUD_SANDBOX_FOLDER; exit {code}", "--bare")
    assert (done.returncode, done.stderr) == (code, "")
    nothing_is_left(Path(done.stdout.split()[0]))
    assert links() == before


@pytest.mark.real
def test_a_running_guest_is_taken_away_with_its_libvirt() -> None:
    done = sandboxed(
        f'echo $MINICLOUD_SANDBOX_FOLDER\nvirsh -q create /dev/stdin <<< "{GUEST}"\nvirsh -q list --name', "--bare"
    )
    folder, *_, guest = done.stdout.split()
    assert guest == "left", done.stderr
    nothing_is_left(Path(folder))


@pytest.mark.real
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_sandbox_ends_the_command_and_everything(
    begin: Callable[..., Running], number: signal.Signals
) -> None:
    running = begin("--bare")
    running.guard.send_signal(number)
    assert running.guard.wait(30) == 128 + number
    nothing_is_left(running.folder)


@pytest.mark.real
def test_the_command_may_clean_up_before_it_ends(begin: Callable[..., Running]) -> None:
    running = begin("--bare", script="trap 'echo told; exit 9' TERM", then="while :; do read -t 0.1 _ <> <(:); done")
    running.guard.terminate()
    assert running.guard.stdout is not None
    assert running.guard.stdout.readline() == "told\n"
    assert running.guard.wait(30) in (9, 143)
    nothing_is_left(running.folder)


@pytest.mark.real
def test_a_killed_inside_is_cleaned_up_by_its_guard(begin: Callable[..., Running]) -> None:
    running = begin("--bare")
    os.kill(running.inside, signal.SIGKILL)
    assert running.guard.wait(30) == 128 + signal.SIGKILL
    nothing_is_left(running.folder)


@pytest.mark.real
def test_an_inside_without_its_guard_ends_itself(begin: Callable[..., Running]) -> None:
    running = begin("--bare")
    running.guard.kill()
    eventually(lambda: not running.folder.exists() and not members(running.folder))
    nothing_is_left(running.folder)


@pytest.mark.real
def test_what_two_killed_processes_left_the_next_sandbox_takes_away(begin: Callable[..., Running]) -> None:
    running = begin("--bare")
    inside = running.inside
    os.kill(inside, signal.SIGSTOP)  # so that it can't tidy up when its guard goes
    running.guard.kill()
    running.guard.wait()
    os.kill(inside, signal.SIGKILL)
    assert members(running.folder) != []
    eventually(lambda: not Path(f"/proc/{inside}").exists())
    assert sandboxed("true", "--bare").returncode == 0
    nothing_is_left(running.folder)


@pytest.mark.real
def test_two_at_once_do_not_meet(begin: Callable[..., Running]) -> None:
    one, two = begin("--bare"), begin("--bare")  # the same link and namespace names in both
    assert one.folder != two.folder
    for each in (one, two):
        each.guard.terminate()
        each.guard.wait(30)
        nothing_is_left(each.folder)


@pytest.mark.real
def test_kept_folders_stay_until_a_person_removes_them() -> None:
    done = sandboxed("echo $MINICLOUD_SANDBOX_FOLDER", "--bare", "--keep")
    folder = Path(done.stdout.strip())
    assert str(folder) in done.stderr
    assert sandboxed("true", "--bare").returncode == 0
    assert (folder / "log" / "libvirtd.log").exists()
    subprocess.run(["rm", "-rf", str(folder)], check=True)


def test_ctrl_c_reaches_the_command_once_and_the_command_decides() -> None:
    counts = """
import signal, sys
got = []
signal.signal(signal.SIGINT, lambda *_: got.append(1))
print("ready", flush=True)
while not got:
    signal.pause()
signal.sigtimedwait([signal.SIGTERM], 0.5)
print("interrupts", len(got), flush=True)
sys.exit(4)
"""
    child, terminal = pty.fork()
    if child == 0:
        arguments = command("--fake", "--bare", "--", sys.executable, "-c", counts)
        os.execvpe(arguments[0], arguments, environment())
    seen = b""
    while b"ready" not in seen:
        seen += os.read(terminal, 1000)
    os.write(terminal, b"\x03")
    with contextlib.suppress(OSError):  # the terminal goes with the last process on it
        while piece := os.read(terminal, 1000):
            seen += piece
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 4
    assert b"interrupts 1\r\n" in seen


CLOUD = pytest.mark.parametrize("kind", ["fake", pytest.param("real", marks=pytest.mark.real)])
ASK = """
import json, os, urllib.request
clouds = json.load(open(os.environ["OS_CLIENT_CONFIG_FILE"]))["clouds"]
for name, cloud in clouds.items():
    auth = cloud["auth"]
    user = {"name": auth["username"], "domain": {"id": "default"}, "password": auth["password"]}
    scope = {"project": {"name": auth["project_name"], "domain": {"id": "default"}}}
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
    request = urllib.request.Request(auth["auth_url"] + "/v3/auth/tokens", json.dumps(body).encode(), {"Content-Type": "application/json"})
    told = json.load(urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request))
    print(name, " ".join(sorted(role["name"] for role in told["token"]["roles"])))
"""


@CLOUD
def test_the_command_finds_a_cloud_with_an_administrator_and_a_member(kind: str) -> None:
    done = sandboxed(f"echo $MINICLOUD_SANDBOX_FOLDER\n{sys.executable} - <<'E'\n{ASK}\nE", *options(kind))
    folder, admin, demo = done.stdout.splitlines()
    assert admin == "admin admin manager member reader"
    assert demo == "demo member reader"
    nothing_is_left(Path(folder))


@CLOUD
def test_a_killed_daemon_is_started_again_on_the_same_state(kind: str) -> None:
    script = (
        "echo $MINICLOUD_SANDBOX_FOLDER; kill -9 $(cat $MINICLOUD_STATE/lock)\n"
        f"until {sys.executable} -c '{ASK}' 2>/dev/null; do :; done"
    )
    done = sandboxed(script, *options(kind))
    assert "the daemon ended with 137 and is started again" in done.stderr
    assert done.stdout.splitlines()[-1] == "demo member reader"
    nothing_is_left(Path(done.stdout.split()[0]))


def test_a_command_that_is_not_there_is_the_sandbox_s_own_failure() -> None:
    done = subprocess.run(
        command("--fake", "--bare", "--", "no-such-program"),
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 125
    assert "no-such-program" in done.stderr
