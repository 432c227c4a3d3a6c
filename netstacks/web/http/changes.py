"""The changes of an edit, for the audit log."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any
from uuid import UUID

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_IGNORED = ("updated_at", "active_connections")


def changes(old: "DataclassInstance", new: "DataclassInstance") -> dict[str, list[Any]]:
    """Each member that differs, with its value before and after."""
    before, after = asdict(old), asdict(new)
    return {
        name: [_plain(before[name]), _plain(after[name])]
        for name in after
        if before[name] != after[name] and name not in _IGNORED
    }


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, UUID) else value
