"""What became of logging in with a credential at an address: a refused secret is not tried again and again."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from netstacks.store.pool import Transaction
from netstacks.store.queries import load

_SQL = load("login_trials")

# How long a secret that the device has refused once, twice, ... is not tried. Devices lock accounts after a few tries.
HOLD_OFFS_SECS = (60.0, 300.0, 900.0, 3600.0)


@dataclass(frozen=True)
class Place:
    """A credential at an address. `version` changes with the credential and with the device's entry."""

    credential_id: UUID
    host: str
    port: int
    version: str


@dataclass(frozen=True)
class State:
    """`refused_for_secs` is how long the secret is not to be tried, with the device's `reason`."""

    is_known_good: bool = False
    refused_for_secs: float | None = None
    reason: str | None = None
    is_being_tried: bool = False


def find(tx: Transaction, place: Place, holder: UUID) -> State:
    """What is known; `is_being_tried` by another holder."""
    row = tx.execute(_SQL["find"], _parameters(place, holder=holder)).fetchone()
    return State(**{name: row[name] or getattr(State, name) for name in State.__annotations__}) if row else State()


def begin(tx: Transaction, place: Place, holder: UUID, lease_secs: float) -> bool:
    """Notes that `holder` tries the secret now; false while another does."""
    return tx.execute(_SQL["begin"], _parameters(place, holder=holder, lease_secs=lease_secs)).fetchone() is not None


def renew(tx: Transaction, place: Place, holder: UUID, lease_secs: float) -> None:
    tx.execute(_SQL["renew"], _parameters(place, holder=holder, lease_secs=lease_secs))


def release(tx: Transaction, place: Place, holder: UUID) -> None:
    """The trial is over without an answer about the secret."""
    tx.execute(_SQL["release"], _parameters(place, holder=holder))


def accepted(tx: Transaction, place: Place) -> None:
    tx.execute(_SQL["accepted"], _parameters(place))


def refused(tx: Transaction, place: Place, reason: str) -> None:
    """Each refusal in a row holds the secret off for longer."""
    tx.execute(_SQL["refused"], _parameters(place, reason=reason, hold_offs=list(HOLD_OFFS_SECS)))


def _parameters(place: Place, **others: Any) -> dict[str, Any]:
    return {**vars(place), **others}
