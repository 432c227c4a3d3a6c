"""Loaders for PostgreSQL values that Python cannot represent: they return the nearest value that it can.

The driver would raise for such a value, which loses its row, and the whole list with it.
"""

import json
import math
from datetime import UTC, date, datetime
from typing import Any

import psycopg
from psycopg.abc import AdaptContext
from psycopg.adapt import AdaptersMap, Buffer, Loader
from psycopg.types.json import set_json_loads

# Bounds for infinity and for years that Python's datetime cannot represent, or could not after an addition.
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(9000, 1, 1, tzinfo=UTC)
# Python reads deeper nesting than it can write.
_MAX_LEVELS = 200
# Below Python's limit of 4300 digits for conversions between int and str.
_MAX_DIGITS = 4000


class _BoundedLoader(Loader):
    """The driver's loader, with bounds."""

    earliest: date
    latest: date

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        usual = psycopg.adapters.get_loader(oid, self.format)
        assert usual is not None
        self._usual = usual(oid, context)

    def load(self, data: Buffer) -> date:
        try:
            at: date = self._usual.load(data)
        except psycopg.DataError:
            text = bytes(data)
            return self.earliest if text.startswith(b"-") or text.endswith(b"BC") else self.latest
        return min(max(at, self.earliest), self.latest)


class _TimestampLoader(_BoundedLoader):
    earliest, latest = EARLIEST, LATEST


class _DateLoader(_BoundedLoader):
    earliest, latest = EARLIEST.date(), LATEST.date()


def read_json(text: str | bytes) -> Any:
    """The JSON value; the text itself when its value could not be written as JSON again."""
    try:
        value = json.loads(text, parse_int=_integer, parse_float=_number)
        _check_levels(value, _MAX_LEVELS)
    except (ValueError, RecursionError):
        return text if isinstance(text, str) else text.decode(errors="replace")
    return value


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError("too many digits")
    return int(digits)


def _number(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("no number of Python")
    return number


def _check_levels(value: Any, levels: int) -> None:
    if not levels:
        raise ValueError("nested too deep")
    if isinstance(value, (dict, list)):
        for item in value.values() if isinstance(value, dict) else value:
            _check_levels(item, levels - 1)


def _adapters() -> AdaptersMap:
    adapters = AdaptersMap(psycopg.adapters)
    adapters.register_loader("timestamptz", _TimestampLoader)
    adapters.register_loader("date", _DateLoader)
    set_json_loads(read_json, adapters)
    return adapters


ADAPTERS = _adapters()
"""The adaptation `context` of every connection from which the program reads rows."""
