"""The text that dnsmasq reads: pinned line by line, and closed to whatever a value might smuggle in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minicloud.core.errors import Invalid
from minicloud.host.dhcp import Advertised, Advertiser, DhcpHost, DhcpServer, DhcpSubnet, Ipv6Mode
from minicloud.host.real.dnsmasq_files import Account, Files, advertiser_files, server_files, without_leases

GOLDEN = Path(__file__).parent / "golden"
FOLDER = Path("/srv/dhcp/n1")
ACCOUNT = Account("dnsmasq", "nogroup")
FOUR = DhcpSubnet("s4", "10.10.0.0/24", "10.10.0.1", ("192.0.2.53", "192.0.2.54"), (("0.0.0.0/0", "10.10.0.1"),), 3600)
ISOLATED = DhcpSubnet("s5", "10.20.0.0/24", None, (), (("169.254.169.254/32", "10.20.0.2"),), 0)
STATEFUL = DhcpSubnet("s6", "fd10::/64", "fd10::1", ("2001:db8::53",), (), mode=Ipv6Mode.STATEFUL)
SLAAC = DhcpSubnet("s7", "fd11::/64", "fd11::1", (), (), mode=Ipv6Mode.SLAAC)
HOST = DhcpHost("p1", "FA:16:3E:00:00:11", ("10.10.0.11", "fd10::11", "fd11::11"), "host-one")
TUNED = DhcpHost(
    "p2",
    "fa:16:3e:00:00:12",
    ("10.20.0.12",),
    "",
    (("bootfile-name", "pxe.0", 4), ("66", "192.0.2.1", 4), ("23", "2001:db8::1", 6), ("router", "", 4)),
)
SERVER = DhcpServer("n1", "mc-dhcp-n1", "mcip0", 1450, "cloud.local.", (FOUR, ISOLATED, STATEFUL, SLAAC), (HOST, TUNED))


def as_text(files: Files) -> str:
    parts = {"conf": files.conf, "hosts": files.hosts, "options": files.options, "names": files.names}
    return "".join(f"== {name}\n{text}" for name, text in parts.items())


def test_a_server_reads_just_this() -> None:
    text = as_text(server_files(SERVER, folder=FOLDER, account=ACCOUNT))
    assert text == (GOLDEN / "dnsmasq_server.txt").read_text()


def test_an_advertiser_reads_just_this() -> None:
    prefixes = (
        Advertised("mcia", "fd11::/64", Ipv6Mode.SLAAC, 1450),
        Advertised("mcib", "fd12::/64", Ipv6Mode.STATELESS, 1500),
        Advertised("mcib", "fd13::/64", Ipv6Mode.STATEFUL, 1500),
    )
    text = as_text(advertiser_files(Advertiser("r1", "mc-router-r1", prefixes), folder=FOLDER, account=ACCOUNT))
    assert text == (GOLDEN / "dnsmasq_advertiser.txt").read_text()


def test_a_change_of_hosts_leaves_the_configuration_alone() -> None:
    before = server_files(SERVER, folder=FOLDER, account=ACCOUNT)
    after = server_files(replace(SERVER, hosts=(TUNED,)), folder=FOLDER, account=ACCOUNT)
    assert before.conf == after.conf and before.hosts != after.hosts


def test_host_lines_carry_no_tags() -> None:
    assert "set:" not in server_files(SERVER, folder=FOLDER, account=ACCOUNT).hosts


@pytest.mark.parametrize(
    "host",
    [
        replace(HOST, hostname="one\nfa:16:3e:00:00:99,10.10.0.99"),
        replace(HOST, hostname="one,set:x"),
        replace(HOST, mac="fa:16:3e:00:00:11,ignore"),
        replace(HOST, port_id="p,fa:*", options=(("mtu", "1", 4),)),
        replace(HOST, options=(("mtu", "1300\nlog-dhcp", 4),)),
        replace(HOST, options=(("mtu,1300", "1", 4),)),
        replace(HOST, options=(("66", '"x"', 4),)),
        replace(HOST, options=(("66", "x #y", 4),)),
        replace(HOST, options=(("66", "\x07", 4),)),
    ],
)
def test_a_value_that_would_be_more_than_a_value_is_refused(host: DhcpHost) -> None:
    with pytest.raises(Invalid):
        server_files(replace(SERVER, hosts=(host,)), folder=FOLDER, account=ACCOUNT)


@pytest.mark.parametrize("domain", ["a\nb", "a/b", "a b", "a..b"])
def test_a_domain_that_is_none_is_refused(domain: str) -> None:
    with pytest.raises(Invalid):
        server_files(replace(SERVER, domain=domain), folder=FOLDER, account=ACCOUNT)


@given(option=st.text(max_size=20), value=st.text(max_size=40), name=st.text(max_size=20))
def test_any_value_makes_its_one_line_or_none(option: str, value: str, name: str) -> None:
    host = replace(HOST, hostname=name, options=((option, value, 4),))
    plain = server_files(
        replace(SERVER, hosts=(replace(HOST, options=(("66", "x", 4),)),)), folder=FOLDER, account=ACCOUNT
    )
    try:
        files = server_files(replace(SERVER, hosts=(host,)), folder=FOLDER, account=ACCOUNT)
    except Invalid:
        return
    assert len(files.options.splitlines()) == len(plain.options.splitlines())
    assert len(files.hosts.splitlines()) == 1


def test_a_lease_is_taken_out_and_the_rest_stays() -> None:
    text = "1 fa:16:3e:00:00:11 10.10.0.11 one *\nduid 00:01\n2 77 fd10::11 one 00:02\n"
    assert without_leases(text, {"10.10.0.11"}) == "duid 00:01\n2 77 fd10::11 one 00:02\n"
