"""`minicloud env`: the variables that every stock client reads, for `eval`."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from minicloud.cli.options import config_of, configured
from minicloud.clouds import FILE, variables
from minicloud.core.errors import NotFound


@click.command()
@configured
@click.option("--cloud", default="admin", show_default=True, help="Which of the clouds in clouds.yaml.")
def env(file: Path | None, state: Path | None, fake: bool, cloud: str) -> None:
    """Print an openrc:  eval "$(minicloud env)"."""
    inside = os.environ.get("OS_CLIENT_CONFIG_FILE") if "MINICLOUD_SANDBOX" in os.environ else None
    named = file is not None or state is not None
    path = Path(inside) if inside and not named else config_of(file, state, fake=fake).state / FILE
    try:
        told = variables(path.read_text(), cloud)
    except FileNotFoundError:
        raise NotFound(f"Cannot tell the variables: there is no {path}; `minicloud init` makes it.") from None
    except KeyError:
        raise NotFound(f"Cannot tell the variables: {path} has no cloud {cloud}.") from None
    for name, value in told.items():
        click.echo(f"export {name}={shlex.quote(value)}")
