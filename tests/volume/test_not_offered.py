"""What this cloud does not make: clients that clean up find none of it, and are told why they can't have one."""

from __future__ import annotations

import pytest

from tests.volume.conftest import Volumes


@pytest.mark.parametrize(("noun", "plural"), [("backup", "backups"), ("group", "groups")])
async def test_lists_are_empty_and_making_one_is_refused_with_the_reason(
    alice: Volumes, noun: str, plural: str
) -> None:
    for path in (f"/{plural}", f"/{plural}/detail?sort=created_at:desc"):
        assert (await alice.call("GET", path, expect=200)).body == {plural: []}
    await alice.call("GET", f"/{plural}/6f0f3a1e-6d3c-4f6c-9c1b-0d6a6f1d2c3b", expect=404)
    refused = await alice.call("POST", f"/{plural}", {noun: {"name": "one"}}, expect=501)
    assert "not offered" in next(iter(refused.body.values()))["message"]
