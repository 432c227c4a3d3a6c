"""Laws on how sessions end: ended by their user, or after too long without that user; and not otherwise."""

import math
import re
from collections.abc import Iterator
from operator import attrgetter

from tests.torture.history import History

# Why a session ended whose user did not come: its owner says the one, the reconciler the other.
_BY_ABSENCE = re.compile(r"its user did not come back within")
# Until a client that is busy otherwise sees that its connection is over.
_NOTICE_SECS = 1.5
# Until sessions are looked at and their end is stored, on a busy machine; and until all is well again after a fault.
_LOOK_SECS, _RECOVERY_SECS = 10, 15


def ends_were_due(history: History) -> Iterator[str]:
    """A session that its user does not end ends only after the detach TTL without that user, and says so."""
    done = {shell.session for shell in history.shells if shell.said_bye}
    ends = [
        (each.session, each.ended_at, each.end_reason or "", "ended")
        for each in history.recordings
        if each.state == "ended"
    ]
    ends += [(each.session, each.at, each.why, "was said to have ended") for each in history.told]
    for session, at, reason, what in ends:
        if session in done:
            continue
        away_secs = at - _last_seen(history, session, at)
        if away_secs < history.detach_ttl_secs - _NOTICE_SECS:
            yield f"{session}: {what} although its user was there {max(0.0, away_secs):.1f} s before: {reason!r}"
        elif not _BY_ABSENCE.search(reason):
            yield f"{session}: {what} for another reason than its user's absence: {reason!r}"


def _last_seen(history: History, session: str, at: float) -> float:
    return max((each.ended_at for each in history.of_user(session) if each.began_at <= at), default=0.0)


def nobody_was_forgotten(history: History) -> Iterator[str]:
    """A session whose user stays away for much longer than the detach TTL has ended, unless faults were in the way."""
    ended_at = {each.session: each.ended_at for each in history.recordings if each.state == "ended"}
    for session in sorted({each.session for each in history.connections}):
        left_at = math.inf
        for each in history.of_user(session):
            if _is_overdue(history, left_at, each.began_at):
                yield f"{session}: lived on until its user came back after {each.began_at - left_at:.1f} s"
            left_at = each.ended_at if left_at == math.inf else max(left_at, each.ended_at)
        if _is_overdue(history, left_at, ended_at.get(session, 0.0)):
            yield f"{session}: lived on for {ended_at[session] - left_at:.1f} s after its user had left"


def the_crowd_was_kept_away(history: History) -> Iterator[str]:
    """Clients of the standing crowd come back all the time: only faults and what follows keep them from it."""
    done = {shell.session for shell in history.shells if shell.said_bye}
    for each in history.recordings:
        if not history.is_of_crowd(each.session) or each.session in done or each.state != "ended":
            continue
        calm_secs = _calm_secs(history, _last_seen(history, each.session, each.ended_at), each.ended_at)
        if calm_secs >= history.detach_ttl_secs:
            yield f"{each.session}: ended, and its client could have come back in {calm_secs:.1f} s without a fault"


def _is_overdue(history: History, left_at: float, at: float) -> bool:
    return at > left_at and _calm_secs(history, left_at, at) > history.detach_ttl_secs + _LOOK_SECS


def _calm_secs(history: History, begin: float, end: float) -> float:
    """How much of a time lies beyond all faults and what comes after them."""
    calm, at = 0.0, begin
    for fault in sorted(history.faults, key=attrgetter("began_at")):
        calm += max(0.0, min(fault.began_at, end) - at)
        at = max(at, fault.ended_at + _RECOVERY_SECS)
    return calm + max(0.0, end - at)


def sessions_ended_by_their_users(history: History) -> Iterator[str]:
    for each in history.recordings:
        if each.state != "ended" or not each.end_reason:
            yield f"{each.session}: is {each.state}, {each.end_reason!r}, at the end"
    content = {each.session for each in history.connections if each.is_last or each.leaves}
    content |= {each.session for each in (*history.told, *history.crowd)}
    for session in sorted({each.session for each in history.connections} - content):
        yield f"{session}: its user could not stay to the end"
