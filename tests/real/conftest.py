"""The suites of the whole daemon on the real host: only inside a sandbox, one cloud a module.

They boot real guests, so each module shares one cloud and as few guests as it can. Outside of a sandbox
(`minicloud sandbox run --bare -- python -m pytest tests/real`) nothing here is collected: it would touch a machine's
own network.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.conftest import Cloud
from tests.real.town import Town, running_town

INSIDE = os.environ.get("MINICLOUD_SANDBOX") == "1"


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Outside of a sandbox there is nothing to collect."""
    return True if not INSIDE and collection_path.name.startswith("test_") else None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city() -> AsyncIterator[tuple[Cloud, Town]]:
    """The module's cloud and its member's town."""
    async with running_town() as made:
        yield made


@pytest.fixture
def cloud(city: tuple[Cloud, Town]) -> Cloud:
    """The module's cloud."""
    return city[0]


@pytest.fixture
def town(city: tuple[Cloud, Town]) -> Town:
    """The module's town."""
    return city[1]
