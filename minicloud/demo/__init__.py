"""The main job, shown: a cloud is started, machines are launched and logged in to, everything goes again.

`minicloud demo` runs `show` outside: it looks at the machine, runs the story (`story.py`) in a sandbox, looks again and
prints the difference, which must be empty. Called by the command line and `make demo`.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import replace
from pathlib import Path

import click

from minicloud import sandbox
from minicloud.config import Config
from minicloud.demo import machine
from minicloud.guest import tiny


def show(config: Config) -> int:
    """Run the demo; 0 if every step went well and the machine is as it was."""
    began = time.monotonic()
    cache = Path(config.paths.cache)
    image = asyncio.run(tiny(cache, progress=lambda line: click.echo(f"  {line}", err=True)))
    before = asyncio.run(machine.look())
    click.echo(f"A throw-away cloud is started; this machine has {before.summary()} now.")
    code = sandbox.run(
        [sys.executable, "-m", "minicloud", "demo", "--inside", str(image)], config=replace(config, fake=False)
    )
    after = asyncio.run(machine.look())
    changes = machine.difference(before, after)
    click.echo("\nThe machine before and after (links, namespaces, firewall rules, processes, mounts, files):")
    click.echo("\n".join(f"  {line}" for line in changes) if changes else "  no difference")
    click.echo(f"{'Done' if code == 0 and not changes else 'NOT as promised'} in {time.monotonic() - began:.0f} s.")
    return code or (1 if changes else 0)
