"""What the packet filter promises, on the fake host and on this machine."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from minicloud.core.errors import HostFailure
from minicloud.host.firewall import Firewall, GroupFilter, GroupRule, NatPlan, PortFilter, Uplink
from minicloud.host.namespaces import Namespaces, router_space

MAC = "fa:16:3e:00:00:11"
GROUP = GroupFilter("group-a", 1, (GroupRule("egress", 4), GroupRule("ingress", 4, 6, 22, 22)))
PORT = PortFilter("port-a", "mctone", "mcbnet", 1, 101, MAC, ((MAC, "10.10.0.11"),), (GROUP.id,))
NAT = NatPlan("r", router_space("r"), "mcigw", "203.0.113.2", (("mcione", "10.10.0.0/24"),), (), 8775)


async def test_the_loaded_ports_are_what_is_known(firewall: Firewall) -> None:
    await firewall.load(ports=(PORT,), groups=(GROUP,), uplinks=())
    assert await firewall.actual() == {PORT.tap}
    await firewall.load(ports=(), groups=(), uplinks=())
    assert await firewall.actual() == frozenset()


async def test_a_port_is_set_again_and_removed_twice(firewall: Firewall) -> None:
    await firewall.set_group(GROUP)
    await firewall.set_port(PORT)
    await firewall.set_port(PORT)
    assert await firewall.actual() == {PORT.tap}
    await firewall.set_port(replace(PORT, tap="mcttwo", bridge="mcbother"))
    assert await firewall.actual() == {"mcttwo"}
    await firewall.remove_port(PORT.port_id)
    await firewall.remove_port(PORT.port_id)
    assert await firewall.actual() == frozenset()


async def test_an_unguarded_port_is_known_too(firewall: Firewall) -> None:
    await firewall.set_port(replace(PORT, guarded=False))
    assert await firewall.actual() == {PORT.tap}
    await firewall.set_port(PORT)
    assert await firewall.actual() == {PORT.tap}


async def test_a_port_may_come_before_its_group(firewall: Firewall) -> None:
    await firewall.set_port(PORT)
    await firewall.set_group(GROUP)
    await firewall.set_group(replace(GROUP, rules=()))


async def test_a_group_in_use_is_not_forgotten(firewall: Firewall) -> None:
    await firewall.set_group(GROUP)
    await firewall.set_port(PORT)
    with pytest.raises(HostFailure, match=GROUP.id):
        await firewall.remove_group(GROUP.id)
    await firewall.remove_port(PORT.port_id)
    await firewall.remove_group(GROUP.id)
    await firewall.remove_group(GROUP.id)


async def test_groups_that_refer_to_each_other_come_and_go_in_any_order(firewall: Firewall) -> None:
    one = replace(GROUP, rules=(GroupRule("ingress", 4, remote_group="group-b"),), members=("10.10.0.11",))
    two = GroupFilter("group-b", 2, (GroupRule("ingress", 6, remote_group="group-a"),), ("10.0.0.0/24", "10.0.0.0/16"))
    await firewall.set_group(one)
    await firewall.set_group(two)
    await firewall.set_group(replace(two, members=("10.10.0.12",)))
    await firewall.remove_group(one.id)
    await firewall.remove_group(two.id)


async def test_many_changes_at_once_all_hold(firewall: Firewall) -> None:
    await firewall.set_group(GROUP)
    ports = [
        replace(PORT, port_id=f"p{number}", tap=f"mct{number}", number=number, addresses=((MAC, f"10.10.0.{number}"),))
        for number in range(1, 31)
    ]
    await asyncio.gather(*(firewall.set_port(port) for port in ports))
    assert await firewall.actual() == {port.tap for port in ports}
    await asyncio.gather(*(firewall.remove_port(port.port_id) for port in ports))
    assert await firewall.actual() == frozenset()


async def test_shared_addresses_and_ranges_are_taken(firewall: Firewall) -> None:
    pairs = ((MAC, "10.10.0.11"), (MAC, "10.10.0.100"), (MAC, "10.0.0.0/8"), (MAC, "10.1.0.0/16"), (MAC, "0.0.0.0/0"))
    six = ((MAC, "fd00::11"), (MAC, "fd00::/64"), ("fa:16:3e:00:00:99", "::/0"), (MAC, "fd00::/48"))
    one = replace(PORT, addresses=pairs + six)
    await firewall.set_uplinks((Uplink(PORT.bridge, "10.10.0.0/24"),))
    await firewall.set_port(one)
    await firewall.set_port(replace(one, port_id="port-b", tap="mcttwo", number=2))
    await firewall.remove_port(one.port_id)
    await firewall.set_uplinks(())
    assert await firewall.actual() == {"mcttwo"}


async def test_an_absent_router_is_refused_by_name(firewall: Firewall) -> None:
    with pytest.raises(HostFailure, match=NAT.space):
        await firewall.set_nat(NAT)


async def test_translation_is_set_again_and_emptied(firewall: Firewall, namespaces: Namespaces) -> None:
    await namespaces.ensure(NAT.space)
    await firewall.set_nat(NAT)
    await firewall.set_nat(replace(NAT, floating=(("203.0.113.50", "10.10.0.11"), ("203.0.113.51", "10.10.0.12"))))
    await firewall.set_nat(NatPlan("r", NAT.space, None, None, (), (), 8775))
