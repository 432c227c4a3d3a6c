"""Withdrawals of access: they end the sessions and connections of a user, or of some log-ins, on every instance."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any
from uuid import UUID

import structlog

from netstacks import greenlets
from netstacks.cluster.model import Instance, Peer
from netstacks.errors import AccessWithdrawn, PeerFailed, RetryLater, StoreBusy, StoreUnavailable
from netstacks.instance.agent import Agent
from netstacks.instance.holdings import Holdings
from netstacks.instance.targets import OUT_OF_REACH, check_reach
from netstacks.peer.client import NoAnswer, PeerClient
from netstacks.permissions import Role
from netstacks.store import access, devices
from netstacks.store.access import WITHDRAWN
from netstacks.store.audit import Actor
from netstacks.store.pool import Database, Transaction
from netstacks.terminal.attachment import Kind
from netstacks.terminal.frames import CloseCode
from netstacks.terminal.session import Session

log = structlog.get_logger()

PATH = "/peer/withdrawals"
ROLES_PATH = "/peer/roles"
INTERVAL_SECS = 5.0
_IDS_AT_ONCE = 100


class Scope(StrEnum):
    """The scope of a withdrawal."""

    ACCESS = "access"
    """All access: the user was deactivated or deleted."""
    ALL_LOGINS = "all log-ins"
    """All log-ins, and the sessions with them. The user may log in again."""
    TERMINALS = "terminals"
    """The right to open terminals. The user may still view shared sessions."""
    LOGINS = "logins"
    """Some log-ins. The user's sessions go on, without the connections of these log-ins."""
    NOTHING = "nothing"
    """The role has changed, and everything that is open may stay open."""


@dataclass(frozen=True)
class Withdrawal:
    """`login_ids` has the log-ins of LOGINS, and those of ALL_LOGINS that must be known without PostgreSQL."""

    user_id: UUID
    scope: Scope
    login_ids: tuple[UUID, ...] = ()

    @property
    def ends_sessions(self) -> bool:
        return self.scope in (Scope.ACCESS, Scope.ALL_LOGINS, Scope.TERMINALS)

    def takes(self, login_id: UUID | None, *, is_view: bool = False) -> bool:
        """Whether it revokes a connection, or an opening, that uses the log-in `login_id`."""
        match self.scope:
            case Scope.ACCESS | Scope.ALL_LOGINS:
                return True
            case Scope.TERMINALS:
                return not is_view
            case Scope.LOGINS:
                return login_id in self.login_ids
        return False


class Withdrawals:
    """Applies withdrawals to this instance and sends them to the others.

    `forget` drops what this instance has cached about a user's log-ins, `forget_role` what it has about a role. `close`
    closes connections without a session.
    """

    def __init__(
        self,
        *,
        agent: Agent,
        peers: PeerClient,
        holdings: Holdings,
        database: Database,
        forget: Callable[[Withdrawal], None],
        forget_role: Callable[[str], None] = lambda name: None,
        close: Callable[[Withdrawal], None] = lambda withdrawal: None,
    ) -> None:
        self._agent = agent
        self._peers = peers
        self._holdings = holdings
        self._database = database
        self._forget = forget
        self._forget_role = forget_role
        self._close = close
        self.count = 0
        """The number of withdrawals applied here; a check is valid as long as it has not changed."""
        self.periodic = greenlets.Periodic("withdrawals", self.compare, INTERVAL_SECS)

    def start(self) -> None:
        self.periodic.start()

    def confirm(self, actor: Actor, permission: str | None, session_id: UUID | None = None) -> None:
        """Confirms access before a connection is attached; no yield between its return and the attachment.

        With `session_id`, a session of this instance, the role must also reach its device. Raises AccessWithdrawn, and
        RetryLater when PostgreSQL is overloaded. Without PostgreSQL, the authorisation of the connection stands.
        """
        # Repeated when a withdrawal was applied during the query: the query may have read the state before it.
        count = -1
        while count != self.count:
            count = self.count
            try:
                with self._database.transaction() as tx:
                    role = access.confirm(tx, actor, permission)
                    session = self._holdings.hub.find(session_id) if session_id else None
                    if session is not None:
                        check_reach(tx, role.reach, session.facts.device_id)
            except StoreBusy as error:
                raise RetryLater("your access cannot be confirmed now: connect again") from error
            except StoreUnavailable:
                return

    def everywhere(self, withdrawal: Withdrawal) -> None:
        """Applies a withdrawal on every instance; call it after the commit.

        Returns when every instance has applied it or has failed to answer. An instance that did not answer applies it
        within INTERVAL_SECS, by comparing with PostgreSQL.
        """
        self.here([withdrawal])
        self._tell(lambda other: self._send(other, withdrawal))

    def role_changed(self, name: str) -> None:
        """Applies a change of a role on every instance, as `everywhere` does; call it after the commit."""
        self.role_changed_here(name)
        self._tell(lambda other: self._call(other, ROLES_PATH, name=name))

    def role_changed_here(self, name: str) -> None:
        """Applies a change of a role on this instance: ends what its users may not have any more."""
        self._forget_role(name)
        # As in `here`: a `confirm` that is under way may have read the former role.
        self.count += 1
        self.compare()

    def _tell(self, send: Callable[[Instance], object]) -> None:
        others = [each for each in self._agent.snapshot.instances.values() if each.id != self._agent.me.id]
        greenlets.joinall([greenlets.spawn("withdraw", send, each) for each in others if each.peer_address])

    def _send(self, instance: Instance, withdrawal: Withdrawal) -> None:
        for part in _in_parts(withdrawal):
            claims = {
                "user_id": str(part.user_id),
                "what": part.scope.value,
                "login_ids": [str(each) for each in part.login_ids],
            }
            if not self._call(instance, PATH, **claims):
                return

    def _call(self, instance: Instance, path: str, **claims: Any) -> bool:
        """Whether the instance has taken the message."""
        try:
            answer = self._peers.call(Peer(instance.id, instance.peer_address), path, **claims)
        except PeerFailed:
            answer = NoAnswer("declined")
        if isinstance(answer, NoAnswer):
            what = {name: value for name, value in claims.items() if name in ("user_id", "name")}
            log.warning("access.not_withdrawn_yet", instance_id=instance.id, **what)
            return False
        return True

    def here(self, withdrawals: Iterable[Withdrawal]) -> None:
        """Applies withdrawals on this instance. Returns at once."""
        of_user: dict[UUID | None, list[Withdrawal]] = defaultdict(list)
        for withdrawal in withdrawals:
            of_user[withdrawal.user_id].append(withdrawal)
            self._forget(withdrawal)
            self._close(withdrawal)
        # Before the loops below: a `confirm` that is under way repeats its check, and a connection that it admits later
        # was checked after this withdrawal.
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
            # A withdrawn log-in does not stop it: other log-ins of the user may wait for the same claim, and `confirm`
            # refuses the connections of the withdrawn one.
            for withdrawal in of_user.get(opening.actor.id, ()):
                if withdrawal.ends_sessions:
                    opening.dialogue.stop(AccessWithdrawn(WITHDRAWN))

    def compare(self) -> None:
        """Compares open sessions and connections with the users and log-ins in PostgreSQL, and ends revoked ones."""
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
                unreachable = self._out_of_reach(tx, roles)
        except StoreUnavailable as error:
            log.info("withdrawals.not_compared", error=str(error))
            return
        found = [Withdrawal(logins[login_id], Scope.LOGINS, (login_id,)) for login_id in revoked]
        for user_id in users:
            role = roles.get(user_id)
            if role is None:
                found.append(Withdrawal(user_id, Scope.ACCESS))
            elif user_id in connects and not role.may("sessions.connect"):
                found.append(Withdrawal(user_id, Scope.TERMINALS))
        self.here(found)
        for session in unreachable:
            session.end(OUT_OF_REACH)

    def _out_of_reach(self, tx: Transaction, roles: Mapping[UUID, Role]) -> list[Session]:
        """The sessions here whose device the role of their user does not reach any more."""
        limited = [
            (session, role.reach)
            for session in self._holdings.hub
            if (role := roles.get(session.facts.user_id)) and role.reach.is_limited
        ]
        device_ids = {session.facts.device_id for session, _ in limited if session.facts.device_id}
        places = devices.places(tx, list(device_ids)) if device_ids else {}
        return [
            session
            for session, reach in limited
            if session.facts.device_id not in places or not reach.includes(*places[session.facts.device_id])
        ]


def _in_parts(withdrawal: Withdrawal) -> Iterator[Withdrawal]:
    """Splits the log-ins: a withdrawal is sent in a request header, whose size is limited."""
    ids = withdrawal.login_ids
    yield replace(withdrawal, login_ids=ids[:_IDS_AT_ONCE])
    for start in range(_IDS_AT_ONCE, len(ids), _IDS_AT_ONCE):
        yield Withdrawal(withdrawal.user_id, Scope.LOGINS, ids[start : start + _IDS_AT_ONCE])


def _detach(session: Session, of_user: dict[UUID | None, list[Withdrawal]]) -> None:
    for attachment in list(session.attachments):
        theirs = of_user.get(attachment.user_id, ()) if attachment.user_id else ()
        is_view = attachment.kind is Kind.VIEWER
        if any(each.takes(attachment.login_id, is_view=is_view) for each in theirs):
            # Detach before closing: input that the client still sends must not reach the device.
            session.detach(attachment)
            attachment.drop(CloseCode.REFUSED, WITHDRAWN)
