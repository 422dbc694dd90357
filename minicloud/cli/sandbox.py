"""`minicloud sandbox`: a command, or a shell, in a throw-away cloud of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from minicloud.config import load
from minicloud.core.errors import MinicloudError


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--keep", is_flag=True, help="Leave the folder with logs, database and disks."),
        click.option("--bare", is_flag=True, help="Only the namespaces and libvirtd, no cloud."),
        click.option("--fake", is_flag=True, help="The fake host: no root, no namespaces; guests are pretended."),
        click.option(
            "--config",
            "file",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="Options of the cloud.",
        ),
    ):
        command = option(command)
    return command


@click.group()
def sandbox() -> None:
    """Run a command in a throw-away cloud; nothing is left when it ends.

    The command finds the administrator's OS_* variables and a clouds.yaml with the clouds "admin" and "demo"
    (OS_CLIENT_CONFIG_FILE), so stock clients just work. The openstack command lets OS_* win over --os-cloud: to be demo,
    eval "$(minicloud env --cloud demo)". MINICLOUD_URL, MINICLOUD_ADMIN_PASSWORD, MINICLOUD_DEMO_PASSWORD and
    MINICLOUD_SANDBOX_FOLDER (logs) are there too.
    """


@sandbox.command("run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@_options
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run_command(file: Path | None, fake: bool, bare: bool, keep: bool, command: tuple[str, ...]) -> None:
    """Run COMMAND and exit with its code; 125 if the sandbox itself failed."""
    _run(command, file=file, fake=fake, bare=bare, keep=keep)


@sandbox.command("shell")
@_options
def shell(file: Path | None, fake: bool, bare: bool, keep: bool) -> None:
    """A shell in there; leave it and everything is gone."""
    _run((os.environ.get("SHELL") or "/bin/sh",), file=file, fake=fake, bare=bare, keep=keep)


def _run(command: tuple[str, ...], *, file: Path | None, fake: bool, bare: bool, keep: bool) -> None:
    from minicloud import sandbox as sandboxes

    config = load(file)
    config = replace(config, fake=fake or config.fake)
    try:
        sys.exit(sandboxes.run(command, config=config, bare=bare, keep=keep))
    except MinicloudError as error:
        click.echo(f"minicloud sandbox: {error.message}", err=True)
        sys.exit(sandboxes.FAILED)
