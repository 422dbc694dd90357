"""What lies in examples/ does what it says, with the stock clients, word for word as a reader would run it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from openstack.config import OpenStackConfig
from openstack.connection import Connection

from tests.clients.conftest import Running

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PROGRAMS = Path(sys.executable).parent
ANSIBLE = PROGRAMS.parent / "ansible" / "bin"
"""An environment of its own, see ansible.txt."""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty disk image of 1 MiB."""
    path = tmp_path_factory.mktemp("examples") / "image.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "1M"], check=True, timeout=20)
    return path


@pytest.fixture
def here(running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reader's own folder; whatever is run finds the cloud as administrator."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{PROGRAMS}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(running.clouds))
    monkeypatch.setenv("OS_CLOUD", "admin")
    return tmp_path


def run(*argv: object) -> str:
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, f"{argv}: {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def left(sdk: Connection) -> dict[str, list[str]]:
    """Names of everything that an example makes."""
    kinds: dict[str, Any] = {
        "servers": sdk.compute.servers(), "flavors": sdk.compute.flavors(), "volumes": sdk.block_storage.volumes(),
        "networks": sdk.network.networks(), "routers": sdk.network.routers(), "images": sdk.image.images(),
        "groups": sdk.network.security_groups(), "addresses": sdk.network.ips(),
    }  # fmt: skip
    return {kind: sorted(one.name for one in some) for kind, some in kinds.items()}


def test_the_shell_script_launches_and_cleans_up(here: Path, image: Path, sdk: Connection) -> None:
    list(sdk.network.security_groups())  # the default group of the project is made when it is first looked for
    before = left(sdk)
    script = EXAMPLES / "launch.sh"
    told = run(script, image)
    address = told.rsplit("@", 1)[1].strip()
    server = sdk.compute.find_server("example", details=True, ignore_missing=False)
    assert server.status == "ACTIVE"
    assert address in {one["addr"] for one in server.addresses["example"]}
    assert "PRIVATE KEY" in (here / "example.pem").read_text()
    run(script, "--clean")
    assert left(sdk) == before


def test_the_sdk_script_launches_once_and_cleans_up(here: Path, image: Path, sdk: Connection) -> None:
    list(sdk.network.security_groups())
    before = left(sdk)
    script = EXAMPLES / "launch.py"
    address = run(sys.executable, script, image)
    made = left(sdk)
    assert run(sys.executable, script, image) == address
    assert left(sdk) == made
    run(sys.executable, script, "--clean")
    assert left(sdk) == before


def test_the_playbook_changes_nothing_twice(here: Path, image: Path, sdk: Connection) -> None:
    list(sdk.network.security_groups())
    before = left(sdk)

    def play(*more: str) -> dict[str, int]:
        settings = {"ANSIBLE_STDOUT_CALLBACK": "json", "ANSIBLE_LOCALHOST_WARNING": "false", "LC_ALL": "C.UTF-8"}
        argv = [str(ANSIBLE / "ansible-playbook"), str(EXAMPLES / "ansible" / "site.yml"), "-e", f"image_file={image}"]
        python = f"ansible_python_interpreter={ANSIBLE / 'python'}"
        done = subprocess.run(
            [*argv, "-e", python, *more], capture_output=True, text=True, timeout=280, env={**os.environ, **settings}
        )
        assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        stats: dict[str, int] = json.loads(done.stdout)["stats"]["localhost"]
        return stats

    assert ANSIBLE.is_dir(), "Ansible is not installed yet: `make test` does it."
    assert play()["changed"] > 0
    assert len([one for one in sdk.compute.servers() if one.name.startswith("play-") and one.status == "ACTIVE"]) == 2
    assert play()["changed"] == 0
    play("-e", "state=absent")
    assert left(sdk) == before


def test_the_clouds_file_tells_clients_what_they_need(running: Running, tmp_path: Path, sdk: Connection) -> None:
    told = yaml.safe_load((EXAMPLES / "clouds.yaml").read_text())["clouds"]
    own = yaml.safe_load(running.clouds.read_text())["clouds"]["admin"]
    assert {**told["admin"], "auth": {**told["admin"]["auth"], **_secrets(own["auth"])}} == own
    credential = sdk.identity.create_application_credential(user=sdk.current_user_id, name="ci")
    told["ci"]["auth"] = {
        "auth_url": own["auth"]["auth_url"],
        "application_credential_id": credential.id,
        "application_credential_secret": credential.secret,
    }
    path = tmp_path / "clouds.yaml"
    path.write_text(yaml.safe_dump({"clouds": told}))
    with Connection(config=OpenStackConfig(config_files=[str(path)]).get_one(cloud="ci")) as ci:
        assert ci.current_project_id == sdk.current_project_id
    sdk.identity.delete_application_credential(sdk.current_user_id, credential.id)


def _secrets(auth: dict[str, str]) -> dict[str, str]:
    return {name: auth[name] for name in ("auth_url", "password")}
