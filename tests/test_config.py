"""The configuration: what is wrong in it is told at once, in one line that names the option, the value and what is wanted."""

from __future__ import annotations

from pathlib import Path

import pytest

from minicloud.config import load
from minicloud.core.errors import Invalid, Unavailable
from minicloud.daemon import Daemon, make_host
from minicloud.host.fake import fake_host
from tests.conftest import plain_config


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("colour = 1", "Cannot use the option colour: there is no such option."),
        ("[api]\ncolour = 1", "Cannot use the option api.colour: there is no such option."),
        ("api = 3", "Cannot use 3 for the option api: a section is wanted."),
        ("fake = 1", "Cannot use 1 for the option fake: true or false is wanted."),
        ("[api]\nport = 99999", "Cannot use 99999 for the option api.port: a number from 0 to 65535 is wanted."),
        ("[api]\nport = true", "Cannot use True for the option api.port: a whole number is wanted."),
        ("[paths]\nstate = ''", "Cannot use '' for the option paths.state: a folder is wanted."),
        ("[identity]\nhash_threads = 0", "option identity.hash_threads: a number that is at least 1 is wanted."),
        ("[identity]\nargon2_memory_kib = 0", "option identity.argon2_memory_kib: a number from 8 to"),
        ("[identity]\ntoken_seconds = -5", "Cannot use -5 for the option identity.token_seconds"),
        ("[identity]\nkeys_kept = 0", "Cannot use 0 for the option identity.keys_kept"),
        ("[image]\nimport_networks = ['zz']", "a list of networks such as 10.0.0.0/8 is wanted."),
        ("[image]\nquota_mib = -2", "option image.quota_mib: a number that is at least -1 is wanted."),
        ("[compute]\ncpu_ratio = nan", "Cannot use nan for the option compute.cpu_ratio: a number above 0 is wanted."),
        ("[compute]\ncpu_ratio = 0", "option compute.cpu_ratio: a number above 0 is wanted."),
        ("[compute]\ndhcp_domain = 'a b'", "option compute.dhcp_domain: a domain such as novalocal"),
        (
            "[network]\nexternal_cidr = 'xyz'",
            "Cannot use 'xyz' for the option network.external_cidr: a network such as",
        ),
        ("[network]\nexternal_cidr = '10.0.0.1/24'", "option network.external_cidr"),
        ("[network]\nexternal_gateway = 'xyz'", "option network.external_gateway: an IP address"),
        (
            "[network]\ndns_servers = [1]",
            "Cannot use [1] for the option network.dns_servers: a list of texts is wanted.",
        ),
        ("[network]\ndns_servers = ['x']", "option network.dns_servers: a list of IP addresses is wanted."),
        ("[network.physical_networks]\na = 1", "option network.physical_networks: a table of texts is wanted."),
        ("[network]\nmtu = -1", "option network.mtu: a number from 68 to 65535 is wanted."),
        ("[volume]\nformat = 'zz'", "Cannot use 'zz' for the option volume.format: qcow2 or raw is wanted."),
        ("[api", "Cannot read the configuration"),
        (b"\xff\xfe", "Cannot read the configuration"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(tmp_path: Path, text: str | bytes, words: str) -> None:
    file = tmp_path / "minicloud.toml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(Invalid) as told:
        load(file)
    assert words in told.value.message and "\n" not in told.value.message


def test_numbers_without_a_point_are_numbers(tmp_path: Path) -> None:
    file = tmp_path / "minicloud.toml"
    file.write_text(
        "[compute]\ncpu_ratio = 2\ndhcp_domain = ''\n[network]\nexternal_cidr = ''\nexternal_gateway = ''\n"
    )
    assert load(file).compute.cpu_ratio == 2.0


async def test_a_state_folder_that_cannot_be_is_told_with_its_option(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    config = plain_config(tmp_path)
    with pytest.raises(Unavailable, match=r"state folder \(paths.state\)"):
        make_host(config)
    with pytest.raises(Unavailable, match=r"state folder \(paths.state\)"):
        await Daemon(config, fake_host(None)[0]).start()
