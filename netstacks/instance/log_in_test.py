"""The test of a new secret before it is stored: a log-in to one device, by the same way as a terminal's."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from netstacks.errors import LimitReached
from netstacks.instance import targets
from netstacks.instance.dialer import Dialer
from netstacks.instance.targets import DEVICE_PREFIX, ConnectRequest
from netstacks.store import access, credentials, login_trials
from netstacks.store.audit import Actor
from netstacks.store.credentials import Credential, Secrets
from netstacks.store.pool import Database
from netstacks.terminal.unattended import UnattendedDialogue

# A person waits for the answer.
_STEP_SECS = 15
_TERM, _COLS, _ROWS = "xterm", 80, 24


class LogInTest:
    """Logs in to devices with secrets that are not stored."""

    def __init__(self, database: Database, dialer: Dialer) -> None:
        self._database = database
        self._dialer = dialer

    def run(self, actor: Actor, credential: Credential, secrets: Secrets, device_id: UUID) -> str:
        """Logs in to the device and out again; returns its name.

        Raises InvalidInput for a secret or a device that does not suit the credential, NotFound, LimitReached after too
        many tests, and DeviceError with the reason when the device does not accept the log-in or asks something that
        needs a person.
        """
        request = ConnectRequest(
            actor,
            credential.id,
            target=f"{DEVICE_PREFIX}{device_id}",
            host=None,
            port=None,
            term=_TERM,
            cols=_COLS,
            rows=_ROWS,
        )
        with self._database.transaction() as tx:
            role = access.confirm(tx, actor, "credentials.manage")
            target = targets.resolve(tx, request, within=role.reach)
            secret = credentials.login_secret(
                credential, secrets, datetime.now(UTC), host=target.host, port=target.port
            )
            if not login_trials.begin_test(tx, credential.id, target.host, target.port):
                raise LimitReached(
                    f"This credential was tested {login_trials.MAX_TESTS} times at {target.name} within"
                    f" {login_trials.TESTS_SECS // 60} minutes. Wait as long, or the device may lock the account."
                )
        limited = replace(target, patience_secs=min(target.patience_secs or _STEP_SECS, _STEP_SECS))
        self._dialer.try_out(actor, limited, secret, UnattendedDialogue(), term=_TERM, cols=_COLS, rows=_ROWS)
        return target.name
