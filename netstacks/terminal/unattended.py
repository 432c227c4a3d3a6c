"""The dialogue of a log-in by a program: a question of the device ends it."""

from typing import NoReturn

from netstacks.errors import DeviceError
from netstacks.terminal.dialogue import Dialogue
from netstacks.terminal.plain_text import plain

_MAX_CHARS = 200


class UnattendedDialogue(Dialogue):
    """A dialogue without clients and without a user."""

    def ask(self, prompt: str, **_: object) -> NoReturn:
        """Raises DeviceError."""
        self.need_person(f"the device asks {plain(prompt).strip()[:_MAX_CHARS]!r}")

    def need_person(self, why: str) -> NoReturn:
        """Raises DeviceError."""
        raise DeviceError(f"{why}, which needs a person: open a terminal to this device first")
