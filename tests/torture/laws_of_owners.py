"""Laws on the owner of a session, and on how long the other instances wait for a lost owner."""

from collections.abc import Iterator

from tests.torture.history import Fault, History, Places, Shell, successions
from tests.torture.plan import CUT_OFF_VALKEY, FREEZE, FREEZE_IN_TRANSACTION, VALKEY

# After a fault so soon before that an instance may not have been in contact with Valkey in between.
CONTACT_SECS = 4
_FROZEN = (FREEZE, FREEZE_IN_TRANSACTION)
# An instance that is hidden from its peers, or cut off from PostgreSQL, goes on telling Valkey that it lives.
_MUTE = ("kill", "drain", CUT_OFF_VALKEY, *_FROZEN)


def nothing_moved_without_a_cause(history: History, by_epoch: Places) -> Iterator[str]:
    """A session leaves an owner that was killed or drained, or that stood still for a TTL; and no other."""
    for former, later in successions(history, by_epoch):
        causes = [
            fault
            for fault in history.faults
            if fault.target == former.owner
            and former.started_at < fault.ended_at
            and fault.began_at < later.started_at
            and (fault.kind in {"kill", "drain"} or _silent_secs(history, fault, later.started_at) >= history.ttl_secs)
        ]
        if former.owner and not causes:
            yield f"{former.session}: shell {former.id} was taken from {former.owner} without a cause by {later.id}"


def _silent_secs(history: History, fault: Fault, until: float) -> float:
    """How long nothing was heard of an instance that stood still, which counts from its last contact with Valkey."""
    if fault.kind not in _FROZEN:
        return 0.0
    since = fault.began_at
    for former in sorted(history.faults, key=lambda each: each.ended_at, reverse=True):
        is_mute = former.target == VALKEY or (former.target == fault.target and former.kind in _MUTE)
        if is_mute and former.began_at < since <= former.ended_at + CONTACT_SECS:
            since = former.began_at
    return min(fault.ended_at, until) - since


def deaths_were_seen_at_once(history: History, by_epoch: Places) -> Iterator[str]:
    """A process that is gone is proven to be: its first session goes on elsewhere before a TTL has passed.

    Asked of kills during which nothing else happened, and of sessions whose users were there.
    """
    moves = list(successions(history, by_epoch))
    for kill in history.faults:
        if kill.kind != "kill" or not _is_alone(history, kill):
            continue
        waited = [
            later.started_at - kill.began_at
            for former, later in moves
            if former.owner == kill.target
            and former.started_at < kill.began_at < later.started_at
            and _was_there(history, former, kill.began_at)
        ]
        if waited and min(waited) >= history.ttl_secs:
            yield f"{kill.target} was killed, and waited for {min(waited):.1f} s before a session was taken from it"


def _is_alone(history: History, kill: Fault) -> bool:
    begin, end = kill.began_at - CONTACT_SECS, kill.began_at + history.ttl_secs
    return not any(each.began_at < end and begin < each.ended_at for each in history.faults if each is not kill)


def _was_there(history: History, shell: Shell, at: float) -> bool:
    return any(each.began_at < at <= each.ended_at for each in history.of_user(shell.session))


def nobody_was_locked_out(history: History) -> Iterator[str]:
    """The rows that an instance held in the middle of a transaction are free once it is declared dead."""
    for hold in history.holds:
        if hold.secs > history.ttl_secs:
            yield f"{hold.instance} held rows of sessions in a transaction for {hold.secs:.1f} s without a word"
