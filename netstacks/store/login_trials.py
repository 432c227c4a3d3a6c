"""Results of log-ins with a credential at an address: a refused secret is not tried again for a while."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from netstacks.store.pool import Transaction
from netstacks.store.queries import load

_SQL = load("login_trials")

# How long a secret is not tried after its first, second, ... refusal. Devices lock accounts after a few failures.
HOLD_OFFS_SECS = (60.0, 300.0, 900.0, 3600.0)
# The most tests of new secrets with one credential at one address in TESTS_SECS, whatever their outcome.
MAX_TESTS, TESTS_SECS = 3, 300


@dataclass(frozen=True)
class CredentialAddress:
    """A credential and the address it is used at. `version` changes with the credential and the device's entry."""

    credential_id: UUID
    host: str
    port: int
    version: str


@dataclass(frozen=True)
class TrialState:
    """`refused_for_secs`: how long the secret must not be tried yet, because of the device's `reason`."""

    is_known_good: bool = False
    refused_for_secs: float | None = None
    reason: str | None = None
    is_being_tried: bool = False


def find(tx: Transaction, place: CredentialAddress, holder: UUID) -> TrialState:
    """The stored state; `is_being_tried` means by another holder."""
    row = tx.execute(_SQL["find"], _parameters(place, holder=holder)).fetchone()
    if row is None:
        return TrialState()
    return TrialState(**{name: row[name] or getattr(TrialState, name) for name in TrialState.__annotations__})


def begin(tx: Transaction, place: CredentialAddress, holder: UUID, lease_secs: float) -> bool:
    """Records that `holder` tries the secret now; False while another holder does."""
    return tx.execute(_SQL["begin"], _parameters(place, holder=holder, lease_secs=lease_secs)).fetchone() is not None


def renew(tx: Transaction, place: CredentialAddress, holder: UUID, lease_secs: float) -> None:
    tx.execute(_SQL["renew"], _parameters(place, holder=holder, lease_secs=lease_secs))


def release(tx: Transaction, place: CredentialAddress, holder: UUID) -> None:
    """Ends the trial without a result."""
    tx.execute(_SQL["release"], _parameters(place, holder=holder))


def accepted(tx: Transaction, place: CredentialAddress) -> None:
    tx.execute(_SQL["accepted"], _parameters(place))


def refused(tx: Transaction, place: CredentialAddress, reason: str) -> None:
    """Records a refusal. Each consecutive one suspends the secret for longer (HOLD_OFFS_SECS)."""
    tx.execute(_SQL["refused"], _parameters(place, reason=reason, hold_offs=list(HOLD_OFFS_SECS)))


def begin_test(tx: Transaction, credential_id: UUID, host: str, port: int) -> bool:
    """Records that a secret that is not stored is tried now; False after MAX_TESTS of them in TESTS_SECS."""
    values = {"credential_id": credential_id, "host": host, "port": port, "most": MAX_TESTS, "secs": TESTS_SECS}
    return tx.execute(_SQL["begin_test"], values).fetchone() is not None


def _parameters(place: CredentialAddress, **others: Any) -> dict[str, Any]:
    return {**vars(place), **others}
