"""Options that several commands share: which configuration, which state folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from minicloud.config import Config, load

FILE = Path("/etc/minicloud/minicloud.toml")
"""The configuration when none is named and this one is there."""


def configured(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--config`, `--state` and `--fake`; the command gets `file`, `state`, `fake` for `config_of`."""
    for option in (
        click.option("--fake", is_flag=True, help="The fake host: no root, no libvirt; guests are pretended."),
        click.option(
            "--state", type=click.Path(path_type=Path), help="The state folder, instead of the configured one."
        ),
        click.option(
            "--config",
            "file",
            type=click.Path(dir_okay=False, path_type=Path),
            help=f"The configuration; {FILE} if it is there.",
        ),
    ):
        command = option(command)
    return command


def config_of(file: Path | None, state: Path | None = None, *, fake: bool = False) -> Config:
    """The configuration that the options mean. A sandbox's, if we are in one and nothing else is said.

    Raises:
        Invalid: the file can't be read or has something wrong in it.
    """
    told = os.environ.get("MINICLOUD_CONFIG")
    if file is None:
        file = Path(told) if told else (FILE if FILE.exists() else None)
    config = load(file)
    if state is not None:
        state = state.absolute()
        paths = replace(config.paths, state=str(state), run=str(state / "run"))
        if fake or config.fake:
            paths = replace(paths, cache=str(state / "cache"))
        config = replace(config, paths=paths)
    return replace(config, fake=True) if fake else config
