"""No secret stands unmasked in a recording: dialogues with a device, in any order in which they may be observed.

A device that hides what is typed prints nothing before Enter, and perhaps a new line for it. What it had to say before,
and says after that, may be anything: the secret itself, too. What it says reaches the recorder in any pieces, and the
keys may come before it, ahead of the question; then the question asks for a secret in known words. Another question is
at least none of the prompts at which the device has echoed.
"""

from dataclasses import dataclass
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from netstacks.recording.echo_filter import ECHO_WAIT_SECS, EchoFilter

# Few texts, so that secrets, prompts and output are alike by chance, and often.
WORDS = st.sampled_from([b"a", b"ab", b"b#", b"P", b"a b"])
TEXT = st.one_of(WORDS, st.sampled_from([b"", b" ", b"b"]))
QUESTIONS = st.sampled_from([b"Password: ", b"a PIN:"])
CUTS = st.lists(st.integers(0, 10), max_size=3)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(min(place, len(data)) for place in cuts)})
    return [data[start:end] for start, end in pairwise(places)]


@dataclass(frozen=True)
class Step:
    """A line that the user types, after `printed` and a prompt; where it `is_ahead`, before or amid them."""

    line: bytes
    is_hidden: bool
    is_ahead: bool
    printed: tuple[bytes, ...]
    prompt: bytes
    cuts: tuple[list[int], list[int], list[int]]
    order: tuple[bool, ...]
    pauses: bool
    is_silent: bool

    def events(self) -> list[tuple[str, bytes]]:
        """Typed (`t`, and `h` where it is hidden), sent (`s`), and pauses (`p`), in the order of their observation."""
        said = [*(line + b"\r\n" for line in self.printed), *cut(self.prompt, self.cuts[0])]
        kind = "h" if self.is_hidden else "t"
        typed = [(kind, piece) for piece in cut(self.line + b"\r", self.cuts[1])]
        before = [("s", piece) for piece in said]
        pause = [("p", b"")] if self.pauses else []
        new_line = [] if self.is_hidden and self.is_silent else [("s", b"\r\n")]
        if self.is_ahead:
            return [*merged(before, typed, self.order), *new_line]
        if self.is_hidden:
            return [*before, *typed, *pause, *new_line]
        # An echo comes after its key.
        echoes = [("s", piece) for piece in cut(self.line + b"\r\n", self.cuts[2])]
        return [*before, *lagging(typed, echoes), *pause]


def merged(
    one: list[tuple[str, bytes]], two: list[tuple[str, bytes]], order: tuple[bool, ...]
) -> list[tuple[str, bytes]]:
    one, two = [*one], [*two]
    both = [(one if takes_first else two).pop(0) for takes_first in order if one and two]
    return [*both, *one, *two]


def lagging(typed: list[tuple[str, bytes]], echoes: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Each echo as soon as its keys are typed."""
    events, keys, shown = [], 0, 0
    echoes = [*echoes]
    for kind, piece in typed:
        events.append((kind, piece))
        keys += len(piece)
        while echoes and shown + len(echoes[0][1].rstrip(b"\n")) <= keys:
            events.append(echoes.pop(0))
            shown += len(events[-1][1])
    return [*events, *echoes]


@st.composite
def steps(draw: st.DrawFn) -> Step:
    is_hidden, is_ahead = draw(st.booleans()), draw(st.booleans())
    other = WORDS.map(lambda words: words + b">")
    prompt = draw(QUESTIONS if is_hidden and is_ahead else st.one_of(QUESTIONS, other) if is_hidden else WORDS)
    # What is typed ahead may be what is left of the question, or the next letter of it.
    at = draw(st.integers(0, len(prompt)))
    line = draw(st.one_of(TEXT, st.sampled_from([prompt[at:], prompt[at : at + 1]]))) if is_ahead else draw(TEXT)
    return Step(
        line=line,
        is_hidden=is_hidden,
        is_ahead=is_ahead,
        printed=tuple(draw(st.lists(TEXT, max_size=2))),
        prompt=prompt,
        cuts=([at, *draw(CUTS)], [len(line), *draw(CUTS)], draw(CUTS)),
        order=tuple(draw(st.lists(st.booleans(), max_size=8))),
        pauses=draw(st.booleans()),
        is_silent=draw(st.booleans()),
    )


def recorded(events: list[tuple[str, bytes]]) -> tuple[bytes, bytes, bytes]:
    """What was typed, what was recorded of it, and a mark `h` for each byte that the device did not echo."""
    echo = EchoFilter()
    now, typed, hidden, data = 0.0, b"", b"", b""
    for kind, piece in events:
        if kind == "p":
            now += ECHO_WAIT_SECS
            data += echo.expired(now).data
        elif kind == "s":
            data += echo.sent(piece, now).data
        else:
            typed += piece
            hidden += kind.encode() * len(piece)
            data += echo.typed(piece, now).data
    return typed, data + echo.end().data, hidden


@settings(max_examples=300)
@given(st.lists(steps(), max_size=4))
def test_nothing_that_was_hidden_stands_unmasked(dialogue: list[Step]) -> None:
    typed, data, hidden = recorded([event for step in dialogue for event in step.events()])
    assert len(data) == len(typed)
    for byte, shown, mark in zip(typed, data, hidden.decode(), strict=True):
        assert shown in (byte, ord("*"))
        assert shown == ord("*") or mark == "t" or byte < 0x20


@given(st.lists(st.tuples(WORDS, st.text(alphabet="ab# P", min_size=1), st.booleans()), max_size=4))
def test_commands_that_are_typed_at_a_prompt_stand_as_they_were_typed(lines: list[tuple[bytes, str, bool]]) -> None:
    events: list[tuple[str, bytes]] = []
    for prompt, line, lags in lines:
        keys = [letter.encode() for letter in line]
        echoes = [("s", line.encode())] if lags else []
        pressed = [event for key in keys for event in ((("t", key),) if lags else (("t", key), ("s", key)))]
        events += [("s", prompt), *pressed, *echoes, ("t", b"\r"), ("s", b"\r\n")]
    typed, data, _ = recorded(events)
    assert data == typed
