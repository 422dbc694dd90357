"""`minicloud image build`: guest images made on this machine.

Why: a new cloud has no image to boot. Mounted by the command line's root below `minicloud image`; prints the path on
standard output, so that a script can hand it to `openstack image create --file`.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from minicloud.core.errors import HostFailure, MinicloudError
from minicloud.guest import tiny

CACHE = Path("/var/cache/minicloud")


@click.group()
def build() -> None:
    """Build a guest image out of Debian's packages."""


@build.command("tiny")
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    default=CACHE,
    show_default=True,
    help="The folder that keeps the image; it is built only when it is not there yet.",
)
@click.option("--print-path", is_flag=True, help="Print nothing but the path, not even the progress.")
def build_tiny(cache: Path, print_path: bool) -> None:
    """Build the tiny image: boots in seconds without KVM, 128 MB, user cirros. Needs root."""

    def progress(line: str) -> None:
        if not print_path:
            click.echo(line, err=True)

    try:
        path = asyncio.run(tiny(cache, progress=progress))
    except MinicloudError as error:
        detail = error.detail if isinstance(error, HostFailure) else ""
        raise click.ClickException(f"{error.message}\n{detail}".rstrip()) from error
    click.echo(path)
