"""`netstacks audit`: verifies that the audit log is complete and unaltered."""

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click

from netstacks.commands import database
from netstacks.commands.printing import print_json, print_line
from netstacks.errors import NetstacksError
from netstacks.store import audit, audit_verify
from netstacks.store.audit_verify import Verdict

_MOMENT = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"])


@click.group("audit")
def audit_group() -> None:
    """The audit log."""


@audit_group.command("verify")
@click.option("--from", "since", type=_MOMENT, help="Compare only rows from this time on (UTC).")
@click.option("--to", "until", type=_MOMENT, help="Compare only rows before this time (UTC).")
@click.option("--head", help="The hash of a seal that is known from outside: the chain must contain it.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def verify_command(since: datetime | None, until: datetime | None, head: str | None, as_json: bool) -> None:
    """Verifies the hash chain over the audit log, and every row that it covers.

    Exit code 0: intact; 1: broken, and the first row that was changed, removed, inserted or reordered is named; 2: the
    log could not be read. A verification of the whole log is noted in it.
    """
    try:
        with database.opened() as opened:
            span = {"since": since and since.replace(tzinfo=UTC), "until": until and until.replace(tzinfo=UTC)}
            verdict = audit_verify.verify(opened, **span, head=head, progress=_show_progress)
            _hide_progress()
            problem = verdict.problem.text if verdict.problem else _head_problem(verdict, head)
            if since is None and until is None:
                with opened.transaction() as tx:
                    facts = {"rows": verdict.rows, "seal": verdict.number, "head": verdict.sha256, "problem": problem}
                    audit.append(tx, audit.SYSTEM, "audit.verified", "audit", **facts)
    except NetstacksError as error:
        _hide_progress()
        click.echo(f"netstacks: {error}", err=True)
        raise SystemExit(2) from error
    if as_json:
        print_json(_as_json(verdict, problem))
    else:
        _print(verdict, problem)
    if problem:
        raise SystemExit(1)


def _head_problem(verdict: Verdict, head: str | None) -> str | None:
    if head is None or verdict.has_head:
        return None
    return f"no seal has the hash {head}: the end of the log was cut off, or the chain was built anew"


def _as_json(verdict: Verdict, problem: str | None) -> dict[str, Any]:
    return {
        "intact": problem is None,
        "problem": problem,
        "first": asdict(verdict.problem) if verdict.problem else None,
        "rows": verdict.rows,
        "sealed_rows": verdict.sealed_rows,
        "waiting_rows": verdict.waiting_rows,
        "dropped_rows": verdict.dropped_rows,
        "seal": verdict.number,
        "head": verdict.sha256,
    }


def _print(verdict: Verdict, problem: str | None) -> None:
    click.echo(f"{verdict.rows} rows compared, {verdict.sealed_rows} sealed, {verdict.waiting_rows} not sealed yet")
    if verdict.dropped_rows:
        click.echo(f"{verdict.dropped_rows} rows were removed by retention: their seals are intact")
    if problem:
        print_line(f"broken: {problem}")
    else:
        click.echo(f"intact up to seal {verdict.number}: {verdict.sha256}")


def _show_progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\rseal {done} of {total}", nl=False, err=True)


def _hide_progress() -> None:
    if sys.stderr.isatty():
        click.echo("\r\033[K", nl=False, err=True)
