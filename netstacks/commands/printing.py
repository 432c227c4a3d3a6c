"""How commands print: lines and tables without terminal controls, JSON, times and sizes."""

import json
import time
from collections.abc import Iterable, Sequence
from typing import Any

import click

from netstacks.terminal.plain_text import plain


def print_line(text: str = "", *, err: bool = False) -> None:
    """Names come from the database, from Valkey and from devices: what they contain must not control the terminal."""
    click.echo(plain(text), err=err)


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, default=str))


def print_table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    lines = [[plain(cell) for cell in row] for row in (heading, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heading))]
    for line in lines:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def clock(at: float) -> str:
    """A time in seconds since 1970 as RFC 3339 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def mib(count: int) -> str:
    """A number of bytes as text, in MiB."""
    return f"{count / (1 << 20):.1f} MiB"
