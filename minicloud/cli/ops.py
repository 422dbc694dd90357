"""`minicloud ops`: the journal of long work: what is under way, what is stuck and how it would be taken back."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from minicloud.cli import journal
from minicloud.cli.options import configured
from minicloud.core.clock import moment
from minicloud.core.operations import LIVE, OPERATIONS, UNDO_RECORDS, OperationRow, State, UndoRecord
from minicloud.core.store import Db


@click.command()
@configured
@click.option("--all", "everything", is_flag=True, help="Ended ones too, as far as they are remembered.")
def ops(file: Path | None, state: Path | None, fake: bool, everything: bool) -> None:
    """List long work: under way, stuck and, with --all, past. Exits with 1 if something is stuck."""
    with journal.opened(file, state, fake=fake) as store:
        rows, records = store.read(_journal, everything)
    for row in rows:
        click.secho(f"{row.state:<8} {row.kind:<22} {row.subject:<48} {_duration(row)}", bold=row.state is State.STUCK)
        if row.error:
            click.echo(f"         {row.error}")
        for record in records.get(row.id, []):
            click.echo(f"         takes back: {record.call}({', '.join(json.dumps(one) for one in record.arguments)})")
    if not rows:
        click.echo("Nothing is under way.")
    if any(row.state is State.STUCK for row in rows):
        raise SystemExit(1)


def _journal(db: Db, everything: bool) -> tuple[list[OperationRow], dict[str, list[UndoRecord]]]:
    marks = ", ".join("?" for _ in LIVE)
    condition, params = ("", ()) if everything else (f"state IN ({marks})", LIVE)
    records: dict[str, list[UndoRecord]] = {}
    for record in UNDO_RECORDS.where(db, order="id DESC"):
        records.setdefault(record.operation_id, []).append(record)
    return OPERATIONS.where(db, condition, params, order="created_at"), records


def _duration(row: OperationRow) -> str:
    end = moment(row.ended_at) if row.ended_at else datetime.now(UTC)
    return f"{(end - moment(row.created_at)).total_seconds():.1f} s"
