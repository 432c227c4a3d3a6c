"""One surviving instance's share of a storm: what it asks of PostgreSQL to take over some sessions.

The statements are those of the program, in its own functions. Nothing is dialled, neither devices nor owners.
"""

import random
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

from bench.storm_database import SESSIONS_PER_USER, Counts, Full, Metered, full, id_of, name_of
from netstacks import greenlets
from netstacks.instance import targets
from netstacks.instance.current_settings import CurrentSettings
from netstacks.instance.login_slots import LoginSlots
from netstacks.instance.login_trials import Trial
from netstacks.instance.lookup import ROW_SECS
from netstacks.instance.opener import PERMISSION, Opener
from netstacks.recording.chunks import Event, EventKind, make_chunk
from netstacks.recording.recorder import Recorder
from netstacks.recording.session_recording import Recording
from netstacks.recording.storage import Batch, save
from netstacks.store import access, audit, hostkeys, login_trials, logins, sessions
from netstacks.store.audit import Actor
from netstacks.store.deferred_writes import DeferredWrites
from netstacks.store.login_trials import CredentialAddress
from netstacks.store.pool import Database, Transaction
from netstacks.store.sessions import SessionRow
from netstacks.store.witness import Witness
from netstacks.terminal.dialogue import Dialogue
from netstacks.web.auth.login_states import ASK_SECS

# So many instances are measured, each with its connections.
SHARES = 24
LOG_BYTES = 262_144
# What was recorded of each session: so many chunks of half a screen.
CHUNKS, _CHUNK_BYTES = 16, 2000
# As services.py: for finding, claiming and opening, and for what must not wait behind it.
_ROUTING_CONNECTIONS, _VITAL_CONNECTIONS = 8, 4
# At once they are let in; the others wait, and are looked up together.
_BURST = 10
_BANNER = b"\r\nrouter uptime is 3 weeks, 2 days\r\nrouter#"
# A savepoint and its release, around each deferred write.
_SAVEPOINT_STATEMENTS = 2


def record(full: Full, numbers: list[int]) -> None:
    """Stores what these sessions have printed, and that their devices have accepted the credential."""
    with full.database.transaction(timeout_secs=None) as tx:
        for number in numbers:
            row = sessions.find_by_token(tx, id_of("token", number))
            assert row is not None
            _know_good(tx, full, row)
            save(tx, [Batch(row.id, 1, 0, _chunks(row))])


def _know_good(tx: Transaction, full: Full, row: SessionRow) -> None:
    place = CredentialAddress(full.credential_id, row.host, row.port, "1")
    login_trials.begin(tx, place, row.id, 45)
    login_trials.accepted(tx, place)


def _chunks(row: SessionRow) -> list[Any]:
    chunks: list[Any] = []
    for seq in range(CHUNKS):
        event = Event(1000.0 + seq, EventKind.OUTPUT, b"interface GigabitEthernet0/1 is up\r\n" * (_CHUNK_BYTES // 36))
        previous = chunks[-1] if chunks else None
        start = previous.end_offset if previous else 0
        chunks.append(make_chunk(previous.sha256 if previous else b"", row.id, 1, seq, start, [event]))
    return chunks


class Share:
    """An instance with connections of its own, new ones, as it has when the storm begins."""

    def __init__(self, full: Full, instance: int, counts: Counts) -> None:
        self._name, self._counts = name_of(instance), counts
        routing = Database(full.url, name=self._name, max_size=_ROUTING_CONNECTIONS)
        self._databases = routing, routing.reserve(_VITAL_CONNECTIONS)
        self._routing, self._vital = (cast(Any, Metered(each, counts)) for each in self._databases)
        for each in self._databases:
            each.open()
        self._slots = LoginSlots(self._routing)
        self._witness = Witness(full.url, self._routing, self._name)
        self._deferred_writes, self._recorder = DeferredWrites(self._vital), Recorder(self._vital)
        self._recorder.start()
        self._deferred_writes.start()
        self._dead: set[str] = set()
        # Only `prepare` is asked of it, which needs no more.
        unused = ("agent", "dialer", "recorder", "loop", "limits", "recording_quota")
        rest = dict.fromkeys(unused, cast(Any, None))
        holdings = cast(Any, SimpleNamespace(hub=None))
        self._opener = Opener(
            database=self._routing,
            vault=full.vault,
            holdings=holdings,
            settings=CurrentSettings(self._routing),
            log_bytes=LOG_BYTES,
            **rest,
        )
        self._users = max(1, full.sessions // SESSIONS_PER_USER)

    def take_over(self, numbers: list[int]) -> None:
        """All at once, as its admission queue lets them in in its first second."""
        waiting = [id_of("token", number) for number in numbers[_BURST:]]
        if waiting:
            with self._routing.transaction() as tx:
                sessions.standings(tx, waiting)
        openings = [greenlets.spawn(f"open-{number}", self._take_over, number) for number in numbers]
        greenlets.joinall(openings)
        if not all(each.value for each in openings):
            raise RuntimeError("a session was not taken over")
        self._counts.statements += _SAVEPOINT_STATEMENTS * len(numbers)
        if not (self._recorder.flush(30) and self._deferred_writes.flush(30)):
            raise RuntimeError("not stored in time")

    def close(self) -> None:
        self._recorder.stop()
        for each in self._databases:
            each.close()

    def _take_over(self, number: int) -> bool:
        user, token = number % self._users, id_of("token", number)
        with self._routing.transaction(timeout_secs=ASK_SECS) as tx:
            logins.role(tx, id_of("login", user), max_days=30)
        row = self._look_up(token)
        if row.owner not in self._dead:
            # It was dialled, and refused: the witness is read, and then the row once more.
            self._dead.add(str(row.owner))
            self._witness.of(str(row.owner))
            row = self._look_up(token)
        actor = Actor(row.username, row.user_id, "192.0.2.7")
        with self._routing.transaction() as tx:
            reach = access.confirm(tx, actor, PERMISSION).reach
            targets.check_reach(tx, reach, row.device_id)
            claimed = sessions.claim(tx, row, owner=self._name, owner_address="10.99.0.2:40000")
            assert claimed is not None
            audit.append(tx, actor, "session.claimed", f"session:{row.id}", epoch=claimed.epoch, former=row.owner)
            prepared = self._opener.prepare(tx, claimed, actor, reach)
        self._log_in(claimed, prepared.credential_id)
        self._record(claimed, prepared.end, prepared.sha256)
        self._deferred_writes.put(sessions.mark_attached, row.id, claimed.epoch, row.cols, row.rows)
        return True

    def _look_up(self, token: Any) -> SessionRow:
        with self._routing.transaction(timeout_secs=ROW_SECS) as tx:
            row = sessions.find_by_token(tx, token)
        assert row is not None
        return row

    def _log_in(self, row: SessionRow, credential_id: Any) -> None:
        trial = Trial(self._routing, CredentialAddress(credential_id, row.host, row.port, "1"), Dialogue())

        def read(tx: Transaction) -> None:
            trial.read(tx)
            hostkeys.find(tx, row.host, row.port)

        with self._slots.slot(row.host, row.port, None, read):
            trial.begin()

    def _record(self, row: SessionRow, end: int, sha256: bytes) -> None:
        recording = Recording(
            self._recorder,
            row.id,
            row.epoch,
            offset=end,
            previous_sha256=sha256,
            on_room=lambda: None,
            on_fenced=lambda: None,
        )
        recording.resize(row.cols, row.rows)
        recording.output(_BANNER)
        recording.note(f"claimed by {self._name} at byte {end}; what was not stored by then is lost")


@dataclass(frozen=True)
class Takeover:
    """The cost of taking over one session in PostgreSQL: over new connections, and over used ones."""

    transactions: float
    statements: float
    wal_bytes: float
    cold_cpu_secs: float
    warm_cpu_secs: float


def measure(share: int, lost_of: int) -> Takeover:
    """Instances that take over `share` sessions each, twice; one in `lost_of` of all sessions is lost.

    The table is as small as that allows: so many changed rows are in a page of it as in a larger one.
    """
    lost = 2 * SHARES * share
    with full(lost_of, lost_of * lost) as one:
        numbers = list(one.sessions_of(0))
        random.Random(1).shuffle(numbers)
        record(one, numbers)
        one.settle()
        groups = [numbers[start : start + share] for start in range(0, lost, share)]
        shares: list[Share] = []

        def first(counts: Counts) -> None:
            for number, group in enumerate(groups[:SHARES]):
                shares.append(Share(one, 1 + number, counts))
                shares[-1].take_over(group)

        def again(_: Counts) -> None:
            for each, group in zip(shares, groups[SHARES:], strict=True):
                each.take_over(group)

        cold, warm = one.cost_of(first), one.cost_of(again)
        for each in shares:
            each.close()
    return Takeover(
        cold.transactions / lost * 2,
        cold.statements / lost * 2,
        (cold.wal_bytes + warm.wal_bytes) / lost,
        cold.cpu_secs / lost * 2,
        warm.cpu_secs / lost * 2,
    )
