"""Trials of a stored secret at a device: one connection at a time until the device has accepted it, cluster-wide.

A wrong password that many terminals send at once locks the account on the device.
"""

import contextlib
import math
import time
import uuid
from collections.abc import Callable, Iterator

from netstacks import greenlets
from netstacks.errors import Conflict, DeviceLoginRefused, StoreUnavailable
from netstacks.store import login_trials
from netstacks.store.login_trials import CredentialAddress, TrialState
from netstacks.store.pool import Database, Transaction
from netstacks.terminal.dialogue import Dialogue

# A trial is renewed during its log-in. The trial of an instance that has died blocks others for this long.
LEASE_SECS = 45.0
RENEW_SECS = 15.0
_RETRY_SECS = 0.3
# The state of an accepted secret is not read again within this time: a device takes a moment to ask for the secret.
_GOOD_SECS = 5.0


class Trial:
    """One log-in with a stored secret."""

    def __init__(self, database: Database, place: CredentialAddress, dialogue: Dialogue) -> None:
        self._database = database
        self._place = place
        self._dialogue = dialogue
        self._holder = uuid.uuid4()
        self._is_held = False
        self._renewed_at = 0.0
        self._state = TrialState()
        self._known_at = -math.inf
        """When `_state` was read, by the monotonic clock."""

    def read(self, tx: Transaction) -> None:
        """Reads the state of the secret; call it before `outcome`."""
        self._state = login_trials.find(tx, self._place, self._holder)
        self._known_at = time.monotonic()

    @contextlib.contextmanager
    def outcome(self) -> Iterator[None]:
        """Around the log-in: stores its outcome. Raises DeviceLoginRefused at once while an earlier refusal holds."""
        _raise_if_refused(self._state)
        try:
            yield
        except DeviceLoginRefused as error:
            if error.refused_secret:
                self.refused(str(error))
            raise
        else:
            if self._is_held:
                self._is_held = False
                # Best effort: the shell is open, and a later log-in can store the success.
                with contextlib.suppress(StoreUnavailable), self._database.transaction() as tx:
                    login_trials.accepted(tx, self._place)
        finally:
            self.release()

    def begin(self, on_wait: Callable[[], None] = lambda: None) -> None:
        """Call it before sending the secret: waits while another connection tries the same one.

        `on_wait` is called several times a second meanwhile. Raises DeviceLoginRefused when the other one is refused,
        OpeningAbandoned when the user gives up, StoreUnavailable.
        """
        began_at = time.monotonic()
        while not self._may_send():
            waited_secs = time.monotonic() - began_at
            self._dialogue.wait("another terminal that is trying the same password at this device", waited_secs)
            greenlets.sleep(_RETRY_SECS)
            on_wait()
            self._dialogue.check()
        self._dialogue.progress(None)

    def _may_send(self) -> bool:
        if self._state.is_known_good and time.monotonic() - self._known_at < _GOOD_SECS:
            return True
        with self._database.transaction() as tx:
            self.read(tx)
            state = self._state
            _raise_if_refused(state)
            if state.is_known_good:
                return True
            self._renewed_at = time.monotonic()
            self._is_held = not state.is_being_tried and login_trials.begin(tx, self._place, self._holder, LEASE_SECS)
            return self._is_held

    def refused(self, reason: str) -> None:
        """Stores that the device has refused the secret, also when another method completes the log-in."""
        self._is_held = False
        self._known_at = -math.inf
        # Best effort: the user must see the device's answer even when PostgreSQL is unreachable.
        with contextlib.suppress(StoreUnavailable, Conflict), self._database.transaction() as tx:
            login_trials.refused(tx, self._place, reason)

    def renew(self) -> None:
        """Renews the lease when it is due; call it every few seconds while waiting for the device."""
        if self._is_held and time.monotonic() - self._renewed_at > RENEW_SECS:
            self._renewed_at = time.monotonic()
            with contextlib.suppress(StoreUnavailable), self._database.transaction() as tx:
                login_trials.renew(tx, self._place, self._holder, LEASE_SECS)

    def release(self) -> None:
        """Lets another connection try: while the user decides, or after a log-in without an answer about the secret."""
        if self._is_held:
            self._is_held = False
            # Best effort: the lease expires by itself.
            with contextlib.suppress(StoreUnavailable), self._database.transaction() as tx:
                login_trials.release(tx, self._place, self._holder)


def _raise_if_refused(state: login_trials.TrialState) -> None:
    if state.refused_for_secs is not None:
        at = time.strftime("%H:%M:%S", time.gmtime(time.time() + state.refused_for_secs))
        raise DeviceLoginRefused(
            f"{state.reason}. The secret is not tried again before {at} UTC, or the device may lock the account:"
            " change the credential or the device's entry, or choose another credential"
        )
