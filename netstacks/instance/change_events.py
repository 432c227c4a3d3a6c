"""Changes that become events of the cluster: outages of PostgreSQL, a full disk, the expiry of the licence."""

import time
from collections.abc import Callable

from netstacks import greenlets
from netstacks.crypto.license import GRACE, Grant
from netstacks.instance.agent import Agent
from netstacks.instance.disk_watch import DiskWatch
from netstacks.store.contact import Contact

_LOOK_SECS = 2.0
_LICENCE_SECS = 300.0
# A shorter series of failures is not an outage: a single connection breaks, a pool reconnects.
_AWAY_SECS = 3.0
# All instances notice an expiry within this time.
_EXPIRY_ONCE_SECS = 3600.0
# The free space may waver around its limit.
_DISK_QUIET_SECS = 3600.0


class ChangeEvents:
    """Looks periodically; `current_grant` may wait for PostgreSQL. `ttl_secs` is the TTL of heartbeats.

    All instances see an outage of PostgreSQL at once: of their events within the TTL, the registry keeps the first.
    """

    def __init__(
        self,
        agent: Agent,
        contact: Contact,
        disk_watch: DiskWatch,
        current_grant: Callable[[], Grant],
        *,
        ttl_secs: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._agent = agent
        self._contact = contact
        self._disk_watch = disk_watch
        self._current_grant = current_grant
        self._ttl_secs = ttl_secs
        self._clock = clock
        self._away_since: float | None = None
        """When the outage of PostgreSQL began that was recorded, by `clock`."""
        self._disk_was_low = False
        self._disk_recorded_at: float | None = None
        self._licence_status: str | None = None
        """By the last look; None before the first one: what changed before the start is not news."""
        self._looking = greenlets.Periodic("change-events", self.look, _LOOK_SECS)
        # In a greenlet of its own: it waits for PostgreSQL.
        self._judging = greenlets.Periodic("licence-watch", self.look_at_licence, _LICENCE_SECS)

    def start(self) -> None:
        self._looking.start()
        self._judging.start()

    def background(self) -> tuple[greenlets.Background, ...]:
        """The greenlets that run until the process ends."""
        return self._looking, self._judging

    def look(self) -> None:
        """Compares PostgreSQL and the disk with the last look. Returns at once."""
        self._look_at_database()
        self._look_at_disk()

    def _look_at_database(self) -> None:
        away_secs, now = self._contact.away_secs, self._clock()
        if self._away_since is None:
            if away_secs >= _AWAY_SECS:
                self._away_since = now - away_secs
                self._agent.record_event("database_lost", self._agent.me.id, self._ttl_secs)
        elif not away_secs:
            took_secs, self._away_since = now - self._away_since, None
            away = f"{took_secs:.0f}"
            self._agent.record_event("database_back", self._agent.me.id, self._ttl_secs, away_secs=away)

    def _look_at_disk(self) -> None:
        problem, was_low = self._disk_watch.problem, self._disk_was_low
        self._disk_was_low = problem is not None
        if problem is None or was_low:
            return
        now = self._clock()
        if self._disk_recorded_at is None or now - self._disk_recorded_at >= _DISK_QUIET_SECS:
            self._disk_recorded_at = now
            self._agent.record_event("disk_low", self._agent.me.id, problem=problem)

    def look_at_licence(self) -> None:
        """Records when the licence has expired, or its grace period has ended, since the last look."""
        grant = self._current_grant()
        former, self._licence_status = self._licence_status, grant.status
        if former in (None, grant.status) or grant.status not in ("grace", "expired") or grant.license is None:
            return
        expired_on = f"expired on {grant.license.expires_at:%Y-%m-%d}"
        change = (
            f"{expired_on} and stays in force until {grant.license.expires_at + GRACE:%Y-%m-%d}: activate a new one"
            if grant.status == "grace"
            else f"{expired_on}, and so has its grace period: until a new one is activated, this is Starter"
        )
        me = self._agent.me.id
        self._agent.record_event("licence", me, _EXPIRY_ONCE_SECS, status=grant.status, change=change)
