"""Which peers this instance cannot reach although they live, and which may be dead: by its dials and by heartbeats."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from netstacks.cluster.model import Peer, Snapshot
from netstacks.cluster.routing import Outcome

# One failed dial proves nothing: a peer can be busy, or about to leave.
_MIN_FAILURES = 2
# A heartbeat of this age, in intervals, is overdue: HA status shows its instance as late.
_OVERDUE_HEARTBEATS = 2.5
# The outcomes that show that no process with the peer's id listens.
_ABSENT: frozenset[Outcome] = frozenset(("refused", "other_id"))
_WORDS: Mapping[Outcome, str] = {
    "refused": "connection refused",
    "timed_out": "no answer",
    "other_id": "another instance answers there",
}


@dataclass(frozen=True)
class _Failure:
    """The failed dials to one peer: the outcome of the last one, and how many were `confirmed` by a later heartbeat.

    `at` is the end of the first dial after the last confirmation.
    """

    outcome: Outcome
    at: float
    confirmed: int = 0


class FailedDials:
    """The dials to each peer that have failed since the last one that succeeded. Times are by the registry's clock.

    A failed dial counts only when the peer has sent a heartbeat after it: a killed or frozen instance sends none.
    """

    def __init__(self) -> None:
        self._failures: dict[str, _Failure] = {}

    def note(self, outcomes: Mapping[str, Outcome], snapshot: Snapshot, now: float) -> int:
        """Takes the outcomes of a round of dials, by peer, that has just ended; returns how many peers answered."""
        failed = {peer_id: outcome for peer_id, outcome in outcomes.items() if outcome in _WORDS}
        self._failures = {peer_id: self._after(peer_id, outcome, snapshot, now) for peer_id, outcome in failed.items()}
        return len(outcomes) - len(failed)

    def _after(self, peer_id: str, outcome: Outcome, snapshot: Snapshot, now: float) -> _Failure:
        former = self._failures.get(peer_id)
        if former is None:
            return _Failure(outcome, now)
        if _is_confirmed(peer_id, former, snapshot):
            return _Failure(outcome, now, former.confirmed + 1)
        # The time stays: the heartbeats may be rarer than the dials.
        return replace(former, outcome=outcome)

    def unreachable(self, snapshot: Snapshot) -> dict[str, str]:
        """The peers with several confirmed failures: how the last dial failed, by instance id."""
        return {
            peer_id: _WORDS[failure.outcome]
            for peer_id, failure in self._failures.items()
            if failure.confirmed + _is_confirmed(peer_id, failure, snapshot) >= _MIN_FAILURES
        }

    def suspects(self, snapshot: Snapshot) -> list[str]:
        """The peers that may be dead: none of their processes listened, and no heartbeat followed a failed dial."""
        return [
            peer_id
            for peer_id, failure in self._failures.items()
            if failure.outcome in _ABSENT and not failure.confirmed and not _is_confirmed(peer_id, failure, snapshot)
        ]


def absent(outcomes: Mapping[str, Outcome]) -> list[str]:
    """The peers at whose addresses no process of theirs listens, by the outcomes of dials."""
    return [peer_id for peer_id, outcome in outcomes.items() if outcome in _ABSENT]


def unanswered(outcomes: Mapping[str, Outcome]) -> list[str]:
    """The peers that did not answer, by the outcomes of dials."""
    return [peer_id for peer_id, outcome in outcomes.items() if outcome in _WORDS]


def overdue(snapshot: Snapshot, my_id: str, interval_secs: float) -> list[Peer]:
    """The other instances whose next heartbeat is overdue: they may be dead. `interval_secs` is between heartbeats."""
    latest = snapshot.taken_at - _OVERDUE_HEARTBEATS * interval_secs
    return [
        Peer(each.id, each.peer_address)
        for each in snapshot.instances.values()
        if each.id != my_id and each.peer_address and each.last_heartbeat_at < latest
    ]


def _is_confirmed(peer_id: str, failure: _Failure, snapshot: Snapshot) -> bool:
    peer = snapshot.instances.get(peer_id)
    # One that drains is about to close its listener.
    return peer is not None and peer.state != "draining" and peer.last_heartbeat_at > failure.at
