"""Redaction: replaces the secrets in the texts of a request by placeholders before they are sent to a provider."""

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

from netstacks import greenlets
from netstacks.errors import InvalidInput
from netstacks.llm.conversation import ChatRequest
from netstacks.llm.custom_patterns import CustomPatterns
from netstacks.llm.known_secrets import KnownSecrets
from netstacks.llm.pem_blocks import find_pem_blocks
from netstacks.llm.placeholders import Placeholders
from netstacks.llm.request_texts import map_texts
from netstacks.llm.secret_patterns import CREDENTIALS, OPTIONAL, PatternSet
from netstacks.llm.secret_sections import find_in_sections
from netstacks.llm.text_views import (
    BREAK,
    JSON_BREAK,
    View,
    json_parts,
    json_values_view,
    json_view,
    plain_view,
    unescaped_view,
)
from netstacks.store.sanitization import SanitizationConfig

MAX_CHARS = 600_000
"""The limit of all texts of a request together."""

# Longer texts are processed in a native thread: 30 kB take some 15 ms.
_SHORT_CHARS = 4000
# A shorter known secret is found only as a whole word, not inside longer ones.
_SURE_CHARS = 8
_KNOWN_RANK = 500
_FIRST_OPTIONAL_RANK = 1000
# One request at a time: each computing thread competes with the event loop for the GIL.
_turn = greenlets.BoundedSemaphore(1)


@dataclass(frozen=True)
class _Span:
    """A part of a text to replace; `replacement` is the administrator's text for it, empty for a placeholder."""

    start: int
    end: int
    name: str
    rank: int
    is_block: bool = False
    replacement: str = ""


class Redactor:
    """Replaces the secrets in the texts of one request, and restores them in its answer.

    A secret has the same placeholder in all texts. A secret that a pattern has found in one place is also replaced
    elsewhere, unless it could be an ordinary word. `counts` is the number of replacements by the pattern's name.
    Raises InvalidInput for an invalid pattern in `config`.
    """

    def __init__(self, config: SanitizationConfig, known_secrets: Iterable[str]) -> None:
        optional = [pattern for option, patterns in OPTIONAL.items() if getattr(config, option) for pattern in patterns]
        self._patterns = PatternSet([*CREDENTIALS, *optional])
        self._custom = CustomPatterns(config.custom_patterns)
        # An administrator's pattern may use its whole time limit even on a short text, so it always runs in a thread.
        self._short_chars = 0 if config.custom_patterns else _SHORT_CHARS
        self._allowed = {text.lower() for text in config.allowlist}
        self._known = dict.fromkeys(known_secrets, "vault_secret")
        self.placeholders = Placeholders()
        self.counts: Counter[str] = Counter()

    def redact(self, text: str) -> str:
        """`text` with placeholders. The number of lines is unchanged."""
        return self.redact_all([text])[0]

    def redact_all(self, texts: Sequence[str]) -> list[str]:
        """The texts with placeholders; a secret that is found in one of them is replaced in all.

        Other greenlets continue meanwhile. Raises InvalidInput when an administrator's pattern takes too long.
        """
        if sum(map(len, texts)) <= self._short_chars:
            return self._redact_all(texts)
        with _turn:
            return greenlets.in_thread(self._redact_all, texts)

    def _redact_all(self, texts: Sequence[str]) -> list[str]:
        found = []
        for text in texts:
            found.append(self._found(_Reading(text)))
            self._learn(*found[-1])
        known = KnownSecrets({text: name for text, name in self._known.items() if text.lower() not in self._allowed})
        return [self._replaced(reading, [*spans, *_known_in(reading, known)]) for reading, spans in found]

    def redact_request(self, request: ChatRequest) -> ChatRequest:
        """The request with placeholders in all texts except the definitions of its tools.

        Raises InvalidInput when it is longer than MAX_CHARS, or when an administrator's pattern takes too long.
        """
        texts: list[str] = []

        def collect(text: str) -> str:
            texts.append(text)
            return text

        map_texts(request, collect)
        length = sum(map(len, texts))
        if length > MAX_CHARS:
            raise InvalidInput(f"the messages are too long: {length:,} characters, at most {MAX_CHARS:,} are allowed")
        redacted = iter(self.redact_all(texts))
        return map_texts(request, lambda _: next(redacted))

    def restore(self, text: str) -> str:
        """`text` with its placeholders replaced by the secrets."""
        return self.placeholders.restore(text)

    def _found(self, reading: "_Reading") -> tuple["_Reading", list[_Span]]:
        spans = [
            _Span(*view.original(found.start, found.end), found.name, found.rank)
            for view in reading.views
            for found in self._patterns.find(view.text)
        ]
        for found, pattern in self._custom.find(reading.view.text):
            start, end = reading.view.original(found.start, found.end)
            spans.append(_Span(start, end, found.name, found.rank, replacement=pattern.replacement))
        for start, end, name in find_pem_blocks(reading.view.text):
            spans.append(_Span(*reading.view.original(start, end), name, -1, is_block=True))
        for view in reading.views:
            for start, end, name in find_in_sections(view.text):
                spans.append(_Span(*view.original(start, end), name, 0))
        # Text that looks like one of our placeholders gets a placeholder itself, so that it is restored unchanged.
        spans += [_Span(*match.span(), "placeholder", -2) for match in self.placeholders.pattern.finditer(reading.text)]
        inner = reading.inside_of_json(spans)
        return reading, [span for span in inner if reading.secret(span).lower() not in self._allowed]

    def _learn(self, reading: "_Reading", spans: Iterable[_Span]) -> None:
        for span in spans:
            secret = reading.secret(span)
            if 0 <= span.rank < _FIRST_OPTIONAL_RANK and _is_no_word(secret):
                self._known.setdefault(secret, span.name)

    def _replaced(self, reading: "_Reading", spans: Iterable[_Span]) -> str:
        parts = []
        done = 0
        for span in _merged(spans):
            self.counts[span.name] += 1
            parts.append(reading.text[done : span.start])
            placeholder = span.replacement or self.placeholders.of(reading.secret(span), span.name)
            parts.append(reading.written(placeholder, span))
            parts += reading.breaks(span)
            done = span.end
        return "".join([*parts, reading.text[done:]])


class _Reading:
    """A text with its views, in which patterns are searched, and the positions of JSON values in it."""

    def __init__(self, text: str) -> None:
        self.text = text
        decoded = json_view(text)
        self.view: View = decoded or plain_view(text)
        self._is_json = decoded is not None
        self._parts = json_parts(text) if self._is_json else []
        # In JSON, `self.view` has the member's name before its value, and `lines` has the line starts inside a value.
        lines = json_values_view(text) if self._is_json else self.view
        others = (lines, lines.wrapped_lines(), None if self._is_json else unescaped_view(text))
        self.views = [self.view, *(view for view in others if view and view is not self.view)]
        self._break = JSON_BREAK if self._is_json else BREAK

    def inside_of_json(self, spans: Iterable[_Span]) -> Iterator[_Span]:
        """The spans, in JSON clipped to the names and values that they touch, so that the text remains valid JSON."""
        if not self._is_json:
            yield from spans
            return
        for span in spans:
            number = max(self._part_at(span.start), 0)
            while number < len(self._parts) and self._parts[number][0] < span.end:
                start, end, is_quoted = self._parts[number]
                if is_quoted:
                    start, end = max(start, span.start), min(end, span.end)
                if start < end and end > span.start:
                    yield replace(span, start=start, end=end)
                number += 1

    def written(self, text: str, span: _Span) -> str:
        """`text` in the syntax of the span's position: quoted and escaped in JSON."""
        if not self._is_json:
            return text
        quoted = json.dumps(text, ensure_ascii=False)
        return quoted[1:-1] if self._parts[self._part_at(span.start)][2] else quoted

    def _part_at(self, place: int) -> int:
        """The index of the last part that begins at or before `place`, -1 if there is none."""
        return bisect_right(self._parts, place, key=itemgetter(0)) - 1

    def breaks(self, span: _Span) -> list[str]:
        """The line breaks inside the span."""
        return self._break.findall(self.text, span.start, span.end)

    def secret(self, span: _Span) -> str:
        """The secret in the span, without the line breaks of a terminal and without JSON escapes."""
        raw = self.text[span.start : span.end]
        if not span.is_block:
            raw = self._break.sub("", raw)
        if self._is_json:
            try:
                return str(json.loads(f'"{raw}"'))
            except ValueError:
                # No valid JSON string: a backslash before an n that is no line break.
                return raw
        return raw


def _known_in(reading: _Reading, known: KnownSecrets) -> Iterator[_Span]:
    line = reading.view.without_breaks()

    def is_wanted(start: int, end: int) -> bool:
        return end - start >= _SURE_CHARS or _stands_alone(reading.view.text, *line.below(start, end))

    for start, end, name in known.find(line.text, is_wanted):
        span = _Span(*reading.view.original(*line.below(start, end)), name, _KNOWN_RANK)
        yield from reading.inside_of_json([span])


def _merged(spans: Iterable[_Span]) -> Iterator[_Span]:
    """The spans in order, with overlapping ones merged under the name of the best rank."""
    current: _Span | None = None
    for span in sorted(spans, key=lambda span: (span.start, -span.end, span.rank)):
        if current is None or span.start >= current.end:
            if current:
                yield current
            current = span
        else:
            best = min(current, span, key=lambda each: each.rank)
            is_block = current.is_block or span.is_block
            current = replace(best, start=current.start, end=max(current.end, span.end), is_block=is_block)
    if current:
        yield current


def _is_no_word(text: str) -> bool:
    return len(text) >= _SURE_CHARS and any(map(str.isdigit, text)) and any(map(str.isalpha, text))


def _stands_alone(text: str, start: int, end: int) -> bool:
    return not (text[start - 1 : start].isalnum() or text[end : end + 1].isalnum())
