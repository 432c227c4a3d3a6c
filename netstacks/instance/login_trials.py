"""Trying a stored secret at a device: once, by one connection at a time until it is known to be right, cluster-wide."""

import contextlib
import math
import time
import uuid
from collections.abc import Callable, Iterator

from netstacks import greenlets
from netstacks.errors import Conflict, DeviceLoginRefused, StoreUnavailable
from netstacks.store import login_trials
from netstacks.store.login_trials import Place, State
from netstacks.store.pool import Database, Transaction
from netstacks.terminal.dialogue import Dialogue

# Renewed while the log-in goes on; so long a trial of an instance that died holds others up.
LEASE_SECS = 45.0
RENEW_SECS = 15.0
_ASK_AGAIN_SECS = 0.3
# A secret that was known to be good is sent without another look for so long: a device takes a moment to ask for it.
_GOOD_SECS = 5.0


class Trial:
    """One log-in with a stored secret."""

    def __init__(self, database: Database, place: Place, dialogue: Dialogue) -> None:
        self._database = database
        self._place = place
        self._dialogue = dialogue
        self._holder = uuid.uuid4()
        self._is_held = False
        self._renewed_at = 0.0
        self._state = State()
        self._known_at = -math.inf
        """When `_state` was read, by the monotonic clock."""

    def read(self, tx: Transaction) -> None:
        """Reads what is known of the secret; to be called before `outcome`."""
        self._state = login_trials.find(tx, self._place, self._holder)
        self._known_at = time.monotonic()

    @contextlib.contextmanager
    def outcome(self) -> Iterator[None]:
        """The block logs in. Raises DeviceLoginRefused at once while an earlier refusal holds, StoreUnavailable."""
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
                # The shell is open: what is not noted now is tried again another time.
                with contextlib.suppress(StoreUnavailable), self._database.transaction() as tx:
                    login_trials.accepted(tx, self._place)
        finally:
            self.release()

    def begin(self, on_wait: Callable[[], None] = lambda: None) -> None:
        """To be called before the secret is sent. Waits while another connection tries it.

        `on_wait` is called every now and then meanwhile. Raises DeviceLoginRefused when that one is refused.
        """
        began_at = time.monotonic()
        while not self._may_send():
            waited_secs = time.monotonic() - began_at
            self._dialogue.wait("another terminal, which is trying the same password at this device", waited_secs)
            greenlets.sleep(_ASK_AGAIN_SECS)
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
        """Notes that the device has refused the secret: however the log-in ends, it is not known to be good."""
        self._is_held = False
        self._known_at = -math.inf
        # The device's answer must reach the user, even if the database is away by now.
        with contextlib.suppress(StoreUnavailable, Conflict), self._database.transaction() as tx:
            login_trials.refused(tx, self._place, reason)

    def renew(self) -> None:
        """To be called every now and then while the device is waited for."""
        if self._is_held and time.monotonic() - self._renewed_at > RENEW_SECS:
            self._renewed_at = time.monotonic()
            with contextlib.suppress(StoreUnavailable), self._database.transaction() as tx:
                login_trials.renew(tx, self._place, self._holder, LEASE_SECS)

    def release(self) -> None:
        """Lets others try: while a person thinks, or when the log-in has ended without an answer about the secret."""
        if self._is_held:
            self._is_held = False
            # The lease ends by itself.
            with contextlib.suppress(StoreUnavailable), self._database.transaction() as tx:
                login_trials.release(tx, self._place, self._holder)


def _raise_if_refused(state: login_trials.State) -> None:
    if state.refused_for_secs is not None:
        at = time.strftime("%H:%M:%S", time.gmtime(time.time() + state.refused_for_secs))
        raise DeviceLoginRefused(
            f"{state.reason}. It is not tried again before {at} UTC, to spare the account: change the credential or the"
            " device's entry, or choose another credential"
        )
