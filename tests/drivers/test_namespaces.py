"""What namespaces promise, on the fake host and on this machine."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from minicloud.core.errors import HostFailure
from minicloud.host.namespaces import Namespaces, dhcp_space, router_space

NAME = router_space("0b5f7a6e")


async def test_a_namespace_is_there_once_and_goes_once(namespaces: Namespaces) -> None:
    number = await namespaces.ensure(NAME)
    assert await namespaces.ensure(NAME) == number
    assert await namespaces.actual() == {NAME}
    await namespaces.remove(NAME)
    await namespaces.remove(NAME)
    assert await namespaces.actual() == frozenset()


async def test_a_listener_inside_takes_connections(namespaces: Namespaces) -> None:
    await namespaces.ensure(NAME)
    listener = await namespaces.listen(NAME, "127.0.0.1", 8775)
    with contextlib.closing(listener):
        assert not listener.getblocking()
        assert listener.getsockname()[1] > 0
    await namespaces.remove(NAME)


async def test_a_namespace_made_again_is_another_while_somebody_listens_in_the_first(namespaces: Namespaces) -> None:
    number = await namespaces.ensure(NAME)
    with contextlib.closing(await namespaces.listen(NAME, "127.0.0.1", 8775)):
        await namespaces.remove(NAME)
        assert await namespaces.ensure(NAME) != number


async def test_what_is_asked_of_an_absent_namespace_is_refused_by_name(namespaces: Namespaces) -> None:
    with pytest.raises(HostFailure, match=NAME):
        await namespaces.listen(NAME, "127.0.0.1", 8775)
    with pytest.raises(HostFailure, match=NAME):
        await namespaces.set_sysctl(NAME, "net.ipv4.ip_forward", "1")


async def test_settings_are_written_inside(namespaces: Namespaces) -> None:
    await namespaces.ensure(NAME)
    await namespaces.set_sysctl(NAME, "net.ipv4.ip_forward", "1")
    await namespaces.remove(NAME)


async def test_many_namespaces_made_at_once_are_all_there(namespaces: Namespaces) -> None:
    names = [dhcp_space(str(number)) for number in range(10)]
    await asyncio.gather(*(namespaces.ensure(name) for name in names))
    assert await namespaces.actual() == set(names)
    await asyncio.gather(*(namespaces.remove(name) for name in names))
