"""The broker: brings a connection to its session, wherever that lives: here, at a peer, or nowhere any more."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeVar
from uuid import UUID

from netstacks.cluster.model import Peer
from netstacks.cluster.routing import Claim, Dial, Gone, Local, Outcome, Proxy, Wait, Witness, choose_route
from netstacks.errors import ComeAgain, SessionGone
from netstacks.instance.agent import Agent
from netstacks.instance.claims import Claims
from netstacks.instance.finder import Finder, Held
from netstacks.instance.holdings import Holdings
from netstacks.instance.lookup import Found, Key, Lookup, WitnessReader
from netstacks.instance.pending_claims import PendingClaim
from netstacks.peer.client import NoAnswer, PeerClient, Reply, Upgrade, Upstream
from netstacks.peer.token import PeerPrincipal
from netstacks.recording.recorder import Recorder
from netstacks.store.audit import Actor
from netstacks.terminal.session import Session

# Look-ups for one connection: each but the last ended with a session that had just changed hands.
_ROUNDS = 5

Place = Session | PendingClaim | Upstream
_Reached = TypeVar("_Reached")


class Broker:
    """Finds, claims and ends sessions for the connections and requests of one instance."""

    def __init__(
        self,
        *,
        agent: Agent,
        ttl_secs: float,
        lookup: Lookup,
        claims: Claims,
        witness: WitnessReader,
        peers: PeerClient,
        holdings: Holdings,
        recorder: Recorder,
    ) -> None:
        self._agent = agent
        self._ttl_secs = ttl_secs
        self._lookup = lookup
        self._claims = claims
        self._witness = witness
        self._peers = peers
        self._holdings = holdings
        self._hub = holdings.hub
        self._recorder = recorder
        self.finder = Finder(self.locate)
        """`locate`, for viewers: those who want the same session share one look-up."""

    def resume(self, token: UUID, actor: Actor, upgrade: Upgrade) -> Place | None:
        """Where a reconnect token leads: a session here, one that is being opened here, or its owner's answer.

        None: no such session was ever known. Raises SessionGone when it has ended or is not this user's, ComeAgain
        when nobody can serve it now. One whose owner is gone is claimed: this instance logs in to the device again.
        """
        ended = self._hub.ended(token)
        if ended is not None:
            _check_user(ended[0], actor)
            raise SessionGone(f"it has ended: {ended[1]}")
        principal = PeerPrincipal("control", "read-write", actor.id, actor.name, actor.address)
        return self._walk(
            Key(token=token),
            check=lambda found: _check_resume(found, actor),
            reach=lambda owner, found: self._upgrade(
                owner, found.session_id, _epoch(found), "terminal", principal, upgrade
            ),
            claim=lambda found: self._claims.claim(found, token, actor),
        )

    def locate(self, session_id: UUID) -> Session | PendingClaim | Held:
        """Where a session is that viewers want to see; the share is the caller's to check.

        Raises SessionGone, and ComeAgain when nobody holds it now: viewers never claim.
        """
        ended = self._hub.ended(session_id)
        if ended is not None:
            raise SessionGone(f"it has ended: {ended[1]}")
        place = self._walk(Key(session_id=session_id), viewer=True, reach=self._confirm)
        if place is None:
            raise SessionGone("it has ended")
        return place

    def visit(self, held: Held, principal: PeerPrincipal, upgrade: Upgrade) -> Upstream:
        """Brings a viewer to the owner that was found. Raises ComeAgain when that does not take it."""
        upstream = self._upgrade(held.owner, held.session_id, held.epoch, "shared", principal, upgrade)
        if isinstance(upstream, NoAnswer):
            raise ComeAgain("the session has just moved or ended")
        return upstream

    def _confirm(self, owner: Peer, found: Found) -> Held | NoAnswer:
        epoch = _epoch(found)
        reply = self._peers.call(owner, f"/peer/sessions/{found.session_id}/viewers", epoch=epoch)
        return reply if isinstance(reply, NoAnswer) else Held(found.session_id, owner, epoch)

    def ask(self, session_id: UUID, door: str, **claims: Any) -> Session | PendingClaim | Reply | None:
        """The session if it is here, or else its owner's answer to a request; None: there is no such session.

        Raises SessionGone, and ComeAgain when nobody holds it now.
        """
        return self._walk(
            Key(session_id=session_id),
            viewer=True,
            reach=lambda owner, found: self._peers.call(
                owner, f"/peer/sessions/{session_id}/{door}", epoch=_epoch(found), **claims
            ),
        )

    def end(self, session_id: UUID, reason: str, *, only_detached: bool = False) -> None:
        """Ends a session wherever it lives, or raises: it has ended when this returns.

        With `only_detached` it goes on when its client has come back meanwhile. Raises SessionGone, PeerFailed, and
        ComeAgain when its owner may live and is silent.
        """
        # An owner that does not know the condition does not know its path either, and ends nothing.
        path = f"/peer/sessions/{session_id}/{'end-detached' if only_detached else 'end'}"
        place = self._walk(
            Key(session_id=session_id),
            reach=lambda owner, found: self._peers.call(owner, path, epoch=_epoch(found), reason=reason),
            claim=lambda found: self._claims.end_orphan(found, reason),
        )
        match place:
            case Session():
                place.end(reason, only_detached=only_detached)
            case PendingClaim() if not only_detached:
                place.wait().end(reason)

    def admit(self, session_id: UUID, epoch: int) -> Session | PendingClaim:
        """For a peer that takes this instance for the owner at `epoch`. Raises SessionGone when it is not.

        A row that says so all the same is given up, by the only one who can know that it is wrong.
        """
        held = self._holdings.held_epoch(session_id)
        # No yield since `held_epoch`: what was here still is.
        if held is not None and held >= epoch and (here := self._here(session_id)) is not None:
            return here
        if self._holdings.has(session_id):
            raise ComeAgain("this session is just being opened here, or its end is being stored")
        if held is None:
            self._claims.give_up(session_id, epoch)
        raise SessionGone("this instance does not hold the session")

    def describe(self, key: Key) -> dict[str, object] | None:
        """For a peer that has no database now: the session, if it is this instance that holds it."""
        session = key.local(self._hub)
        if session is None:
            return None
        return {"record": asdict(session.record()), "user_id": session.facts.user_id}

    def _walk(
        self,
        key: Key,
        *,
        reach: Callable[[Peer, Found], _Reached | NoAnswer],
        claim: Callable[[Found], _Reached | None] = lambda found: None,
        check: Callable[[Found], None] = lambda found: None,
        viewer: bool = False,
    ) -> Session | PendingClaim | _Reached | None:
        """Looks up, decides and acts until somebody serves; `reach` dials an owner, `claim` may lose."""
        dial = None
        for _ in range(_ROUNDS):
            found = self._lookup.find(key, dial=dial, viewer=viewer)
            if found is None:
                return None
            check(found)
            match choose_route(found.placement, self._agent.me, found.now, self._ttl_secs):
                case Local():
                    here = self._here(found.session_id)
                    if here is not None:
                        return here
                    # It has ended, or its opening has failed, while it was looked up.
                    dial = None
                case Proxy(owner, epoch):
                    reached = reach(owner, found)
                    if not isinstance(reached, NoAnswer):
                        return reached
                    dial = Dial(owner.id, epoch, reached.outcome, self._witness_after(reached.outcome, owner))
                case Claim():
                    if self._recorder.has_unstored(found.session_id):
                        raise ComeAgain("what was recorded of the session is still being stored")
                    claimed = claim(found)
                    if claimed is not None:
                        return claimed
                    dial = None
                case Wait(reason):
                    raise ComeAgain(reason)
                case Gone(reason):
                    raise SessionGone(f"it has ended: {reason}")
        raise ComeAgain("the session changes hands too often")

    def _upgrade(
        self, owner: Peer, session_id: UUID, epoch: int, door: str, principal: PeerPrincipal, upgrade: Upgrade
    ) -> Upstream | NoAnswer:
        # An owner gives the terminal to the newest handshake: one that its client has given up must not get there later
        # than the client's next one.
        if not upgrade.is_wanted():
            raise ComeAgain("the client has left")
        claims = {"epoch": epoch, "visitor": principal.claims()}
        return self._peers.upgrade(owner, f"/peer/sessions/{session_id}/{door}", claims, upgrade)

    def _here(self, session_id: UUID) -> Session | PendingClaim | None:
        return self._holdings.pending_claims.get(session_id) or self._hub.find(session_id)

    def _witness_after(self, outcome: Outcome, owner: Peer) -> Witness:
        return self._witness.of(owner.id) if outcome in ("refused", "other_id", "timed_out") else "unknown"


def _epoch(found: Found) -> int:
    current = found.placement.current
    assert current is not None
    return current.epoch


def _check_resume(found: Found, actor: Actor) -> None:
    _check_user(found.user_id, actor)
    if found.row is not None and found.row.end_requested:
        raise SessionGone(f"it has ended: {found.row.end_requested}")


def _check_user(user_id: UUID, actor: Actor) -> None:
    if user_id != actor.id:
        raise SessionGone("this session belongs to another user")
