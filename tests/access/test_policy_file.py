"""The operator's own `policy.yaml` stands for the policies of the routes, and `minicloud policy check` explains it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from minicloud.cli.policy import policy
from minicloud.core.errors import Invalid
from tests.conftest import plain_config, running_cloud

RULES = """
builder: "role:builder or rule:admin_required"
"identity:create_region": "rule:builder"
"os_compute_api:os-keypairs:index": "!"
"add_image": "role:member and not project_id:%(project_id)s"
"""


def _written(folder: Path, text: str) -> None:
    (folder / "state").mkdir()
    (folder / "state" / "policy.yaml").write_text(text)


async def test_a_file_lets_in_and_shuts_out(tmp_path: Path) -> None:
    _written(tmp_path, RULES)
    async with running_cloud(tmp_path) as cloud:
        await cloud.admin.post("/identity/v3/roles", {"role": {"name": "builder"}}, expect=201)
        builder = await cloud.person("bob", project="site", roles=("builder",))
        await builder.post("/identity/v3/regions", {"region": {"id": "north"}}, expect=201)
        await cloud.demo.post("/identity/v3/regions", {"region": {"id": "south"}}, expect=403)
        await cloud.admin.post("/identity/v3/regions", {"region": {"id": "west"}}, expect=201)
        await cloud.admin.get("/compute/v2.1/os-keypairs", expect=403)
        await cloud.demo.post("/compute/v2.1/os-keypairs", {"keypair": {"name": "k"}}, expect=200)
        await cloud.demo.post("/image/v2/images", {"disk_format": "raw", "container_format": "bare"}, expect=403)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('"identity:make_region": "@"', "no route has the rules identity:make_region"),
        ('"identity:create_region": "rule:nowhere"', "rules that are nowhere: nowhere"),
        ('"identity:create_region": "role:admin and and"', "cannot be understood what identity:create_region"),
        ('"identity:create_region": "http://elsewhere/"', "that ask another server"),
        ("{{{", "Cannot use"),
    ],
)
async def test_a_file_with_a_slip_keeps_the_daemon_from_starting(tmp_path: Path, text: str, told: str) -> None:
    _written(tmp_path, text)
    with pytest.raises(Invalid, match=told):
        async with running_cloud(tmp_path):
            pass


def test_the_command_explains_a_verdict(tmp_path: Path) -> None:
    def told(*arguments: str) -> str:
        answer = CliRunner().invoke(policy, ["check", "--state", str(tmp_path), *arguments], catch_exceptions=False)
        assert answer.exit_code == 0, answer.output
        return answer.output

    assert "allowed  POST /compute/v2.1/servers" in told("member", "os_compute_api:servers:create")
    assert "refused" in told("reader", "os_compute_api:servers:create")
    assert "A token with the scope system is not taken" in told(
        "--scope", "system", "admin", "os_compute_api:servers:create"
    )
    (tmp_path / "policy.yaml").write_text('"os_compute_api:servers:create": "role:builder"')
    answer = told("builder", "os_compute_api:servers:create")
    assert "allowed" in answer and "policy.yaml" in answer and "role:builder" in answer
    assert plain_config(tmp_path).policy_file == tmp_path / "state" / "policy.yaml"
