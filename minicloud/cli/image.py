"""`minicloud image`: guest images that can be made or had here, and whether those of the cloud are whole.

Why: a new cloud has no image, and an operator wants to know of rotten disks before users do. What a user does with images,
they do with the stock clients: `get` and `build` print a path for `openstack image create --file`.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import click

from minicloud.cli import journal
from minicloud.cli.image_build import CACHE, build
from minicloud.cli.options import config_of, configured
from minicloud.core.errors import Invalid
from minicloud.image import Image


@click.group()
def image() -> None:
    """Build, get and verify guest images."""


image.add_command(build)


@image.command("list")
@configured
@click.option("--remote", is_flag=True, help="Those that can be had by `minicloud image get`.")
def list_images(file: Path | None, state: Path | None, fake: bool, remote: bool) -> None:
    """List the cloud's images, or with --remote those that projects publish."""
    if remote:
        from minicloud.guest import catalogue

        for one in catalogue.published():
            click.echo(f"{one.name:<18} user {one.user:<11} from {one.min_ram:>4} MiB  {one.url}")
        return
    with journal.opened(file, state, fake=fake) as store:
        for row in Image.recorded(store):
            size = "-" if row.size is None else f"{row.size / 1024**2:.1f} MiB"
            click.echo(f"{row.id}  {row.status:<11} {row.disk_format or '-':<6} {size:>12}  {row.name or ''}")


@image.command("get")
@click.argument("name")
@click.option("--mirror", help="A URL or folder with the image and its list of checksums, instead of the project's.")
@click.option(
    "--cache", type=click.Path(file_okay=False, path_type=Path), default=CACHE, show_default=True, help="The folder."
)
@click.option("--print-path", is_flag=True, help="Print nothing but the path, not even the progress.")
def get_image(name: str, mirror: str | None, cache: Path, print_path: bool) -> None:
    """Get the well-known cloud image NAME, such as debian/13, and check that it is whole and the project's."""
    from minicloud.guest import catalogue

    with contextlib.ExitStack() as stack:
        bars: list[Any] = []  # click has no public name for the type

        def progress(have: int, total: int | None) -> None:
            if print_path or not total:
                return
            if not bars:
                bar: Any = click.progressbar(length=total, label=name, file=sys.stderr)
                bars.append(stack.enter_context(bar))
            bars[0].update(have - bars[0].pos)

        path = catalogue.run_get(name, cache, mirror=mirror, progress=progress)
    click.echo(path)
    if not print_path:
        click.echo(f"openstack image create --disk-format qcow2 --file {path} {name}", err=True)


@image.command("verify")
@configured
def verify(file: Path | None, state: Path | None, fake: bool) -> None:
    """Read all bytes of all images and compare them with what was uploaded. Exits with 1 if one is damaged.

    The cloud may run meanwhile.
    """
    folder = config_of(file, state, fake=fake).state
    bad = 0
    with journal.opened(file, state, fake=fake) as store:
        for row, finding in Image.verified(store, folder):
            bad += finding is not None
            click.echo(f"{row.id}  {finding or 'whole'}  {row.name or ''}")
    if bad:
        raise Invalid(
            f"{bad} images are damaged. Delete them before they are uploaded anew, or put their files back from a backup."
        )
    click.echo("All images are whole.")
