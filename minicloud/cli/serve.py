"""`minicloud serve`: the cloud in the foreground; systemd runs this too."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import gc
import os
import resource
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click

from minicloud.cli.options import config_of, configured
from minicloud.clouds import FILE, Person, clouds_yaml
from minicloud.config import Config
from minicloud.core.files import write_whole


@click.command()
@configured
@click.option("--port", type=click.IntRange(0, 65535), help="The port of all services.")
@click.option("--listen", metavar="ADDRESS", help="The address to listen on.")
@click.option(
    "--admin-password-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="First start: the administrator's password; else MINICLOUD_ADMIN_PASSWORD, else one is made and told once.",
)
def serve(
    file: Path | None,
    state: Path | None,
    fake: bool,
    port: int | None,
    listen: str | None,
    admin_password_file: Path | None,
) -> None:
    """Run the cloud in the foreground until SIGTERM or Ctrl-C; guests go on."""
    config = config_of(file, state, fake=fake)
    api = config.api
    api = replace(api, port=api.port if port is None else port, listen=listen or api.listen)
    asyncio.run(_serve(replace(config, api=api), admin_password(admin_password_file)))


def admin_password(file: Path | None) -> str | None:
    """The first administrator's password, from the file, or from the environment (and not left there)."""
    told = os.environ.pop("MINICLOUD_ADMIN_PASSWORD", None)
    return told if file is None else file.read_text().strip()


async def _serve(config: Config, password: str | None) -> None:
    gc.disable()  # until `settle_memory`: what is imported stays, looking through it time and again is a tenth of the start
    with _without_authorities():
        from minicloud.daemon import Daemon, configure_logs, make_host, settle_memory

    configure_logs(as_json=config.log_json)
    faulthandler.enable()  # the watchdog's SIGABRT tells who held the loop
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # keys and passwords are for nobody's disk
    settle_memory()
    first = not (config.state / "minicloud.db").exists()
    daemon = Daemon(config, make_host(config), admin_password=password)
    await daemon.run(started=lambda: _tell(config, password or daemon.new_password, first=first, made=not password))


@contextlib.contextmanager
def _without_authorities() -> Iterator[None]:
    """Import aiohttp without the certificate authorities of this machine.

    It reads all of them, twice, when it is imported: a tenth of our start, and megabytes for as long as we run. The
    daemon asks hardly anybody over TLS; what does reads them then (`image/fetch.py`).
    """
    names = ("SSL_CERT_FILE", "SSL_CERT_DIR")
    told = {name: os.environ[name] for name in names if name in os.environ}
    os.environ.update(dict.fromkeys(names, os.devnull))
    try:
        yield
    finally:
        for name in names:
            del os.environ[name]
        os.environ.update(told)


def _tell(config: Config, password: str | None, *, first: bool, made: bool) -> None:
    """After the very first start: who the administrator is, and a clouds.yaml for stock clients."""
    if not first or password is None:
        return
    clouds = write_clouds(config, password)
    if made:
        click.echo(
            f"The administrator is admin, with the password {password} (told this once; {clouds} has it).", err=True
        )
        sys.stderr.flush()


def write_clouds(config: Config, password: str) -> Path:
    """The clouds.yaml of the state folder, with the administrator; where it is."""
    path, people = config.state / FILE, {"admin": Person("admin", "admin", password)}
    text = clouds_yaml(config.public_url, config.api.region, people, authority=config.authority)
    write_whole(path, text.encode())
    return path
