"""`minicloud certificate`: TLS for clouds that have no certificate of their own."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import urlsplit

import click

from minicloud.certificates import AUTHORITY
from minicloud.cli.options import config_of, configured
from minicloud.clouds import FILE, moved
from minicloud.config import WILDCARDS, Config
from minicloud.core.clock import SystemClock
from minicloud.core.errors import Conflict
from minicloud.core.files import write_whole


@click.group()
def certificate() -> None:
    """Make a certificate for the door, signed by an authority of this cloud's own."""


@certificate.command()
@configured
@click.argument("names", nargs=-1)
def make(file: Path | None, state: Path | None, fake: bool, names: tuple[str, ...]) -> None:
    """Make a certificate for NAMES: the host names and addresses that clients use, beside this machine's own.

    The authority is made with the first one; every client has to trust its file. From its next start on the daemon speaks TLS,
    and it renews the certificate by itself. With a certificate from elsewhere: `api.tls_certificate` in the configuration."""
    from minicloud import authority

    config = config_of(file, state, fake=fake)
    if config.api.tls_certificate:
        raise Conflict(f"Cannot use a certificate of our own: the configuration names {config.api.tls_certificate}.")
    config.state.mkdir(mode=0o711, parents=True, exist_ok=True)
    authority.make(config.tls_folder, list(dict.fromkeys([*names, *_own_names(config)])), SystemClock().now())
    trusted, clouds = config.tls_folder / AUTHORITY, config.state / FILE
    if clouds.exists():
        write_whole(clouds, moved(clouds.read_text(), config.public_url, trusted).encode())
    click.echo(f"Made {config.tls_folder}; start the daemon again to use it.")
    click.echo(f"Clients trust it by {trusted}: `cacert` in clouds.yaml, or  export OS_CACERT={trusted}")


def _own_names(config: Config) -> list[str]:
    public = urlsplit(config.public_url).hostname
    listen = config.api.listen
    named = [] if listen in WILDCARDS else [listen]
    return [
        *([public] if public else []),
        *named,
        socket.gethostname(),
        socket.getfqdn(),
        "localhost",
        "127.0.0.1",
        "::1",
    ]
