"""Devices as rows of a CSV file: the columns, the reading of a file, and the writing of a row."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from netstacks import greenlets
from netstacks.errors import InvalidInput
from netstacks.store.credentials import SSH_TYPES, Credential
from netstacks.store.devices import Device
from netstacks.web.api.devices import DeviceChange
from netstacks.web.http import csv_rows
from netstacks.web.http.inputs import validated

MAX_ROWS = 20_000
COLUMNS = (
    "id", "name", "host", "port", "device_type", "site", "tags", "manufacturer", "model", "description",
    "default_credential", "algorithms", "encoding", "lines", "patience_secs",
)  # fmt: skip
_ALIASES = {
    "address": "host",
    "type": "device_type",
    "tag": "tags",
    "ssh_port": "port",
    "credential": "default_credential",
}
_NUMBERS = ("port", "lines", "patience_secs")
# Spaces are part of these.
_VERBATIM = ("device_type", "description")
# What an empty cell stands for.
_EMPTY: dict[str, Any] = {
    "port": 22, "device_type": "", "site": None, "tags": [], "manufacturer": None, "model": None, "description": None,
    "algorithms": "modern", "encoding": "utf-8", "lines": None, "patience_secs": None,
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A row of a file. `line` is where it begins, from 1.

    `values` are members of a device, and those of columns that are absent are left out. `credential` is the cell of the
    default credential, None without that column. `problem` is why the row cannot be read.
    """

    line: int
    device_id: UUID | None
    values: Mapping[str, Any]
    credential: str | None = None
    problem: str | None = None

    @property
    def name(self) -> str:
        return str(self.values.get("name", ""))

    @property
    def host(self) -> str:
        return str(self.values.get("host", ""))


def names_of(found: Iterable[Credential]) -> dict[UUID, str]:
    """How a file names each of the shared SSH credentials: by name, or by id if several have that name."""
    usable = [each for each in found if each.credential_type in SSH_TYPES]
    times = Counter(each.name for each in usable)
    return {each.id: each.name if times[each.name] == 1 else str(each.id) for each in usable}


def as_row(device: Device, credential_names: Mapping[UUID, str]) -> dict[str, Any]:
    """The cells of a device."""
    row: dict[str, Any] = {name: getattr(device, name, None) for name in COLUMNS}
    credential_id = device.default_credential_id
    row["tags"] = ", ".join(device.tags)
    row["default_credential"] = credential_names.get(credential_id, str(credential_id)) if credential_id else ""
    return row


def read(data: bytes) -> list[Row]:
    """The rows of a file. Raises InvalidInput for one that is not a CSV file of devices as a whole."""
    text = _decoded(data)
    first_line = text.split("\n", 1)[0]
    separator = ";" if first_line.count(";") > first_line.count(",") else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[Row] = []
    try:
        columns = _columns(next(reader, []))
        for line, cells in _numbered(reader):
            if len(rows) == MAX_ROWS:
                raise InvalidInput(f"The file must not have more than {MAX_ROWS} rows: split it.")
            rows.append(_row(line, columns, cells))
            greenlets.give_way()
    except csv.Error as error:
        raise InvalidInput(f"Line {reader.line_num} is not CSV: {error}.") from error
    if not rows:
        raise InvalidInput("The file has no rows below its header.")
    return rows


def _decoded(data: bytes) -> str:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidInput(f"Line {line} is not UTF-8: save the file as “CSV UTF-8”.") from error
    if "\0" in text:
        raise InvalidInput("The file contains NUL characters: it is not a CSV file.")
    return text


def _columns(header: list[str]) -> list[str]:
    columns = [_ALIASES.get(name, name) for name in (cell.strip().lower().replace(" ", "_") for cell in header)]
    if unknown := [name for name in columns if name not in COLUMNS]:
        raise InvalidInput(f"The column {unknown[0]!r} is unknown. The columns are: {', '.join(COLUMNS)}.")
    if repeated := [name for name, times in Counter(columns).items() if times > 1]:
        raise InvalidInput(f"The column {repeated[0]} is there twice.")
    if not {"id", "name", "host"} & set(columns):
        raise InvalidInput("The first line must name the columns, and among them id, name or host.")
    return columns


def _numbered(reader: Any) -> Iterator[tuple[int, list[str]]]:
    """Each row that is not blank, with the line where it begins: a quoted cell may contain line ends."""
    line = reader.line_num + 1
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield line, cells
        line = reader.line_num + 1


def _row(line: int, columns: list[str], cells: list[str]) -> Row:
    if len(cells) != len(columns):
        return Row(line, None, {}, problem=f"the row has {len(cells)} cells, the header has {len(columns)}")
    given = {name: csv_rows.original(cell) for name, cell in zip(columns, cells, strict=True)}
    shown: dict[str, Any] = {name: given[name] for name in ("name", "host") if name in given}
    try:
        device_id = _id(given.pop("id", ""))
        credential = given.pop("default_credential", None)
        members = {name: _value(name, cell) for name, cell in given.items()}
        values = validated(DeviceChange, members).model_dump(include=set(members))
    except InvalidInput as error:
        return Row(line, None, shown, problem=str(error))
    return Row(line, device_id, values, credential and credential.strip())


def _id(cell: str) -> UUID | None:
    try:
        return UUID(cell) if cell.strip() else None
    except ValueError as error:
        raise InvalidInput("id: must be the id of a device, or empty") from error


def _value(name: str, cell: str) -> Any:
    if name in _EMPTY and not (cell if name in _VERBATIM else cell.strip()):
        return _EMPTY[name]
    if name in _NUMBERS:
        if not (cell.strip().isascii() and cell.strip().isdigit()):
            raise InvalidInput(f"{name}: must be a whole number")
        return int(cell)
    if name == "tags":
        return [tag.strip() for tag in cell.split(",") if tag.strip()]
    return cell
