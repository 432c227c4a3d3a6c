"""What leaves the building: texts in which placeholders stand for the secrets."""

import json
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Any

from netstacks import greenlets
from netstacks.errors import InvalidInput
from netstacks.llm.conversation import Block, ChatRequest, Message, Text, ToolResult, ToolUse
from netstacks.llm.custom_patterns import CustomPatterns
from netstacks.llm.known_secrets import KnownSecrets
from netstacks.llm.placeholders import Placeholders
from netstacks.llm.secret_patterns import CREDENTIALS, OPTIONAL, PatternSet
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
"""How long all texts of a request together may be."""

# Longer texts are read in a native thread: one of 30 kB takes some 15 ms.
_SHORT_CHARS = 4000
# A shorter secret is found as a word of its own only, not inside of longer ones.
_SURE_CHARS = 8
_KNOWN_RANK = 500
_FIRST_OPTIONAL_RANK = 1000
_BEGIN = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,60})-----")
_END = re.compile(r"-----END ([A-Z0-9 ]{1,60})-----")
# One text at a time: a thread that computes holds up the loop for moments, several would for longer.
_turn = greenlets.BoundedSemaphore(1)
_BASE64_LINE = re.compile(r"[ \t]{0,40}[A-Za-z0-9+/=]{1,128}\s{0,2}")


@dataclass(frozen=True)
class _Span:
    """What is replaced in a text; `replacement` is the administrator's text for it, if there is one."""

    start: int
    end: int
    name: str
    rank: int
    is_block: bool = False
    replacement: str = ""


class Redactor:
    """Takes the secrets out of one request's texts, and puts them back into its answer.

    A secret has one placeholder in all these texts. One that a configuration has given away is also taken out where it
    stands alone, if it cannot be taken for a word. `counts` tells how many were taken out, by the pattern's name.
    Raises InvalidInput for a wrong pattern in `config`.
    """

    def __init__(self, config: SanitizationConfig, known_secrets: Iterable[str]) -> None:
        optional = [pattern for option, patterns in OPTIONAL.items() if getattr(config, option) for pattern in patterns]
        self._patterns = PatternSet([*CREDENTIALS, *optional])
        self._custom = CustomPatterns(config.custom_patterns)
        # Even on a short text a pattern of the administrator's may take all of its time.
        self._short_chars = 0 if config.custom_patterns else _SHORT_CHARS
        self._allowed = {text.lower() for text in config.allowlist}
        self._known = dict.fromkeys(known_secrets, "vault_secret")
        self.placeholders = Placeholders()
        self.counts: Counter[str] = Counter()

    def redact(self, text: str) -> str:
        """`text` with placeholders. It has as many lines as before."""
        return self.redact_all([text])[0]

    def redact_all(self, texts: Sequence[str]) -> list[str]:
        """The texts with placeholders; what one of them gives away is taken out of all.

        Other greenlets go on meanwhile. Raises InvalidInput when a pattern of the administrator's takes too long.
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
        """The request with placeholders in everything that is written in it, the definitions of its tools excepted.

        Raises InvalidInput when it is longer than MAX_CHARS, or when a pattern of the administrator's takes too long.
        """
        texts: list[str] = []

        def collect(text: str) -> str:
            texts.append(text)
            return text

        _each_text(request, collect)
        length = sum(map(len, texts))
        if length > MAX_CHARS:
            raise InvalidInput(f"the messages are too long: {length:,} characters, at most {MAX_CHARS:,} are allowed")
        redacted = iter(self.redact_all(texts))
        return _each_text(request, lambda _: next(redacted))

    def restore(self, text: str) -> str:
        """`text` with the secrets in the places of their placeholders."""
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
        for start, end, name in _blocks(reading.view.text):
            spans.append(_Span(*reading.view.original(start, end), name, -1, is_block=True))
        # What looks like one of our placeholders is a secret itself: it comes back as it was.
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
    """A text and the ways to read it."""

    def __init__(self, text: str) -> None:
        self.text = text
        decoded = json_view(text)
        self.view: View = decoded or plain_view(text)
        self._is_json = decoded is not None
        self._parts = json_parts(text) if self._is_json else []
        # A password's name stands before it in JSON, and what begins a line stands there in the value alone.
        lines = json_values_view(text) if self._is_json else self.view
        others = (lines, lines.wrapped_lines(), None if self._is_json else unescaped_view(text))
        self.views = [self.view, *(view for view in others if view and view is not self.view)]
        self._break = JSON_BREAK if self._is_json else BREAK

    def inside_of_json(self, spans: Iterable[_Span]) -> Iterator[_Span]:
        """Of a JSON value the names and values that the spans touch, without what holds them together."""
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
        """How `text` is written in the place of the span."""
        if not self._is_json:
            return text
        quoted = json.dumps(text, ensure_ascii=False)
        return quoted[1:-1] if self._parts[self._part_at(span.start)][2] else quoted

    def _part_at(self, place: int) -> int:
        """The number of the last part that begins there or before, -1 if there is none."""
        return bisect_right(self._parts, place, key=itemgetter(0)) - 1

    def breaks(self, span: _Span) -> list[str]:
        """The ends of lines inside of the span."""
        return self._break.findall(self.text, span.start, span.end)

    def secret(self, span: _Span) -> str:
        """What the span stands for: without the breaks of the terminal's lines, and without JSON's escapes."""
        raw = self.text[span.start : span.end]
        if not span.is_block:
            raw = self._break.sub("", raw)
        if self._is_json:
            try:
                return str(json.loads(f'"{raw}"'))
            except ValueError:
                # A backslash before an n that ends no line.
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
    """The spans in order, those that overlap as one, named by the best of them."""
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


def _blocks(text: str) -> Iterator[tuple[int, int, str]]:
    """Keys and certificates in PEM, from their first line to their last.

    One whose end is missing goes to the end of the text, and one whose beginning is missing begins with the first line
    of base64 before its end: a screen shows a part of them.
    """
    done = 0
    while end := _END.search(text, done):
        begin = _BEGIN.search(text, done, end.start())
        start = begin.start() if begin else _beginning(text, done, end.start())
        yield start, end.end(), _block_name(end[1])
        done = end.end()
    if begin := _BEGIN.search(text, done):
        yield begin.start(), len(text), _block_name(begin[1])


def _beginning(text: str, first: int, end: int) -> int:
    start = end
    while start > first:
        line = max(text.rfind("\n", 0, start - 1) + 1, first)
        if not _BASE64_LINE.fullmatch(text, line, start):
            break
        start = line
    return start


def _block_name(label: str) -> str:
    return "private_key_block" if "PRIVATE" in label else "certificate_block"


def _is_no_word(text: str) -> bool:
    return len(text) >= _SURE_CHARS and any(map(str.isdigit, text)) and any(map(str.isalpha, text))


def _stands_alone(text: str, start: int, end: int) -> bool:
    return not (text[start - 1 : start].isalnum() or text[end : end + 1].isalnum())


def _each_text(request: ChatRequest, change: Callable[[str], str]) -> ChatRequest:
    messages = tuple(
        Message(message.role, tuple(_each_text_of(block, change) for block in message.blocks))
        for message in request.messages
    )
    return replace(request, system=change(request.system), messages=messages)


def _each_text_of(block: Block, change: Callable[[str], str]) -> Block:
    match block:
        case Text():
            return replace(block, text=change(block.text))
        case ToolResult():
            return replace(block, content=change(block.content))
        case ToolUse():
            # As one text, because the name of a value can tell that it is a secret.
            return replace(block, input=_changed(dict(block.input), change))


def _changed(tool_input: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    try:
        changed: dict[str, Any] = json.loads(change(json.dumps(tool_input, ensure_ascii=False)))
    except (ValueError, RecursionError) as error:
        raise InvalidInput("the input of a tool is nested too deeply") from error
    return changed
