"""Claims on this host, through the service's public interface."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from minicloud.config import Config, Paths
from minicloud.core import operations, quota, trace
from minicloud.core.clock import SystemClock
from minicloud.core.context import Context
from minicloud.core.errors import NoCapacity
from minicloud.core.events import Events
from minicloud.core.foundation import Foundation
from minicloud.core.operations import Operations
from minicloud.core.store import Db, Store
from minicloud.core.trace import Tracer
from minicloud.host.fake import fake_host
from minicloud.placement import Placement


@pytest.fixture
async def placement(tmp_path: Path) -> AsyncIterator[Placement]:
    store, clock = Store(tmp_path / "minicloud.db"), SystemClock()
    tracer = Tracer(store, clock)
    foundation = Foundation(store, Events(), Operations(store, tracer, clock), tracer, clock)
    host, _ = fake_host(None)
    await host.open()
    service = Placement(foundation, host, Config(paths=Paths(state=str(tmp_path))))
    store.open([operations.migrations, quota.migrations, trace.migrations, service.migrations])
    await service.measure()
    yield service
    await host.close()
    await store.close()


def ctx() -> Context:
    return Context.internal("test", project_id="p1")


async def test_measuring_twice_makes_one_provider_and_no_new_generation(placement: Placement) -> None:
    first = placement.provider()
    await placement.measure()
    assert placement.provider() == first
    assert first.name == "fake-host"
    assert set(placement.inventory()) == {"VCPU", "MEMORY_MB", "DISK_GB"}


async def test_a_claim_counts_until_it_is_released(placement: Placement) -> None:
    await placement.claim(ctx(), "server-1", {"VCPU": 2, "MEMORY_MB": 64, "DISK_GB": 0})
    assert placement.claim_of("server-1") == {"VCPU": 2, "MEMORY_MB": 64}
    assert placement.usage()["VCPU"] == 2
    await placement.release("server-1")
    await placement.release("server-1")
    assert placement.claim_of("server-1") == {}
    assert placement.usage()["VCPU"] == 0


async def test_a_second_claim_replaces_the_first(placement: Placement) -> None:
    await placement.claim(ctx(), "server-1", {"VCPU": 2})
    await placement.claim(ctx(), "server-1", {"VCPU": 1, "MEMORY_MB": 16})
    assert placement.claim_of("server-1") == {"VCPU": 1, "MEMORY_MB": 16}


async def test_too_much_is_refused_with_numbers_and_changes_nothing(placement: Placement) -> None:
    room = placement.inventory()["MEMORY_MB"].capacity
    await placement.claim(ctx(), "server-1", {"MEMORY_MB": room})
    with pytest.raises(NoCapacity, match=f"{room} of {room} used"):
        await placement.claim(ctx(), "server-2", {"MEMORY_MB": 1, "VCPU": 1})
    assert placement.claim_of("server-2") == {}
    assert placement.usage()["VCPU"] == 0


async def test_a_claim_dies_with_the_callers_transaction(placement: Placement) -> None:
    def admit(db: Db) -> None:
        placement.claim_in(db, consumer_id="server-1", project_id="p1", user_id="u1", resources={"VCPU": 1})
        raise ValueError("the caller changed its mind")

    with pytest.raises(ValueError, match="changed its mind"):
        await placement.store.write(admit)
    assert placement.claim_of("server-1") == {}
