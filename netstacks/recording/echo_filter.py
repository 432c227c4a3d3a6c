"""The echo filter: input that the device does not echo, such as a password, is recorded masked."""

import re
from typing import NamedTuple

from netstacks.recording.login_prompts import asks_for_secret

# Input without an echo within this time counts as a secret.
ECHO_WAIT_SECS = 2.0
_MAX_HELD_BYTES = 4096
# Only the end of the device's line counts.
_MAX_LINE_BYTES = 256
_ENTERS = (b"\r", b"\n")
_MASK = ord("*")
_MASKED = bytes(byte if byte < 0x20 or byte == 0x7F else _MASK for byte in range(256))
# Keys that devices answer with anything or nothing: Tab, Backspace, arrows. They are not part of a secret.
_KEY = rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1bO[A-Za-z]|[\x00-\x09\x0b\x0c\x0e-\x1f\x7f]"
_KEYS = re.compile(rb"(?:" + _KEY + rb")+")
_KEYS_AND_ENTERS = re.compile(rb"(?:" + _KEY + rb"|[\r\n])+")
_CONTROLS = re.compile(rb"[\x00-\x1f\x7f]+")
_LINE = re.compile(rb"[^\r\n]*[\r\n]?")
_INVISIBLE = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x1f\x7f]")


class Decided(NamedTuple):
    """Input to record. `begins_masking`: it contains masked text, and the text before it was not masked."""

    data: bytes
    begins_masking: bool


class EchoFilter:
    """Decides line by line whether input may be recorded in clear text. In doubt it is masked.

    A line is recorded in clear text when the device, at a prompt that asks for no secret, has echoed exactly this line
    and then a new line for Enter. Until then the line is undecided: a password that is typed ahead may begin like the
    next prompt. The echo must come before Enter is typed, because a device may hide the password and then print the
    same text. After one such echo, lines at the same prompt may be typed faster, or pasted.

    All other text is masked, also text that is typed ahead: before the device has answered the last Enter, or while it
    shows no prompt. Lengths and order are preserved.
    """

    def __init__(self) -> None:
        # The device's output since its last new line.
        self._line = b""
        # The undecided line of input, and how many of its bytes the device has echoed: _echoed <= len(_held).
        self._held = bytearray()
        self._echoed = 0
        # The prompt of the undecided line, and the last prompt at which the device has echoed a line.
        self._prompt = ""
        self._echoing_prompt = ""
        # Whether everything before Enter was echoed before Enter was typed.
        self._is_in_time = False
        # The end of a key in `_held` that the device may answer with anything, until the next key; -1 without one.
        self._key_ends_at = -1
        # Masked input after an Enter that the device has not answered yet.
        self._ahead = bytearray()
        # When the device last made progress with the echo, or the input began to wait for it; by the caller's clock.
        self._since = 0.0
        # Whether input is masked up to the next new line, of the user or of the device.
        self._is_hidden = False
        # All input before this time is masked: the rest of a large paste.
        self._flood_until = 0.0
        # Whether the last recorded text was masked.
        self._is_masking = False
        self._begins_masking = False
        self._decided = bytearray()

    @property
    def deadline(self) -> float | None:
        """When the undecided line will be masked, by the caller's clock; None while no echo is missing."""
        return self._since + ECHO_WAIT_SECS if self._echoed < len(self._held) else None

    def typed(self, data: bytes, now: float) -> Decided:
        """Takes input; returns the input that is decided."""
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
            line = _LINE.match(data, position)
            assert line is not None
            if self._is_hidden:
                self._mask(line.group())
                self._is_hidden = not line.group().endswith(_ENTERS)
            elif not self._held and not _is_prompt(self._line):
                self._mask(data[position:])
                self._is_hidden = not data.endswith(_ENTERS)
                break
            else:
                self._hold(line.group(), now)
            position = line.end()
        if len(self._held) + len(self._ahead) > _MAX_HELD_BYTES:
            # The rest of the paste is masked too: the output that follows may be the echo of any of its lines.
            self._mask_undecided()
            self._flood_until = now + ECHO_WAIT_SECS
        return self._take_decided()

    def _keys(self) -> re.Pattern[bytes]:
        """Input that is always recorded in clear text. Without a prompt, letters after ESC [ may belong to a secret."""
        return _KEYS_AND_ENTERS if _is_prompt(self._line) else _CONTROLS

    def sent(self, output: bytes, now: float) -> Decided:
        """Takes output; returns the input that it decides."""
        if self._held:
            self._compare(output, now)
        line_begins_at = max(output.rfind(b"\n"), output.rfind(b"\r")) + 1
        if line_begins_at:
            self._is_hidden = False
            self._line = b""
        self._line = (self._line + output[line_begins_at:])[-_MAX_LINE_BYTES:]
        return self._take_decided()

    def expired(self, now: float) -> Decided:
        """Returns the input whose echo is overdue, masked."""
        if self.deadline is not None and now >= self.deadline:
            self._mask_undecided()
        return self._take_decided()

    def end(self) -> Decided:
        """Returns the undecided input, masked."""
        self._mask_undecided()
        return self._take_decided()

    def _hold(self, data: bytes, now: float) -> None:
        if not self._held:
            self._prompt = _visible(self._line)
        if self._echoed == len(self._held):
            self._since = now
        self._held += data
        self._skip_keys()
        self._is_in_time = self._echoed == len(self._held) - 1

    def _skip_keys(self) -> None:
        if keys := _KEYS.match(self._held, self._echoed):
            self._echoed = self._key_ends_at = keys.end()

    def _compare(self, output: bytes, now: float) -> None:
        for position, byte in enumerate(output):
            if self._echoed == len(self._held):
                if self._key_ends_at != self._echoed:
                    self._mask_undecided()
                return
            expected = self._held[self._echoed]
            if expected in b"\r\n":
                self._end_line(_visible(self._line + output[:position]), is_new_line=byte in b"\r\n")
                return
            if byte != expected:
                self._mask_undecided()
                return
            self._echoed += 1
            self._since = now
            self._skip_keys()

    def _end_line(self, shown: str, *, is_new_line: bool) -> None:
        """Decides a line that was echoed completely. `shown` is the terminal's line: the prompt and the echo."""
        is_echoed = self._is_in_time or self._prompt == self._echoing_prompt
        if is_echoed and is_new_line and not asks_for_secret(shown):
            self._echoing_prompt = self._prompt
            self._decided += self._held
            self._is_masking = False
            self._held.clear()
        self._mask_undecided()

    def _mask_undecided(self) -> None:
        """Masks the undecided input, and further input on the same line."""
        undecided = bytes(self._held + self._ahead)
        self._mask(undecided)
        self._is_hidden = bool(undecided) and not undecided.endswith(_ENTERS)
        self._held.clear()
        self._ahead.clear()
        self._echoed = 0
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
    """Whether the line is a prompt, and one that asks for no secret."""
    visible = _visible(line)
    return bool(visible.strip()) and not asks_for_secret(visible)


def _visible(line: bytes) -> str:
    return _INVISIBLE.sub(b"", line[-_MAX_LINE_BYTES:]).decode("utf-8", "replace")
