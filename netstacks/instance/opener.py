"""The opener: logs in to devices and creates sessions from it, new ones and claimed ones."""

import contextlib
import uuid
from collections.abc import Callable
from uuid import UUID

import structlog

from netstacks import tracing
from netstacks.errors import AccessWithdrawn, DeviceError, OpeningAbandoned, RetryLater, StoreUnavailable
from netstacks.instance import metrics, targets
from netstacks.instance.agent import Agent
from netstacks.instance.current_settings import CurrentSettings
from netstacks.instance.dialer import Dialer
from netstacks.instance.holdings import Holdings
from netstacks.instance.loop_watch import LoopWatch
from netstacks.instance.pending_claims import Prepared
from netstacks.instance.recording_quota import RecordingQuota
from netstacks.instance.session_limits import SessionLimits
from netstacks.instance.session_rows import facts_of
from netstacks.instance.targets import ConnectRequest, Target
from netstacks.permissions import Reach
from netstacks.recording import storage
from netstacks.recording.recorder import Recorder
from netstacks.recording.session_recording import Recording
from netstacks.store import access, audit, sessions
from netstacks.store.audit import Actor
from netstacks.store.pool import Database, Transaction
from netstacks.store.sessions import SessionRow
from netstacks.store.setting_definitions import AD_HOC_HOSTS, INPUT_RECORDING
from netstacks.store.vault import Vault
from netstacks.terminal.charset import Charset
from netstacks.terminal.dialogue import Dialogue
from netstacks.terminal.output_log import OutputLog
from netstacks.terminal.session import Session
from netstacks.terminal.transport import Transport

log = structlog.get_logger()

PERMISSION = "sessions.connect"


class Opener:
    """Opens sessions on this instance.

    `make_room` is called before a device is dialled for a new session: it frees a terminal line of a device that has
    too few.
    """

    def __init__(
        self,
        *,
        agent: Agent,
        database: Database,
        vault: Vault,
        dialer: Dialer,
        holdings: Holdings,
        recorder: Recorder,
        loop: LoopWatch,
        limits: SessionLimits,
        recording_quota: RecordingQuota,
        settings: CurrentSettings,
        log_bytes: int,
        make_room: Callable[[Target, Dialogue], None] = lambda target, dialogue: None,
    ) -> None:
        self._agent = agent
        self._database = database
        self._vault = vault
        self._dialer = dialer
        self._holdings = holdings
        self._hub = holdings.hub
        self._recorder = recorder
        self._loop = loop
        self._limits = limits
        self._recording_quota = recording_quota
        self._settings = settings
        self._log_bytes = log_bytes
        self._make_room = make_room

    def open(self, request: ConnectRequest) -> Session:
        """Opens a new session; it is created only after the device has accepted the log-in.

        Raises InvalidInput and NotFound for a request without a valid target, DeviceError, VaultLocked,
        StoreUnavailable, LimitReached and AccessWithdrawn.
        """
        with (
            tracing.begin("terminal.open") as span,
            metrics.counting_open(),
            self._holdings.dialling(request.actor, request.dialogue),
        ):
            span.set("netstacks.session_id", request.session_id)
            try:
                return self._open(request)
            except OpeningAbandoned:
                # An interrupted wait reports only that the opening was abandoned; `check_stopped` raises the reason.
                request.dialogue.check_stopped()
                raise

    def _open(self, request: ConnectRequest) -> Session:
        with self._database.transaction() as tx:
            role = access.confirm(tx, request.actor, PERMISSION)
            may_ad_hoc = self._settings.get(AD_HOC_HOSTS).may_use(role.name)
            target = targets.resolve(tx, request, within=role.reach, may_ad_hoc=may_ad_hoc)
            credential_id, secret = targets.secret_for(tx, self._vault, request, target, within=role.reach)
            self._limits.check(tx, request.actor, target)
            self._recording_quota.check(tx, request.actor)
        try:
            with self._limits.place(request.actor, request.dialogue):
                transport = self._dialer.dial(
                    request.actor,
                    target,
                    credential_id,
                    secret,
                    request.dialogue,
                    term=request.term,
                    cols=request.cols,
                    rows=request.rows,
                    make_room=lambda: self._make_room(target, request.dialogue),
                )
        except OpeningAbandoned:
            raise
        except DeviceError as error:
            self._audit_refusal(request.actor, target, error)
            raise
        try:
            return self._begin(request, target, credential_id, transport, role.name)
        except BaseException:
            transport.close()
            raise

    def _begin(
        self, request: ConnectRequest, target: Target, credential_id: UUID, transport: Transport, role: str
    ) -> Session:
        token = uuid.uuid4()
        output = OutputLog(self._log_bytes)
        with self._holdings.creating(request.session_id):
            with self._limits.creating(request.actor, target):
                row = self._create(request, target, credential_id, token)
            try:
                session = self._adopt(row, token, target, transport, output, request.dialogue, role)
            except (AccessWithdrawn, RetryLater) as error:
                # The row is committed and names this instance, but no session exists: end it at once.
                with self._database.transaction() as tx:
                    sessions.end(tx, row.id, row.epoch, str(error))
                raise
        log.info("session.opened", session_id=str(row.id), device=target.name, username=request.actor.name)
        return session

    def _create(self, request: ConnectRequest, target: Target, credential_id: UUID, token: UUID) -> SessionRow:
        self._hub.check_open()
        assert request.actor.id is not None
        with self._database.transaction() as tx:
            # Access may have been withdrawn during the log-in to the device.
            role = access.confirm(tx, request.actor, PERMISSION)
            targets.check_reach(tx, role.reach, target.device_id)
            self._limits.take(tx, request.actor, target)
            row = sessions.create(
                tx,
                session_id=request.session_id,
                user_id=request.actor.id,
                username=request.actor.name,
                device_id=target.device_id,
                device_name=target.name,
                host=target.host,
                port=target.port,
                credential_id=credential_id,
                term=request.term,
                cols=request.cols,
                rows=request.rows,
                owner=self._agent.me.id,
                owner_address=self._agent.me.peer_address or None,
                token=token,
            )
            audit.append(
                tx,
                request.actor,
                "session.opened",
                f"session:{row.id}",
                device=target.name,
                host=target.host,
                port=target.port,
                credential=str(credential_id),
            )
        return row

    def prepare(self, tx: Transaction, row: SessionRow, actor: Actor, reach: Reach) -> Prepared:
        """Reads the input of `reopen`; `reach` is that of the user's role. Raises NotFound, InvalidInput, VaultLocked.

        Finds the device by its id where the session has one: its address may have changed, or belong to another entry.
        """
        request = ConnectRequest(
            actor,
            row.credential_id,
            target=f"device-{row.device_id}" if row.device_id else None,
            host=None if row.device_id else row.host,
            port=None if row.device_id else row.port,
            term=row.term,
            cols=row.cols,
            rows=row.rows,
        )
        role = access.role_name(tx, row.user_id)
        may_ad_hoc = self._settings.get(AD_HOC_HOSTS).may_use(role)
        target = targets.resolve(tx, request, within=reach, may_ad_hoc=may_ad_hoc)
        credential_id, secret = targets.secret_for(tx, self._vault, request, target, within=reach)
        return Prepared(target, credential_id, secret, *storage.tail(tx, row.id, self._log_bytes), role)

    def reopen(self, row: SessionRow, prepared: Prepared, token: UUID, actor: Actor, dialogue: Dialogue) -> Session:
        """Continues a claimed session: logs in to the device again and restores the output log from the recording."""
        target, end, kept = prepared.target, prepared.end, prepared.output
        transport = self._dialer.dial(
            actor,
            target,
            prepared.credential_id,
            prepared.secret,
            dialogue,
            term=row.term,
            cols=row.cols,
            rows=row.rows,
        )
        output = OutputLog(self._log_bytes, start=end - len(kept))
        output.append(kept, keep_from=end)
        try:
            session = self._adopt(row, token, target, transport, output, dialogue, prepared.role, prepared.sha256)
        except BaseException:
            transport.close()
            raise
        session.recording.note(f"claimed by {self._agent.me.id} at byte {end}; output not stored by then is lost")
        log.info("session.claimed", session_id=str(row.id), epoch=row.epoch, device=row.device_name)
        return session

    def _adopt(
        self,
        row: SessionRow,
        token: UUID,
        target: Target,
        transport: Transport,
        output: OutputLog,
        dialogue: Dialogue,
        role: str,
        previous_sha256: bytes = b"",
    ) -> Session:
        """Creates the live session of a row that names this instance as its owner; `role` is that of its user.

        Raises RetryLater during a drain, and the error that the opening was stopped with.
        """
        # No yield between `check_stopped` and `hub.add`: a withdrawal of access stops pending openings and ends the
        # sessions in the hub, and would miss a session that is in neither state.
        dialogue.check_stopped()
        # The callbacks bind `session`, which is created below: nothing can call them before the next yield.
        recording = Recording(
            self._recorder,
            row.id,
            row.epoch,
            offset=output.end,
            previous_sha256=previous_sha256,
            on_room=lambda: session.room_changed(),
            on_fenced=lambda: session.fence(),
            on_owned=lambda: session.ownership_confirmed(),
            on_limit=lambda reason: self._recording_quota.reached(session, reason),
            allowance=self._recording_quota.allowance(row),
            records_input=lambda: self._settings.get(INPUT_RECORDING).may_use(role),
        )
        session = Session(
            facts_of(row, owner=self._agent.me.id, token=token),
            transport,
            recording,
            output,
            size=(row.cols, row.rows),
            charset=Charset(target.encoding),
            read_stored=self._read_stored,
            hooks=self._hub.hooks,
            stood_still_at=self._loop.stood_still_at,
        )
        recording.acked_offset = row.acked_offset
        recording.resize(row.cols, row.rows)
        self._hub.add(session)
        self._agent.publish(session.record())
        session.start(dialogue.words)
        return session

    def _read_stored(self, session_id: UUID, offset: int, limit: int) -> bytes:
        try:
            with self._database.transaction() as tx:
                return storage.read_output(tx, session_id, offset, limit)
        except StoreUnavailable:
            return b""

    def _audit_refusal(self, actor: Actor, target: Target, error: DeviceError) -> None:
        log.info("session.refused", device=target.name, username=actor.name, error=str(error))
        # Best effort: the user must see the device's answer even when PostgreSQL is unreachable.
        with contextlib.suppress(StoreUnavailable), self._database.transaction() as tx:
            audit.append(tx, actor, "session.refused", target.resource, device=target.name, reason=str(error))
