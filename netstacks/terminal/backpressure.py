"""Backpressure: the device is not read while a reader that must not lose output is too far behind."""

from typing import Protocol
from uuid import UUID

import structlog

from netstacks import greenlets
from netstacks.recording.session_recording import Recording
from netstacks.terminal.attachment import Attachment
from netstacks.terminal.output_log import OutputLog

log = structlog.get_logger()

# A missed wake-up costs at most this long.
_RECHECK_SECS = 1.0


class HeldSession(Protocol):
    """What backpressure needs of a session."""

    output: OutputLog
    recording: Recording

    @property
    def id(self) -> UUID: ...
    @property
    def is_live(self) -> bool: ...
    @property
    def control(self) -> Attachment | None: ...
    def show_notice(self, text: str) -> None: ...


class Backpressure:
    """Delays the next read of the device until the recording and the controlling terminal have room.

    Meanwhile the SSH window fills, and the device stops sending (RFC 4254, section 5.2). Viewers do not count: a slow
    one is moved forward.
    """

    def __init__(self) -> None:
        self._changed = greenlets.Event()
        # Whether the clients were shown that the recording is held, and not yet that it continues.
        self._is_hold_shown = False

    def reconsider(self) -> None:
        """Wakes the reader: the recording or a cursor has advanced, or the session has ended."""
        self._changed.set()

    def wait_for_room(self, session: HeldSession) -> None:
        """Returns when the device may be read, or the session is not live any more."""
        while session.is_live and not _has_room(session):
            self._changed.clear()
            if session.recording.held_by_store and not self._is_hold_shown:
                self._is_hold_shown = True
                log.warning("session.held", session_id=str(session.id), waiting_bytes=session.recording.waiting_bytes)
                session.show_notice(
                    "the recording cannot be stored now: the device is held back until the database answers"
                )
            self._changed.wait(_RECHECK_SECS)
        if self._is_hold_shown and session.recording.has_room:
            self._is_hold_shown = False
            session.show_notice("the recording goes on")


def _has_room(session: HeldSession) -> bool:
    control = session.control
    behind_bytes = session.output.end - control.cursor if control else 0
    return session.recording.has_room and behind_bytes < session.output.capacity
