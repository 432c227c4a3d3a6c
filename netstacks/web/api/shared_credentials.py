"""Shared credentials with their uses, and the rotation of their secrets."""

from typing import Annotated, Any
from uuid import UUID

from flask import Blueprint
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from netstacks.errors import DeviceError, InvalidInput
from netstacks.formats import Timestamp, Uuid
from netstacks.store import audit, credential_reach, credentials, device_lists, shared_credentials
from netstacks.store.credentials import Credential, Secrets
from netstacks.store.device_lists import Filter
from netstacks.store.shared_credentials import LastUse, SharedCredential
from netstacks.web.api.credentials import CredentialJson, SecretText, as_json
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.http.declarations import answers, takes_body, takes_query
from netstacks.web.http.fields import Seen
from netstacks.web.http.outputs import timestamp

blueprint = Blueprint("shared_credentials", __name__)

_MAX_SHOWN = 200


class CredentialQuery(BaseModel):
    """`unused_days` keeps those that were not used within so many days, `never` those that were never used."""

    search: Annotated[str, Field(max_length=200)] | None = None
    unused_days: Annotated[int, Field(ge=1, le=3650)] | None = None
    never: bool = False


class Rotation(BaseModel):
    """A new secret. With `test_device_id` a log-in to that device must succeed with it first."""

    secret: SecretText = None
    passphrase: SecretText = None
    enable_secret: SecretText = None
    test_device_id: UUID | None = None
    version: Seen = None

    def secrets(self) -> Secrets:
        return Secrets(self.secret, self.passphrase, self.enable_secret)


class CredentialUse(TypedDict):
    """The last log-in that succeeded with a credential."""

    at: Timestamp
    username: str
    device_id: Uuid | None
    device: str
    """The name that the device had."""


class SharedCredentialJson(CredentialJson):
    """A shared credential with its uses."""

    devices: int
    """How many devices have it as their default."""
    definitions: int
    """How many session definitions name it."""
    last_used: CredentialUse | None


class SharedCredentials(TypedDict):
    items: list[SharedCredentialJson]


class UsingDevice(TypedDict):
    id: Uuid
    name: str
    host: str


class UsingDefinition(TypedDict):
    id: Uuid
    name: str


class CredentialUses(TypedDict):
    """Where a credential is used. The two lists end after some entries."""

    credential: CredentialJson
    devices: list[UsingDevice]
    device_total: int
    definitions: list[UsingDefinition]


class RotatedCredential(CredentialJson):
    """A credential with a new secret."""

    tested_on: str | None
    """The device that the new secret was tested on."""


@blueprint.get("/api/v1/credentials")
@guard.requires("credentials.manage")
@takes_query(CredentialQuery)
def list_credentials(query: CredentialQuery) -> SharedCredentials:
    with services().database.transaction() as tx:
        found = shared_credentials.list_all(tx, within=guard.identity().reach, **query.model_dump())
    return {"items": [_as_item(each) for each in found]}


@blueprint.get("/api/v1/credentials/<uuid:credential_id>/uses")
@guard.requires("credentials.manage")
def list_uses(credential_id: UUID) -> CredentialUses:
    """The devices whose default it is, and the session definitions that name it."""
    with services().database.transaction() as tx:
        reach = guard.identity().reach
        credential = credentials.lock(tx, credential_id, None, within=reach)
        wanted = Filter(credential=credential_id)
        page = device_lists.page(tx, wanted, within=reach, limit=_MAX_SHOWN)
        total = device_lists.count(tx, wanted, within=reach)
        definitions = shared_credentials.definitions_using(tx, credential_id, within=reach, limit=_MAX_SHOWN)
    return {
        "credential": as_json(credential),
        "devices": [{"id": str(each.id), "name": each.name, "host": each.host} for each in page.devices],
        "device_total": total,
        "definitions": [{"id": str(definition_id), "name": name} for definition_id, name in definitions],
    }


@blueprint.post("/api/v1/credentials/<uuid:credential_id>/rotate")
@guard.requires("credentials.manage")
@takes_body(Rotation)
@answers(502)
def rotate(body: Rotation, credential_id: UUID) -> RotatedCredential:
    """Replaces the secret. Nothing is stored when the test of the new one fails (502)."""
    if body.secret is None:
        raise InvalidInput("secret: is missing")
    tested_on = None
    if body.test_device_id is not None:
        tested_on = _tested(credential_id, body, body.test_device_id)
    with guard.transaction() as tx:
        old = credential_reach.lock(tx, credential_id, None, within=guard.identity().reach)
        credential = credentials.update(
            tx, services().vault, old, {}, body.secrets(), by=guard.identity().username, seen=body.version
        )
        _audit(tx, "credential.rotated", credential, secrets=body.secrets().given(), tested_on=tested_on)
    return {**as_json(credential), "tested_on": tested_on}


def _tested(credential_id: UUID, body: Rotation, device_id: UUID) -> str:
    """Logs in to the device with the new secret; returns the name of the device. Raises DeviceError."""
    with guard.transaction() as tx:
        credential = credential_reach.lock(tx, credential_id, None, within=guard.identity().reach)
    tester = services().log_in_test
    assert tester is not None
    try:
        return tester.run(guard.actor(), credential, body.secrets(), device_id)
    except DeviceError as error:
        with guard.transaction() as tx:
            _audit(tx, "credential.rotation_refused", credential, device=str(device_id), reason=str(error))
        raise DeviceError(f"The new secret is not stored, the test has failed: {error}") from error


def _as_item(found: SharedCredential) -> SharedCredentialJson:
    return {
        **as_json(found.credential),
        "devices": found.devices,
        "definitions": found.definitions,
        "last_used": _use(found.last_use) if found.last_use else None,
    }


def _use(use: LastUse) -> CredentialUse:
    return {
        "at": timestamp(use.at),
        "username": use.username,
        "device_id": str(use.device_id) if use.device_id else None,
        "device": use.device_name,
    }


def _audit(tx: Any, event: str, credential: Credential, **details: Any) -> None:
    facts = {"name": credential.name, "vault_type": credential.vault_type}
    audit.append(tx, guard.actor(), event, f"credential:{credential.id}", **facts, **details)
