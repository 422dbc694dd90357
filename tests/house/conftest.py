"""One town for all tests of a module: those that go through every route only look, or are refused."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.house.town import Town, furnished


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def town(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Town]:
    """A cloud with one of everything."""
    async with furnished(tmp_path_factory.mktemp("town")) as one:
        yield one
