"""`minicloud routes`: from a URL to the code behind it."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import click

from minicloud.config import Config


@click.command()
@click.argument("part", default="")
def routes(part: str) -> None:
    """List every operation (or those whose line contains PART): method, URL, policy rule, file and line."""
    for line in sorted(_lines()):
        if part in line:
            click.echo(line)


def _lines() -> list[str]:
    from minicloud.daemon import Daemon
    from minicloud.host.fake import fake_host

    with tempfile.TemporaryDirectory() as folder:
        config = Config(fake=True)
        config = replace(config, paths=replace(config.paths, state=folder, cache=folder, run=folder))
        services = Daemon(config, fake_host(None)[0]).services
        found = []
        for service in services:
            for route in service.routes if service.dialect is not None else ():
                dialect = service.dialect
                bare = route.path.startswith("//")
                url = dialect.prefix + (route.path[1:] if bare else dialect.root + route.path)
                action = f" {{{route.action}}}" if route.action else ""
                found.append(f"{url}{action:<2} {route.method:<6} {route.rule or '-'}  {Path(route.source).as_posix()}")
        return found
