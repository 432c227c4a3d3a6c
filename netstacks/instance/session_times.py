"""Ends sessions that are idle for too long, or that last too long, and warns their users before."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal
from weakref import WeakKeyDictionary

import structlog

from netstacks import greenlets
from netstacks.instance.current_settings import CurrentSettings
from netstacks.store import audit
from netstacks.store.audit import Actor
from netstacks.store.deferred_writes import DeferredWrites
from netstacks.store.setting_definitions import IDLE_MINUTES, MAX_HOURS
from netstacks.terminal.hub import Hub
from netstacks.terminal.session import Session

log = structlog.get_logger()

LOOK_SECS = 5.0
# How long before the end the user is warned, in seconds.
WARN_SECS = (300.0, 60.0)

Kind = Literal["idle", "longest"]


@dataclass(frozen=True)
class Remaining:
    """How long a session may still last, and the limit that ends it then."""

    kind: Kind
    secs: float
    limit_secs: float

    @property
    def warning(self) -> float | None:
        """The warning that is due, in seconds before the end. None for a limit that is not longer than the warning."""
        due = [each for each in WARN_SECS if self.secs <= each < self.limit_secs]
        return min(due, default=None)


def remaining(*, idle_secs: float, age_secs: float, idle_limit_secs: float, longest_secs: float) -> Remaining | None:
    """The limit that a session reaches first; None without limits. A limit of 0 is none."""
    limits: list[Remaining] = []
    if idle_limit_secs:
        limits.append(Remaining("idle", idle_limit_secs - idle_secs, idle_limit_secs))
    if longest_secs:
        limits.append(Remaining("longest", longest_secs - age_secs, longest_secs))
    return min(limits, key=lambda each: each.secs, default=None)


class SessionTimes:
    """Looks at all sessions of this instance every LOOK_SECS. `now` is the time in seconds since 1970."""

    def __init__(
        self,
        hub: Hub,
        settings: CurrentSettings,
        deferred_writes: DeferredWrites,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._hub = hub
        self._settings = settings
        self._deferred_writes = deferred_writes
        self._clock = clock
        self._now = now
        self._warned: WeakKeyDictionary[Session, tuple[Kind, float]] = WeakKeyDictionary()
        """The last warning that a session got. It is void as soon as none is due."""
        self.periodic = greenlets.Periodic("session-times", self.look, LOOK_SECS)

    def start(self) -> None:
        self.periodic.start()

    def look(self) -> None:
        """Ends the sessions whose time is over, and warns the users of others."""
        idle_limit_secs = self._settings.get(IDLE_MINUTES) * 60
        longest_secs = self._settings.get(MAX_HOURS) * 3600
        if not (idle_limit_secs or longest_secs):
            self._warned.clear()
            return
        for session in self._hub:
            found = remaining(
                idle_secs=self._clock() - max(session.recording.printed_at, session.typed_at),
                # The clocks of PostgreSQL, which has set the time of the start, and of this host may differ.
                age_secs=max(0.0, self._now() - session.facts.started_at),
                idle_limit_secs=idle_limit_secs,
                longest_secs=longest_secs,
            )
            if found is not None:
                self._judge(session, found)

    def _judge(self, session: Session, found: Remaining) -> None:
        if found.secs <= 0:
            self._end(session, found)
            return
        warning = found.warning
        if warning is None:
            self._warned.pop(session, None)
        elif self._warned.get(session) != (found.kind, warning):
            self._warned[session] = found.kind, warning
            session.tell_user(_warning(found, warning))

    def _end(self, session: Session, found: Remaining) -> None:
        reason = (
            f"no input and no output for {_shown(found.limit_secs)}, the limit that an administrator has set"
            if found.kind == "idle"
            else f"it has lasted {_shown(found.limit_secs)}, the longest time that an administrator allows"
        )
        facts = session.facts
        log.info("session.time_over", session_id=str(facts.id), username=facts.username, limit=found.kind)
        actor, details = Actor(facts.username, facts.user_id), {"device": facts.device_name, "reason": reason}
        self._deferred_writes.put(audit.append, actor, "session.time_over", f"session:{facts.id}", **details)
        session.end(reason)


def _warning(found: Remaining, secs: float) -> str:
    soon = f"this session ends in {_shown(secs)}"
    if found.kind == "idle":
        return f"{soon}: it has no input and no output. Any key keeps it open"
    return f"{soon}: an administrator allows sessions of {_shown(found.limit_secs)}"


def _shown(secs: float) -> str:
    minutes = round(secs / 60)
    if minutes >= 60 and minutes % 60 == 0:
        hours = minutes // 60
        return "1 hour" if hours == 1 else f"{hours} hours"
    return "1 minute" if minutes == 1 else f"{minutes} minutes"
