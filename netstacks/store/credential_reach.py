"""The shared credentials that a role for some devices may change: none that devices outside its reach depend on."""

from uuid import UUID

from netstacks.errors import InvalidInput
from netstacks.permissions import Reach
from netstacks.store import credentials
from netstacks.store.credentials import Credential
from netstacks.store.pool import Transaction


def lock(tx: Transaction, credential_id: UUID, owner_id: UUID | None, *, within: Reach) -> Credential:
    """As `credentials.lock`; raises InvalidInput for a credential that devices outside the reach may depend on."""
    credential = credentials.lock(tx, credential_id, owner_id, within=within)
    if within.is_limited and credential.is_for_all_devices:
        raise InvalidInput(f"{credential.name} is for all devices, and your role is not: it cannot change it")
    return credential


def check(tx: Transaction, old: Credential | None, new: Credential, *, within: Reach) -> None:
    """Raises InvalidInput for a new shared credential that a limited reach does not have, and for a change of address.

    A credential that is moved to another address would be sent there.
    """
    if not within.is_limited or new.owner_id is not None:
        return
    if old is None and new not in credentials.shared(tx, within=within):
        raise InvalidInput("host: must be the address of one of the devices of your role")
    if old is not None and (old.host, old.port) != (new.host, new.port):
        raise InvalidInput("host: only a role for all devices may change the address of a shared credential")
