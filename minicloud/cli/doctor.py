"""`minicloud doctor`: is this machine fit for the cloud, and what to do where it is not."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path

import click

from minicloud.cli.options import config_of, configured

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@configured
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def doctor(file: Path | None, state: Path | None, fake: bool, as_json: bool) -> None:
    """Check this machine; each finding with its fix. Exits with 1 if something is broken."""
    from minicloud.host.real import checkup

    config = config_of(file, state, fake=fake)
    findings = asyncio.run(
        checkup.check(
            state=config.state.absolute(),
            cache=Path(config.paths.cache),
            libvirt_socket=Path("/run/libvirt/libvirt-sock"),
        )
    )
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(one) for one in findings], indent=2))
    else:
        for one in findings:
            click.echo(click.style(f"{one.verdict:<5}", fg=COLOURS[one.verdict]) + f"{one.name:<20} {one.says}")
            if one.fix:
                click.echo(f"{'':25} -> {one.fix}")
    if any(one.verdict is checkup.Verdict.BROKEN for one in findings):
        raise SystemExit(1)
