"""Placeholders that replace secrets in requests to a provider, and the restoring of the secrets in its answer."""

import re
import secrets
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any, TypeVar

from netstacks.llm.conversation import TextDelta, Waiting

_MAX_KIND = 40
_BEGINNING = "REDACTED-"
_LONGEST = len(f"{_BEGINNING}-1234567-5D0C31FA") + _MAX_KIND
_COULD_GO_ON = re.compile(r"[A-Z0-9-]+")

Item = TypeVar("Item")


class Placeholders:
    """One request's placeholders: `REDACTED-SNMP-COMMUNITY-1-5D0C31FA` replaces every occurrence of one secret.

    A placeholder is one word of letters, digits and hyphens, which needs no quoting in a command, JSON or Markdown. Its
    suffix is random per request, so that device output cannot contain a placeholder that would be restored.
    """

    def __init__(self) -> None:
        self._nonce = secrets.token_hex(4).upper()
        self._of_secret: dict[str, str] = {}
        self._secrets: dict[str, str] = {}
        self._numbers: Counter[str] = Counter()
        self.pattern = re.compile(rf"REDACTED-(?:(?!REDACTED)[A-Z0-9-]){{1,60}}?-\d{{1,7}}-{self._nonce}")
        """Matches everything that could be one of these placeholders."""

    def of(self, secret: str, kind: str) -> str:
        """The placeholder of `secret`, named after the first `kind` that it was found as."""
        if secret not in self._of_secret:
            name = re.sub(r"[^A-Z0-9]+|REDACTED", "-", kind.upper()).strip("-")[:_MAX_KIND] or "SECRET"
            self._numbers[name] += 1
            placeholder = f"REDACTED-{name}-{self._numbers[name]}-{self._nonce}"
            self._of_secret[secret] = placeholder
            self._secrets[placeholder] = secret
        return self._of_secret[secret]

    def restore(self, text: str) -> str:
        """`text` with its placeholders replaced by the secrets."""
        return self.pattern.sub(lambda match: self._secrets.get(match[0], match[0]), text)

    def restore_values(self, value: Any) -> Any:
        """A JSON value with the placeholders in its texts replaced by the secrets."""
        match value:
            case str():
                return self.restore(value)
            case dict():
                return {name: self.restore_values(item) for name, item in value.items()}
            case list():
                return [self.restore_values(item) for item in value]
        return value

    def begins_at(self, text: str) -> int:
        """The start of an incomplete placeholder at the end of `text`; the length of `text` if there is none."""
        if not self._secrets:
            return len(text)
        # One search for the common prefix: there may be thousands of secrets and thousands of pieces.
        at = text.rfind(_BEGINNING, -_LONGEST)
        if at >= 0 and _COULD_GO_ON.fullmatch(text, at) and not self.pattern.search(text, at):
            return at
        lengths = range(len(_BEGINNING) - 1, 0, -1)
        return len(text) - next((length for length in lengths if text.endswith(_BEGINNING[:length])), 0)


class Restorer:
    """Restores secrets in a text that arrives in pieces, also where a placeholder spans several pieces.

    It buffers only an incomplete placeholder, which is shorter than a placeholder's length.
    """

    def __init__(self, placeholders: Placeholders) -> None:
        self._placeholders = placeholders
        self._held = ""

    def feed(self, text: str) -> str:
        """Takes the next piece and returns the text that is complete."""
        text = self._held + text
        cut = self._placeholders.begins_at(text)
        self._held = text[cut:]
        return self._placeholders.restore(text[:cut])

    def finish(self) -> str:
        """Returns the buffered text, at the end of the text or before another kind of piece."""
        held, self._held = self._held, ""
        return held


def restored(pieces: Generator[Item], placeholders: Placeholders) -> Generator[Item | TextDelta]:
    """The pieces of an answer with the secrets restored in its texts; other pieces are unchanged.

    Tool inputs keep the placeholders: a client may run tools without confirmation, and device output could make a model
    send a secret elsewhere by a tool. Closing the generator closes `pieces`. When `pieces` raises, the buffered text is
    yielded first.
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
