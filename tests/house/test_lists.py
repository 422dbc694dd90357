"""Lists that are read page by page while rows come and go: what was there all the time is told once, and once only."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.conftest import Cloud


@dataclass(frozen=True)
class Noun:
    """How things of a kind are made and listed: `sort` orders them by name."""

    path: str
    plural: str
    envelope: str
    sort: str
    more: dict[str, Any]

    async def make(self, cloud: Cloud, name: str) -> str:
        body: dict[str, Any] = {"name": name, **self.more}
        made = (await cloud.demo.post(self.path, {self.envelope: body} if self.envelope else body)).body
        return str((made[self.envelope] if self.envelope else made)["id"])

    async def page(self, cloud: Cloud, query: str) -> list[dict[str, Any]]:
        return list((await cloud.demo.get(f"{self.path}?limit=3&{query}"))[self.plural])


NOUNS = [
    Noun("/network/v2.0/networks", "networks", "network", "sort_key=name&sort_dir=asc", {}),
    Noun("/network/v2.0/security-groups", "security_groups", "security_group", "sort_key=name&sort_dir=desc", {}),
    Noun("/volume/v3/volumes", "volumes", "volume", "sort=name:asc", {"size": 1}),
    Noun("/image/v2/images", "images", "", "sort=name:asc", {"disk_format": "raw", "container_format": "bare"}),
]


async def pages(noun: Noun, cloud: Cloud, query: str) -> AsyncIterator[list[dict[str, Any]]]:
    marker = ""
    while found := await noun.page(cloud, query + marker):
        yield found
        marker = f"&marker={found[-1]['id']}"


async def without_quota(cloud: Cloud) -> None:
    """The default ones would be met."""
    project = cloud.demo.project_id
    await cloud.admin.put(
        f"/network/v2.0/quotas/{project}", {"quota": {"network": -1, "security_group": -1}}, expect=200
    )
    limits = {"quota_set": {"volumes": -1, "gigabytes": -1}}
    await cloud.admin.put(f"/volume/v3/{cloud.admin.project_id}/os-quota-sets/{project}", limits, expect=200)


@pytest.mark.parametrize("noun", NOUNS, ids=lambda noun: noun.plural)
async def test_what_stays_is_listed_once_while_other_things_come_and_go(cloud: Cloud, noun: Noun) -> None:
    await without_quota(cloud)
    fleeting = [await noun.make(cloud, f"{number:02}-goes") for number in range(0, 10, 2)]
    staying = {await noun.make(cloud, f"{number:02}-stays") for number in range(10)}
    await cloud.daemon.operations.all_settled()
    for query in ("", noun.sort):
        seen, number = [], 0
        async for found in pages(noun, cloud, query):
            seen += [row["id"] for row in found]
            number += 1
            if number > 5:
                continue
            fleeting.append(await noun.make(cloud, f"{number:02}-comes"))
            gone = next(one for one in fleeting if one != found[-1]["id"])
            fleeting.remove(gone)
            answer = await cloud.demo.delete(f"{noun.path}/{gone}")
            assert answer.status in (202, 204), answer
            await cloud.daemon.operations.all_settled()
        assert {one: seen.count(one) for one in staying} == dict.fromkeys(staying, 1), query
