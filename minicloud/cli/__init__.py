"""The command line: one module a command, imported only when that command runs, so that each starts fast.

The operator's side of the house: what a user of the cloud does, they do with the stock clients.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click

from minicloud import __version__
from minicloud.core.errors import HostFailure, MinicloudError

COMMANDS = {
    "serve": ("serve:serve", "Run the cloud in the foreground."),
    "init": ("init:init", "Make the state folder and the first administrator."),
    "demo": ("demo:demo", "Show the main job on real machines, in a throw-away cloud."),
    "sandbox": ("sandbox:sandbox", "Run a command in a throw-away cloud."),
    "image": ("image:image", "Build, get and verify guest images."),
    "env": ("env:env", "Print the variables that stock clients read."),
    "trace": ("trace:trace", "Show what happened to a server, step by step."),
    "why": ("why:why", "Show why something was refused or failed."),
    "ops": ("ops:ops", "List long work: under way, stuck, and past."),
    "doctor": ("doctor:doctor", "Check this machine, with a fix for each finding."),
    "policy": ("policy:policy", "Explain who may do what."),
    "certificate": ("certificate:certificate", "Make a certificate, so that the door speaks TLS."),
    "keys": ("keys:keys", "Rotate the keys of tokens."),
    "routes": ("routes:routes", "List every URL with the code behind it."),
}
"""Command -> where it is and what it does; the help is here so that listing all loads none."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def __init__(self, *args: Any, lazy: Mapping[str, tuple[str, str]], **options: Any) -> None:
        super().__init__(*args, **options)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order in which a person meets them."""
        return [*self._lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, imported now."""
        if cmd_name not in self._lazy:
            return super().get_command(ctx, cmd_name)
        module, name = self._lazy[cmd_name][0].split(":")
        command: click.Command = getattr(importlib.import_module(f"minicloud.cli.{module}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in the help text."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in self._lazy.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run; the product's own errors are one line for a person, not a traceback."""
        try:
            return super().invoke(ctx)
        except MinicloudError as error:
            detail = error.detail if isinstance(error, HostFailure) else ""
            raise click.ClickException(f"{error.message}\n{detail}".rstrip()) from error


@click.group(cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="minicloud")
def root() -> None:
    """A whole OpenStack-compatible cloud in one process, for one machine."""
