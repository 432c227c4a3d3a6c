"""Credentials: personal, shared and usable ones (docs/protocol.md, 5.3). Secrets are write-only, except by reveal."""

from typing import Annotated, Any, Literal
from uuid import UUID

from flask import Blueprint
from pydantic import BaseModel, BeforeValidator, StringConstraints
from typing_extensions import TypedDict

from netstacks.formats import Timestamp, Uuid
from netstacks.permissions import EVERYWHERE
from netstacks.store import audit, credential_reach, credentials
from netstacks.store.credentials import Credential, Secrets
from netstacks.store.pool import Transaction
from netstacks.web.auth import guard
from netstacks.web.context import services
from netstacks.web.http.changes import changes
from netstacks.web.http.declarations import answers, takes_body, takes_query
from netstacks.web.http.fields import Description, Name, OptionalHost, OptionalPort, OptionalText, Seen, SeenVersion
from netstacks.web.http.json_response import JsonResponse, json_response
from netstacks.web.http.outputs import timestamp

blueprint = Blueprint("credentials", __name__)

CredentialType = Literal["ssh_password", "ssh_key", "api_token", "snmp_community", "generic_secret"]
# A form sends an empty text for a secret that stays as it is.
SecretText = Annotated[
    str | None, StringConstraints(max_length=65536), BeforeValidator(lambda text: None if text == "" else text)
]


class CredentialChange(BaseModel):
    """The changeable members of a credential; absent ones keep their value."""

    name: Name = ""
    credential_type: CredentialType = "ssh_password"
    username: OptionalText = None
    host: OptionalHost = None
    port: OptionalPort = None
    description: Description = None
    secret: SecretText = None
    passphrase: SecretText = None
    enable_secret: SecretText = None
    version: Seen = None

    def secrets(self) -> Secrets:
        return Secrets(self.secret, self.passphrase, self.enable_secret)

    def facts(self) -> dict[str, Any]:
        return self.model_dump(exclude_unset=True, exclude={"secret", "passphrase", "enable_secret", "version"})


class NewCredential(CredentialChange):
    name: Name
    credential_type: CredentialType


class Reveal(BaseModel):
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


class CredentialJson(TypedDict):
    """A credential without its secrets. A `host` restricts it to that host, a `port` beside it to that port."""

    id: Uuid
    version: int
    """Goes up with each change. A change that sends an older one is refused."""
    name: str
    description: str | None
    credential_type: str
    username: str | None
    host: str | None
    port: int | None
    vault_type: str
    """`personal` or `shared`."""
    has_enable_secret: bool
    created_at: Timestamp
    updated_at: Timestamp


class Credentials(TypedDict):
    items: list[CredentialJson]


class DeletedCredential(TypedDict):
    devices: list[str]
    """The names of the devices that have no default credential any more."""


class RevealedSecret(TypedDict):
    secret: str


@blueprint.get("/api/credentials/accessible")
@guard.requires()
def list_accessible() -> Credentials:
    """The credentials that the user may log in to devices with."""
    with services().database.transaction() as tx:
        items = credentials.usable(tx, guard.identity().user_id, within=guard.identity().reach)
    return {"items": [as_json(credential) for credential in items]}


@blueprint.get("/api/credentials/accessible/default")
@guard.requires()
def get_default() -> JsonResponse[CredentialJson | None]:
    """The credential that Connect uses by default. For null the client lets its user choose."""
    with services().database.transaction() as tx:
        credential = credentials.default_for(tx, guard.identity().user_id, within=guard.identity().reach)
    return json_response(as_json(credential) if credential else None)


@blueprint.get("/api/credentials/personal")
@guard.requires()
def list_personal() -> Credentials:
    with services().database.transaction() as tx:
        items = credentials.personal(tx, guard.identity().user_id)
    return {"items": [as_json(credential) for credential in items]}


@blueprint.post("/api/credentials/personal")
@guard.requires()
@takes_body(NewCredential)
@answers(201)
def create_personal(body: NewCredential) -> tuple[CredentialJson, int]:
    return _create(body, guard.identity().user_id)


@blueprint.put("/api/credentials/personal/<uuid:credential_id>")
@guard.requires()
@takes_body(CredentialChange)
def update_personal(body: CredentialChange, credential_id: UUID) -> CredentialJson:
    return _update(body, credential_id, guard.identity().user_id)


@blueprint.delete("/api/credentials/personal/<uuid:credential_id>")
@guard.requires()
@takes_query(SeenVersion)
def delete_personal(seen: SeenVersion, credential_id: UUID) -> DeletedCredential:
    return _delete(seen, credential_id, guard.identity().user_id)


@blueprint.post("/api/credentials/personal/<uuid:credential_id>/reveal")
@guard.requires()
@takes_body(Reveal)
def reveal_personal(body: Reveal, credential_id: UUID) -> RevealedSecret:
    """Shows a secret to its owner. The reason that the owner gives is audited."""
    reason = body.reason
    with guard.transaction() as tx:
        credential = credentials.lock(tx, credential_id, guard.identity().user_id, within=guard.identity().reach)
        secret = services().vault.open(tx, credential_id, "secret")
        _audit(tx, "credential.revealed", credential, reason=reason)
    return {"secret": secret}


@blueprint.get("/api/credentials")
@guard.requires("credentials.manage")
def list_shared() -> Credentials:
    with services().database.transaction() as tx:
        items = credentials.shared(tx, within=guard.identity().reach)
    return {"items": [as_json(credential) for credential in items]}


@blueprint.post("/api/credentials")
@guard.requires("credentials.manage")
@takes_body(NewCredential)
@answers(201)
def create_shared(body: NewCredential) -> tuple[CredentialJson, int]:
    return _create(body, None)


@blueprint.get("/api/credentials/<uuid:credential_id>")
@guard.requires("credentials.manage")
def get_shared(credential_id: UUID) -> CredentialJson:
    with services().database.transaction() as tx:
        return as_json(credentials.lock(tx, credential_id, None, within=guard.identity().reach))


@blueprint.put("/api/credentials/<uuid:credential_id>")
@guard.requires("credentials.manage")
@takes_body(CredentialChange)
def update_shared(body: CredentialChange, credential_id: UUID) -> CredentialJson:
    return _update(body, credential_id, None)


@blueprint.delete("/api/credentials/<uuid:credential_id>")
@guard.requires("credentials.manage")
@takes_query(SeenVersion)
def delete_shared(seen: SeenVersion, credential_id: UUID) -> DeletedCredential:
    return _delete(seen, credential_id, None)


def as_json(credential: Credential) -> CredentialJson:
    """A credential in the API."""
    return {
        "id": str(credential.id),
        "name": credential.name,
        "description": credential.description,
        "credential_type": credential.credential_type,
        "username": credential.username,
        "host": credential.host,
        "port": credential.port,
        "vault_type": credential.vault_type,
        "has_enable_secret": credential.has_enable_secret,
        "created_at": timestamp(credential.created_at),
        "updated_at": timestamp(credential.updated_at),
        "version": credential.version,
    }


def _create(body: NewCredential, owner_id: UUID | None) -> tuple[CredentialJson, int]:
    with guard.transaction() as tx:
        credential = credentials.create(tx, services().vault, body.secrets(), owner_id=owner_id, **body.facts())
        credential_reach.check(tx, None, credential, within=guard.identity().reach)
        _audit(tx, "credential.created", credential, credential_type=credential.credential_type)
    return as_json(credential), 201


def _update(body: CredentialChange, credential_id: UUID, owner_id: UUID | None) -> CredentialJson:
    secrets = body.secrets()
    with guard.transaction() as tx:
        reach = guard.identity().reach
        old = credential_reach.lock(tx, credential_id, owner_id, within=reach)
        by = guard.identity().username
        credential = credentials.update(tx, services().vault, old, body.facts(), secrets, by=by, seen=body.version)
        credential_reach.check(tx, old, credential, within=reach)
        _audit(tx, "credential.updated", credential, changes=changes(old, credential), secrets=secrets.given())
    return as_json(credential)


def _delete(seen: SeenVersion, credential_id: UUID, owner_id: UUID | None) -> DeletedCredential:
    """Returns the devices of the role whose default credential it was: they have no default any more."""
    with guard.transaction() as tx:
        reach = guard.identity().reach
        credential = credential_reach.lock(tx, credential_id, owner_id, within=reach)
        affected = credentials.devices_using(tx, credential, within=EVERYWHERE)
        devices = credentials.delete(tx, credential, within=reach, seen=seen.version)
        _audit(tx, "credential.deleted", credential, devices=affected)
    return {"devices": devices}


def _audit(tx: Transaction, event: str, credential: Credential, **details: Any) -> None:
    facts = {"name": credential.name, "vault_type": credential.vault_type}
    audit.append(tx, guard.actor(), event, f"credential:{credential.id}", **facts, **details)
