"""TLS at the door: a certificate of the cloud's own authority, one from elsewhere, and what is no good."""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner
from openstack import config as clouds
from openstack.connection import Connection

from minicloud import authority
from minicloud.cli import root
from minicloud.config import Config, render
from tests.conftest import PASSWORD, Cloud, plain_config

OLD = timedelta(days=300)


def command(config: Config, *arguments: str) -> str:
    """What `minicloud` says to some arguments, with this configuration."""
    file = config.state.parent / "minicloud.toml"
    file.write_text(render(config))
    done = CliRunner().invoke(root, [*arguments, "--config", str(file)], env={"MINICLOUD_ADMIN_PASSWORD": PASSWORD})
    assert done.exit_code == 0, done.output
    return done.output


@contextlib.asynccontextmanager
async def trusted(config: Config, authority_file: Path) -> AsyncIterator[Cloud]:
    """A cloud whose clients trust an authority."""
    cloud = Cloud(config.state.parent, config)
    await cloud.session.close()
    context = ssl.create_default_context(cafile=authority_file)
    cloud.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))
    try:
        await cloud.start()
        yield cloud
    finally:
        await cloud.stop()
        await cloud.session.close()


async def shown(cloud: Cloud, authority_file: Path) -> bytes:
    """The certificate that the door shows to a new connection."""
    host, port = cloud.daemon.url.removeprefix("https://").split(":")
    context = ssl.create_default_context(cafile=authority_file)
    _, writer = await asyncio.open_connection(host, int(port), ssl=context)
    told = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    with contextlib.suppress(ssl.SSLError):
        await writer.wait_closed()
    assert isinstance(told, bytes)
    return told


async def test_a_cloud_with_an_authority_of_its_own_speaks_tls_only(tmp_path: Path) -> None:
    config = plain_config(tmp_path)
    told = command(config, "certificate", "make", "cloud.example")
    ours = config.state / "tls" / "authority.pem"
    assert str(ours) in told
    data = os.urandom(3_000_000)
    async with trusted(config, ours) as cloud:
        assert cloud.daemon.url.startswith("https://")
        catalogue = (await cloud.admin.get("/identity/v3/auth/catalog"))["catalog"]
        assert all(one["url"].startswith(cloud.daemon.url) for entry in catalogue for one in entry["endpoints"])
        body = {"name": "one", "disk_format": "raw", "container_format": "bare"}
        image = (await cloud.admin.post("/image/v2/images", body, expect=201))["id"]
        octets = {"Content-Type": "application/octet-stream"}
        await cloud.admin.put(f"/image/v2/images/{image}/file", data=data, headers=octets, expect=204)
        assert (await cloud.admin.get(f"/image/v2/images/{image}/file")).body == data
        async with aiohttp.ClientSession() as stranger:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await stranger.get(cloud.daemon.url)
            with pytest.raises(aiohttp.ClientError):
                await stranger.get(cloud.daemon.url.replace("https", "http"))


async def test_stock_clients_find_a_tls_cloud_by_its_clouds_yaml(tmp_path: Path) -> None:
    config = plain_config(tmp_path)
    await asyncio.to_thread(command, config, "init")  # it runs a loop of its own
    command(config, "certificate", "make")
    ours = config.state / "tls" / "authority.pem"
    assert f"OS_CACERT={ours}" in command(config, "env")

    def ask(url: str) -> list[str]:
        loader = clouds.OpenStackConfig(config_files=[str(config.state / "clouds.yaml")], load_envvars=False)
        auth = {**loader.get_one(cloud="admin").get_auth_args(), "auth_url": f"{url}/identity"}
        with Connection(config=loader.get_one(cloud="admin", auth=auth)) as client:
            return [one.name for one in client.identity.regions()] or [one.name for one in client.identity.projects()]

    async with trusted(config, ours) as cloud:
        assert await asyncio.to_thread(ask, cloud.daemon.url)


async def test_a_certificate_of_ours_is_renewed_in_time_for_the_same_names(tmp_path: Path) -> None:
    config, before = plain_config(tmp_path), datetime.now(UTC) - OLD
    folder = config.tls_folder
    config.state.mkdir()
    authority.make(folder, ["127.0.0.1"], before)
    old, trust = (folder / "certificate.pem").read_bytes(), (folder / "authority.pem").read_bytes()
    os.utime(folder / "certificate.pem", (before.timestamp(),) * 2)
    async with trusted(config, folder / "authority.pem") as cloud:
        renewed = await shown(cloud, folder / "authority.pem")
        assert renewed != ssl.PEM_cert_to_DER_cert(old[old.index(b"-----BEGIN CERT") :].decode())
        assert (folder / "authority.pem").read_bytes() == trust
        assert (folder / "certificate.pem").stat().st_mode & 0o777 == 0o600


async def test_files_that_somebody_renews_are_taken_up_without_a_restart(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    authority.make(elsewhere, ["127.0.0.1"], datetime.now(UTC))
    config = plain_config(tmp_path)
    config = replace(config, api=replace(config.api, tls_certificate=str(elsewhere / "certificate.pem")))
    async with trusted(config, elsewhere / "authority.pem") as cloud:
        first = await shown(cloud, elsewhere / "authority.pem")
        authority.make(elsewhere, ["127.0.0.1"], datetime.now(UTC))
        for one in cloud.daemon.reconcilers:
            if one.name == "certificate":
                await one.once()
        assert await shown(cloud, elsewhere / "authority.pem") != first


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda path: path.unlink(), "No such file"),
        (lambda path: path.write_text("none"), "PEM"),
        (lambda path: path.chmod(0o644), "everybody on this machine may read it"),
    ],
    ids=["missing", "no certificate", "open to all"],
)
async def test_a_certificate_that_is_no_good_refuses_the_start(
    tmp_path: Path, harm: Callable[[Path], object], says: str
) -> None:
    config = plain_config(tmp_path)
    authority.make(tmp_path, ["127.0.0.1"], datetime.now(UTC))
    harm(tmp_path / "certificate.pem")
    config = replace(config, api=replace(config.api, tls_certificate=str(tmp_path / "certificate.pem")))
    cloud = Cloud(tmp_path, config)
    with pytest.raises(Exception, match=f"Cannot use the .*{tmp_path / 'certificate.pem'}.*{says}"):
        await cloud.start()
    await cloud.session.close()
