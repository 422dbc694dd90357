"""`minicloud trace`: what happened to a server (or a volume, ...), step by step, from the client to the guest."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import click

from minicloud.cli import journal
from minicloud.cli.options import configured
from minicloud.core.store import Db
from minicloud.core.trace import SPANS, Span


@click.command()
@configured
@click.option("-v", "--detail", is_flag=True, help="Show what was really done: XML, nft text, commands.")
@click.argument("thing", metavar="SERVER")
def trace(file: Path | None, state: Path | None, fake: bool, detail: bool, thing: str) -> None:
    """Show what happened to SERVER (an id, the beginning of it, or a name), step by step."""
    with journal.opened(file, state, fake=fake) as store:
        spans = store.read(_spans, thing)
    number, launched = 0, {one.subject: one.started for one in reversed(spans)}
    for (subject, request_id), group in groupby(spans, key=lambda one: (one.subject, one.request_id)):
        steps = list(group)
        begin = steps[0].started if request_id else launched[subject]  # what a guest does counts from its launch
        moment = datetime.fromtimestamp(steps[0].started, UTC)
        click.secho(f"{subject}  {request_id or 'by itself'}  {moment:%Y-%m-%d %H:%M:%S} UTC", bold=True)
        for step in steps:
            number += 1
            _show(number, step, begin=begin, detail=detail)


def _spans(db: Db, thing: str) -> list[Span]:
    found = journal.subjects(db, thing)
    marks = ", ".join("?" for _ in found)
    spans = SPANS.where(db, f"subject IN ({marks})", found)
    first: dict[tuple[str, str], float] = {}
    for one in spans:
        key = (one.subject, one.request_id)
        first[key] = min(first.get(key, one.started), one.started)
    return sorted(spans, key=lambda one: (first[one.subject, one.request_id], one.request_id, one.started, one.depth))


def _show(number: int, step: Span, *, begin: float, detail: bool) -> None:
    name = f"{'  ' * step.depth}{step.service}  {step.step}"
    click.echo(f"{number:4d}. +{(step.started - begin) * 1000:8.1f} ms  {name:<60} {step.ms:8.1f} ms")
    if step.error:
        click.secho(f"{'':22}{'  ' * step.depth}{step.error}", fg="red")
    if detail:
        for line in step.detail.splitlines():
            click.echo(f"{'':22}{'  ' * step.depth}| {line}")
