"""At every point of every kind of operation: fail there, die there, die again in recovery; the truth must hold.

`make crash` runs all points (`MINICLOUD_CRASH=all`); `make test` a bounded sample that always holds the first and last points.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash import runs
from tests.crash.scenarios import SCENARIOS

SAMPLE = 6
"""Points per scenario and mode in the short form."""

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(["tests.crash.runs", "minicloud.daemon"])


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("template")
    runs.make_template(folder)
    yield folder


def fresh(template: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "cloud"
    if folder.exists():
        shutil.rmtree(folder)
    shutil.copytree(template, folder)
    state = str(template), str(folder)
    for path in (folder / "host" / "world.json", folder / "state" / "minicloud.db"):
        assert path.exists(), path
    world = folder / "host" / "world.json"
    world.write_text(world.read_text().replace(*state))
    return folder


def spawn(target: object, *arguments: object) -> int:
    process = context.Process(target=target, args=arguments)  # type: ignore[arg-type]
    process.start()
    process.join(90)
    if process.is_alive():
        process.kill()
        pytest.fail("a child did not end")
    assert process.exitcode is not None
    return process.exitcode


def told(folder: Path) -> str:
    report = folder / "report"
    return report.read_text() if report.exists() else ""


def points_of(template: Path, tmp_path: Path, scenario: str, mode: str) -> list[str]:
    folder = fresh(template, tmp_path)
    assert spawn(runs.child, folder, scenario, None, "count" if mode == "kill" else mode) == runs.DONE, told(folder)
    return list(json.loads((folder / "points.json").read_text()))


def chosen(count: int) -> list[int]:
    if os.environ.get("MINICLOUD_CRASH") == "all" or count <= SAMPLE:
        return list(range(1, count + 1))
    step = (count - 1) / (SAMPLE - 1)
    return sorted({1 + round(step * index) for index in range(SAMPLE)})


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.timeout(1800)
def test_an_error_at_any_host_effect_is_taken_back(template: Path, tmp_path: Path, scenario: str) -> None:
    points = points_of(template, tmp_path, scenario, "raise")
    assert points
    for at in chosen(len(points)):
        folder = fresh(template, tmp_path)
        code = spawn(runs.child, folder, scenario, at, "raise")
        assert code == runs.DONE, f"{scenario}: error at {at} ({points[at - 1]})\n{told(folder)}"


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.timeout(1800)
def test_a_kill_at_any_point_is_recovered(template: Path, tmp_path: Path, scenario: str) -> None:
    points = points_of(template, tmp_path, scenario, "kill")
    assert points
    for at in chosen(len(points)):
        folder = fresh(template, tmp_path)
        code = spawn(runs.child, folder, scenario, at, "kill")
        assert code == -signal.SIGKILL, f"{scenario}: {at} of {len(points)} was never reached\n{told(folder)}"
        code = spawn(runs.recovering_child, folder, None)
        assert code == runs.DONE, f"{scenario}: killed at {at} ({points[at - 1]})\n{told(folder)}"


@pytest.mark.parametrize("scenario", ["server create", "server delete", "volume attach", "image conversion"])
@pytest.mark.timeout(1800)
def test_a_kill_during_recovery_is_recovered(template: Path, tmp_path: Path, scenario: str) -> None:
    points = points_of(template, tmp_path, scenario, "kill")
    folder = fresh(template, tmp_path)
    assert spawn(runs.child, folder, scenario, max(1, len(points) * 2 // 3), "kill") == -signal.SIGKILL
    for at in range(1, 200 if os.environ.get("MINICLOUD_CRASH") == "all" else 4):
        code = spawn(runs.recovering_child, folder, at)
        if code == runs.DONE:
            return
        assert code == -signal.SIGKILL, f"{scenario}: recovery {at}\n{told(folder)}"
    assert spawn(runs.recovering_child, folder, None) == runs.DONE, told(folder)
