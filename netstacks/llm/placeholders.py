"""Placeholders: what stands for a secret while a text is with a provider, and how the secret comes back."""

import re
import secrets
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any, TypeVar

from netstacks.llm.conversation import TextDelta, Waiting

_LONGEST_KIND = 40
_BEGINNING = "REDACTED-"
_LONGEST = len(f"{_BEGINNING}-1234567-5D0C31FA") + _LONGEST_KIND
_COULD_GO_ON = re.compile(r"[A-Z0-9-]+")

Told = TypeVar("Told")


class Placeholders:
    """One request's placeholders: `REDACTED-SNMP-COMMUNITY-1-5D0C31FA` stands for one secret, wherever it occurs.

    A placeholder is one word of letters, digits and hyphens: it can stand in a command, in JSON and in Markdown as it
    is. Its end is drawn at random, so that device output cannot name a placeholder to get a secret put somewhere else.
    """

    def __init__(self) -> None:
        self._nonce = secrets.token_hex(4).upper()
        self._of_secret: dict[str, str] = {}
        self._secrets: dict[str, str] = {}
        self._numbers: Counter[str] = Counter()
        self.pattern = re.compile(rf"REDACTED-(?:(?!REDACTED)[A-Z0-9-]){{1,60}}?-\d{{1,7}}-{self._nonce}")
        """Anything that could be taken for one of these placeholders."""

    def of(self, secret: str, kind: str) -> str:
        """The placeholder of `secret`, named after the `kind` that it was first known as."""
        if secret not in self._of_secret:
            name = re.sub(r"[^A-Z0-9]+|REDACTED", "-", kind.upper()).strip("-")[:_LONGEST_KIND] or "SECRET"
            self._numbers[name] += 1
            placeholder = f"REDACTED-{name}-{self._numbers[name]}-{self._nonce}"
            self._of_secret[secret] = placeholder
            self._secrets[placeholder] = secret
        return self._of_secret[secret]

    def restore(self, text: str) -> str:
        """`text` with the secrets in their places."""
        return self.pattern.sub(lambda match: self._secrets.get(match[0], match[0]), text)

    def restore_values(self, value: Any) -> Any:
        """A JSON value with the secrets in the places of the placeholders in its texts."""
        match value:
            case str():
                return self.restore(value)
            case dict():
                return {name: self.restore_values(item) for name, item in value.items()}
            case list():
                return [self.restore_values(item) for item in value]
        return value

    def begins_at(self, text: str) -> int:
        """Where in `text` its end begins that may become a placeholder; its length if there is no such end."""
        if not self._secrets:
            return len(text)
        # The secrets may be thousands and the pieces too, so what all placeholders have in common is looked for.
        at = text.rfind(_BEGINNING, -_LONGEST)
        if at >= 0 and _COULD_GO_ON.fullmatch(text, at) and not self.pattern.search(text, at):
            return at
        lengths = range(len(_BEGINNING) - 1, 0, -1)
        return len(text) - next((length for length in lengths if text.endswith(_BEGINNING[:length])), 0)


class Restorer:
    """Puts secrets back into a text that comes in pieces, a placeholder's pieces put together.

    It holds back the beginning of a placeholder and nothing else, which is less than a placeholder's length.
    """

    def __init__(self, placeholders: Placeholders) -> None:
        self._placeholders = placeholders
        self._held = ""

    def feed(self, text: str) -> str:
        """Takes the next piece and returns what can be shown."""
        text = self._held + text
        cut = self._placeholders.begins_at(text)
        self._held = text[cut:]
        return self._placeholders.restore(text[:cut])

    def finish(self) -> str:
        """Returns what was held back: the text has ended, or something else follows."""
        held, self._held = self._held, ""
        return held


def restored(pieces: Generator[Told], placeholders: Placeholders) -> Generator[Told | TextDelta]:
    """The pieces of an answer with the secrets put back in its texts; others pass as they are.

    The inputs of tools keep the placeholders: a client runs tools without a key press, and what a device has printed
    could make a model send a secret somewhere with one. Closing it closes `pieces`. When `pieces` raises, what was held
    back comes before the exception.
    """
    text = Restorer(placeholders)

    def rest() -> Iterator[TextDelta]:
        if held := text.finish():
            yield TextDelta(held)

    with closing(pieces):
        try:
            for piece in pieces:
                match piece:
                    case TextDelta(delta):
                        if shown := text.feed(delta):
                            yield TextDelta(shown)
                    case Waiting():
                        yield piece
                    case _:
                        yield from rest()
                        yield piece
        except Exception:
            yield from rest()
            raise
        yield from rest()
