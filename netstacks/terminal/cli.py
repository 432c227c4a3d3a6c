"""A device's command line, used by a program: commands are typed one after another, and what they print is read."""

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

# What is kept of one command's output.
MOST_OUTPUT_CHARS = 200_000
# A prompt is one when nothing follows it for so long.
_SETTLE_SECS = 0.1
_QUIET_SECS = 0.3
# A device that is silent after the log-in may wait for Enter.
_SILENT_SECS = 3.0
# A pager waits then already. What it is given in vain does no harm.
_PAGE_SECS = 0.02
_LOOK_SECS = 1.0
# So often a line has to come again before it is taken for something that changes with every Enter.
_PROMPT_TRIES = 4
# Ctrl-C, and what interrupts IOS: Ctrl-^. Each has so long for bringing the prompt back.
_BREAKS = (b"\x03", b"\x1e")
BREAK_SECS = 2.0
_ENTER = b"\r"
_MOST_WORDS = 200
_PAGER = re.compile(
    r"[-<(\[ ]{1,8}\s*more\b.{0,80}"
    r"|press (?:any key|<?(?:space|enter|return)\b).{0,80}"
    r"|lines? \d+-\d+\b.{0,40}"
    r"|-- \[q quit\b.{0,80}"
    r"|\(end\)",
    re.IGNORECASE,
)
# `more` and `less` stay behind the last page.
_LAST_PAGE = "(END)"
# What asks for something: `Password:`, `Username:`, `Continue? [y/n]:`.
_QUESTION = re.compile(r".*(?:[:?]|\[[yn]\w*/[yn]\w*\])")


class CommandLine:
    """Is the controlling terminal of a session that has just been opened.

    `check` is called about once a second while the device is waited for, and raises what ends the wait.
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
        self._heard = _Heard()
        self._attachment = Attachment(
            self._heard,
            Kind.CONTROL,
            user_id=user_id,
            username=username,
            login_id=login_id,
            speaks_offsets=True,
        )
        self._heard.on_ping = self._attachment.on_pong
        self._prompt = ""
        self._turned: tuple[int, str] | None = None
        session.attach(self._attachment, session.first_offset)

    def find_prompt(self, until: float) -> None:
        """Learns the prompt: the line that comes again at Enter. `until` is a time of the monotonic clock.

        Raises DeviceError when there is none by then.
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
        """Types a command. False when the prompt has not come back by `until`.

        Raises DeviceError when the session ends.
        """
        self._begin(command.encode() + _ENTER)
        return self._wait(until, self._is_at_prompt)

    def interrupt(self) -> bool:
        """Interrupts the command. False when the prompt does not come back even so.

        Raises DeviceError when the session ends.
        """
        for key in _BREAKS:
            self._type(key)
            if self._wait(time.monotonic() + BREAK_SECS, self._is_at_prompt, pager_key=b"q"):
                return True
        return False

    def output(self, command: str) -> str:
        """What the last command, `command`, has printed: without its echo, and without the prompt behind it."""
        transcript = self._transcript
        lines = list(transcript.lines)
        if transcript.line.strip() not in ("", self._prompt):
            lines.append(transcript.line.rstrip())
        if lines and (command[:20] in lines[0] or command[-20:] in lines[0]):
            del lines[0]
        text = "\n".join(lines).strip("\n")
        if transcript.is_cut:
            text += f"\n[The output is longer than {MOST_OUTPUT_CHARS} characters: the rest was left out.]"
        return text

    @property
    def last_line(self) -> str:
        """The unfinished line that the device waits behind."""
        return self._transcript.line.strip()

    def _last_words(self) -> str:
        lines = [*self._transcript.lines, self.last_line]
        return next((line.strip() for line in reversed(lines) if line.strip()), "")[-_MOST_WORDS:]

    @property
    def _transcript(self) -> Transcript:
        return self._heard.transcript

    def _begin(self, keys: bytes) -> None:
        self._heard.transcript = Transcript(MOST_OUTPUT_CHARS)
        self._turned = None
        self._type(keys)

    def _type(self, keys: bytes) -> None:
        self._heard.heard_at = time.monotonic()
        self._session.input(self._attachment, keys)

    def _silent_secs(self) -> float:
        return time.monotonic() - self._heard.heard_at

    def _is_quiet(self) -> bool:
        return self._silent_secs() >= (_QUIET_SECS if self.last_line else _SILENT_SECS)

    def _is_at_prompt(self) -> bool:
        # A command that is just being echoed ends no line: it stands behind the former prompt.
        has_settled = self._silent_secs() >= _SETTLE_SECS
        return has_settled and self._transcript.count > 0 and self.last_line == self._prompt

    def _turn_page(self, key: bytes) -> None:
        """Answers a pager, once for each page."""
        page = (self._transcript.count, self.last_line)
        if self._silent_secs() < _PAGE_SECS or page == self._turned or not _PAGER.fullmatch(self.last_line):
            return
        self._turned = page
        is_enough = self._transcript.is_cut or _LAST_PAGE in self.last_line
        self._type(b"q" if is_enough else key)

    def _wait(self, until: float, is_there: Callable[[], bool], *, pager_key: bytes = b" ") -> bool:
        """Waits, and turns the pages of a pager. Raises DeviceError when the session ends, and what `check` raises."""
        checked_at = time.monotonic()
        while not is_there():
            if self._heard.ended is not None:
                raise DeviceError(f"the session has ended: {self._heard.ended}")
            now = time.monotonic()
            if now >= until:
                return False
            if now - checked_at >= _LOOK_SECS:
                checked_at = now
                self._check()
            self._turn_page(pager_key)
            self._heard.changed.clear()
            pause_secs = _PAGE_SECS if self._silent_secs() < _LOOK_SECS else _SETTLE_SECS
            self._heard.changed.wait(min(until - now, pause_secs))
        return True


class _Heard:
    """The attachment's sink: what it would send to a client is read here."""

    def __init__(self) -> None:
        self.transcript = Transcript(MOST_OUTPUT_CHARS)
        self.changed = greenlets.Event()
        self.heard_at = time.monotonic()
        self.ended: str | None = None
        self.on_ping: Callable[[bytes], None] = lambda payload: None

    def send(self, *messages: bytes) -> None:
        for message in messages:
            # Notices are the controller's own.
            if message[0] == FrameType.DATA:
                self.transcript.feed(message[1:])
                self.heard_at = time.monotonic()
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
