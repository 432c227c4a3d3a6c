"""Completion with the Tab key in the jump box: commands, and the names of devices and credentials."""

import itertools
from collections.abc import Callable, Sequence

from netstacks.errors import NetstacksError
from netstacks.store import access, credentials, devices
from netstacks.store.audit import Actor
from netstacks.store.pool import Database
from netstacks.web.jumpbox.words import CANDIDATES, PERMISSION, STORE_SECS, WORDS, begins, command_of, last_as


class Completion:
    """Completes one user's lines."""

    def __init__(self, database: Database, actor: Actor, check: Callable[[], None]) -> None:
        """`check` raises a NetstacksError when the user has lost access."""
        self._database = database
        assert actor.id is not None
        self._actor = actor
        self._user_id = actor.id
        self._check = check

    def complete(self, before: str) -> tuple[str, Sequence[str]]:
        """The completed line, and the candidates if there are several. A database error is shown as a candidate."""
        word, space, rest = before.lstrip().partition(" ")
        if not space:
            return _extended("", word, [name for name in WORDS if begins(name, word)])
        if command_of(word) != "connect":
            return before, ()
        try:
            self._check()
            return self._complete_connect(before, rest.lstrip())
        except NetstacksError as error:
            return before, [f"({error})"]

    def _complete_connect(self, before: str, wanted: str) -> tuple[str, Sequence[str]]:
        separator = last_as(wanted)
        typed = wanted if separator is None else wanted[separator.end() :]
        kept = before[: len(before) - len(typed)]
        with self._database.transaction(timeout_secs=STORE_SECS) as tx:
            reach = access.confirm(tx, self._actor, PERMISSION).reach
            if separator is not None:
                usable = credentials.usable(tx, self._user_id, within=reach)
                return _extended(kept, typed, [each.name for each in usable if begins(each.name, typed)])
            found = devices.starting_with(tx, typed, within=reach, limit=CANDIDATES + 1)
        names = [each.name if begins(each.name, typed) else each.host for each in found]
        if len(names) > CANDIDATES:
            return before, [*names[:CANDIDATES], "…"]
        return _extended(kept, typed, names)


def _extended(kept: str, typed: str, names: Sequence[str]) -> tuple[str, Sequence[str]]:
    """`kept` plus the common prefix of `names`; all names if the prefix is not longer than what was typed."""
    names = list(dict.fromkeys(names))
    if not names:
        return kept + typed, ()
    if len(names) == 1:
        return f"{kept}{names[0]} ", ()
    lowered = sorted(name.lower() for name in names)
    # The common prefix of the first and last sorted names is that of all.
    pairs = zip(lowered[0], lowered[-1], strict=False)
    common = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    return (kept + names[0][:common], ()) if common > len(typed) else (kept + typed, names)
