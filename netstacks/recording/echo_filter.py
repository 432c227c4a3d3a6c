"""Which lines of input the device echoed: what it did not, a password most likely, is recorded masked."""

import re
from typing import NamedTuple

from netstacks.recording.login_prompts import asks_for_secret

# Typed text that the device has not echoed by then is taken for a secret.
ECHO_WAIT_SECS = 2.0
_MOST_HELD_BYTES = 4096
# What of the device's line is looked at.
_MOST_LINE_BYTES = 256
_ENTERS = (b"\r", b"\n")
_MASK = ord("*")
_MASKED = bytes(byte if byte < 0x20 or byte == 0x7F else _MASK for byte in range(256))
# Keys that devices answer with anything or nothing: Tab, Backspace, arrows. They are no part of a secret.
_KEY = rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1bO[A-Za-z]|[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]"
_KEYS = re.compile(rb"(?:" + _KEY + rb")+")
_KEYS_AND_ENTERS = re.compile(rb"(?:" + _KEY + rb"|[\r\n])+")
_CONTROLS = re.compile(rb"[\x00-\x1f\x7f]+")
_LINE = re.compile(rb"[^\r\n]*[\r\n]?")
_UNSEEN = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x1f\x7f]")


class Decided(NamedTuple):
    """Input to be recorded. `begins_masking`: text is masked in it, and the text before it was not."""

    data: bytes
    begins_masking: bool


class EchoFilter:
    """Decides for lines of input whether they may be recorded as they are. In doubt they are masked.

    A line is recorded as it is when the device, at a prompt that asks for no secret, has sent back what was typed, to
    the letter and nothing else, and then a new line for Enter. Until then it is undecided: the beginning of a password
    may equal the beginning of the prompt that it was typed ahead of. What was sent back must have come before Enter was
    typed: a device may hide the password and print the same text next. Where it did once, lines of the same prompt may
    be typed faster, or pasted.

    All other text is masked, also what is typed ahead, before the device has answered the last Enter or while it shows
    no prompt. Lengths and order stay.
    """

    def __init__(self) -> None:
        # The device's output since its last new line.
        self._line = b""
        # The line of input that is undecided, and how much of it is answered.
        self._held = bytearray()
        self._answered = 0
        # What the device waits behind, and where it has waited before and echoed.
        self._prompt = ""
        self._echoing_prompt = ""
        self._is_in_time = False
        # Where a key ends to which the device may say anything; it may do so until the next key.
        self._key_ends_at = -1
        # What is typed behind an Enter that is not answered, masked.
        self._ahead = bytearray()
        self._since = 0.0
        # What is typed is masked up to the next new line, of the user or of the device.
        self._is_hidden = False
        self._flood_until = 0.0
        self._is_masking = False
        self._begins_masking = False
        self._decided = bytearray()

    @property
    def deadline(self) -> float | None:
        """When the undecided line will be masked, by the caller's clock; None while no answer to it is missing."""
        return self._since + ECHO_WAIT_SECS if self._answered < len(self._held) else None

    def typed(self, data: bytes, now: float) -> Decided:
        """Takes what the user typed; returns what is decided already."""
        if now < self._flood_until:
            self._flood_until = now + ECHO_WAIT_SECS
            self._mask(data)
            return self._take_decided()
        position = 0
        while position < len(data):
            if self._held.endswith(_ENTERS):
                self._ahead += data[position:].translate(_MASKED)
                break
            keys = None if self._held or self._is_hidden else self._keys().match(data, position)
            if keys:
                self._decided += keys.group()
                position = keys.end()
                continue
            if not self._held and not _is_prompt(self._line):
                self._mask(data[position:])
                self._is_hidden = not data.endswith(_ENTERS)
                break
            line = _LINE.match(data, position)
            assert line is not None
            position = line.end()
            if self._is_hidden:
                self._mask(line.group())
                self._is_hidden = not line.group().endswith(_ENTERS)
            else:
                self._hold(line.group(), now)
        if len(self._held) + len(self._ahead) > _MOST_HELD_BYTES:
            # The rest of the paste is masked, too: what the device answers by then belongs to any of its lines.
            self._give_up()
            self._flood_until = now + ECHO_WAIT_SECS
        return self._take_decided()

    def _keys(self) -> re.Pattern[bytes]:
        """What is recorded as it is, wherever it is typed. Behind ESC [ may stand the letters of a secret."""
        return _KEYS_AND_ENTERS if _is_prompt(self._line) else _CONTROLS

    def sent(self, output: bytes, now: float) -> Decided:
        """Takes what the device sent; returns what that decides."""
        if self._held:
            self._compare(output, now)
        line_begins_at = max(output.rfind(b"\n"), output.rfind(b"\r")) + 1
        if line_begins_at:
            self._is_hidden = False
            self._line = b""
        self._line = (self._line + output[line_begins_at:])[-_MOST_LINE_BYTES:]
        return self._take_decided()

    def expired(self, now: float) -> Decided:
        """Returns what has waited too long, masked."""
        if self.deadline is not None and now >= self.deadline:
            self._give_up()
        return self._take_decided()

    def end(self) -> Decided:
        """Returns what is undecided, masked."""
        self._give_up()
        return self._take_decided()

    def _hold(self, data: bytes, now: float) -> None:
        if not self._held:
            self._prompt = _seen(self._line)
        if self._answered == len(self._held):
            self._since = now
        self._held += data
        self._skip_keys()
        self._is_in_time = self._answered == len(self._held) - 1

    def _skip_keys(self) -> None:
        if keys := _KEYS.match(self._held, self._answered):
            self._answered = self._key_ends_at = keys.end()

    def _compare(self, output: bytes, now: float) -> None:
        for position, byte in enumerate(output):
            if self._answered == len(self._held):
                if self._key_ends_at != self._answered:
                    self._give_up()
                return
            expected = self._held[self._answered]
            if expected in b"\r\n":
                self._end_line(_seen(self._line + output[:position]), is_new_line=byte in b"\r\n")
                return
            if byte != expected:
                self._give_up()
                return
            self._answered += 1
            self._since = now
            self._skip_keys()

    def _end_line(self, shown: str, *, is_new_line: bool) -> None:
        """Decides the line, all of which was sent back. With what stood before it, it is `shown` on the terminal."""
        is_echoed = self._is_in_time or self._prompt == self._echoing_prompt
        if is_echoed and is_new_line and not asks_for_secret(shown):
            self._echoing_prompt = self._prompt
            self._decided += self._held
            self._is_masking = False
            self._held.clear()
        self._give_up()

    def _give_up(self) -> None:
        """Masks what is undecided. What is typed on the same line from now on is part of it."""
        undecided = bytes(self._held + self._ahead)
        self._mask(undecided)
        self._is_hidden = bool(undecided) and not undecided.endswith(_ENTERS)
        self._held.clear()
        self._ahead.clear()
        self._answered = 0
        self._key_ends_at = -1

    def _mask(self, data: bytes) -> None:
        masked = data.translate(_MASKED)
        self._decided += masked
        if _MASK in masked:
            self._begins_masking = self._begins_masking or not self._is_masking
            self._is_masking = True

    def _take_decided(self) -> Decided:
        decided = Decided(bytes(self._decided), self._begins_masking)
        self._decided.clear()
        self._begins_masking = False
        return decided


def _is_prompt(line: bytes) -> bool:
    """Whether the device waits behind something that asks for no secret."""
    seen = _seen(line)
    return bool(seen.strip()) and not asks_for_secret(seen)


def _seen(line: bytes) -> str:
    return _UNSEEN.sub(b"", line[-_MOST_LINE_BYTES:]).decode("utf-8", "replace")
