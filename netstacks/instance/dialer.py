"""Dials devices: checks the host key, remembers refused secrets, and passes the device's questions to the user."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from netstacks.errors import (
    AccessWithdrawn,
    DeviceError,
    DeviceUnreachable,
    HostKeyRejected,
    NotFound,
    OpeningAbandoned,
    StoreUnavailable,
    VaultLocked,
)
from netstacks.instance.host_key_prompts import HostKeyPrompts, check_host_key, needs_administrator
from netstacks.instance.login_slots import LoginSlot, LoginSlots
from netstacks.instance.login_trials import Trial
from netstacks.instance.targets import Target
from netstacks.permissions import EVERYWHERE
from netstacks.store import access, audit, credentials, device_contacts, hostkeys
from netstacks.store.audit import Actor
from netstacks.store.credentials import Credential, LoginSecret, Secrets
from netstacks.store.device_contacts import Opening
from netstacks.store.devices import Contact
from netstacks.store.hostkeys import StoredHostKey
from netstacks.store.login_trials import CredentialAddress
from netstacks.store.pool import Database, Transaction
from netstacks.store.vault import Vault
from netstacks.terminal.dialogue import Dialogue
from netstacks.terminal.host_key import HostKey
from netstacks.terminal.ssh_client import open_shell
from netstacks.terminal.ssh_connection import Hooks
from netstacks.terminal.ssh_target import PATIENCE_SECS, SshTarget
from netstacks.terminal.transport import Transport

_REPLACES_KEYS = "hostkeys.manage"


class Dialer:
    """Opens shells on devices, within the limits of log-ins per device and of attempts with one secret.

    `defer` queues a function of a transaction with its arguments: the outcome of each log-in is stored that way.
    """

    def __init__(
        self,
        database: Database,
        vault: Vault,
        prompts: HostKeyPrompts,
        defer: Callable[..., None] = lambda write, *arguments: None,
    ) -> None:
        self._database = database
        self._vault = vault
        self._prompts = prompts
        self._slots = LoginSlots(database)
        self._defer = defer

    def dial(
        self,
        actor: Actor,
        target: Target,
        credential_id: UUID,
        secret: LoginSecret,
        dialogue: Dialogue,
        *,
        term: str,
        cols: int,
        rows: int,
        make_room: Callable[[], None] = lambda: None,
    ) -> Transport:
        """Connects and logs in; the user takes part through `dialogue`.

        `make_room` is called before the device is dialled, unless an earlier refusal of the secret holds.

        Raises DeviceError and StoreUnavailable; DeviceLoginRefused at once while an earlier refusal of the secret
        holds; OpeningAbandoned soon after the user has given up.
        """
        ssh_target = _ssh_target(target, secret, term, cols, rows)
        # A change of the credential or of the device's entry makes a new version, which has no refusals.
        version = f"{secret.changed_at.isoformat()} {target.changed_at.isoformat()}"
        trial = Trial(self._database, CredentialAddress(credential_id, target.host, target.port, version), dialogue)
        known: list[StoredHostKey | None] = []

        # Runs in the transaction that takes the slot, so that a log-in needs one instead of three.
        def read(tx: Transaction) -> None:
            trial.read(tx)
            known.append(hostkeys.find(tx, target.host, target.port))

        with self._slots.slot(target.host, target.port, dialogue, read) as slot, trial.outcome():

            def check(found: HostKey) -> None:
                if not found.is_stored_as(known[0]):
                    self._check_host_key(slot, actor, target, secret, found, dialogue)

            @contextlib.contextmanager
            def thinking() -> Iterator[None]:
                trial.release()
                with slot.paused():
                    yield

            def keep() -> None:
                slot.renew()
                trial.renew()

            def store(password: str) -> None:
                # The device has accepted the log-in: another one may use the slot.
                trial.release()
                slot.give_back()
                try:
                    self._offer_to_store(actor, credential_id, password, dialogue)
                except (StoreUnavailable, NotFound, VaultLocked) as error:
                    dialogue.say(f"the new password is not stored, the credential still holds the old one: {error}")

            make_room()
            hooks = Hooks(check, lambda: trial.begin(slot.renew), trial.refused, thinking, keep, store)
            with self._noting(actor, target, credential_id):
                return open_shell(ssh_target, hooks, dialogue)

    def try_out(
        self, actor: Actor, target: Target, secret: LoginSecret, dialogue: Dialogue, *, term: str, cols: int, rows: int
    ) -> None:
        """Logs in and out with a secret that is not stored, so its outcome is not stored either.

        Raises DeviceError and StoreUnavailable.
        """
        with self._slots.slot(target.host, target.port, dialogue) as slot:
            hooks = Hooks(
                lambda found: self._check_host_key(slot, actor, target, secret, found, dialogue),
                thinking=slot.paused,
                on_wait=slot.renew,
            )
            open_shell(_ssh_target(target, secret, term, cols, rows), hooks, dialogue).close()

    @contextlib.contextmanager
    def _noting(self, actor: Actor, target: Target, credential_id: UUID) -> Iterator[None]:
        """Around a log-in to a device: stores its outcome, but for one that the user has abandoned."""
        try:
            yield
        except OpeningAbandoned:
            raise
        except DeviceError as error:
            self._note(actor, target, credential_id, error)
            raise
        self._note(actor, target, credential_id, None)

    def _note(self, actor: Actor, target: Target, credential_id: UUID, error: DeviceError | None) -> None:
        if target.device_id is None:
            return
        opening = Opening(
            device_id=target.device_id,
            device_name=target.name,
            credential_id=credential_id,
            username=actor.name,
            at=datetime.now(UTC),
            contact=_contact(error),
            reason=str(error) if error else None,
        )
        self._defer(device_contacts.note_opening, opening)

    def _check_host_key(
        self, slot: LoginSlot, actor: Actor, target: Target, secret: LoginSecret, found: HostKey, dialogue: Dialogue
    ) -> None:
        is_settled = False
        while not is_settled:
            # Read again: another terminal may have approved the key while this one waited.
            with self._database.transaction() as tx:
                stored = hostkeys.find(tx, target.host, target.port)
                role = access.role_of(tx, actor)
            if found.is_stored_as(stored):
                return
            if stored is not None and not (role and role.may(_REPLACES_KEYS)):
                raise needs_administrator(found, stored)
            problem = "is new" if stored is None else "has changed"
            dialogue.need_person(f"the host key of {target.name} {problem}")
            with slot.paused():
                dialogue.progress(f"the device's host key {problem}: waiting for your decision")
                answered = check_host_key(
                    self._prompts,
                    actor.id,
                    target.host,
                    target.port,
                    found,
                    stored,
                    lambda: dialogue.is_given_up,
                    max(target.changed_at, secret.changed_at),
                )
                # Stored before the slot is taken again: that may fail, and the user must not have to answer twice.
                with self._database.transaction() as tx:
                    is_settled = _approve(tx, actor, target, found, stored, answered.answered_by or actor.name)

    def _offer_to_store(self, actor: Actor, credential_id: UUID, password: str, dialogue: Dialogue) -> None:
        assert actor.id is not None
        with self._database.transaction() as tx:
            credential = credentials.find(tx, credential_id)
            may_store = _may_store(tx, actor, credential)
        if credential is None or credential.credential_type != "ssh_password":
            return
        if not may_store:
            dialogue.say(
                f"the shared credential {credential.name} still holds the old password: tell an administrator that it"
                " has changed"
            )
            return
        answer = ""
        with contextlib.suppress(OpeningAbandoned):
            answer = dialogue.ask(f"Store the new password in the credential {credential.name}? [y/n] ")
        if not answer.strip().casefold().startswith("y"):
            dialogue.say(f"the credential {credential.name} still holds the old password")
            return
        with self._database.transaction() as tx:
            if not _may_store(tx, actor, credential):
                raise AccessWithdrawn(access.WITHDRAWN)
            held = credentials.lock(tx, credential_id, credential.owner_id, within=EVERYWHERE)
            credentials.update(tx, self._vault, held, {}, Secrets(secret=password), by=actor.name)
            audit.append(tx, actor, "credential.updated", f"credential:{credential_id}", secrets=["secret"])
        dialogue.say(f"the new password is stored in the credential {credential.name}")


def _ssh_target(target: Target, secret: LoginSecret, term: str, cols: int, rows: int) -> SshTarget:
    return SshTarget(
        host=target.host,
        port=target.port,
        username=secret.username,
        password=secret.password,
        private_key=secret.private_key,
        algorithms=target.algorithms,
        encoding=target.encoding,
        patience_secs=target.patience_secs or PATIENCE_SECS,
        term=term,
        cols=cols,
        rows=rows,
    )


def _contact(error: DeviceError | None) -> Contact:
    match error:
        case None:
            return "reached"
        case DeviceUnreachable():
            return "unreachable"
        case HostKeyRejected():
            return "host_key"
    return "refused"


def _may_store(tx: Transaction, actor: Actor, credential: Credential | None) -> bool:
    """Whether the actor may change the credential until the transaction ends."""
    role = access.role_of(tx, actor)
    if role is None or credential is None:
        return False
    may_manage = role.may("credentials.manage") and not (role.reach.is_limited and credential.is_for_all_devices)
    return credential.owner_id == actor.id or may_manage


def _approve(
    tx: Transaction, actor: Actor, target: Target, found: HostKey, former: StoredHostKey | None, approved_by: str
) -> bool:
    """Stores the key; False when `former` is no longer the stored key, so that the user must decide again."""
    place = (target.host, target.port)
    if hostkeys.approve(tx, *place, found.key_type, found.public_key, approved_by, former) is None:
        return False
    facts: dict[str, Any] = {"fingerprint": found.fingerprint, "approved_by": approved_by, "changed": bool(former)}
    if former is not None:
        facts["previous_fingerprint"] = former.fingerprint
    audit.append(tx, actor, "host_key.approved", f"host:{target.host}:{target.port}", **facts)
    return True
