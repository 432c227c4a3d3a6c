"""The changes of an edit, for the audit log."""

from dataclasses import asdict, is_dataclass
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

# Each member that changes, with its value before and after.
Changes = dict[str, list[Any]]

_IGNORED = ("version", "revision", "updated_at", "updated_by", "active_connections")


def changes(old: "DataclassInstance", new: "DataclassInstance") -> Changes:
    """Each member that differs, with its value before and after."""
    # No `asdict`: it copies every value, and an import compares thousands of devices.
    before, after = vars(old), vars(new)
    return {
        name: [_plain(before[name]), _plain(after[name])]
        for name in after
        if before[name] != after[name] and name not in _IGNORED
    }


def _plain(value: Any) -> Any:
    match value:
        case UUID():
            return str(value)
        case tuple() | list():
            return [_plain(each) for each in value]
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
