"""A device's command line, used by a program: runs commands one after another and reads their output."""

import re
import time
from collections.abc import Callable
from uuid import UUID

from netstacks import greenlets
from netstacks.errors import DeviceError
from netstacks.terminal.attachment import Attachment, Kind
from netstacks.terminal.frames import FrameType
from netstacks.terminal.session import Session
from netstacks.terminal.transcript import Transcript

# More of one command's output is not kept.
MAX_OUTPUT_CHARS = 200_000
# A line counts as the prompt when nothing follows it for this long.
_SETTLE_SECS = 0.1
_QUIET_SECS = 0.3
# After this silence without a prompt the device may be waiting for Enter.
_SILENT_SECS = 3.0
# After this silence a pager is waiting. A key that it does not need does no harm.
_PAGE_SECS = 0.02
_CHECK_SECS = 1.0
# After this many different lines the device is assumed to have no constant prompt.
_PROMPT_TRIES = 4
# Ctrl-C, and Ctrl-^ for IOS. Each has this long to bring the prompt back.
_BREAKS = (b"\x03", b"\x1e")
BREAK_SECS = 2.0
_ENTER = b"\r"
_MAX_WORDS = 200
_PAGER = re.compile(
    r"[-<(\[ ]{1,8}\s*more\b.{0,80}"
    r"|press (?:any key|<?(?:space|enter|return)\b).{0,80}"
    r"|lines? \d+-\d+\b.{0,40}"
    r"|-- \[q quit\b.{0,80}"
    r"|\(end\)",
    re.IGNORECASE,
)
# `more` and `less` wait for a key after the last page.
_LAST_PAGE = "(END)"
# A question: `Password:`, `Username:`, `Continue? [y/n]:`.
_QUESTION = re.compile(r".*(?:[:?]|\[[yn]\w*/[yn]\w*\])")


class CommandLine:
    """The controlling terminal of a session that has just been opened.

    `check` is called about once a second during every wait, and ends the wait by raising.
    """

    def __init__(
        self,
        session: Session,
        user_id: UUID | None,
        username: str,
        check: Callable[[], None],
        *,
        login_id: UUID | None = None,
    ) -> None:
        self._session = session
        self._check = check
        self._sink = _TranscriptSink()
        self._attachment = Attachment(
            self._sink,
            Kind.CONTROL,
            user_id=user_id,
            username=username,
            login_id=login_id,
            speaks_offsets=True,
        )
        self._sink.on_ping = self._attachment.on_pong
        self._prompt = ""
        self._turned_page: tuple[int, str] | None = None
        session.attach(self._attachment, session.first_offset)

    def find_prompt(self, until: float) -> None:
        """Finds the prompt: the line that Enter repeats. `until` is a time of the monotonic clock.

        Raises DeviceError when there is no prompt by then, or when the device asks a question.
        """
        tries = 0
        while self._wait(until, self._is_quiet) and tries < _PROMPT_TRIES:
            tries += 1
            before = self.last_line
            self._begin(_ENTER)
            if self._wait(until, self._is_quiet) and self.last_line and self.last_line == before:
                break
        else:
            raise DeviceError(f"the device shows no prompt that comes again at Enter, but {self._last_words()!r}")
        if _QUESTION.fullmatch(self.last_line):
            raise DeviceError(
                f"the device asks {self._last_words()!r}, which needs a person: open a terminal to this device first"
            )
        self._prompt = self.last_line

    def run(self, command: str, until: float) -> bool:
        """Runs a command. False when the prompt is not back by `until`.

        Raises DeviceError when the session ends.
        """
        self._begin(command.encode() + _ENTER)
        return self._wait(until, self._is_at_prompt)

    def interrupt(self) -> bool:
        """Interrupts the command. False when the prompt does not come back.

        Raises DeviceError when the session ends.
        """
        for key in _BREAKS:
            self._type(key)
            if self._wait(time.monotonic() + BREAK_SECS, self._is_at_prompt, pager_key=b"q"):
                return True
        return False

    def output(self, command: str) -> str:
        """The output of the last command, `command`, without its echo and without the prompt after it."""
        transcript = self._transcript
        lines = list(transcript.lines)
        if transcript.line.strip() not in ("", self._prompt):
            lines.append(transcript.line.rstrip())
        if lines and (command[:20] in lines[0] or command[-20:] in lines[0]):
            del lines[0]
        text = "\n".join(lines).strip("\n")
        if transcript.is_cut:
            text += f"\n[The output is longer than {MAX_OUTPUT_CHARS} characters: the rest was left out.]"
        return text

    @property
    def last_line(self) -> str:
        """The unfinished line at which the device waits."""
        return self._transcript.line.strip()

    def _last_words(self) -> str:
        lines = [*self._transcript.lines, self.last_line]
        return next((line.strip() for line in reversed(lines) if line.strip()), "")[-_MAX_WORDS:]

    @property
    def _transcript(self) -> Transcript:
        return self._sink.transcript

    def _begin(self, keys: bytes) -> None:
        self._sink.transcript = Transcript(MAX_OUTPUT_CHARS)
        self._turned_page = None
        self._type(keys)

    def _type(self, keys: bytes) -> None:
        self._sink.changed_at = time.monotonic()
        self._session.input(self._attachment, keys)

    def _silent_secs(self) -> float:
        return time.monotonic() - self._sink.changed_at

    def _is_quiet(self) -> bool:
        return self._silent_secs() >= (_QUIET_SECS if self.last_line else _SILENT_SECS)

    def _is_at_prompt(self) -> bool:
        # No line has ended while the command is still being echoed after the former prompt.
        has_settled = self._silent_secs() >= _SETTLE_SECS
        return has_settled and self._transcript.count > 0 and self.last_line == self._prompt

    def _turn_page(self, key: bytes) -> None:
        """Answers a pager, once per page."""
        page = (self._transcript.count, self.last_line)
        if self._silent_secs() < _PAGE_SECS or page == self._turned_page or not _PAGER.fullmatch(self.last_line):
            return
        self._turned_page = page
        is_enough = self._transcript.is_cut or _LAST_PAGE in self.last_line
        self._type(b"q" if is_enough else key)

    def _wait(self, until: float, is_done: Callable[[], bool], *, pager_key: bytes = b" ") -> bool:
        """Waits, and answers pagers meanwhile. Raises DeviceError when the session ends, and what `check` raises."""
        checked_at = time.monotonic()
        while not is_done():
            if self._sink.ended is not None:
                raise DeviceError(f"the session has ended: {self._sink.ended}")
            now = time.monotonic()
            if now >= until:
                return False
            if now - checked_at >= _CHECK_SECS:
                checked_at = now
                self._check()
            self._turn_page(pager_key)
            self._sink.changed.clear()
            pause_secs = _PAGE_SECS if self._silent_secs() < _CHECK_SECS else _SETTLE_SECS
            self._sink.changed.wait(min(until - now, pause_secs))
        return True


class _TranscriptSink:
    """The attachment's sink: collects output that would go to a client."""

    def __init__(self) -> None:
        self.transcript = Transcript(MAX_OUTPUT_CHARS)
        self.changed = greenlets.Event()
        self.changed_at = time.monotonic()
        self.ended: str | None = None
        self.on_ping: Callable[[bytes], None] = lambda payload: None

    def send(self, *messages: bytes) -> None:
        for message in messages:
            # The controller's notices are not output of the device.
            if message[0] == FrameType.DATA:
                self.transcript.feed(message[1:])
                self.changed_at = time.monotonic()
                self.changed.set()

    def can_take_now(self, _: int) -> bool:
        return True

    def ping(self, payload: bytes) -> None:
        self.on_ping(payload)

    def close(self, _: int = 1000, reason: str = "") -> None:
        self.ended = reason
        self.changed.set()

    def abort(self) -> None:
        self.close(reason="its connection was closed")

    def delivered_bytes(self) -> int:
        return 0

    def undelivered_bytes(self) -> int:
        return 0
