"""`minicloud init`: the state folder and the first administrator, before the first start."""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import click

from minicloud.cli.options import config_of, configured
from minicloud.cli.serve import admin_password, write_clouds
from minicloud.config import Config
from minicloud.core.errors import Conflict


@click.command()
@configured
@click.option(
    "--admin-password-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The administrator's password; else MINICLOUD_ADMIN_PASSWORD, else one is made.",
)
def init(file: Path | None, state: Path | None, fake: bool, admin_password_file: Path | None) -> None:
    """Make the state folder and the first administrator, and a clouds.yaml for stock clients."""
    config = config_of(file, state, fake=fake)
    if (config.state / "minicloud.db").exists():
        raise Conflict(f"Cannot make a cloud in {config.state}: there is one already.")
    given = admin_password(admin_password_file)
    password = given or secrets.token_urlsafe(12)
    asyncio.run(_initialise(config, password))
    clouds = write_clouds(config, password)
    if given is None:
        click.echo(f"The administrator is admin, with the password {password} (told this once; {clouds} holds it too).")
    click.echo(
        f"Start it:  minicloud serve{f' --config {file}' if file else ''}{f' --state {state}' if state else ''}{' --fake' if fake else ''}"
    )
    click.echo(f"Use it:    export OS_CLIENT_CONFIG_FILE={clouds} OS_CLOUD=admin; openstack server list")


async def _initialise(config: Config, password: str) -> None:
    from minicloud.daemon import Daemon
    from minicloud.host.fake import fake_host

    host, _ = fake_host(None)  # no host is needed for rows
    await Daemon(config, host, admin_password=password).initialise()
