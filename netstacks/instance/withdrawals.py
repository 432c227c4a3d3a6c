"""Withdrawn access: what a user, or one of the user's log-ins, has open ends on every instance."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from uuid import UUID

import structlog

from netstacks import greenlets, permissions
from netstacks.cluster.model import Instance, Peer
from netstacks.errors import AccessWithdrawn, ComeAgain, PeerFailed, StoreBusy, StoreUnavailable
from netstacks.instance.agent import Agent
from netstacks.instance.holdings import Holdings
from netstacks.peer.client import NoAnswer, PeerClient
from netstacks.store import access
from netstacks.store.access import WITHDRAWN
from netstacks.store.audit import Actor
from netstacks.store.pool import Database
from netstacks.terminal.attachment import Kind
from netstacks.terminal.frames import CloseCode
from netstacks.terminal.session import Session

log = structlog.get_logger()

PATH = "/peer/withdrawals"
INTERVAL_SECS = 5.0
_IDS_AT_ONCE = 100


class What(StrEnum):
    """What has been withdrawn from a user."""

    ACCESS = "access"
    """All of it: the user was deactivated or deleted."""
    ALL_LOGINS = "all log-ins"
    """All log-ins, and the sessions with them. The user may log in again."""
    TERMINALS = "terminals"
    """The right to open terminals. The user may still watch what colleagues share."""
    LOGINS = "logins"
    """Some log-ins. The user's sessions go on, without the terminals of these."""
    NOTHING = "nothing"
    """The role has changed, and what is open may stay."""


@dataclass(frozen=True)
class Withdrawal:
    """`login_ids` are those of LOGINS, and of ALL_LOGINS as far as they are to be known while PostgreSQL is away."""

    user_id: UUID
    what: What
    login_ids: tuple[UUID, ...] = ()

    @property
    def ends_sessions(self) -> bool:
        return self.what in (What.ACCESS, What.ALL_LOGINS, What.TERMINALS)

    def takes(self, login_id: UUID | None, *, is_view: bool = False) -> bool:
        """Whether it takes away what a connection or an opening of its user goes by."""
        match self.what:
            case What.ACCESS | What.ALL_LOGINS:
                return True
            case What.TERMINALS:
                return not is_view
            case What.LOGINS:
                return login_id in self.login_ids
        return False


class Withdrawals:
    """`forget` has this instance ask anew about a user's log-ins; `close` closes connections that have no session."""

    def __init__(
        self,
        *,
        agent: Agent,
        peers: PeerClient,
        holdings: Holdings,
        database: Database,
        forget: Callable[[Withdrawal], None],
        close: Callable[[Withdrawal], None] = lambda withdrawal: None,
    ) -> None:
        self._agent = agent
        self._peers = peers
        self._holdings = holdings
        self._database = database
        self._forget = forget
        self._close = close
        self.count = 0
        """How many withdrawals this instance has heard of: when it has not changed since a check, the check holds."""
        self.periodic = greenlets.Periodic("withdrawals", self.compare, INTERVAL_SECS)

    def start(self) -> None:
        self.periodic.start()

    def confirm(self, actor: Actor, permission: str | None) -> None:
        """To be called before a connection is attached to a session, without a yield between its return and that.

        Raises AccessWithdrawn, and ComeAgain when PostgreSQL is busy. Without PostgreSQL what was known when the
        connection was authorised holds.
        """
        count = -1
        while count != self.count:
            count = self.count
            try:
                with self._database.transaction() as tx:
                    access.confirm(tx, actor, permission)
            except StoreBusy as error:
                raise ComeAgain("whether you may still have this cannot be told now: connect again") from error
            except StoreUnavailable:
                return

    def everywhere(self, withdrawal: Withdrawal) -> None:
        """Ends what has been withdrawn on every instance; to be called after the commit.

        Returns when every instance has done so, or has failed to answer: that one finds out from PostgreSQL, within
        INTERVAL_SECS.
        """
        self.here([withdrawal])
        others = [each for each in self._agent.snapshot.instances.values() if each.id != self._agent.me.id]
        asked = [greenlets.spawn("withdraw", self._tell, each, withdrawal) for each in others if each.peer_address]
        greenlets.joinall(asked)

    def _tell(self, instance: Instance, withdrawal: Withdrawal) -> None:
        for part in _in_parts(withdrawal):
            claims = {
                "user_id": str(part.user_id),
                "what": part.what.value,
                "login_ids": [str(each) for each in part.login_ids],
            }
            try:
                answer = self._peers.call(Peer(instance.id, instance.peer_address), PATH, **claims)
            except PeerFailed:
                answer = NoAnswer("declined")
            if isinstance(answer, NoAnswer):
                log.warning("access.not_withdrawn_yet", instance_id=instance.id, user_id=str(part.user_id))
                return

    def here(self, withdrawals: Iterable[Withdrawal]) -> None:
        """Ends what has been withdrawn on this instance. Returns at once."""
        of_user: dict[UUID | None, list[Withdrawal]] = defaultdict(list)
        for withdrawal in withdrawals:
            of_user[withdrawal.user_id].append(withdrawal)
            self._forget(withdrawal)
            self._close(withdrawal)
        self.count += len(of_user)
        if not of_user:
            return
        for session in self._holdings.hub:
            ending = next((each for each in of_user.get(session.facts.user_id, ()) if each.ends_sessions), None)
            if ending is not None:
                session.end(WITHDRAWN)
            else:
                _detach(session, of_user)
        for dialogue, actor in self._holdings.dialled.items():
            for withdrawal in of_user.get(actor.id, ()):
                if withdrawal.takes(actor.login_id):
                    dialogue.stop(AccessWithdrawn(WITHDRAWN))
        for opening in self._holdings.pending_claims.values():
            # Other log-ins of the user may wait for it too: those of its clients that may not have it are not attached.
            for withdrawal in of_user.get(opening.actor.id, ()):
                if withdrawal.ends_sessions:
                    opening.dialogue.stop(AccessWithdrawn(WITHDRAWN))

    def compare(self) -> None:
        """Compares what is open here with PostgreSQL's users and log-ins, and ends what they may not have."""
        holdings = self._holdings
        connects = {session.facts.user_id for session in holdings.hub}
        logins: dict[UUID, UUID] = {}
        watches = set()
        for actor in (*holdings.dialled.values(), *(each.actor for each in holdings.pending_claims.values())):
            if actor.id is not None:
                connects.add(actor.id)
                if actor.login_id is not None:
                    logins[actor.login_id] = actor.id
        for session in holdings.hub:
            for attachment in session.attachments:
                if attachment.user_id is not None:
                    watches.add(attachment.user_id)
                    if attachment.login_id is not None:
                        logins[attachment.login_id] = attachment.user_id
        users = connects | watches
        if not users:
            return
        try:
            with self._database.transaction() as tx:
                roles = access.roles(tx, list(users))
                revoked = access.revoked(tx, list(logins))
        except StoreUnavailable as error:
            log.info("withdrawals.not_compared", error=str(error))
            return
        found = [Withdrawal(logins[login_id], What.LOGINS, (login_id,)) for login_id in revoked]
        for user_id in users:
            role = roles.get(user_id)
            if role is None:
                found.append(Withdrawal(user_id, What.ACCESS))
            elif user_id in connects and not permissions.grants(role, "sessions.connect"):
                found.append(Withdrawal(user_id, What.TERMINALS))
        self.here(found)


def _in_parts(withdrawal: Withdrawal) -> Iterator[Withdrawal]:
    """What is told stands in a header of a request, which has a limit."""
    ids = withdrawal.login_ids
    yield replace(withdrawal, login_ids=ids[:_IDS_AT_ONCE])
    for start in range(_IDS_AT_ONCE, len(ids), _IDS_AT_ONCE):
        yield Withdrawal(withdrawal.user_id, What.LOGINS, ids[start : start + _IDS_AT_ONCE])


def _detach(session: Session, of_user: dict[UUID | None, list[Withdrawal]]) -> None:
    for attachment in list(session.attachments):
        theirs = of_user.get(attachment.user_id, ()) if attachment.user_id else ()
        is_view = attachment.kind is Kind.VIEWER
        if any(each.takes(attachment.login_id, is_view=is_view) for each in theirs):
            # Detached first: nothing that such a client still sends is typed.
            session.detach(attachment)
            attachment.drop(CloseCode.REFUSED, WITHDRAWN)
