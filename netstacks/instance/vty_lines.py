"""Frees terminal lines of devices that have few: detached sessions end when another user needs a line."""

from collections.abc import Callable
from uuid import UUID

import structlog

from netstacks.errors import RetryLater, SessionGone
from netstacks.instance.targets import Target
from netstacks.store import devices, sessions
from netstacks.store.pool import Database
from netstacks.terminal.dialogue import Dialogue

log = structlog.get_logger()

# Ends a session on whichever instance holds it, unless a client is attached again: (session id, reason).
EndDetached = Callable[[UUID, str], None]


class VtyLines:
    """Frees lines of devices whose entry states the number of lines."""

    def __init__(self, database: Database, end_detached: EndDetached) -> None:
        self._database = database
        self._end_detached = end_detached

    def make_room(self, target: Target, dialogue: Dialogue) -> None:
        """Ends as many detached sessions as needed for one free line, the longest detached first.

        When a client is attached to every session, nothing ends and the device decides: it may have more lines than its
        entry states.
        """
        if target.lines is None or target.device_id is None:
            return
        with self._database.transaction() as tx:
            waiting = sessions.waiting_on_device(tx, target.device_id)
            live = devices.live_sessions(tx, target.device_id)
        for row in waiting[: max(0, live + 1 - target.lines)]:
            self._free(row, target, dialogue)

    def _free(self, row: sessions.WaitingSession, target: Target, dialogue: Dialogue) -> None:
        reason = (
            f"{target.name} has {target.lines} lines, and another user needed this one while no client was attached"
        )
        try:
            self._end_detached(row.id, reason)
        except (RetryLater, SessionGone) as error:
            log.info("line.not_freed", session_id=str(row.id), device=target.name, error=str(error))
            return
        log.info("line.freed", session_id=str(row.id), device=target.name, username=row.username)
        dialogue.say(
            f"the controller has ended a detached session of {row.username} to free one of the {target.lines} lines"
        )
