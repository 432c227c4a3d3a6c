"""Which instance serves a connection: facts in, a decision out. Nothing here asks, waits or remembers.

The caller looks the session up, asks for a route, and dials when it says `Proxy`. When the owner does not confirm, the
caller looks up again and asks once more with what came of the dial; so the owner is dialled before every claim.
"""

from dataclasses import dataclass
from typing import Literal

from netstacks.cluster.liveness import is_stale
from netstacks.cluster.model import Instance, Peer, SessionRecord

# other_id: another process has that address by now.
# denied: the owner itself answered, and does not hold the session at that epoch.
# declined: the owner itself answered, and cannot serve it now. It lives.
Outcome = Literal["confirmed", "refused", "other_id", "timed_out", "denied", "declined"]
# silent: it is held, and its connection has said nothing for a whole TTL, as that of a frozen process.
Witness = Literal["held", "silent", "free", "unknown"]


@dataclass(frozen=True)
class Dial:
    """What came of dialling `owner` for the session at `epoch`; its witness is looked at when it did not answer."""

    owner: str
    epoch: int
    outcome: Outcome
    witness: Witness = "unknown"

    @property
    def proves_death(self) -> bool:
        """Nothing of that id listens, and nothing of that id holds its witness lock."""
        return self.outcome in ("refused", "other_id") and self.witness == "free"


@dataclass(frozen=True)
class Placement:
    """What is known of one session when a connection for it has come in.

    `row` is PostgreSQL's word on who owns it and outweighs `record`, the registry's, which stands in for it while
    the database is away. `owner` is the registry's entry of the instance that `current` names, if it has one. In blind
    mode both may come from the last snapshot or from a peer that was asked.
    """

    row: SessionRecord | None = None
    row_address: str | None = None
    """The owner's peer address as the row has it: needed when the registry does not know the owner."""
    end_reason: str | None = None
    record: SessionRecord | None = None
    owner: Instance | None = None
    held_epoch: int | None = None
    """The epoch at which this instance holds the session or is opening it right now."""
    dial: Dial | None = None
    database: bool = True
    """Whether PostgreSQL answered."""
    blind: bool = False
    """Whether heartbeats prove nothing: see `liveness.may_judge`. To be asked after they were read."""
    viewer: bool = False
    """Whether the connection is a share's: viewers never claim."""

    @property
    def current(self) -> SessionRecord | None:
        """The best knowledge of who owns the session at which epoch."""
        return self.row or self.record


@dataclass(frozen=True)
class Local:
    """Serve it here."""


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
    """Nobody can serve it now and somebody may soon: the client is to come again."""

    reason: str


@dataclass(frozen=True)
class Gone:
    """There is no such session, or it has ended."""

    reason: str


Route = Local | Proxy | Claim | Wait | Gone


def choose_route(placement: Placement, me: Instance, now: float, ttl_secs: float) -> Route:
    """Decides for one connection; `now` is the registry's clock."""
    current = placement.current
    if current is not None and current.state == "ended":
        return Gone(placement.end_reason or "the session has ended")
    if placement.held_epoch is not None and (current is None or placement.held_epoch >= current.epoch):
        return Local()
    if current is None:
        if placement.database:
            return Gone("there is no such session")
        return Wait("the session cannot be looked up while the database is away")
    # A session that this very instance owns and does not hold was lost between its claim and its opening.
    if current.owner is None or current.owner == me.id:
        return _claim(placement, current, me)
    return (
        _proxy_to_owner(placement, current.owner, current.epoch)
        or _wait_for_owner(placement, current.owner, current.epoch, now, ttl_secs)
        or _claim(placement, current, me)
    )


def _proxy_to_owner(placement: Placement, owner: str, epoch: int) -> Proxy | None:
    """The owner is dialled first; one that confirmed is proxied to, however stale its heartbeat."""
    address = placement.owner.peer_address if placement.owner else placement.row_address
    dial = _dial_of(placement, owner, epoch)
    if address and (dial is None or dial.outcome == "confirmed"):
        return Proxy(Peer(owner, address), epoch)
    return None


def _wait_for_owner(placement: Placement, owner: str, epoch: int, now: float, ttl_secs: float) -> Wait | None:
    """An owner that does not answer keeps its session until its death is proven or its heartbeat is stale.

    It keeps it in any case while PostgreSQL hears from it: it lives then, and may only be slow or out of our reach.
    """
    dial = _dial_of(placement, owner, epoch)
    if dial is not None and dial.proves_death:
        return None
    if dial is not None and dial.outcome == "declined":
        return Wait("the instance that holds the session cannot serve it at this moment")
    if dial is not None and dial.witness == "held":
        return Wait("the instance that holds the session lives and does not answer; it is waited for")
    if placement.blind:
        return Wait("the instance that holds the session does not answer, and whether it lives cannot be known now")
    if placement.owner is None or is_stale(placement.owner, now, ttl_secs):
        return None
    remaining_secs = placement.owner.last_heartbeat_at + ttl_secs - now
    return Wait(f"the instance that holds the session does not answer; it is waited for {remaining_secs:.0f} s more")


def _dial_of(placement: Placement, owner: str, epoch: int) -> Dial | None:
    """What came of dialling an earlier owner says nothing about this one."""
    dial = placement.dial
    return dial if dial is not None and (dial.owner, dial.epoch) == (owner, epoch) else None


def _claim(placement: Placement, current: SessionRecord, me: Instance) -> Claim | Wait:
    """Nobody holds the session at this epoch: may this connection take it over here and now?"""
    if placement.viewer:
        return Wait("the session waits for its user to come back")
    if me.state != "active":
        return Wait("this instance takes no sessions")
    if not placement.database:
        return Wait("the session cannot be taken over while the database is away")
    return Claim(current)
