"""Lists whose entries a user moves up and down: the orders to send."""

from collections.abc import Sequence
from typing import Any


def orders(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each entry, the orders of all ids in which it is one place `earlier` or `later`; None at the ends."""
    ids = [each["id"] for each in entries]
    return [
        {
            "earlier": {"ids": _swapped(ids, at - 1)} if at else None,
            "later": {"ids": _swapped(ids, at)} if at + 1 < len(ids) else None,
        }
        for at in range(len(ids))
    ]


def _swapped(ids: list[str], at: int) -> list[str]:
    return [*ids[:at], ids[at + 1], ids[at], *ids[at + 2 :]]
