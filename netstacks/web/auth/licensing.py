"""The licence in force, and its seats."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import UUID

import structlog
from typing_extensions import TypedDict

from netstacks import greenlets
from netstacks.crypto import license
from netstacks.crypto.license import GRACE, TIER_NAMES, Grant, License, Tier
from netstacks.errors import Conflict, InvalidInput, StoreUnavailable
from netstacks.formats import Timestamp
from netstacks.store import logins, settings
from netstacks.store.pool import Database, Transaction
from netstacks.web.http.outputs import timestamp

log = structlog.get_logger()

_SETTING = "license_key"


class SeatLimitReached(Conflict):
    """All seats are taken by other users. The client matches the beginning of the text (docs/protocol.md, 3.1)."""

    def __init__(self, seats_total: int, seats_used: int) -> None:
        super().__init__(f"seat_limit_reached: all {seats_total} seats are in use")
        self.seats_total = seats_total
        self.seats_used = seats_used


@dataclass(frozen=True)
class Notice:
    """A line about the licence for the top of each page; `may_all_see` is false for what only administrators can do."""

    level: Literal["warning", "critical"]
    text: str
    may_all_see: bool


class NoticeJson(TypedDict):
    """A line about the licence for the top of each page."""

    level: Literal["warning", "critical"]
    text: str
    url: str | None
    """The page where the user can do something about it."""


class SeatJson(TypedDict):
    """A log-in that holds a seat."""

    user_email: str
    started_at: Timestamp
    last_activity_at: Timestamp


class LicenseStatus(TypedDict):
    """The licence as the client shows it."""

    status: Literal["evaluation", "active", "grace", "expired"]
    tier: Tier
    seats_total: int
    seats_used: int
    expires_at: Timestamp | None
    last_validated_at: Timestamp
    warning_level: Literal["none", "warning", "critical"]
    problem: str | None
    """Why the stored licence is not in force."""
    active_sessions: list[SeatJson]


class LicenseFeature(TypedDict):
    name: str
    is_included: bool


class LicenseFacts(TypedDict):
    """The licence as the page of the administration shows it."""

    status: Literal["evaluation", "active", "grace", "expired"]
    source: Literal["environment", "activated", "none"]
    tier: Tier
    tier_name: str
    customer: str | None
    seats_total: int
    seats_used: int
    issued_at: Timestamp | None
    expires_at: Timestamp | None
    grace_ends_at: Timestamp | None
    warning_level: Literal["none", "warning", "critical"]
    problem: str | None
    """Why the stored licence is not in force."""
    features: list[LicenseFeature]


def notice_of(grant: Grant, now: datetime) -> Notice | None:
    """What users should know of the licence at `now`; None when all is well, and during an evaluation."""
    if grant.license is None or grant.warning_level == "none":
        return None
    expires_at = grant.license.expires_at
    if grant.status == "active":
        return Notice("warning", f"The licence expires on {expires_at:%Y-%m-%d}, {_in_days(expires_at - now)}.", False)
    loss = (
        "instances that start then form no cluster, and high availability ends"
        if grant.license.tier == "enterprise"
        else "then this controller is Starter"
    )
    if grant.status == "grace":
        end = expires_at + GRACE  # The expiry is in the past.
        text = f"The licence expired on {expires_at:%Y-%m-%d}. It stays in force until {end:%Y-%m-%d}"
        return Notice("critical", f"{text}, {_in_days(end - now)}: {loss}.", True)
    return Notice("critical", f"The licence expired on {expires_at:%Y-%m-%d}, and so has its grace period.", True)


def _in_days(span: timedelta) -> str:
    days = span.days
    return "today" if days < 1 else "in 1 day" if days == 1 else f"in {days} days"


class Licensing:
    """The licence of LICENSE_KEY, or else the activated one. Raises InvalidInput for a wrong LICENSE_KEY.

    A licence that is activated elsewhere is known here at most `interval_secs` later.
    """

    def __init__(
        self,
        database: Database,
        license_key: str | None,
        public_key: str = license.PUBLIC_KEY,
        *,
        interval_secs: float = 5.0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._public_key = public_key
        self._configured = license.read(license_key, public_key) if license_key else None
        self._activated: License | None = None
        self._problem: str | None = None
        """Why the activated licence is not in force."""
        self._read_key: object = None
        """The stored key that was read last."""
        self._now = now
        self.periodic = greenlets.Periodic("licence", self.current, interval_secs)

    def start(self) -> None:
        self.periodic.start()

    def notice(self, *, may_manage: bool) -> NoticeJson | None:
        """The line for the pages of a user, about the licence that was read last; without I/O."""
        found = notice_of(self._judged(), self._now())
        if found is None or not (may_manage or found.may_all_see):
            return None
        advice = "Activate a new one." if may_manage else "An administrator must activate a new one."
        return {"level": found.level, "text": f"{found.text} {advice}", "url": "/admin/license" if may_manage else None}

    def current(self) -> Grant:
        """The current grant; while PostgreSQL is unreachable, that of the last licence read from it."""
        try:
            with self._database.transaction() as tx:
                return self._current(tx)
        except StoreUnavailable:
            return self._judged()

    def may_cluster(self) -> bool:
        """Whether the licence allows several instances: Enterprise only (specification)."""
        return _has_ha(self.current())

    def take_seat(self, tx: Transaction, user_id: UUID) -> None:
        """Reserves a seat for a terminal log-in of this user. Raises SeatLimitReached.

        Seats are counted per user: a second log-in of a user takes no second seat (docs/protocol.md, 3.1).
        """
        logins.lock_seats(tx)
        seats = self._current(tx).seats
        holders = {login.user_id for login in logins.holding_seats(tx)}
        if user_id not in holders and len(holders) >= seats:
            raise SeatLimitReached(seats, len(holders))

    def activate(self, tx: Transaction, key: str) -> License:
        """Activates a licence for all instances. Raises InvalidInput, and Conflict while LICENSE_KEY is set."""
        if self._configured is not None:
            raise Conflict("The licence is set by LICENSE_KEY. Change it there.")
        found = license.read(key, self._public_key)
        if license.judge(found, self._now()).status == "expired":
            raise InvalidInput(f"The licence expired on {found.expires_at:%Y-%m-%d}.")
        settings.put(tx, _SETTING, key)
        return found

    def status(self, tx: Transaction) -> LicenseStatus:
        """The licence and the log-ins that hold seats (docs/protocol.md, 13)."""
        grant = self._current(tx)
        holding = logins.holding_seats(tx)
        return {
            "status": grant.status,
            "tier": grant.tier,
            "seats_total": grant.seats,
            "seats_used": len({login.user_id for login in holding}),
            "expires_at": timestamp(grant.license.expires_at) if grant.license else None,
            "last_validated_at": timestamp(datetime.now(UTC)),
            "warning_level": grant.warning_level,
            "problem": grant.problem,
            "active_sessions": [
                {
                    "user_email": login.user_email,
                    "started_at": timestamp(login.started_at),
                    "last_activity_at": timestamp(login.last_activity_at),
                }
                for login in holding
            ],
        }

    def facts(self, tx: Transaction) -> LicenseFacts:
        """The licence for the page of the administration."""
        grant = self._current(tx)
        found = grant.license
        source: Literal["environment", "activated", "none"] = (
            "environment" if self._configured else "activated" if found else "none"
        )
        return {
            "status": grant.status,
            "source": source,
            "tier": grant.tier,
            "tier_name": TIER_NAMES[grant.tier],
            "customer": found.customer if found else None,
            "seats_total": grant.seats,
            "seats_used": len({login.user_id for login in logins.holding_seats(tx)}),
            "issued_at": timestamp(found.issued_at) if found else None,
            "expires_at": timestamp(found.expires_at) if found else None,
            "grace_ends_at": timestamp(_grace_end(found)) if found else None,
            "warning_level": grant.warning_level,
            "problem": grant.problem,
            "features": [
                {"name": "Terminals, recordings, the vault and the audit log", "is_included": True},
                {"name": "High availability: several instances as one cluster", "is_included": _has_ha(grant)},
            ],
        }

    def _current(self, tx: Transaction) -> Grant:
        if self._configured is None:
            self._read_activated(settings.get(tx, _SETTING))
        return self._judged()

    def _read_activated(self, key: object) -> None:
        """Reads the stored licence. An unreadable one counts as none: log-ins must still work."""
        if key == self._read_key and type(key) is type(self._read_key):
            return
        former, self._problem, self._activated, self._read_key = self._problem, None, None, key
        if key is None:
            return
        try:
            self._activated = license.read(key, self._public_key)
        except InvalidInput as error:
            self._problem = f"the activated licence is not in force, activate it anew: {error}"
            if self._problem != former:
                log.warning("license.unreadable", error=str(error))

    def _judged(self) -> Grant:
        grant = license.judge(self._configured or self._activated, self._now())
        return replace(grant, problem=self._problem)


def _has_ha(grant: Grant) -> bool:
    return grant.tier == "enterprise"


def _grace_end(found: License) -> datetime | None:
    """The end of the grace period; None for one beyond all times."""
    try:
        return found.expires_at + GRACE
    except OverflowError:
        return None
