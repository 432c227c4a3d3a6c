"""The choice of a route for a connection: a pure function of the facts about its session.

The caller looks the session up, chooses a route, and dials the owner for `Proxy`. When the owner does not confirm, the
caller looks up again and chooses again with the outcome of the dial. So the owner is dialled before every claim.
"""

from dataclasses import dataclass
from typing import Literal

from netstacks.cluster.liveness import is_overdue, is_stale
from netstacks.cluster.model import Instance, Peer, SessionRecord

# other_id: another process has this address by now.
# denied: the owner answered, and does not hold the session at this epoch.
# declined: the owner answered, and cannot serve the session now. It is alive.
Outcome = Literal["confirmed", "refused", "other_id", "timed_out", "denied", "declined"]
# The advisory lock of an instance. silent: it is held by a connection that has been idle for a whole TTL, as that of a
# frozen process.
Witness = Literal["held", "silent", "free", "unknown"]


@dataclass(frozen=True)
class Dial:
    """The outcome of a dial to `owner` for the session at `epoch`, and its witness when it did not answer."""

    owner: str
    epoch: int
    outcome: Outcome
    witness: Witness = "unknown"

    @property
    def proves_death(self) -> bool:
        """Whether no process with the owner's id listens, and none holds its witness lock."""
        return self.outcome in ("refused", "other_id") and self.witness == "free"


@dataclass(frozen=True)
class Placement:
    """The facts about one session at the arrival of a connection.

    `row` is from PostgreSQL and has precedence over `record`, which replaces it while PostgreSQL is unreachable.
    `owner` is the registry's entry of the instance that `current` names. In blind mode, `record` and `owner` may come
    from the last snapshot or from a peer.
    """

    row: SessionRecord | None = None
    row_address: str | None = None
    """The owner's peer address in the row, for an owner that the registry does not know."""
    end_reason: str | None = None
    record: SessionRecord | None = None
    owner: Instance | None = None
    held_epoch: int | None = None
    """The epoch at which this instance holds the session or is opening it right now."""
    dial: Dial | None = None
    database: bool = True
    """Whether PostgreSQL answered."""
    blind: bool = False
    """Whether heartbeats prove nothing, see `liveness.may_judge`; determined after they were read."""
    viewer: bool = False
    """Whether the connection is a viewer's: viewers never claim."""

    @property
    def current(self) -> SessionRecord | None:
        """The best known owner and epoch."""
        return self.row or self.record


@dataclass(frozen=True)
class Local:
    """Serve the connection on this instance."""


@dataclass(frozen=True)
class Proxy:
    """Dial the owner, and splice if it confirms the session at this epoch."""

    owner: Peer
    epoch: int


@dataclass(frozen=True)
class Claim:
    """Take the session over by compare-and-set on this record's epoch."""

    record: SessionRecord


@dataclass(frozen=True)
class Wait:
    """No instance can serve the connection now: the client must retry."""

    reason: str
    overdue_secs: float | None = None
    """With an owner whose heartbeat is overdue: the seconds within which a retry finds it or claims the session."""


@dataclass(frozen=True)
class Gone:
    """The session does not exist, or has ended."""

    reason: str


Route = Local | Proxy | Claim | Wait | Gone


def choose_route(placement: Placement, me: Instance, now: float, ttl_secs: float) -> Route:
    """Chooses the route of one connection; `now` is by the registry's clock."""
    current = placement.current
    if current is not None and current.state == "ended":
        return Gone(placement.end_reason or "the session has ended")
    if placement.held_epoch is not None and (current is None or placement.held_epoch >= current.epoch):
        return Local()
    if current is None:
        if placement.database:
            return Gone("there is no such session")
        return Wait("the session cannot be looked up while PostgreSQL is unreachable")
    # A session that this instance owns by its row but does not hold was lost between its claim and its opening.
    if current.owner is None or current.owner == me.id:
        return _claim(placement, current, me)
    return (
        _proxy_to_owner(placement, current.owner, current.epoch)
        or _wait_for_owner(placement, current.owner, current.epoch, now, ttl_secs)
        or _claim(placement, current, me)
    )


def _proxy_to_owner(placement: Placement, owner: str, epoch: int) -> Proxy | None:
    """Dials the owner first, and proxies to one that confirmed even if its heartbeat is stale."""
    address = placement.owner.peer_address if placement.owner else placement.row_address
    dial = _dial_of(placement, owner, epoch)
    if address and (dial is None or dial.outcome == "confirmed"):
        return Proxy(Peer(owner, address), epoch)
    return None


def _wait_for_owner(placement: Placement, owner: str, epoch: int, now: float, ttl_secs: float) -> Wait | None:
    """Waits for an owner that does not answer until its death is proven or its heartbeat is stale.

    While its witness is held it is alive and only slow or unreachable from here, and the wait goes on.
    """
    dial = _dial_of(placement, owner, epoch)
    overdue_secs = None
    if not placement.blind and placement.owner is not None and is_overdue(placement.owner, now, ttl_secs):
        overdue_secs = max(0.0, placement.owner.last_heartbeat_at + ttl_secs - now)
    if dial is not None and dial.proves_death:
        return None
    if dial is not None and dial.outcome == "declined":
        return Wait("the instance that holds the session cannot serve it at this moment")
    if dial is not None and dial.witness == "held":
        return Wait("the instance that holds the session is alive but does not answer", overdue_secs)
    if placement.blind:
        return Wait("the instance that holds the session does not answer, and may be alive")
    if placement.owner is None or is_stale(placement.owner, now, ttl_secs):
        return None
    remaining_secs = placement.owner.last_heartbeat_at + ttl_secs - now
    reason = f"the instance that holds the session does not answer; it has {remaining_secs:.0f} s left to do so"
    return Wait(reason, overdue_secs)


def _dial_of(placement: Placement, owner: str, epoch: int) -> Dial | None:
    """The dial of this owner at this epoch; a dial of an earlier owner proves nothing."""
    dial = placement.dial
    return dial if dial is not None and (dial.owner, dial.epoch) == (owner, epoch) else None


def _claim(placement: Placement, current: SessionRecord, me: Instance) -> Claim | Wait:
    """The claim of a session without a living owner, where this connection and this instance may claim."""
    if placement.viewer:
        return Wait("the session waits for its user to reconnect")
    if me.state != "active":
        return Wait("this instance accepts no sessions")
    if not placement.database:
        return Wait("the session cannot be taken over while PostgreSQL is unreachable")
    return Claim(current)
