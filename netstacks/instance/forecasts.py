"""Forecasts of this instance: what a drain of it, or the move of one of its sessions, would do now."""

import itertools
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from typing_extensions import TypedDict

from netstacks import greenlets
from netstacks.cluster.draining import window_secs
from netstacks.cluster.forecast import Exposure, Target, forecast, split
from netstacks.errors import StoreUnavailable
from netstacks.formats import Uuid
from netstacks.instance.agent import Agent
from netstacks.recording.output_times import time_of
from netstacks.store.pool import Database
from netstacks.terminal.hub import Hub
from netstacks.terminal.risk import COMMIT_BYTES, Risk, RiskKind, risk_of
from netstacks.terminal.session import Session
from netstacks.terminal.session_facts import State

# The gravest risks come first.
_ORDER: tuple[RiskKind, ...] = ("commit-confirmed", "configuration", "output")
_MAX_LISTED = 50
# A peer waits three seconds for the answer. Sessions beyond this time are not examined.
_EXAMINE_SECS = 1.5


class ForecastTarget(TypedDict):
    """An instance that is expected to take over sessions, and about how many."""

    instance_id: str
    host: str
    opens_per_sec: float
    """How many terminals it opens a second."""
    sessions: int


class SessionAtRisk(TypedDict):
    """A session that would lose something."""

    session_id: Uuid
    device_name: str
    username: str
    risk: RiskKind
    text: str
    """The risk in words."""


class DrainForecast(TypedDict):
    """What a drain of an instance would do now."""

    instance_id: str
    sessions: int
    attached: int
    """How many sessions have a client."""
    detached: int
    needs_secs: float
    has_secs: float
    is_too_short: bool
    """Whether the drain needs more time than it has."""
    targets: list[ForecastTarget]
    at_risk: list[SessionAtRisk]
    warning: str | None


class MoveForecast(TypedDict):
    """What a move of a session would do now."""

    session_id: Uuid
    instance_id: str
    """The instance that owns the session."""
    device_name: str
    username: str
    state: str
    targets: list[ForecastTarget]
    at_risk: list[SessionAtRisk]
    warning: str | None


class Forecasts:
    """Reads the newest output of sessions; between two sessions, other greenlets run. `clock` measures durations."""

    def __init__(
        self,
        hub: Hub,
        agent: Agent,
        database: Database,
        *,
        drain_timeout_secs: float,
        ttl_secs: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hub = hub
        self._agent = agent
        self._database = database
        self._window_secs = window_secs(drain_timeout_secs)
        self._ttl_secs = ttl_secs
        self._clock = clock
        self._ask_from = -math.inf
        """By `clock`; PostgreSQL is not asked before, because it has just not answered in time."""
        self._of_instance = greenlets.SingleFlight("forecast", self._forecast_instance)

    def of_instance(self) -> DrainForecast:
        """The forecast of a drain, as the API answers it (docs/protocol.md, 12). Concurrent calls share it."""
        found: DrainForecast = self._of_instance()
        return found

    def _forecast_instance(self) -> DrainForecast:
        sessions = list(self._hub)
        attached = sum(each.state is State.ACTIVE for each in sessions)
        found, unread = self._examine(sessions)
        found.sort(key=lambda each: _ORDER.index(each[1].kind))
        kinds = Counter(risk.kind for _, risk in found)
        agent = self._agent
        expected = forecast(
            agent.snapshot,
            agent.me.id,
            self._ttl_secs,
            attached=attached,
            detached=len(sessions) - attached,
            window_secs=self._window_secs,
            exposure=Exposure(kinds["output"], kinds["configuration"], kinds["commit-confirmed"], unread),
        )
        return {
            "instance_id": agent.me.id,
            "sessions": len(sessions),
            "attached": attached,
            "detached": len(sessions) - attached,
            "needs_secs": round(expected.plan.needs_secs, 1),
            "has_secs": expected.plan.window_secs,
            "is_too_short": expected.plan.is_too_short,
            "targets": [_target(each) for each in expected.targets],
            "at_risk": [_at_risk(session, risk) for session, risk in itertools.islice(found, _MAX_LISTED)],
            "warning": expected.warning,
        }

    def of_session(self, session: Session) -> MoveForecast:
        """The forecast of a move of one session."""
        agent = self._agent
        now = self._clock()
        risk = self._risk_of(session, now, now + _EXAMINE_SECS)
        targets = split(agent.snapshot, agent.me.id, self._ttl_secs, 1)
        warning = risk.text if risk else None
        if not targets:
            warning = f"{agent.me.id} is the only healthy instance: no other one could take the session over."
        return {
            "session_id": str(session.id),
            "instance_id": agent.me.id,
            "device_name": session.facts.device_name,
            "username": session.facts.username,
            "state": session.state.value,
            "targets": [_target(each) for each in targets],
            "at_risk": [_at_risk(session, risk)] if risk else [],
            "warning": warning,
        }

    def _examine(self, sessions: list[Session]) -> tuple[list[tuple[Session, Risk]], int]:
        """The sessions at risk, and how many were not examined."""
        until = self._clock() + _EXAMINE_SECS
        found: list[tuple[Session, Risk]] = []
        for index, session in enumerate(sessions):
            now = self._clock()
            if now > until:
                return found, len(sessions) - index
            risk = self._risk_of(session, now, until)
            if risk is not None:
                found.append((session, risk))
            greenlets.give_way()
        return found, 0

    def _risk_of(self, session: Session, now: float, until: float) -> Risk | None:
        output = session.output
        begin = max(output.start, output.end - COMMIT_BYTES)
        newest, silent_secs = output.read(begin, COMMIT_BYTES), now - session.recording.printed_at
        risk = risk_of(newest, silent_secs)
        if risk is None or risk.pending is None or risk.pending.secs is None:
            return risk
        began_at = self._time_of(session, begin + risk.offset, until)
        if began_at is None:
            return risk
        if began_at + risk.pending.secs < time.time():
            return risk_of(newest, silent_secs, has_pending=False)
        return replace(risk, text=risk.pending.text(began_at))

    def _time_of(self, session: Session, offset: int, until: float) -> float | None:
        """When the device has sent this output; None when that is not known, or not within the time."""
        if offset >= session.recording.stored_offset:
            # Output is stored within a second, unless PostgreSQL takes none.
            return None if session.recording.is_delayed else time.time()
        now = self._clock()
        if now < self._ask_from or now >= until:
            return None
        try:
            with self._database.transaction(timeout_secs=until - now) as tx:
                return time_of(tx, session.id, offset)
        except StoreUnavailable:
            self._ask_from = self._clock() + _EXAMINE_SECS
            return None


def _target(target: Target) -> ForecastTarget:
    return {
        "instance_id": target.instance_id,
        "host": target.host,
        "opens_per_sec": round(target.opens_per_sec, 1),
        "sessions": target.sessions,
    }


def _at_risk(session: Session, risk: Risk) -> SessionAtRisk:
    return {
        "session_id": str(session.id),
        "device_name": session.facts.device_name,
        "username": session.facts.username,
        "risk": risk.kind,
        "text": risk.text,
    }
