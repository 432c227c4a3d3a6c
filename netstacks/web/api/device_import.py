"""The import of devices from a CSV file: a dry run shows the fate of every row, then the same file is imported."""

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, NotRequired

from flask import Blueprint
from pydantic import BaseModel, Field, model_validator
from typing_extensions import TypedDict
from werkzeug.exceptions import RequestEntityTooLarge

from netstacks.errors import Conflict
from netstacks.store import audit, device_changes
from netstacks.store.devices import Device
from netstacks.store.pool import Transaction
from netstacks.web.api import bulk_audit, device_rows, import_plan
from netstacks.web.api.bulk_audit import AuditRow
from netstacks.web.api.import_plan import Fate, Kind
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.http.changes import Changes
from netstacks.web.http.declarations import takes_csv, takes_query
from netstacks.web.http.json_response import JsonResponse, json_with_list

blueprint = Blueprint("device_import", __name__)

# Thousands of devices and audit rows are written.
_IMPORT_SECS = 60.0
_DIGEST_CHARS = 64
# The limit is that of every body: some 400 bytes for each of 10,000 rows.
_TOO_LARGE = (
    "The file is larger than 4 MB, the limit of an import. Split it into several files, each with the line that names"
    " the columns, and import one after the other."
)


class ImportQuery(BaseModel):
    """`digest` is that of the dry run, and required without `dry_run`."""

    dry_run: bool = False
    digest: Annotated[str, Field(min_length=_DIGEST_CHARS, max_length=_DIGEST_CHARS)] | None = None
    skip_refused: bool = False

    @model_validator(mode="after")
    def _has_digest(self) -> "ImportQuery":
        if not self.dry_run and self.digest is None:
            raise ValueError("digest: is missing: make a dry run first, and send its digest with the same file")
        return self


class ImportCounts(TypedDict):
    """How many rows have each fate."""

    added: int
    changed: int
    unchanged: int
    duplicate: int
    refused: int


class ImportedRow(TypedDict):
    """A row of the file and its fate."""

    line: int
    """The line of the file where it begins, from 1."""
    fate: Kind
    name: str
    host: str
    reason: NotRequired[str]
    """Why the row is refused."""
    changes: NotRequired[Changes]
    """The members that change, with their values before and after."""


class Import(TypedDict):
    digest: str
    """Of the file and the fates of its rows: for the import after a dry run."""
    is_dry_run: bool
    counts: ImportCounts
    rows: list[ImportedRow]


@blueprint.post("/api/v1/devices/import")
@guard.requires("devices.manage")
@takes_query(ImportQuery)
@takes_csv
def import_devices(data: bytes, query: ImportQuery) -> JsonResponse[Import]:
    """The body is the file. Either all rows are imported, or with `skip_refused` all that are valid, or none."""
    rows = device_rows.read(data)
    with guard.transaction() as tx:
        stock = import_plan.stock(tx, rows, guard.identity().reach)
    # Planned in no transaction: PostgreSQL ends one that is idle for seconds.
    fates = import_plan.plan(rows, stock)
    digest = import_plan.digest(data, fates)
    if not query.dry_run:
        _check(fates, digest, query)
        with services().database.transaction(timeout_secs=_IMPORT_SECS) as tx:
            guard.confirm(tx)
            device_changes.serialise_imports(tx)
            stock.check_unchanged(tx, guard.identity().reach)
            _apply(tx, fates, digest)
    facts = {"digest": digest, "is_dry_run": query.dry_run, "counts": _counts(fates)}
    return json_with_list(facts, "rows", map(_as_json, fates))


@blueprint.errorhandler(RequestEntityTooLarge)
def _too_large(_: RequestEntityTooLarge) -> tuple[dict[str, str], int]:
    return {"error": _TOO_LARGE}, 413


def _check(fates: list[Fate], digest: str, query: ImportQuery) -> None:
    """Raises Conflict unless exactly what the dry run has shown would be imported."""
    if digest != query.digest:
        raise Conflict(import_plan.CHANGED)
    counts = _counts(fates)
    bad = counts["refused"] + counts["duplicate"]
    if bad and not query.skip_refused:
        raise Conflict(f"{bad} rows are refused: nothing was imported. Correct them, or choose to skip them.")


def _apply(tx: Transaction, fates: list[Fate], digest: str) -> None:
    device_changes.create_all(tx, [fate.after for fate in fates if fate.kind == "added" and fate.after])
    device_changes.update_all(
        tx, [fate.after for fate in fates if fate.kind == "changed" and fate.after], by=guard.identity().username
    )
    bulk_audit.append_all(tx, guard.actor(), _audit_rows(fates, digest[:12]))
    audit.append(tx, guard.actor(), "device.imported", "devices", digest=digest, **_counts(fates))


def _audit_rows(fates: list[Fate], mark: str) -> Iterator[AuditRow]:
    """The rows; `mark` is the beginning of the digest, which the row of the import has in full."""
    for fate in fates:
        match fate:
            case Fate(kind="added", after=Device() as device):
                facts = {"name": device.name, "host": device.host, "port": device.port, "import": mark}
                yield AuditRow("device.created", f"device:{device.id}", facts)
            case Fate(kind="changed", before=Device() as device):
                facts = {"name": fate.name, "changes": fate.changes, "import": mark}
                yield AuditRow("device.updated", f"device:{device.id}", facts)


def _counts(fates: list[Fate]) -> ImportCounts:
    kinds = Counter(fate.kind for fate in fates)
    return {
        "added": kinds["added"],
        "changed": kinds["changed"],
        "unchanged": kinds["unchanged"],
        "duplicate": kinds["duplicate"],
        "refused": kinds["refused"],
    }


def _as_json(fate: Fate) -> ImportedRow:
    row: ImportedRow = {"line": fate.line, "fate": fate.kind, "name": fate.name, "host": fate.host}
    if fate.reason:
        row["reason"] = fate.reason
    if fate.changes:
        row["changes"] = fate.changes
    return row
