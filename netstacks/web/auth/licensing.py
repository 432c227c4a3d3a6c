"""The licence in force, and its seats."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import structlog

from netstacks.crypto import license
from netstacks.crypto.license import Grant, License
from netstacks.errors import Conflict, InvalidInput, StoreUnavailable
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


class Licensing:
    """The licence of LICENSE_KEY, or else the activated one. Raises InvalidInput for a wrong LICENSE_KEY."""

    def __init__(self, database: Database, license_key: str | None, public_key: str = license.PUBLIC_KEY) -> None:
        self._database = database
        self._public_key = public_key
        self._configured = license.read(license_key, public_key) if license_key else None
        self._activated: License | None = None
        self._problem: str | None = None
        """Why the activated licence is not in force."""

    def current(self) -> Grant:
        """The current grant; while PostgreSQL is unreachable, that of the last licence read from it."""
        try:
            with self._database.transaction() as tx:
                return self._current(tx)
        except StoreUnavailable:
            return self._judged()

    def may_cluster(self) -> bool:
        """Whether the licence allows several instances: Enterprise only (specification)."""
        return self.current().tier == "enterprise"

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
        if license.judge(found, datetime.now(UTC)).status == "expired":
            raise InvalidInput(f"The licence expired on {found.expires_at:%Y-%m-%d}.")
        settings.put(tx, _SETTING, key)
        return found

    def status(self, tx: Transaction) -> dict[str, Any]:
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

    def _current(self, tx: Transaction) -> Grant:
        if self._configured is None:
            self._read_activated(settings.get(tx, _SETTING))
        return self._judged()

    def _read_activated(self, key: object) -> None:
        """Reads the stored licence. An unreadable one counts as none: log-ins must still work."""
        former, self._problem, self._activated = self._problem, None, None
        if key is None:
            return
        try:
            self._activated = license.read(key, self._public_key)
        except InvalidInput as error:
            self._problem = f"the activated licence is not in force, activate it anew: {error}"
            if self._problem != former:
                log.warning("license.unreadable", error=str(error))

    def _judged(self) -> Grant:
        grant = license.judge(self._configured or self._activated, datetime.now(UTC))
        return replace(grant, problem=self._problem)
