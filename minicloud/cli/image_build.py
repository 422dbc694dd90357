"""`minicloud image build`: guest images made on this machine.

Why: a new cloud has no image to boot. Mounted by the command line's root below `minicloud image`; prints the path on
standard output, so that a script can hand it to `openstack image create --file`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import click

from minicloud.core.errors import HostFailure, MinicloudError
from minicloud.guest import debian, tiny

CACHE = Path("/var/cache/minicloud")


in_cache = click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    default=CACHE,
    show_default=True,
    help="The folder that keeps the image; it is built only when it is not there yet.",
)
only_path = click.option("--print-path", is_flag=True, help="Print nothing but the path, not even the progress.")


@click.group()
def build() -> None:
    """Build a guest image out of Debian's packages."""


def _built(make: Callable[..., Coroutine[Any, Any, Path]], cache: Path, *, print_path: bool) -> None:
    """Print the path of an image that is made unless it is there."""

    def progress(line: str) -> None:
        if not print_path:
            click.echo(line, err=True)

    try:
        path = asyncio.run(make(cache, progress=progress))
    except MinicloudError as error:
        detail = error.detail if isinstance(error, HostFailure) else ""
        raise click.ClickException(f"{error.message}\n{detail}".rstrip()) from error
    click.echo(path)


@build.command("tiny")
@in_cache
@only_path
def build_tiny(cache: Path, print_path: bool) -> None:
    """Build the tiny image: boots in seconds without KVM, 128 MB, user cirros. Needs root."""
    _built(tiny, cache, print_path=print_path)


@build.command("debian")
@in_cache
@only_path
def build_debian(cache: Path, print_path: bool) -> None:
    """Build a Debian 12 cloud image: cloud-init, 512 MB, user debian. Needs root and mmdebstrap; one to three minutes."""
    _built(debian, cache, print_path=print_path)
