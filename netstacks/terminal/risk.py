"""What a session would lose if its SSH connection to the device ended now, read from its newest output.

The rules know the prompts of common network systems. A prompt that they do not know counts as no risk.
"""

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from netstacks.terminal.transcript import Transcript

RiskKind = Literal["output", "configuration", "commit-confirmed"]

# Output within this time counts as under way.
OUTPUT_SECS = 2.0
# The prompt is looked for in this much of the newest output, a confirmed commit in this much.
PROMPT_BYTES, COMMIT_BYTES = 2048, 64 * 1024

# Configuration modes whose prompt alone is distinctive; a command may have been typed after it.
_PROMPTS = (
    # Cisco IOS, IOS XE, NX-OS, ASA, Arista EOS, Dell OS10: R1(config-if)#; IOS XR: RP/0/RP0/CPU0:R1(config)#
    re.compile(r"[^\s()]+\(conf[^()]*\)#"),
    # Nokia SR OS, classic CLI: *A:R1>config>router#
    re.compile(r"\*?[A-Z]:[^\s>#]+>config[^\s#]*#"),
    # Huawei VRP and H3C Comware, without a command: [~HUAWEI-GE1/0/0], [*HUAWEI], [H3C]
    re.compile(r"\[[~*]?(?!edit\])[A-Za-z][\w.:/-]*\]\s*$"),
    # Fortinet FortiOS, without a command: FGT (global) #, FGT (port1) #
    re.compile(r"[\w.-]+ \([^()]+\) #\s*$"),
    # MikroTik RouterOS, in safe mode: [admin@MikroTik] /ip/address <SAFE>
    re.compile(r"\[[^\]\s@]+@[^\]]+\][^<>]*<SAFE>"),
)
# Configuration modes that a line of their own above the prompt shows.
_BANNERS = (
    # Juniper Junos, Palo Alto PAN-OS, VyOS: [edit interfaces] above lab@R1#
    (re.compile(r"(?:\{[^}]*\})?\[edit[^\]]*\]$"), re.compile(r"[^\s@]+@[^\s#]+#")),
    # Nokia SR OS, MD-CLI: *(ex)[/configure router "Base"] above A:admin@R1#
    (re.compile(r"[*!]*\((?:ex|gl|pr)\)\["), re.compile(r"[A-Z]:[^\s#]+#")),
    # Nokia SR Linux: --{ * candidate shared default }--[ ]-- above A:leaf1#
    (re.compile(r"--\{[^}]*\bcandidate\b"), re.compile(r"[A-Z]:[^\s#]+#")),
)

# Commands count only behind a prompt at the beginning of a line, so that a mention of them in a text does not.
_AT_PROMPT = r"(?P<prompt>[^\s#>]{0,120})[#>]\s{0,4}"
_COMMIT_CONFIRMED = re.compile(
    _AT_PROMPT + r"commit\s+conf\w*(?:\s+(?P<unit>minutes|seconds))?(?:\s+(?P<number>\d{1,5}))?\b"
)
_REVERT_TIMER = re.compile(
    _AT_PROMPT + r"conf\w*\s+t\w*\s+revert\s+timer(?:\s+idle)?\s+(?P<number>\d{1,5})", re.IGNORECASE
)
_RELOAD_IN = re.compile(_AT_PROMPT + r"rel\w*\s+in\s+(?:(?P<hours>\d{1,3}):)?(?P<number>\d{1,5})", re.IGNORECASE)
_OVER_COMMAND = re.compile(
    _AT_PROMPT + r"(?:commit\b(?!\s+conf)|conf\w*\s+(?:confirm|revert\s+now)|rel\w*\s+cancel)", re.IGNORECASE
)
_OVER_TEXTS = ("rollback complete", "was not confirmed", "SHUTDOWN ABORTED")
# Texts that exclude almost all sessions, and almost all lines of the others, before a line is rendered as a terminal
# shows it.
_MAYBE = (b"confirmed", b"commit conf", b"revert timer", b"reload in", b"Reload scheduled")
_MAYBE_OVER = tuple(text.encode() for text in _OVER_TEXTS)
# No more lines are read, and no longer ones: the event loop waits meanwhile.
_MAX_LINES, _MAX_LINE = 50, 256
# Junos rolls back after this time when the command names none.
_JUNOS_MINUTES = 10


@dataclass(frozen=True)
class Pending:
    """A change that the device takes back by itself: `secs` after its command, or after a time unknown here.

    `line` is the index of the command's line. `before` and `after` are the sentence around the time.
    """

    line: int
    command: str
    secs: int | None
    before: str
    after: str

    def text(self, began_at: float | None = None) -> str:
        """The sentence; with the time of day if the command `began_at` is known, in seconds since 1970."""
        if self.secs is None:
            when = "by itself"
        elif began_at is None:
            minutes, secs = divmod(self.secs, 60)
            number = f"{self.secs} s" if secs else "1 minute" if minutes == 1 else f"{minutes} minutes"
            when = f"{number} after `{self.command}`"
        else:
            when = time.strftime("at %H:%M:%S UTC", time.gmtime(began_at + self.secs))
        return f"{self.before} {when}, {self.after}"


@dataclass(frozen=True)
class Risk:
    """What would be lost, as a sentence for an administrator.

    `pending` is the change of a confirmed commit, `offset` where its line begins in the examined output.
    """

    kind: RiskKind
    text: str
    pending: Pending | None = None
    offset: int = 0


_CONFIGURATION = Risk(
    "configuration",
    "It is in configuration mode: the device ends this mode, and may discard changes that are not committed.",
)
_OUTPUT = Risk("output", "Output is under way: the device ends the command that prints it.")


def risk_of(newest: bytes, silent_secs: float, *, has_pending: bool = True) -> Risk | None:
    """The gravest risk of a session, by its newest output in UTF-8; None when the loss of its connection costs nothing.

    `silent_secs` is how long ago the device last printed. Without `has_pending`, confirmed commits are known to be
    over.
    """
    if has_pending and (commit := _commit(newest)) is not None:
        return commit
    if is_configuring(_lines(newest[-PROMPT_BYTES:])):
        return _CONFIGURATION
    return _OUTPUT if silent_secs < OUTPUT_SECS else None


def is_configuring(lines: Sequence[str]) -> bool:
    """Whether the newest line is the prompt of a configuration mode; `lines` are plain text, the newest last."""
    shown = [line for line in lines if line.strip()][-2:]
    # An empty newest line: the device is busy with a command.
    if not shown or not lines[-1].strip():
        return False
    newest, above = shown[-1], shown[0] if len(shown) > 1 else ""
    return any(each.match(newest) for each in _PROMPTS) or any(
        banner.match(above) and prompt.match(newest) for banner, prompt in _BANNERS
    )


def pending_change(lines: Iterable[str]) -> Pending | None:
    """The last change that the device takes back by itself unless it is confirmed; None without one.

    `lines` are the finished lines of the output, oldest first.
    """
    pending = None
    for index, line in enumerate(lines):
        if found := _COMMIT_CONFIRMED.match(line):
            pending = _commit_confirmed(index, found)
        elif found := _REVERT_TIMER.match(line):
            pending = Pending(
                index,
                "configure terminal revert timer",
                60 * int(found["number"]),
                "The device reverts its configuration",
                "unless `configure confirm` is entered before.",
            )
        elif found := _RELOAD_IN.match(line):
            secs = 3600 * int(found["hours"] or 0) + 60 * int(found["number"])
            pending = Pending(
                index, "reload in", secs, "The device restarts", "unless `reload cancel` is entered before."
            )
        elif _OVER_COMMAND.match(line) or any(text in line for text in _OVER_TEXTS):
            pending = None
    return pending


def _commit_confirmed(line: int, found: re.Match[str]) -> Pending:
    # IOS XR counts in seconds unless told otherwise, Junos in minutes.
    number, is_xr = found["number"], "(conf" in found["prompt"] or found["unit"] is not None
    if number is None:
        secs = None if is_xr else 60 * _JUNOS_MINUTES
    else:
        secs = int(number) if is_xr and found["unit"] != "minutes" else 60 * int(number)
    before = "A confirmed commit is under way: the device rolls it back"
    return Pending(line, "commit confirmed", secs, before, "unless `commit` is entered before.")


def _commit(newest: bytes) -> Risk | None:
    output = newest[-COMMIT_BYTES:]
    if not any(text in output for text in _MAYBE):
        return None
    offset = len(newest) - len(output)
    lines: list[tuple[int, bytes]] = []
    # Without the newest line: a command that was not entered yet changes nothing.
    for raw in output.split(b"\n")[:-1]:
        if len(raw) <= _MAX_LINE and (b"#" in raw or b">" in raw or any(text in raw for text in _MAYBE_OVER)):
            lines.append((offset, raw))
        offset += len(raw) + 1
    del lines[:-_MAX_LINES]
    pending = pending_change(_lines(raw)[-1] for _, raw in lines)
    return Risk("commit-confirmed", pending.text(), pending, lines[pending.line][0]) if pending else None


def _lines(output: bytes) -> list[str]:
    transcript = Transcript(len(output))
    transcript.feed(output)
    return [*transcript.lines, transcript.line]
