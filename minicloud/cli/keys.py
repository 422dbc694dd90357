"""`minicloud keys`: the keys that tokens are sealed with; a daemon that runs sees the change at its next request."""

from __future__ import annotations

import time
from pathlib import Path

import click

from minicloud.cli.options import config_of, configured
from minicloud.core.errors import NotFound
from minicloud.identity import token_keys


@click.group()
def keys() -> None:
    """Rotate the keys of tokens."""


@keys.command()
@configured
def rotate(file: Path | None, state: Path | None, fake: bool) -> None:
    """Seal new tokens with a new key. As many as `identity.keys_kept` stay good, so that nobody is logged out at once; the
    daemon does it by itself every `identity.key_rotation_seconds`. As many rotations as are kept end every token."""
    config = config_of(file, state, fake=fake)
    if not (config.state / "keys" / "tokens").is_dir():
        raise NotFound(f"Cannot rotate keys: there is no cloud in {config.state} yet.")
    ring = token_keys(config)
    ring.open()
    ring.rotate()
    for number, age in ring.ages(time.time()):
        click.echo(f"key {number}, {max(age, 0) / 3600:.1f} hours old")
