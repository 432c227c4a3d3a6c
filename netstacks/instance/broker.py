"""The broker: connects a request to its session, on this instance or on a peer, or reports that it has ended."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, TypeVar
from uuid import UUID

from netstacks.cluster.model import Peer
from netstacks.cluster.routing import Claim, Dial, Gone, Local, Outcome, Proxy, Wait, Witness, choose_route
from netstacks.errors import OwnerOverdue, RetryLater, SessionGone
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

# The most look-ups for one connection: each but the last found a session that has just changed its owner.
_ROUNDS = 5

Destination = Session | PendingClaim | Upstream
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
        """`locate` for viewers: concurrent requests for the same session share one look-up."""

    def resume(self, token: UUID, actor: Actor, upgrade: Upgrade) -> Destination | None:
        """Resolves a reconnect token to a session here, a pending claim here, or the owner's answer to the upgrade.

        None when no session has this token. Raises SessionGone when the session has ended or belongs to another user,
        RetryLater when no instance can serve it now. A session without a living owner is claimed: this instance logs in
        to the device again.
        """
        ended = self._hub.ended(token)
        if ended is not None:
            _check_user(ended[0], actor)
            raise SessionGone(f"the session has ended: {ended[1]}")
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
        """Finds a session for viewers; the caller checks the share.

        Raises SessionGone, and RetryLater when no instance holds the session now: viewers never claim.
        """
        ended = self._hub.ended(session_id)
        if ended is not None:
            raise SessionGone(f"the session has ended: {ended[1]}")
        found = self._walk(Key(session_id=session_id), viewer=True, reach=self._confirm)
        if found is None:
            raise SessionGone("the session has ended")
        return found

    def proxy_viewer(self, held: Held, principal: PeerPrincipal, upgrade: Upgrade) -> Upstream:
        """Forwards a viewer's upgrade to the owner that `locate` found. Raises RetryLater when the owner declines."""
        upstream = self._upgrade(held.owner, held.session_id, held.epoch, "shared", principal, upgrade)
        if isinstance(upstream, NoAnswer):
            raise RetryLater("the session has just moved or ended")
        return upstream

    def _confirm(self, owner: Peer, found: Found) -> Held | NoAnswer:
        epoch = _epoch(found)
        reply = self._peers.call(owner, f"/peer/sessions/{found.session_id}/viewers", epoch=epoch)
        return reply if isinstance(reply, NoAnswer) else Held(found.session_id, owner, epoch)

    def ask(self, session_id: UUID, endpoint: str, **claims: Any) -> Session | PendingClaim | Reply | None:
        """The session if it is here, else its owner's reply to `endpoint`; None when there is no such session.

        Raises SessionGone, and RetryLater when no instance holds the session now.
        """
        return self._walk(
            Key(session_id=session_id),
            viewer=True,
            reach=lambda owner, found: self._peers.call(
                owner, f"/peer/sessions/{session_id}/{endpoint}", epoch=_epoch(found), **claims
            ),
        )

    def end(self, session_id: UUID, reason: str, *, only_detached: bool = False) -> None:
        """Ends a session on whichever instance holds it; the session has ended when this returns.

        With `only_detached`, a session whose client has returned meanwhile goes on. Raises SessionGone, PeerFailed, and
        RetryLater when the owner does not answer and may be alive.
        """
        # A path of its own: an owner of a version without `only_detached` answers 404 instead of ending the session.
        path = f"/peer/sessions/{session_id}/{'end-detached' if only_detached else 'end'}"
        found = self._walk(
            Key(session_id=session_id),
            reach=lambda owner, found: self._peers.call(owner, path, epoch=_epoch(found), reason=reason),
            claim=lambda found: self._claims.end_orphan(found, reason),
        )
        match found:
            case Session():
                found.end(reason, only_detached=only_detached)
            # With `only_detached`, a pending claim goes on: a client waits for it.
            case PendingClaim() if not only_detached:
                found.wait().end(reason)

    def admit(self, session_id: UUID, epoch: int) -> Session | PendingClaim:
        """The session, for a peer that considers this instance its owner at `epoch`. Raises SessionGone if it is not.

        A row that still names this instance is released then: no other instance can know that the row is wrong.
        """
        held = self._holdings.held_epoch(session_id)
        # No yield between `held_epoch` and `_here`: the session could end or move to another epoch in between.
        if held is not None and held >= epoch and (here := self._here(session_id)) is not None:
            return here
        if self._holdings.has(session_id):
            raise RetryLater("the session is being opened here, or its end is being stored")
        if held is None:
            self._claims.give_up(session_id, epoch)
        raise SessionGone("this instance does not hold the session")

    def describe(self, key: Key) -> dict[str, object] | None:
        """The session, if this instance holds it, for a peer that cannot reach PostgreSQL."""
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
        """Looks up, chooses a route and follows it until the session is found.

        `reach` dials an owner; `claim` returns None when another instance was faster.
        """
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
                    # The session has ended, or its opening has failed, during the look-up: look up again.
                    dial = None
                case Proxy(owner, epoch):
                    reached = reach(owner, found)
                    if not isinstance(reached, NoAnswer):
                        return reached
                    # The next look-up takes this outcome into account: after it, a route may claim.
                    dial = Dial(owner.id, epoch, reached.outcome, self._witness_after(reached.outcome, owner))
                case Claim():
                    if self._recorder.has_unstored(found.session_id):
                        raise RetryLater("the recording of the session is still being stored")
                    claimed = claim(found)
                    if claimed is not None:
                        return claimed
                    dial = None
                case Wait(reason, overdue_secs):
                    raise RetryLater(reason) if overdue_secs is None else OwnerOverdue(reason, overdue_secs)
                case Gone(reason):
                    raise SessionGone(f"the session has ended: {reason}")
        raise RetryLater("the session has changed its owner too often")

    def _upgrade(
        self, owner: Peer, session_id: UUID, epoch: int, endpoint: str, principal: PeerPrincipal, upgrade: Upgrade
    ) -> Upstream | NoAnswer:
        # An owner attaches the newest handshake: one that its client has abandoned must not arrive after the client's
        # next one.
        if not upgrade.is_wanted():
            raise RetryLater("the client has left")
        claims = {"epoch": epoch, "visitor": principal.claims()}
        return self._peers.upgrade(owner, f"/peer/sessions/{session_id}/{endpoint}", claims, upgrade)

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
        raise SessionGone(f"the session has ended: {found.row.end_requested}")


def _check_user(user_id: UUID, actor: Actor) -> None:
    if user_id != actor.id:
        raise SessionGone("this session belongs to another user")
