"""`minicloud demo`: the main job, shown on real machines in a throw-away cloud."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from minicloud.config import load


@click.command()
@click.option(
    "--config", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Options of the cloud."
)
@click.option("--inside", type=click.Path(exists=True, path_type=Path), hidden=True)
def demo(file: Path | None, inside: Path | None) -> None:
    """Start a throw-away cloud, launch machines, log in, crash the daemon, clean up; the machine is as before."""
    if inside is not None:
        from minicloud.demo.story import play

        sys.exit(asyncio.run(play(inside)))
    from minicloud.demo import show

    sys.exit(show(load(file)))
