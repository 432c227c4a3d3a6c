"""Dialling a device: its host key is checked, its refusals are remembered for a while."""

import time
from collections.abc import Callable
from uuid import UUID

from netstacks.errors import DeviceLoginRefused
from netstacks.instance.login_turns import LoginTurns, Turn
from netstacks.instance.targets import Target
from netstacks.store import audit, hostkeys
from netstacks.store.audit import Actor
from netstacks.store.credentials import LoginSecret
from netstacks.store.pool import Database
from netstacks.terminal.hostkeys import HostKey, HostKeyPrompts, check_host_key
from netstacks.terminal.ssh import SshTarget, open_shell
from netstacks.terminal.transport import Transport

# A refused log-in is not tried again for so long: clients retry by themselves, and devices lock accounts.
REFUSED_LOGIN_SECS = 15.0


class Dialer:
    """Opens shells on devices."""

    def __init__(self, database: Database, prompts: HostKeyPrompts) -> None:
        self._database = database
        self._prompts = prompts
        self._turns = LoginTurns(database)
        self._refused: dict[tuple[UUID | None, str, int, UUID], tuple[float, str]] = {}

    def dial(
        self,
        actor: Actor,
        target: Target,
        credential_id: UUID,
        secret: LoginSecret,
        *,
        term: str,
        cols: int,
        rows: int,
        is_abandoned: Callable[[], bool] = lambda: False,
    ) -> Transport:
        """Connects and logs in. Raises DeviceError; DeviceLoginRefused at once while an earlier refusal is fresh.

        OpeningAbandoned soon after `is_abandoned` says so.
        """
        key = (actor.id, target.host, target.port, credential_id)
        self._raise_if_refused_lately(key)
        ssh_target = SshTarget(
            host=target.host,
            port=target.port,
            username=secret.username,
            password=secret.password,
            private_key=secret.private_key,
            legacy_algorithms=target.legacy_algorithms,
            term=term,
            cols=cols,
            rows=rows,
        )
        try:
            with self._turns.turn(target.host, target.port) as turn:
                return open_shell(
                    ssh_target,
                    check_host_key=lambda found: self._check_host_key(turn, actor, target, found, is_abandoned),
                    is_abandoned=is_abandoned,
                )
        except DeviceLoginRefused as error:
            self._refused[key] = (time.monotonic() + REFUSED_LOGIN_SECS, str(error))
            raise

    def forget_refusals(self, credential_id: UUID) -> None:
        """A credential was changed: the next log-in with it is tried at once."""
        self._refused = {key: value for key, value in self._refused.items() if key[3] != credential_id}

    def _raise_if_refused_lately(self, key: tuple[UUID | None, str, int, UUID]) -> None:
        now = time.monotonic()
        self._refused = {other: value for other, value in self._refused.items() if value[0] > now}
        if key in self._refused:
            until, text = self._refused[key]
            raise DeviceLoginRefused(f"{text}; not tried again for another {until - now:.0f} s, to spare the account")

    def _check_host_key(
        self, turn: Turn, actor: Actor, target: Target, found: HostKey, is_abandoned: Callable[[], bool]
    ) -> None:
        with self._database.transaction() as tx:
            row = hostkeys.find(tx, target.host, target.port)
        stored = HostKey(row.key_type, row.public_key) if row else None
        if stored == found:
            return
        with turn.paused():
            check_host_key(self._prompts, actor.id, target.host, target.port, found, stored, is_abandoned)
            # Before the turn is taken again, which may fail: nobody is asked twice.
            with self._database.transaction() as tx:
                hostkeys.remember(tx, target.host, target.port, found.key_type, found.public_key, actor.name)
                audit.append(
                    tx,
                    actor,
                    "host_key.approved",
                    f"host:{target.host}:{target.port}",
                    fingerprint=found.fingerprint,
                    changed=stored is not None,
                )
