"""The operator's commands, on a state folder and on rows that the core wrote."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from minicloud.cli import COMMANDS, root
from minicloud.clouds import Person, clouds_yaml, variables
from minicloud.config import Config, load, render
from minicloud.core import operations, trace
from minicloud.core.clock import SystemClock
from minicloud.core.operations import OPERATIONS, UNDO_RECORDS, OperationRow, State, UndoRecord
from minicloud.core.store import Store
from minicloud.core.trace import Tracer, span

ROOT = Path(__file__).resolve().parents[2]
SERVER = "server/5f3c9a52-0000-4000-8000-000000000001"


def minicloud(*arguments: str) -> Result:
    return CliRunner().invoke(root, list(arguments), prog_name="minicloud")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder whose database remembers one launch that failed and one that is stuck."""
    asyncio.run(remember(tmp_path))
    return tmp_path


async def remember(tmp_path: Path) -> None:
    store = Store(tmp_path / "minicloud.db")
    store.open([trace.migrations, operations.migrations])
    tracer = Tracer(store, SystemClock())
    with tracer.request("req-1", "POST /servers"), span("compute", "accept"):
        pass
    launch = tracer.operation("req-1", SERVER, "server.create")
    with pytest.raises(RuntimeError), launch as work, span("hypervisor", "start"):
        trace.note("<domain/>")
        raise RuntimeError("no room")
    await tracer.save(work)
    await tracer.decide("no capacity", "The host has no room.", request_id="req-1", subject=SERVER, wanted=4, free=1)
    row = OperationRow("1", "server.create", SERVER, {}, {}, State.FAILED, "no room", "2026-01-01T00:00:00.000000", "2026-01-01T00:00:02.000000")  # fmt: skip
    stuck = OperationRow("2", "volume.create", "volume/77", {}, {}, State.STUCK, "", "2026-01-01T00:00:00.000000", None)
    await store.write(OPERATIONS.insert, row)
    await store.write(OPERATIONS.insert, stuck)
    await store.write(UNDO_RECORDS.insert, UndoRecord(None, "2", "volume.release", ["77", "88"]))
    await store.close()


def test_every_command_has_help_and_can_be_imported() -> None:
    listed = minicloud("--help").output
    for name in COMMANDS:
        assert name in listed
        assert minicloud(name, "--help").exit_code == 0


def test_trace_numbers_the_steps_and_tells_what_was_done(state: Path) -> None:
    shown = minicloud("trace", "--state", str(state), "-v", "5f3c").output
    steps = re.findall(r"^ +(\d)\. .* (api|compute|operation|hypervisor)  ", shown, re.MULTILINE)
    assert [int(number) for number, _ in steps] == [1, 2, 3, 4]
    assert {service for _, service in steps} == {"api", "compute", "operation", "hypervisor"}
    assert "no room" in shown
    assert "| <domain/>" in shown


def test_why_tells_the_numbers_that_decided(state: Path) -> None:
    for thing in ("req-1", "5f3c9a52", SERVER):
        shown = minicloud("why", "--state", str(state), thing).output
        assert "The host has no room." in shown
        assert "wanted = 4" in shown


def test_why_says_when_it_knows_nothing(state: Path) -> None:
    unknown = minicloud("why", "--state", str(state), "req-2")
    assert (unknown.exit_code, "Nothing about req-2" in unknown.output) == (0, True)
    assert minicloud("why", "--state", str(state), "nobody").exit_code == 1


def test_ops_shows_what_is_stuck_and_exits_with_one(state: Path) -> None:
    shown = minicloud("ops", "--state", str(state))
    assert shown.exit_code == 1
    assert 'takes back: volume.release("77", "88")' in shown.output
    assert SERVER not in shown.output
    assert SERVER in minicloud("ops", "--state", str(state), "--all").output


def test_an_ambiguous_beginning_is_refused(state: Path) -> None:
    done = minicloud("trace", "--state", str(state), "%")
    assert done.exit_code == 1
    assert "Cannot tell which is meant" in done.output


def test_a_state_folder_without_a_cloud_is_one_clear_line(tmp_path: Path) -> None:
    done = minicloud("ops", "--state", str(tmp_path))
    assert done.exit_code == 1
    assert done.output.startswith("Error: Cannot read the database")


def test_the_example_configuration_is_the_defaults() -> None:
    example = ROOT / "examples" / "minicloud.toml"
    assert load(example) == Config()
    told = set(re.findall(r"^(\w+) =|^\[(\w+)\]", example.read_text(), re.MULTILINE))
    wanted = set(re.findall(r"^(\w+) =|^\[(\w+)\]", render(Config()), re.MULTILINE))
    assert told == wanted


def test_a_rendered_configuration_reads_back_to_the_same(tmp_path: Path) -> None:
    config = Config()
    (tmp_path / "c.toml").write_text(render(config))
    assert load(tmp_path / "c.toml") == config


def test_an_openrc_holds_what_the_clouds_yaml_does() -> None:
    told = variables(
        clouds_yaml("http://127.0.0.1:5050", "RegionOne", {"admin": Person("admin", "admin", "s3 cret")}), "admin"
    )
    assert told["OS_AUTH_URL"] == "http://127.0.0.1:5050/identity"
    assert (told["OS_USERNAME"], told["OS_PASSWORD"], told["OS_PROJECT_NAME"]) == ("admin", "s3 cret", "admin")


@pytest.mark.real
def test_the_doctor_gives_a_fix_for_everything_that_is_wrong(tmp_path: Path) -> None:
    done = minicloud("doctor", "--state", str(tmp_path), "--json")
    findings = json.loads(done.output)
    assert {"nftables", "br_netfilter", "kvm", "libvirtd"} <= {one["name"] for one in findings}
    assert all(bool(one["fix"]) == (one["verdict"] != "ok") for one in findings)
    assert done.exit_code == any(one["verdict"] == "fail" for one in findings)
