"""`minicloud image`: guest images that can be made on this machine."""

from __future__ import annotations

import click

from minicloud.cli.image_build import build


@click.group()
def image() -> None:
    """Build guest images."""


image.add_command(build)
