"""`minicloud why`: the decisions behind a refusal or a failure, with the numbers that decided."""

from __future__ import annotations

from pathlib import Path

import click

from minicloud.cli import journal
from minicloud.cli.options import configured
from minicloud.core.errors import NotFound
from minicloud.core.operations import OPERATIONS, OperationRow
from minicloud.core.store import Db
from minicloud.core.trace import DECISIONS, SPANS, Decision


@click.command()
@configured
@click.argument("thing")
def why(file: Path | None, state: Path | None, fake: bool, thing: str) -> None:
    """Show why THING (an id, a name, or the request id of an answer) was refused or failed."""
    with journal.opened(file, state, fake=fake) as store:
        decisions, failures, errors = store.read(_found, thing)
    for one in decisions:
        click.secho(f"{one.at}  {one.verdict}", bold=True)
        click.echo(f"  {one.reason}")
        for name, value in one.numbers.items():
            click.echo(f"    {name} = {value}")
        click.echo(f"  asked by {one.request_id}")
    for failed in failures:
        click.secho(f"{failed.created_at}  {failed.kind} {failed.state}  {failed.subject}", bold=True)
        click.echo(f"  {failed.error}")
    for error in errors:
        click.echo(f"  at {error}")
    if not (decisions or failures or errors):
        click.echo(f"Nothing about {thing} was refused or failed, as far as is remembered.")


def _found(db: Db, thing: str) -> tuple[list[Decision], list[OperationRow], list[str]]:
    about = [thing]
    try:
        about += journal.subjects(db, thing)
    except NotFound:
        if not thing.startswith("req-"):
            raise
    about += [one.partition("/")[2] for one in about if "/" in one]
    marks = ", ".join("?" for _ in about)
    decisions = DECISIONS.where(db, f"subject IN ({marks}) OR request_id IN ({marks})", [*about, *about], order="id")
    failures = OPERATIONS.where(db, f"subject IN ({marks}) AND error != ''", about, order="created_at")
    where = f"(subject IN ({marks}) OR request_id IN ({marks})) AND error != ''"
    spans = SPANS.where(db, where, [*about, *about], order="started, depth DESC", limit=20)
    return decisions, failures, [f"{one.service} {one.step}: {one.error}" for one in spans]
