"""Runs commands on a device for a program: in a session without a client, which ends after the last command."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from netstacks.errors import DeviceError, LimitReached, OpeningAbandoned
from netstacks.instance.targets import ConnectRequest
from netstacks.terminal.cli import BREAK_SECS, CommandLine
from netstacks.terminal.session import Session
from netstacks.terminal.unattended import UnattendedDialogue

# Reserved at the end of the total time for interrupting the last command.
_INTERRUPT_SECS = 2 * BREAK_SECS
# How devices refuse a command; a refusal is short.
_MAX_REFUSAL_LINES = 8
_MAX_CHARS = 200
_REFUSAL = re.compile(
    r"% ?(?:invalid|incomplete|ambiguous|unrecognized|unknown|bad)\b"
    r"|(?:error: ?)?(?:syntax error|unknown command|invalid command|unrecognized command)\b"
    r"|error: ?(?:incomplete|ambiguous|wrong parameter|too many parameters)\b"
    r"|command (?:fail\b|parse error)"
    r"|\S+: (?:\S+: )?command not found",
    re.IGNORECASE,
)
_LEFT = "the client has left"


@dataclass(frozen=True)
class Batch:
    """Commands for one device. Each may take `timeout_secs`; all of them, with the log-in, may take `total_secs`."""

    commands: Sequence[str]
    timeout_secs: float
    total_secs: float
    stop_on_error: bool = False


@dataclass(frozen=True)
class Result:
    """The output of one command; `error` says why it failed, if it did."""

    command: str
    output: str
    error: str | None
    secs: float


@dataclass(frozen=True)
class Run:
    """The results of a batch; `error` is its first one. A command that was not run has no result."""

    session_id: UUID | None
    results: tuple[Result, ...]
    error: str | None


class CommandRunner:
    """Opens a session as a terminal does, types the commands and ends the session.

    The recording of the session notes the purpose. No user is present: a question of the device ends the log-in.
    """

    def __init__(self, open_session: Callable[[ConnectRequest], Session], *, purpose: str) -> None:
        self._open = open_session
        self._purpose = purpose

    def run(self, request: ConnectRequest, batch: Batch, is_abandoned: Callable[[], bool]) -> Run:
        """Runs the batch; stops soon after `is_abandoned` reports that the caller has left.

        Raises what Opener.open raises, except DeviceError and LimitReached: they become the error of the run.
        """
        until = time.monotonic() + batch.total_secs
        dialogue = UnattendedDialogue(lambda: is_abandoned() or time.monotonic() > until)
        try:
            session = self._open(replace(request, dialogue=dialogue))
        except OpeningAbandoned:
            late = f"the log-in did not end within {batch.total_secs:.0f} s"
            return Run(None, (), _LEFT if is_abandoned() else late)
        except (DeviceError, LimitReached) as error:
            return Run(None, (), str(error))
        session.recording.note(f"opened for {self._purpose} of {request.actor.name}")
        try:
            return self._run(session, request, batch, until, is_abandoned)
        finally:
            session.end(f"{self._purpose} done")

    def _run(
        self,
        session: Session,
        request: ConnectRequest,
        batch: Batch,
        until: float,
        is_abandoned: Callable[[], bool],
    ) -> Run:
        def check() -> None:
            if is_abandoned():
                raise DeviceError(_LEFT)

        results: list[Result] = []
        # No yield between the check and the attachment: the session could end in between.
        if not session.is_live:
            return Run(session.id, (), f"the session has ended: {session.end_reason}")
        line = CommandLine(
            session,
            request.actor.id,
            request.actor.name,
            check,
            login_id=request.actor.login_id,
        )
        error: str | None = None
        try:
            line.find_prompt(until)
            for command in batch.commands:
                result, is_usable = _run_one(line, command, batch, until)
                results.append(result)
                error = error or result.error
                if not is_usable or (error and batch.stop_on_error):
                    break
        except DeviceError as failure:
            error = error or str(failure)
        return Run(session.id, tuple(results), error)


def _run_one(line: CommandLine, command: str, batch: Batch, until: float) -> tuple[Result, bool]:
    """The result, and whether the device accepts another command."""
    began_at = time.monotonic()
    secs = min(batch.timeout_secs, until - began_at - _INTERRUPT_SECS)
    if secs <= 0:
        return Result(command, "", f"no time was left for it: there are {batch.total_secs:.0f} s in all", 0), False
    try:
        is_done = line.run(command, began_at + secs)
        is_usable = is_done or line.interrupt()
    except DeviceError as failure:
        return Result(command, line.output(command), str(failure), time.monotonic() - began_at), False
    output = line.output(command)
    error = _refusal(output) if is_done else _timed_out(line, secs, is_usable=is_usable)
    return Result(command, output, error, time.monotonic() - began_at), is_usable


def _timed_out(line: CommandLine, secs: float, *, is_usable: bool) -> str:
    if is_usable:
        return f"it was interrupted after {secs:.0f} s"
    return (
        f"it did not end within {secs:.0f} s, nor at Ctrl-C: the device waits behind {line.last_line[-_MAX_CHARS:]!r}"
    )


def _refusal(output: str) -> str | None:
    """The line by which the device refuses the command, as an error text; None when it accepted the command."""
    lines = [line.strip() for line in output.splitlines()]
    if len(lines) > _MAX_REFUSAL_LINES:
        return None
    refusal = next(filter(_REFUSAL.match, lines), None)
    return f"the device did not accept the command: {refusal[:_MAX_CHARS]}" if refusal else None
